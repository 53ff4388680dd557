//! `queue complete`: finishes a claimed job.

use clap::Args;

use super::{Exit, Failure, input, session::Session, settle};
use crate::wire::{CompleteRequest, RESULT_BYTES_MAX};

/// Finish a claimed job.
#[derive(Debug, Args)]
pub(super) struct CompleteArgs {
    #[command(flatten)]
    holding: settle::HoldingArgs,
    /// What came out: JSON, `@file`, or `-` for stdin.
    #[arg(long, value_name = "JSON")]
    result: Option<String>,
}

impl CompleteArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let read = |given: String| input::json("--result", &given, RESULT_BYTES_MAX);
        let request = CompleteRequest {
            work_id: self.holding.work_id,
            token: self.holding.token,
            result: self.result.map(read).transpose()?,
            then: vec![],
        };
        let answer = session.client.complete(&request).await?;
        session.end(&settle::report(&answer), Exit::OK)
    }
}
