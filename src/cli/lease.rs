//! Keeps a lease while something else goes on.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use crate::{
    client::Client,
    queue::WorkerId,
    wire::{Beat, BeatStatus, GrantedWork, HeartbeatRequest},
};

/// Why a lease is held no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Somebody cancelled the job.
    Cancelled,
    /// The server says so, or no server said otherwise until it had to be taken for lost.
    Lost,
}

impl Ended {
    /// A fragment that follows the job.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Cancelled => "was cancelled",
            Self::Lost => "lost its lease",
        }
    }
}

/// When a lease has to be taken for lost, by this machine's clock: counted from before the request that
/// granted or extended it, so never later than the cluster counts (guarantees S8).
#[derive(Debug, Clone, Copy)]
struct Term {
    until: Instant,
    length: Duration,
}

impl Term {
    fn from(asked: Instant, lease_ms: u64) -> Self {
        let length = Duration::from_millis(lease_ms);
        Self { until: asked + length, length }
    }

    /// Three heartbeats fit into a lease, so two of them may be lost.
    fn next_beat(self) -> Instant {
        self.until - self.length * 2 / 3
    }
}

/// Extends the lease of `work`, granted to a request that was sent at `asked`, until it ends.
pub(super) async fn keep(
    client: &Client,
    worker: &WorkerId,
    work: &GrantedWork,
    asked: Instant,
) -> Ended {
    let mut term = Term::from(asked, work.lease_expires_in_ms);
    let beats = HeartbeatRequest {
        node_id: Some(worker.clone()),
        items: vec![Beat {
            work_id: work.work_id.clone(),
            token: work.token,
            lease_ms: None,
            progress: None::<Box<RawValue>>,
        }],
    };
    let mut next = term.next_beat();
    loop {
        sleep_until(next).await;
        let sent = Instant::now();
        let answer = tokio::select! {
            biased;
            answer = client.heartbeat(&beats) => answer,
            () = sleep_until(term.until) => return Ended::Lost,
        };
        let first = answer.map(|answer| answer.value.items.into_iter().next());
        match first {
            Ok(Some(item)) if item.status == BeatStatus::Extended => {
                term = Term::from(sent, item.lease_expires_in_ms.unwrap_or(work.lease_ms));
                next = term.next_beat();
            }
            Ok(Some(item)) if item.status == BeatStatus::CancelRequested => {
                return Ended::Cancelled;
            }
            // Nobody answered: soon again, for as long as the lease lasts.
            Err(error) if error.may_be_answered_yet() && Instant::now() < term.until => {
                next = Instant::now() + term.length / 10;
            }
            Ok(_) | Err(_) => return Ended::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_three_heartbeats_may_be_lost() {
        let asked = Instant::now();
        let term = Term::from(asked, 30_000);
        assert_eq!(term.next_beat(), asked + Duration::from_secs(10));
        assert_eq!(term.until, asked + Duration::from_secs(30));
    }
}
