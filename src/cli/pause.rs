//! `queue pause`: has claims pass a queue over.

use clap::Args;

use super::{
    Exit, Failure,
    queue_call::{QueueArg, report},
    session::Session,
};

/// Have claims pass a queue over; what is leased stays leased.
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    of: QueueArg,
}

impl PauseArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.pause_queue(&self.of.queue).await?;
        session.end(&report(&answer), Exit::OK)
    }
}
