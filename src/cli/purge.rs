//! `queue purge`: cancels every unfinished job of a queue.

use clap::Args;
use serde_json::json;

use super::{
    Exit, Failure,
    queue_call::{QueueArg, report},
    report::{Report, Table},
    session::Session,
};
use crate::{client::Answer, wire::QueueResponse};

const NOTES: &str = "\
Workers that hold one are told at their next heartbeat. Jobs that are added later are not touched.
`queue retry --queue QUEUE --state cancelled` puts the cancelled ones back.";

/// Cancel every unfinished job of a queue, at once and without asking; prints how many.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    of: QueueArg,
    /// Change nothing, and print how many it would be.
    #[arg(long)]
    dry_run: bool,
}

impl PurgeArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if self.dry_run {
            let answer = session.client.queue(&self.of.queue).await?;
            return session.end(&dry(&answer), Exit::OK);
        }
        let answer = session.client.purge_queue(&self.of.queue).await?;
        session.end(&report(&answer), Exit::OK)
    }
}

/// What a purge would do now, in the shape of its answer.
fn dry(answer: &Answer<QueueResponse>) -> Report {
    let QueueResponse { queue, rev } = &answer.value;
    let would = json!({"status": "purged", "queue": queue.queue, "count": queue.jobs,
                       "dry_run": true, "rev": rev});
    Report {
        json: would.to_string().into(),
        items: None,
        plain: vec![queue.jobs.to_string()],
        table: Table::of_pairs([
            ("queue", (&queue.queue).into()),
            ("would cancel", queue.jobs.into()),
            ("of these leased", queue.leased.into()),
        ]),
    }
}
