//! `queue resume`: has claims find a queue's jobs again.

use clap::Args;

use super::{
    Exit, Failure,
    queue_call::{QueueArg, report},
    session::Session,
};

/// Have claims find a paused queue's jobs again.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    of: QueueArg,
}

impl ResumeArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.resume_queue(&self.of.queue).await?;
        session.end(&report(&answer), Exit::OK)
    }
}
