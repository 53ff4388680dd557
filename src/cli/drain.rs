//! `queue drain`: has a worker be granted nothing more.

use clap::Args;

use super::{
    Exit, Failure,
    report::{Cell, Report, Table, serde_name},
    session::Session,
};
use crate::{client::Answer, queue::WorkerId, wire::WorkerOperated};

/// A worker.
#[derive(Debug, Args)]
pub(super) struct WorkerArg {
    /// The worker.
    #[arg(value_name = "WORKER", value_parser = WorkerId::parse)]
    pub(super) worker: WorkerId,
}

const NOTES: &str = "\
It keeps what it holds; `queue workers WORKER` shows how much that still is.";

/// Have a worker be granted nothing more; it is told at its next heartbeat.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    of: WorkerArg,
}

impl DrainArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.drain_worker(&self.of.worker).await?;
        session.end(&report(&answer), Exit::OK)
    }
}

/// The answer of a call about a worker.
pub(super) fn report(answer: &Answer<WorkerOperated>) -> Report {
    let WorkerOperated { status, node_id, duplicate, rev } = &answer.value;
    let done = serde_name(status);
    let mut pairs: Vec<(&'static str, Cell)> =
        vec![("worker", node_id.into()), ("status", done.as_str().into())];
    if *duplicate {
        pairs.push(("duplicate", "yes: an earlier call had done it".into()));
    }
    pairs.push(("rev", rev.0.into()));
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![done],
        table: Table::of_pairs(pairs),
    }
}
