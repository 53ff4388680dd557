//! `queue fail`: gives up an attempt.

use std::time::Duration;

use clap::Args;

use super::{Exit, Failure, input, session::Session, settle};
use crate::{config, wire::FailRequest};

/// Give up an attempt; the job is retried while it has attempts.
#[derive(Debug, Args)]
pub(super) struct FailArgs {
    #[command(flatten)]
    holding: settle::HoldingArgs,
    /// What went wrong.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Do not try it again, whatever attempts are left.
    #[arg(long, conflicts_with = "retry_in")]
    no_retry: bool,
    /// Try it again after this, instead of its backoff.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    retry_in: Option<Duration>,
}

impl FailArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = FailRequest {
            work_id: self.holding.work_id,
            token: self.holding.token,
            error: self.error,
            retry: self.no_retry.then_some(false),
            retry_in_ms: self.retry_in.map(input::milliseconds),
        };
        let answer = session.client.fail(&request).await?;
        session.end(&settle::report(&answer), Exit::OK)
    }
}
