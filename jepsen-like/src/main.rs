//! `jepsen-like`: judges recorded histories, and makes faults in clusters of real processes.
//!
//! ```text
//!   arguments ─▶ setup ─▶ chaos ─────┬─▶ cluster ──▶ processes, in namespaces of network
//!                         failover ──┼─▶ traffic ──▶ http ──▶ the nodes
//!                         endurance ─┴─▶ measure ──▶ table          sweeper: what is left behind goes
//! ```

mod arguments;
mod chance;
mod chaos;
mod check;
mod cluster;
mod endurance;
mod exit;
mod failover;
mod http;
mod measure;
mod network;
mod setup;
mod sweeper;
mod table;
mod traffic;
mod verdict;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use arguments::{Arguments, Verb};
use clap::{Parser as _, error::ErrorKind};
use exit::Failure;

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => ExitCode::from(run(&arguments.verb).unwrap_or_else(|failure| {
            complain(&failure.to_string());
            failure.code()
        })),
        Err(help) if matches!(help.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            drop(help.print());
            ExitCode::from(exit::VALID)
        }
        Err(error) => {
            drop(error.print());
            ExitCode::from(exit::BAD_ARGUMENTS)
        }
    }
}

fn run(verb: &Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Check { file } => check::check(file),
        Verb::Run(arguments) => chaos::run(arguments),
        Verb::Failover(arguments) => failover::failover(arguments),
        Verb::FailoverMatrix(arguments) => failover::matrix(arguments),
        Verb::Soak(arguments) => endurance::soak(arguments),
        Verb::Loss(arguments) => endurance::loss(arguments),
        Verb::RefusePair(arguments) => endurance::refuse_pair(arguments),
        Verb::Garbage(arguments) => endurance::garbage(arguments),
        Verb::Sweep => {
            sweeper::sweep(io::stdin().lock());
            Ok(exit::VALID)
        }
    }
}

fn complain(complaint: &str) {
    // Nothing is left to do for a complaint that cannot be written: the code says it too.
    drop(writeln!(io::stderr(), "{complaint}"));
}
