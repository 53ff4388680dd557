//! What stays of a finished job after its retention, so that its id and its last token are not
//! forgotten too soon.

use serde::{Deserialize, Serialize};

use super::{
    AttemptEnd, ClockMs, JobId, JobState, Token, WallMs,
    job::{Attempt, EndState, Job, Phase},
};

/// A tombstone's place in the order in which they were set, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub(super) struct TombstoneNumber(pub(super) u64);

/// A finished job that has left the state. Opaque outside the rules: [`super::TombstoneView`] is
/// what others see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub(super) id: JobId,
    pub(super) content_hash: u64,
    pub(super) how: EndState,
    /// The last attempt, if there was one. What `complete` answered about its `then` is gone.
    pub(super) last_attempt: Option<LastAttempt>,
    /// It goes when the cluster clock has reached this.
    pub(super) until: ClockMs,
}

/// What a tombstone remembers of the last attempt: enough to know a repeated call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastAttempt {
    pub(super) token: Token,
    pub(super) ended_as: AttemptEnd,
    pub(super) has_started: bool,
    pub(super) run_at: Option<WallMs>,
}

impl Tombstone {
    /// The tombstone of a finished job; `None` when it is not finished.
    pub(super) fn of(job: &Job, until: ClockMs) -> Option<Self> {
        let Phase::Ended(ending) = job.phase else { return None };
        Some(Self {
            id: job.id.clone(),
            content_hash: job.content_hash,
            how: ending.how,
            last_attempt: job.attempts.last().and_then(LastAttempt::of),
            until,
        })
    }

    pub(super) fn state(&self) -> JobState {
        self.how.state()
    }

    /// The attempt under this token, if it was the last.
    pub(super) fn attempt_under(&self, token: Token) -> Option<&LastAttempt> {
        self.last_attempt.as_ref().filter(|last| last.token == token)
    }
}

impl LastAttempt {
    fn of(attempt: &Attempt) -> Option<Self> {
        let ended = attempt.ended.as_ref()?;
        Some(Self {
            token: attempt.token,
            ended_as: ended.how,
            has_started: attempt.has_started,
            run_at: ended.run_at,
        })
    }
}
