//! What every client verb works with: a client, and how to print.

use std::{io::IsTerminal as _, time::Duration};

use super::{
    Exit, Failure,
    report::{Look, Report},
};
use crate::{
    client::{Answer, Client, ClientError, Options},
    config::{ClientConfig, Color, Format, Surroundings},
};

/// One run of a client verb.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: Client,
    /// A client for each address, when there are several.
    each: Vec<Client>,
    pub(super) look: Look,
}

impl Session {
    pub(super) fn new(config: &ClientConfig, look: Look) -> Result<Self, Failure> {
        let of = |addresses| client(addresses, config.timeout, Options::DEFAULT_PATIENCE);
        let each = match config.addresses.len() {
            0 | 1 => vec![],
            _ => config.addresses.chunks(1).map(of).collect::<Result<_, _>>()?,
        };
        Ok(Self { client: of(&config.addresses)?, each, look })
    }

    /// What the first server says that knows who leads; when none does, what the first one said that
    /// answered. A node that is in no cluster answers too, and knows nothing of the others.
    pub(super) async fn ask_one_that_knows<T>(
        &self,
        ask: impl AsyncFn(&Client) -> Result<Answer<T>, ClientError>,
        knows: impl Fn(&T) -> bool,
    ) -> Result<Answer<T>, ClientError> {
        let first = ask(&self.client).await?;
        if knows(&first.value) {
            return Ok(first);
        }
        for client in &self.each {
            match ask(client).await {
                Ok(answer) if knows(&answer.value) => return Ok(answer),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(first)
    }

    /// Prints what came out, and ends with `exit`.
    pub(super) fn end(&self, report: &Report, exit: Exit) -> Result<Exit, Failure> {
        match report.print(self.look) {
            Ok(()) => Ok(exit),
            Err(error) => Err(cannot_print(&error)),
        }
    }
}

/// A client of these base URLs.
pub(super) fn client(
    addresses: &[String],
    timeout: Duration,
    patience: Duration,
) -> Result<Client, Failure> {
    let parse = |url: &String| {
        url.parse().map_err(|fault| Failure::usage(format!("addr: `{url}` is not a URL: {fault}")))
    };
    let addresses = addresses.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    Ok(Client::new(Options { addresses, timeout, patience }))
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
