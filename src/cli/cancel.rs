//! `queue cancel`: calls a job off.

use clap::Args;

use super::{Exit, Failure, session::Session, settle};
use crate::queue::JobId;

/// Call a job off; a worker that holds it is told at its next heartbeat.
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    /// The job.
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    work_id: JobId,
}

impl CancelArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.cancel(self.work_id).await?;
        session.end(&settle::report(&answer), Exit::OK)
    }
}
