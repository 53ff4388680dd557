//! What this node answers to its peers. It answers for itself: a node that does not lead says so,
//! and the asker looks for the leader again.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use raft::{CallHandler, PeerId, net::BoxFuture};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    calls::{Claiming, Refusal, Request, Response, Submitted},
    claims::{self, Claimant, Origin},
    gather::{Attempt, Setback, Work},
    open::Node,
    parked::settle_later,
    routing::Route,
};
use crate::queue::{Command, Outcome};

/// Where calls come in. Raft opens it before there is a node; until then it declines.
#[derive(Debug, Default)]
pub(super) struct Desk {
    node: OnceLock<Weak<Node>>,
}

impl Desk {
    /// Opens the desk; once.
    pub(super) fn open(&self, node: &Arc<Node>) {
        self.node.set(Arc::downgrade(node)).expect("a desk serves one node");
    }
}

impl CallHandler for Desk {
    fn on_call(
        &self,
        from: PeerId,
        request: Bytes,
        remaining: Duration,
    ) -> BoxFuture<'static, Bytes> {
        let Some(node) = self.node.get().and_then(Weak::upgrade) else {
            return Box::pin(async { Response::Declined.encode() });
        };
        // On the node's runtime: Raft's own has better things to do.
        let answering = node.runtime.spawn(answer(Arc::clone(&node), from, request, remaining));
        let mut answering = AbortOnDrop(answering);
        Box::pin(async move { (&mut answering.0).await.unwrap_or_default() })
    }
}

/// Ends the task when the asker is gone.
struct AbortOnDrop(JoinHandle<Bytes>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn answer(node: Arc<Node>, from: PeerId, request: Bytes, remaining: Duration) -> Bytes {
    let response = match Request::decode(&request) {
        Err(reason) => {
            tracing::warn!(from, %reason, "a peer's request is declined");
            Response::Declined
        }
        Ok(Request::Submit(submitted)) => {
            Response::Submitted(node.on_submit(submitted, remaining).await)
        }
        Ok(Request::Claim(claiming)) => {
            let response = on_claim(&node, from, claiming).await;
            response.unwrap_or_else(|refusal| Response::Claimed(Err(refusal)))
        }
        Ok(Request::Settle { ticket, outcome }) => {
            Response::Settled { is_wanted: node.tickets.settle(ticket, outcome) }
        }
        Ok(Request::Forget { ticket }) => {
            node.visitors.forget(from, ticket);
            Response::Forgotten
        }
        Ok(Request::ReadIndex) => Response::ReadIndex(node.on_read_index(remaining).await),
        Ok(Request::Resigning { term }) => {
            node.note_resignation(term);
            Response::Noted
        }
        Ok(Request::Ping) => Response::Pong,
        Ok(Request::Cause { term }) => {
            Response::Cause(node.stood_because(term).or_else(|| node.leaders().cause_of(term)))
        }
        Ok(Request::WorkerDown { worker, session }) => {
            Response::WorkerDown(node.verdict_on(&worker, session))
        }
        Ok(Request::ChangeVoters { change, wait_ms }) => {
            let wait = Duration::from_millis(wait_ms).min(remaining);
            Response::VotersChanged(node.change_here(change, wait).await)
        }
        Ok(Request::HandOver { to }) => Response::HandedOver(node.hand_over_to(&to).await),
        Ok(Request::WallClock) => Response::WallClock { wall_ms: node.clock.wall_ms() },
    };
    response.encode()
}

impl Node {
    async fn on_submit(
        &self,
        submitted: Vec<Submitted>,
        remaining: Duration,
    ) -> Vec<Result<Vec<Outcome>, Refusal>> {
        // All are put in line before the first is waited for: they share an entry.
        let pending: Vec<_> =
            submitted.into_iter().map(|submitted| self.take_in(submitted, remaining)).collect();
        let mut answers = Vec::with_capacity(pending.len());
        for pending in pending {
            let attempt: Attempt = match pending {
                Ok(pending) => pending.outcome().await,
                Err(setback) => Err(setback),
            };
            answers.push(attempt.map_err(Refusal::from));
        }
        answers
    }

    fn take_in(
        &self,
        submitted: Submitted,
        remaining: Duration,
    ) -> Result<super::gather::Pending<'_>, Setback> {
        if !self.leads() {
            return Err(Setback::NotProposed);
        }
        let deadline =
            Instant::now() + remaining.min(Duration::from_millis(submitted.remaining_ms));
        let work = Work::received(submitted.commands).map_err(|reason| {
            tracing::warn!(%reason, "a peer's command is refused");
            Setback::NotProposed
        })?;
        self.room.admit(work.lane)?;
        Ok(self.proposer.enqueue(work.admit(&self.admission)?, deadline))
    }

    async fn on_read_index(&self, remaining: Duration) -> Result<u64, Refusal> {
        if !self.leads() {
            return Err(Refusal::NotProposed);
        }
        let index = timeout(remaining, self.replica.read_index()).await;
        index.ok().and_then(Result::ok).ok_or(Refusal::NotProposed)
    }

    /// Whether this node leads. One that is about to stop serves its peers until it has handed
    /// over.
    fn leads(&self) -> bool {
        matches!(self.standing.borrow().route(), Route::Here { .. })
    }
}

/// Claims for a peer. A claim that has to wait is parked: what it comes to is sent on later.
async fn on_claim(node: &Arc<Node>, from: PeerId, claiming: Claiming) -> Result<Response, Refusal> {
    if !node.leads() {
        return Err(Refusal::NotProposed);
    }
    let work = Work::one(&Command::Claim(claiming.claim.clone()));
    let permit = node.admission.admit_claim(work.bytes).map_err(Setback::from)?;
    let now = Instant::now();
    let (reply, mut answer) = oneshot::channel();
    let (parked, mut is_parked) = oneshot::channel();
    let visit = node.visitors.receive(from, claiming.ticket, &claiming.claim);
    let claimant = Claimant {
        origin: Origin::Peer,
        work,
        claim: Arc::new(claiming.claim),
        wait_until: now + Duration::from_millis(claiming.wait_ms),
        hold: Duration::ZERO,
        deadline: now + Duration::from_millis(claiming.remaining_ms),
        reply,
        parked: Some(parked),
        was_parked: false,
        may_come_again: claiming.may_come_again,
        is_superseded: visit.is_superseded(),
    };
    node.spawn(claims::run_here(Arc::clone(node), claimant));
    tokio::select! {
        biased;
        delivery = &mut answer => {
            let delivery = delivery.unwrap_or(Err(Setback::Unknown))?;
            return Ok(Response::Claimed(Ok(delivery.take())));
        }
        Ok(()) = &mut is_parked => {}
    }
    node.spawn(settle_later(Arc::clone(node), visit, answer, permit));
    Ok(Response::Parked)
}
