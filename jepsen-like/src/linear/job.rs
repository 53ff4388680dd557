//! A job as its callers may know it: a small state, and what each call does to it.
//!
//! A lease may run out by itself, from the time on before which it cannot have (see `crate::bounds`). When
//! it does, nobody is told: a call that finds it so is right in both cases. Whether a job that nobody holds is
//! ready, waits or has failed is not told apart: other promises are about that.

use std::hash::Hash;

/// What is known of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    phase: Phase,
    /// The greatest token so far.
    token: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Absent,
    /// Nobody holds it, and it is neither completed nor cancelled.
    Free,
    /// Held under the greatest token, and not run out before this time, ns.
    Leased {
        not_before: u64,
    },
    /// Completed under the greatest token.
    Completed,
    Cancelled,
}

/// One call and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) did: Did,
    /// Its place in the history, and that of its answer; `None`: it is indeterminate.
    pub(crate) invoked: u64,
    pub(crate) answered: Option<u64>,
    /// When it was over at the latest, ns.
    pub(crate) until: u64,
}

/// What a call was answered with; of an indeterminate one, what it would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
    /// Made the job.
    Create,
    /// Made it, or found that it is there.
    CreateOrFind,
    /// Was granted the job, or told again that it holds it. The lease cannot run out before this, ns.
    Claim {
        token: u64,
        not_before: u64,
    },
    /// Found that it holds the job, and until when at least, ns.
    Hold {
        token: u64,
        not_before: u64,
    },
    Complete {
        token: u64,
    },
    /// Completed it, or found that it had been.
    CompleteOrFind {
        token: u64,
    },
    /// Found that it had been completed.
    FindCompleted {
        token: u64,
    },
    /// Failed, or gave it back.
    Free {
        token: u64,
    },
    /// Found that nobody holds it, and that it is neither completed nor cancelled.
    FindFree,
    Cancel,
    CancelOrFind,
    FindCancelled,
    Retry,
    /// Was refused: its token holds nothing.
    FindStale {
        token: u64,
    },
}

impl Job {
    /// Before anybody has said anything.
    pub(crate) const fn new() -> Self {
        Self { phase: Phase::Absent, token: 0 }
    }

    /// The job after a call, if its answer is right here. An indeterminate call is always right: where it
    /// could do nothing, it did nothing.
    pub(crate) fn after(self, call: &Call) -> Option<Self> {
        let after = self.step(call.did, call.until);
        if call.answered.is_none() { Some(after.unwrap_or(self)) } else { after }
    }

    fn step(self, did: Did, until: u64) -> Option<Self> {
        let is_free = self.is_free(until);
        let is_there = self.phase != Phase::Absent;
        let is_open = matches!(self.phase, Phase::Free | Phase::Leased { .. });
        let phase = match did {
            Did::Create => (!is_there).then_some(Phase::Free),
            Did::CreateOrFind if !is_there => Some(Phase::Free),
            Did::CreateOrFind => Some(self.phase),
            Did::Claim { token, .. } if self.holds(token) => Some(self.phase),
            Did::Claim { token, not_before } => {
                let is_new = token > self.token && is_free;
                return is_new.then_some(Self { phase: Phase::Leased { not_before }, token });
            }
            Did::Hold { token, not_before } => self.extended(token, not_before),
            Did::CompleteOrFind { token } if self.holds(token) => Some(Phase::Completed),
            Did::Complete { token } => self.holds(token).then_some(Phase::Completed),
            Did::CompleteOrFind { token } | Did::FindCompleted { token } => {
                (self.phase == Phase::Completed && self.token == token).then_some(self.phase)
            }
            Did::Free { token } => self.holds(token).then_some(Phase::Free),
            Did::CancelOrFind if is_open => Some(Phase::Cancelled),
            Did::Cancel => is_open.then_some(Phase::Cancelled),
            Did::CancelOrFind | Did::FindCancelled => {
                (self.phase == Phase::Cancelled).then_some(self.phase)
            }
            Did::Retry if matches!(self.phase, Phase::Completed | Phase::Cancelled) => {
                Some(Phase::Free)
            }
            Did::FindStale { token } if !self.holds(token) => Some(self.phase),
            Did::Retry | Did::FindFree | Did::FindStale { .. } => is_free.then_some(Phase::Free),
        };
        phase.map(|phase| Self { phase, ..self })
    }

    const fn holds(self, token: u64) -> bool {
        matches!(self.phase, Phase::Leased { .. }) && self.token == token
    }

    /// Whether it may be that nobody holds it, by this time.
    const fn is_free(self, until: u64) -> bool {
        match self.phase {
            Phase::Free => true,
            Phase::Leased { not_before } => not_before <= until,
            Phase::Absent | Phase::Completed | Phase::Cancelled => false,
        }
    }

    /// A lease never shortens.
    fn extended(self, token: u64, until: u64) -> Option<Phase> {
        let Phase::Leased { not_before } = self.phase else { return None };
        self.holds(token).then_some(Phase::Leased { not_before: not_before.max(until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn call(did: Did, until: u64) -> Call {
        Call { did, invoked: 1, answered: Some(2), until }
    }

    fn after(calls: &[Did]) -> Option<Job> {
        calls.iter().try_fold(Job::new(), |job, did| job.after(&call(*did, 50)))
    }

    const CLAIM: Did = Did::Claim { token: 5, not_before: 100 };
    const LATER: Did = Did::Claim { token: 8, not_before: 200 };

    #[test]
    fn a_job_is_made_once_and_held_by_one() {
        assert!(after(&[Did::Create, CLAIM, Did::Complete { token: 5 }]).is_some());
        assert!(after(&[Did::Create, Did::Create]).is_none());
        assert!(after(&[Did::FindFree]).is_none());
        assert!(after(&[Did::CreateOrFind, Did::CreateOrFind, CLAIM]).is_some());
        assert!(after(&[CLAIM]).is_none(), "there is none");
        assert!(after(&[Did::Create, CLAIM, LATER]).is_none(), "it is held until 100");
        assert!(after(&[Did::Create, CLAIM, Did::Free { token: 5 }, LATER]).is_some());
        assert!(
            after(&[Did::Create, LATER, Did::Free { token: 8 }, CLAIM]).is_none(),
            "an old token"
        );
    }

    #[test]
    fn a_lease_may_run_out_in_its_time_and_not_sooner() {
        let held = after(&[Did::Create, CLAIM]).unwrap();
        assert!(held.after(&call(LATER, 99)).is_none());
        assert!(held.after(&call(LATER, 100)).is_some());
        let extended = held.after(&call(Did::Hold { token: 5, not_before: 150 }, 60)).unwrap();
        assert!(extended.after(&call(LATER, 149)).is_none());
        let stale = Did::FindStale { token: 5 };
        assert!(held.after(&call(stale, 99)).is_none(), "it holds it");
        let lost = held.after(&call(stale, 100)).unwrap();
        assert!(lost.after(&call(Did::Complete { token: 5 }, 100)).is_none(), "it was told so");
        assert!(held.after(&call(CLAIM, 60)).is_some(), "told again");
    }

    #[test]
    fn what_has_ended_stays_so_until_a_retry() {
        let completed = [Did::Create, CLAIM, Did::Complete { token: 5 }];
        let then = |more: &[Did]| after(&[&completed[..], more].concat());
        assert!(then(&[LATER]).is_none());
        assert!(then(&[Did::Cancel]).is_none());
        assert!(then(&[Did::FindCompleted { token: 5 }]).is_some());
        assert!(then(&[Did::FindCompleted { token: 4 }]).is_none());
        assert!(then(&[Did::CompleteOrFind { token: 5 }]).is_some());
        assert!(then(&[Did::CompleteOrFind { token: 4 }]).is_none());
        assert!(after(&[Did::Create, CLAIM, Did::CompleteOrFind { token: 5 }]).is_some());
        assert!(then(&[Did::Retry, LATER]).is_some());
        assert!(after(&[Did::Create, Did::CancelOrFind, Did::CancelOrFind]).is_some());
        assert!(after(&[Did::Create, Did::Cancel, Did::FindCancelled]).is_some());
        assert!(after(&[Did::Create, Did::Cancel, CLAIM]).is_none());
    }

    #[test]
    fn an_indeterminate_call_did_what_it_could() {
        let unknown = |did| Call { answered: None, ..call(did, u64::MAX) };
        let job = after(&[Did::Create, CLAIM]).unwrap();
        let completed = job.after(&unknown(Did::Complete { token: 5 })).unwrap();
        assert!(completed.after(&call(Did::FindCompleted { token: 5 }, 50)).is_some());
        assert_eq!(job.after(&unknown(Did::Complete { token: 4 })), Some(job));
    }
}
