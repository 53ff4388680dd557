//! The whole replicated state, and the one door through which it changes.

use super::{Claim, ClockMs, Entry, JobId, JobState, Outcome, QueueName, Rev, WallMs, WorkType};

/// The queue.
#[derive(Debug, Default)]
pub struct State {}

/// What applying one entry did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// What others may be waiting for, in the order in which it happened.
    pub changes: Vec<Change>,
}

/// A change that a waiting caller cares about. Derived, never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A job became ready to be claimed: added, come due, given back, or its lease lost.
    Ready {
        /// Where.
        queue: QueueName,
        /// Of which kind.
        work_type: WorkType,
    },
    /// A job reached a terminal state.
    Ended {
        /// Which.
        job: JobId,
        /// How.
        state: JobState,
    },
}

/// When time alone will next change the state; what the leader's tick waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The earliest lease, delay or backoff, on the cluster clock.
    pub clock: Option<ClockMs>,
    /// The earliest `run_at_ms`, on the wall clock.
    pub wall: Option<WallMs>,
    /// Whether an earlier entry left work over (bounded steps): tick again at once.
    pub is_behind: bool,
}

impl State {
    /// Applies one entry: lets its time pass, then its commands in order.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        let _ = entry;
        Applied::default()
    }

    /// The revision.
    pub fn rev(&self) -> Rev {
        Rev(0)
    }

    /// The cluster clock: the greatest stamp applied.
    pub fn clock(&self) -> ClockMs {
        ClockMs(0)
    }

    /// The hash chain over entries, answers and changes (S16).
    pub fn hash(&self) -> u128 {
        0
    }

    /// See [`Deadlines`].
    pub fn deadlines(&self) -> Deadlines {
        Deadlines::default()
    }

    /// Whether a claim would be granted a job now, or would repeat an earlier one: only then is it
    /// worth an entry. Costs no more than the claim.
    pub fn would_grant(&self, claim: &Claim) -> bool {
        let _ = claim;
        false
    }
}
