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
        atomic::{AtomicBool, AtomicU64, Ordering},
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
    routing::Route,
};
use crate::queue::{Claim, Outcome, RequestId, WorkerId};

/// How long the leader tries to reach the node that a claim came from.
const REACH_PATIENCE: Duration = Duration::from_secs(2);
/// How long one such try may take, and the pause after it.
const CALL_PATIENCE: Duration = Duration::from_secs(1);
const REACH_PAUSE: Duration = Duration::from_millis(20);

/// How often a leader where claims are parked is asked whether it is there, and how long it has to
/// say so: Raft may go on naming a leader that is gone for as long as nobody can be elected.
const PING_EVERY: Duration = Duration::from_millis(250);
const PING_PATIENCE: Duration = Duration::from_secs(1);

/// Claims of this node's callers that are parked at the leader.
#[derive(Debug)]
pub(super) struct Tickets {
    next: AtomicU64,
    issued: Notify,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Result<Outcome, Refusal>>>>,
}

impl Tickets {
    /// A restarted node must not name its claims as its former self did: `first` is random.
    pub(super) fn starting_at(first: u64) -> Arc<Self> {
        Arc::new(Self {
            next: AtomicU64::new(first),
            issued: Notify::new(),
            waiting: Mutex::default(),
        })
    }

    /// A ticket that this process has not used.
    pub(super) fn issue(self: &Arc<Self>) -> Settled {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, outcome) = oneshot::channel();
        self.lock().insert(ticket, sender);
        self.issued.notify_one();
        Settled { tickets: Arc::clone(self), ticket, outcome }
    }

    /// Hands in what the leader says; `false` when nobody waits for it.
    pub(super) fn settle(&self, ticket: u64, outcome: Result<Outcome, Refusal>) -> bool {
        let waiting = self.lock().remove(&ticket);
        waiting.is_some_and(|waiting| waiting.send(outcome).is_ok())
    }

    /// Gives up on the leader: what became of every claim there is unknown.
    fn lose_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Result<Outcome, Refusal>>>> {
        self.waiting.lock().expect("nothing panics while the tickets are locked")
    }
}

/// Looks after the leader while claims of this node wait there, until the future is dropped.
pub(super) async fn watch_leader(node: Arc<Node>) {
    loop {
        let issued = node.tickets.issued.notified();
        if node.tickets.lock().is_empty() {
            issued.await;
        }
        sleep(PING_EVERY).await;
        let route = node.standing.borrow().route();
        if node.tickets.lock().is_empty() || !matches!(route, Route::There { .. }) {
            continue;
        }
        if node.ask(&route, &Request::Ping, PING_PATIENCE).await.is_err() {
            node.tickets.lose_all();
        }
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
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    bells: BTreeMap<(PeerId, u64), Arc<Bell>>,
    /// The last ticket under which a peer sent a claim of that identity.
    tickets: BTreeMap<Identity, u64>,
}

/// How a visit is called off.
#[derive(Debug, Default)]
struct Bell {
    rung: Notify,
    is_superseded: Arc<AtomicBool>,
}

/// What makes a claim of a peer the same claim when it is sent again.
type Identity = (PeerId, WorkerId, RequestId);

impl Present {
    fn forget(&self, from: PeerId, ticket: u64) {
        if let Some(bell) = self.bells.get(&(from, ticket)) {
            bell.rung.notify_one();
        }
    }

    /// As [`Present::forget`], because the claim came again: what this one is granted is that one's.
    fn supersede(&self, from: PeerId, ticket: u64) {
        if let Some(bell) = self.bells.get(&(from, ticket)) {
            bell.is_superseded.store(true, Ordering::Release);
            bell.rung.notify_one();
        }
    }
}

impl Visitors {
    /// Notes a claim that came from a peer. If it came before, under a ticket that the peer has
    /// given up on, that one is called off: two in line would take two jobs' bells, and one of them
    /// for nobody.
    pub(super) fn receive(self: &Arc<Self>, from: PeerId, ticket: u64, claim: &Claim) -> Visit {
        let identity = (from, claim.worker.clone(), claim.request_id.clone());
        let bell = Arc::new(Bell::default());
        let mut present = self.lock();
        if let Some(before) = present.tickets.insert(identity.clone(), ticket) {
            present.supersede(from, before);
        }
        present.bells.insert((from, ticket), Arc::clone(&bell));
        Visit { visitors: Arc::clone(self), from, ticket, identity, bell }
    }

    /// Calls a claim off, if it is still here.
    pub(super) fn forget(&self, from: PeerId, ticket: u64) {
        self.lock().forget(from, ticket);
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().expect("nothing panics while the visitors are locked")
    }
}

/// One claim that came from a peer.
#[derive(Debug)]
pub(super) struct Visit {
    visitors: Arc<Visitors>,
    from: PeerId,
    ticket: u64,
    identity: Identity,
    bell: Arc<Bell>,
}

impl Visit {
    /// Set once the same claim has come again.
    pub(super) fn is_superseded(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.bell.is_superseded)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut present = self.visitors.lock();
        present.bells.remove(&(self.from, self.ticket));
        if present.tickets.get(&self.identity) == Some(&self.ticket) {
            present.tickets.remove(&self.identity);
        }
    }
}

/// What arrives where a claim's caller waits.
pub(super) type Answer = oneshot::Receiver<Result<Delivery, Setback>>;

/// Waits for what a parked claim comes to and tells the node that it came from. `_permit` counts
/// the claim until then.
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
        () = visit.bell.rung.notified() => return,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::samples::claim,
        queue::{Answer, Rev},
    };

    fn nothing() -> Outcome {
        Outcome { rev: Rev(1), result: Ok(Answer::Claimed(Vec::new())) }
    }

    #[tokio::test]
    async fn what_the_leader_says_reaches_the_one_who_waits_once() {
        let tickets = Tickets::starting_at(u64::MAX);
        let mut settled = tickets.issue();
        let other = tickets.issue();
        assert_ne!(settled.ticket, other.ticket);
        assert!(tickets.settle(settled.ticket, Ok(nothing())));
        assert_eq!(settled.outcome().await, Ok(nothing()));
        assert!(!tickets.settle(settled.ticket, Ok(nothing())), "a second word is not wanted");
    }

    #[test]
    fn an_outcome_is_taken_by_the_asker_or_refused_and_never_lost_between() {
        let tickets = Tickets::starting_at(0);
        let mut early = tickets.issue();
        assert!(tickets.settle(early.ticket, Ok(nothing())));
        assert_eq!(early.close(), Some(Ok(nothing())));
        let mut late = tickets.issue();
        assert_eq!(late.close(), None);
        assert!(!tickets.settle(late.ticket, Ok(nothing())));
        let dropped = tickets.issue().ticket;
        assert!(!tickets.settle(dropped, Ok(nothing())));
        drop((early, late));
        assert!(tickets.lock().is_empty());
    }

    async fn is_called_off(visit: &Visit) -> bool {
        tokio::time::timeout(Duration::ZERO, visit.bell.rung.notified()).await.is_ok()
    }

    #[tokio::test]
    async fn a_visit_is_called_off_by_the_peer_that_made_it_and_no_other() {
        let visitors = Arc::new(Visitors::default());
        let visit = visitors.receive(1, 7, &claim("w", "r"));
        visitors.forget(2, 7);
        visitors.forget(1, 8);
        assert!(!is_called_off(&visit).await);
        visitors.forget(1, 7);
        assert!(is_called_off(&visit).await);
        assert!(!visit.is_superseded().load(Ordering::Relaxed), "its grants go back");
    }

    #[tokio::test]
    async fn a_claim_that_is_sent_again_takes_the_place_of_the_one_before() {
        let visitors = Arc::new(Visitors::default());
        let first = visitors.receive(1, 7, &claim("w", "r"));
        let others = [(2, "w", "r"), (1, "v", "r"), (1, "w", "q")]
            .map(|(from, worker, request)| visitors.receive(from, 8, &claim(worker, request)));
        assert!(!is_called_off(&first).await);
        let second = visitors.receive(1, 9, &claim("w", "r"));
        assert!(is_called_off(&first).await);
        assert!(first.is_superseded().load(Ordering::Relaxed), "its grants are the second's");
        drop(first);
        let third = visitors.receive(1, 10, &claim("w", "r"));
        assert!(is_called_off(&second).await, "the first's end did not hide the second");
        drop((second, third, others));
        let present = visitors.lock();
        assert!(present.bells.is_empty() && present.tickets.is_empty());
    }
}
