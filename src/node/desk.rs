//! What this node answers to its peers. It answers for itself: a node that does not lead says so, and
//! the asker looks for the leader again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, Weak},
    time::Duration,
};

use bytes::Bytes;
use raft::{CallHandler, PeerId, net::BoxFuture};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    calls::{Claiming, Refusal, Request, Response, Submitted},
    claims::{self, Claimant},
    gather::{Attempt, Setback, Work},
    open::{Node, Phase},
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
            Response::Claimed(on_claim(node, from, claiming, remaining).await)
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
        if !self.is_open_for_peers() {
            return Err(Setback::NotProposed);
        }
        let deadline =
            Instant::now() + remaining.min(Duration::from_millis(submitted.remaining_ms));
        let work = Work::received(submitted.commands).map_err(|reason| {
            tracing::warn!(%reason, "a peer's command is refused");
            Setback::NotProposed
        })?;
        Ok(self.proposer.enqueue(work.admit(&self.admission)?, deadline))
    }

    async fn on_read_index(&self, remaining: Duration) -> Result<u64, Refusal> {
        if !self.is_open_for_peers() {
            return Err(Refusal::NotProposed);
        }
        let index = timeout(remaining, self.replica.read_index()).await;
        index.ok().and_then(Result::ok).ok_or(Refusal::NotProposed)
    }

    fn is_open_for_peers(&self) -> bool {
        let leads = matches!(self.standing.borrow().route(), Route::Here { .. });
        leads && *self.phase.borrow() == Phase::Running
    }
}

async fn on_claim(
    node: Arc<Node>,
    from: PeerId,
    claiming: Claiming,
    remaining: Duration,
) -> Result<Outcome, Refusal> {
    if !node.is_open_for_peers() {
        return Err(Refusal::NotProposed);
    }
    let _permit =
        node.admission.admit_claim().map_err(|reason| Refusal::from(Setback::from(reason)))?;
    let now = Instant::now();
    let (reply, mut answer) = oneshot::channel();
    let claimant = Claimant {
        work: Work::one(&Command::Claim(claiming.claim.clone())),
        claim: Arc::new(claiming.claim),
        wait_until: now + remaining.min(Duration::from_millis(claiming.wait_ms)),
        hold: Duration::ZERO,
        deadline: now + remaining.min(Duration::from_millis(claiming.remaining_ms)),
        reply,
    };
    let visit = node.visitors.receive(from, claiming.ticket);
    node.spawn(claims::run_here(Arc::clone(&node), claimant));
    let delivery = tokio::select! {
        biased;
        delivery = &mut answer => delivery,
        // The claim notices that nobody waits for it any more.
        () = visit.forgotten() => return Err(Refusal::NotProposed),
    };
    match delivery {
        Ok(Ok(delivery)) => Ok(delivery.take()),
        Ok(Err(setback)) => Err(setback.into()),
        Err(_) => Err(Refusal::Unknown),
    }
}

/// Claims that peers have parked here, so that they can call them off.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    bells: Mutex<BTreeMap<(PeerId, u64), Arc<Notify>>>,
}

impl Visitors {
    fn receive(self: &Arc<Self>, from: PeerId, ticket: u64) -> Visit {
        let key = (from, ticket);
        let bell = Arc::new(Notify::new());
        self.lock().insert(key, Arc::clone(&bell));
        Visit { visitors: Arc::clone(self), key, bell }
    }

    fn forget(&self, from: PeerId, ticket: u64) {
        if let Some(bell) = self.lock().get(&(from, ticket)) {
            bell.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(PeerId, u64), Arc<Notify>>> {
        self.bells.lock().expect("nothing panics while the visitors are locked")
    }
}

struct Visit {
    visitors: Arc<Visitors>,
    key: (PeerId, u64),
    bell: Arc<Notify>,
}

impl Visit {
    async fn forgotten(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.visitors.lock().remove(&self.key);
    }
}
