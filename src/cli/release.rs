//! `queue release`: gives a claimed job back.

use std::time::Duration;

use clap::Args;

use super::{Exit, Failure, input, session::Session, settle};
use crate::{config, wire::ReleaseRequest};

/// Give a claimed job back, its attempt not counted.
#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    holding: settle::HoldingArgs,
    /// Not handed out again before this has passed.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    delay: Option<Duration>,
}

impl ReleaseArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = ReleaseRequest {
            work_id: self.holding.work_id,
            token: self.holding.token,
            delay_ms: self.delay.map(input::milliseconds),
        };
        let answer = session.client.release(&request).await?;
        session.end(&settle::report(&answer), Exit::OK)
    }
}
