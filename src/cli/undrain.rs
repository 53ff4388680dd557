//! `queue undrain`: has a worker be granted jobs again.

use clap::Args;

use super::{
    Exit, Failure,
    drain::{WorkerArg, report},
    session::Session,
};

/// Have a drained worker be granted jobs again.
#[derive(Debug, Args)]
pub(super) struct UndrainArgs {
    #[command(flatten)]
    of: WorkerArg,
}

impl UndrainArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.resume_worker(&self.of.worker).await?;
        session.end(&report(&answer), Exit::OK)
    }
}
