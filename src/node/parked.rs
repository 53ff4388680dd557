//! Claims that are parked at the leader for the caller of another node: both ends of that.
//!
//! ```text
//!  the node that was asked                      the leader
//!      │  Claim { ticket }                          │
//!      │───────────────────────────────────────────▶│ parks it
//!      │◀─────────────────────────────────── Parked │
//!      │                                            │ … a job becomes ready …
//!      │◀────────────────────────── Settle { ticket, outcome }
//!      │ Settled { is_wanted: false } ─────────────▶│ gives the grant back
//! ```
//! No request stays open while a claim waits, so long polls never stand in the way of anything else
//! between two nodes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use raft::{CallError, Peer, PeerId};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep},
};

use super::{
    admission::Permit,
    calls::{Refusal, Request, Response},
    claims::Delivery,
    gather::Setback,
    open::Node,
};
use crate::queue::Outcome;

/// How long the leader tries to reach the node that a claim came from.
const REACH_PATIENCE: Duration = Duration::from_secs(2);
/// How long one such try may take, and the pause after it.
const CALL_PATIENCE: Duration = Duration::from_secs(1);
const REACH_PAUSE: Duration = Duration::from_millis(20);

/// Claims of this node's callers that are parked at the leader.
#[derive(Debug)]
pub(super) struct Tickets {
    next: AtomicU64,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Result<Outcome, Refusal>>>>,
}

impl Tickets {
    /// A restarted node must not name its claims as its former self did: `first` is random.
    pub(super) fn starting_at(first: u64) -> Arc<Self> {
        Arc::new(Self { next: AtomicU64::new(first), waiting: Mutex::default() })
    }

    /// A ticket that this process has not used.
    pub(super) fn issue(self: &Arc<Self>) -> Settled {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, outcome) = oneshot::channel();
        self.lock().insert(ticket, sender);
        Settled { tickets: Arc::clone(self), ticket, outcome }
    }

    /// Hands in what the leader says; `false` when nobody waits for it.
    pub(super) fn settle(&self, ticket: u64, outcome: Result<Outcome, Refusal>) -> bool {
        let waiting = self.lock().remove(&ticket);
        waiting.is_some_and(|waiting| waiting.send(outcome).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Result<Outcome, Refusal>>>> {
        self.waiting.lock().expect("nothing panics while the tickets are locked")
    }
}

/// Where the outcome of a parked claim comes in; given up when dropped.
#[derive(Debug)]
pub(super) struct Settled {
    tickets: Arc<Tickets>,
    /// The claim's name between the two nodes.
    pub(super) ticket: u64,
    outcome: oneshot::Receiver<Result<Outcome, Refusal>>,
}

impl Settled {
    /// Waits for the leader's word.
    pub(super) async fn outcome(&mut self) -> Result<Outcome, Refusal> {
        (&mut self.outcome).await.unwrap_or(Err(Refusal::Unknown))
    }

    /// Waits no longer. What came in the meantime is returned; what comes later is not wanted.
    pub(super) fn close(&mut self) -> Option<Result<Outcome, Refusal>> {
        self.outcome.close();
        self.outcome.try_recv().ok()
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        self.tickets.lock().remove(&self.ticket);
    }
}

/// Claims that peers have parked here, so that they can call them off.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    bells: Mutex<BTreeMap<(PeerId, u64), Arc<Notify>>>,
}

impl Visitors {
    /// Notes a claim that came from a peer.
    pub(super) fn receive(self: &Arc<Self>, from: PeerId, ticket: u64) -> Visit {
        let bell = Arc::new(Notify::new());
        self.lock().insert((from, ticket), Arc::clone(&bell));
        Visit { visitors: Arc::clone(self), from, ticket, bell }
    }

    /// Calls a claim off, if it is still here.
    pub(super) fn forget(&self, from: PeerId, ticket: u64) {
        if let Some(bell) = self.lock().get(&(from, ticket)) {
            bell.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(PeerId, u64), Arc<Notify>>> {
        self.bells.lock().expect("nothing panics while the visitors are locked")
    }
}

/// One claim that came from a peer.
#[derive(Debug)]
pub(super) struct Visit {
    visitors: Arc<Visitors>,
    from: PeerId,
    ticket: u64,
    bell: Arc<Notify>,
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitors.lock().remove(&(self.from, self.ticket));
    }
}

/// What arrives where a claim's caller waits.
pub(super) type Answer = oneshot::Receiver<Result<Delivery, Setback>>;

/// Waits for what a parked claim comes to and tells the node that it came from. `_permit` counts the
/// claim until then.
pub(super) async fn settle_later(
    node: Arc<Node>,
    visit: Visit,
    mut answer: Answer,
    _permit: Permit,
) {
    let delivery = tokio::select! {
        biased;
        delivery = &mut answer => delivery.unwrap_or(Err(Setback::Unknown)),
        // Dropping `answer` tells the claim that nobody waits for it any more.
        () = visit.bell.notified() => return,
    };
    let Some(peer) = node.peer(visit.from) else { return };
    let outcome = match &delivery {
        Ok(delivery) => Ok(delivery.outcome().clone()),
        Err(setback) => Err(Refusal::from(*setback)),
    };
    let settle = Request::Settle { ticket: visit.ticket, outcome };
    if node.reach(&peer, &settle).await == Reached::Taken
        && let Ok(delivery) = delivery
    {
        delivery.take();
    }
}

/// What became of an outcome that was sent to the node that a claim came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// It has it, or may have it: a lease that nobody holds then runs out by itself.
    Taken,
    /// It certainly has not, or does not want it.
    Refused,
}

impl Node {
    async fn reach(&self, peer: &Peer, settle: &Request) -> Reached {
        let request = settle.encode();
        let give_up_at = Instant::now() + REACH_PATIENCE;
        while Instant::now() < give_up_at {
            match self.replica.call(peer, request.clone(), CALL_PATIENCE).await {
                Ok(answer) => {
                    let is_refused = matches!(
                        Response::decode(&answer),
                        Ok(Response::Settled { is_wanted: false } | Response::Declined)
                    );
                    return if is_refused { Reached::Refused } else { Reached::Taken };
                }
                Err(CallError::Lost) => return Reached::Taken,
                Err(CallError::Unreachable) => sleep(REACH_PAUSE).await,
            }
        }
        Reached::Refused
    }

    /// A member of the effective configuration.
    fn peer(&self, id: PeerId) -> Option<Peer> {
        let status = self.replica.status();
        let status = status.borrow();
        status.voters.iter().chain(&status.learners).find(|peer| peer.id == id).cloned()
    }
}
