//! `queue delete-queue`: deletes a queue.

use clap::Args;

use super::{
    Exit, Failure,
    queue_call::{QueueArg, report},
    session::Session,
};

/// Delete a queue that has no unfinished job, and its settings.
#[derive(Debug, Args)]
pub(super) struct DeleteQueueArgs {
    #[command(flatten)]
    of: QueueArg,
}

impl DeleteQueueArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.delete_queue(&self.of.queue).await?;
        session.end(&report(&answer), Exit::OK)
    }
}
