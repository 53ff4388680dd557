//! A request's memory of its attempts, and its patience between them.

use std::time::Duration;

use raft::Role;
use tokio::time::{Instant, timeout};

use super::{
    Reason, Unavailable,
    gather::{Attempt, Setback, Work},
    open::{Node, Phase},
    routing::Route,
};
use crate::queue::Outcome;

/// What a single attempt is given at the least, however short the hold: a `hold` of 0 asks not to
/// be held without a leader, not to be refused by one that is there.
pub(super) const ATTEMPT_PATIENCE: Duration = Duration::from_millis(500);

/// What is certain about a request that has no outcome yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tries {
    may_be_proposed: bool,
}

impl Tries {
    /// Whether some attempt may have been proposed: then no later certainty counts.
    pub(super) fn may_be_proposed(self) -> bool {
        self.may_be_proposed
    }

    /// Notes an attempt. An error ends the request: it was refused, and certainly never proposed.
    pub(super) fn note(&mut self, setback: Setback) -> Result<(), Unavailable> {
        match setback {
            Setback::Unknown => self.may_be_proposed = true,
            Setback::Overloaded { retry_after_ms } if !self.may_be_proposed => {
                return Err(Unavailable::NotApplied(Reason::Overloaded { retry_after_ms }));
            }
            Setback::TooManyWaiters { retry_after_ms } if !self.may_be_proposed => {
                return Err(Unavailable::NotApplied(Reason::TooManyWaiters { retry_after_ms }));
            }
            Setback::DiskFull if !self.may_be_proposed => {
                return Err(Unavailable::NotApplied(Reason::DiskFull));
            }
            Setback::NotProposed
            | Setback::Overloaded { .. }
            | Setback::TooManyWaiters { .. }
            | Setback::DiskFull => {}
        }
        Ok(())
    }
}

impl Node {
    /// Has work carried out by whoever leads, again and again, until there are outcomes or the
    /// deadline has passed; an attempt that begins before the deadline has [`ATTEMPT_PATIENCE`].
    /// Each command has an identity, so that repeating it is safe.
    pub(super) async fn carry_out(
        &self,
        work: Work,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, Unavailable> {
        let mut tries = Tries::default();
        let mut pace = Pace::default();
        while let Some(route) = self.route_by(deadline).await {
            let attempt_by = deadline.max(Instant::now() + ATTEMPT_PATIENCE);
            let attempt = match &route {
                Route::Nowhere => Err(Setback::NotProposed),
                Route::Here { .. } => self.submit_here(work.clone(), attempt_by).await,
                Route::There { .. } => self.forwarder.submit(work.clone(), attempt_by).await,
            };
            match attempt {
                Ok(outcomes) => return Ok(outcomes),
                Err(setback) => tries.note(setback)?,
            }
            if Instant::now() >= deadline {
                break;
            }
            pace.pause(self, &route).await;
        }
        Err(self.give_up(tries))
    }

    async fn submit_here(&self, work: Work, attempt_by: Instant) -> Attempt {
        self.room.admit(work.lane)?;
        self.proposer.submit(work, attempt_by).await
    }

    /// What a request is told whose time is up.
    pub(super) fn give_up(&self, tries: Tries) -> Unavailable {
        if tries.may_be_proposed {
            Unavailable::OutcomeUnknown
        } else if *self.phase.borrow() > Phase::Running {
            Unavailable::NotApplied(Reason::ShuttingDown)
        } else if self.standing.borrow().role == Role::Fresh {
            Unavailable::NotApplied(Reason::NotReady)
        } else {
            Unavailable::NotApplied(Reason::NoLeader)
        }
    }
}

/// The pause after a setback: until the leader changes, and no longer than a little.
#[derive(Debug)]
pub(super) struct Pace {
    next: Duration,
}

impl Pace {
    const FIRST: Duration = Duration::from_millis(2);
    const LONGEST: Duration = Duration::from_millis(50);

    /// Pauses. The next pause is twice as long, and after a change of leader as short as the first:
    /// what was tried in vain before it says nothing of the new one.
    pub(super) async fn pause(&mut self, node: &Node, route: &Route) {
        self.pause_unless(node.rerouted(route)).await;
    }

    async fn pause_unless(&mut self, rerouted: impl Future<Output = ()>) {
        self.next = match timeout(self.next, rerouted).await {
            Ok(()) => Self::FIRST,
            Err(_) => (self.next * 2).min(Self::LONGEST),
        };
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    async fn pause_ms(pace: &mut Pace, rerouted: impl Future<Output = ()>) -> u128 {
        let before = Instant::now();
        pace.pause_unless(rerouted).await;
        before.elapsed().as_millis()
    }

    // Situation: tries fail, the leader changes, and the next tries fail as well. Claim: the pauses double up
    // to the longest, and start over with the new leader.
    #[tokio::test(start_paused = true)]
    async fn patience_starts_over_with_a_new_leader() {
        let mut pace = Pace::default();
        for expected in [2, 4, 8, 16, 32, 50, 50] {
            assert_eq!(pause_ms(&mut pace, pending()).await, expected);
        }
        assert_eq!(pause_ms(&mut pace, ready(())).await, 0);
        for expected in [2, 4] {
            assert_eq!(pause_ms(&mut pace, pending()).await, expected);
        }
        assert_eq!(pause_ms(&mut pace, tokio::time::sleep(Duration::from_millis(3))).await, 3);
        assert_eq!(pause_ms(&mut pace, pending()).await, 2);
    }

    #[test]
    fn once_a_request_may_have_been_proposed_no_refusal_makes_it_certain() {
        let refusal = Setback::Overloaded { retry_after_ms: 5 };
        let mut tries = Tries::default();
        tries.note(Setback::NotProposed).unwrap();
        assert_eq!(tries.note(Setback::DiskFull), Err(Unavailable::NotApplied(Reason::DiskFull)));
        assert_eq!(
            tries.note(refusal),
            Err(Unavailable::NotApplied(Reason::Overloaded { retry_after_ms: 5 }))
        );
        tries.note(Setback::Unknown).unwrap();
        tries.note(refusal).unwrap();
        tries.note(Setback::DiskFull).unwrap();
        tries.note(Setback::NotProposed).unwrap();
        assert!(tries.may_be_proposed());
    }
}
