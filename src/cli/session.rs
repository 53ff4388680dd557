//! What every client verb works with: a client, and how to print.

use std::io::IsTerminal as _;

use super::{
    Exit, Failure,
    report::{Look, Report},
};
use crate::{
    client::{Client, Options},
    config::{ClientConfig, Color, Format, Surroundings},
};

/// One run of a client verb.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) config: ClientConfig,
    pub(super) look: Look,
}

impl Session {
    pub(super) fn new(config: ClientConfig, look: Look) -> Self {
        let client = Client::new(Options {
            addresses: config.addresses.clone(),
            timeout: config.timeout,
            patience: Options::DEFAULT_PATIENCE,
        });
        Self { client, config, look }
    }

    /// Prints what came out, and ends with `exit`.
    pub(super) fn end(&self, report: &Report, exit: Exit) -> Result<Exit, Failure> {
        match report.print(self.look) {
            Ok(()) => Ok(exit),
            Err(error) => Err(cannot_print(&error)),
        }
    }
}

pub(super) fn cannot_print(error: &std::io::Error) -> Failure {
    Failure::new(Exit::FAILED, "output", format!("cannot write to stdout: {error}"))
}

/// How to print, by the configuration and by what stdout is.
pub(super) fn look(config: &ClientConfig, surroundings: &Surroundings) -> Look {
    let is_terminal = std::io::stdout().is_terminal();
    let by_default = if is_terminal { Format::Table } else { Format::Plain };
    Look {
        format: config.format.unwrap_or(by_default),
        is_colored: match config.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && surroundings.variable("TERM") != Some("dumb"),
        },
        is_terminal,
    }
}
