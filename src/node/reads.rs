//! Linearizable reads by `ReadIndex` (Raft §6.4): find an index that a quorum's leader had
//! committed after the read arrived, apply it here, look. One round at a time serves every read
//! that came before it started.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use raft::LogIndex;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout, timeout_at},
};

use super::{
    calls::{Request, Response},
    open::Node,
    routing::Route,
};

/// How long one round may take before the reads in it try again.
const ROUND_PATIENCE: Duration = Duration::from_secs(1);

/// Reads that wait for the next round.
#[derive(Debug, Default)]
pub(super) struct Reads {
    waiting: Mutex<Vec<oneshot::Sender<LogIndex>>>,
    bell: Notify,
}

impl Reads {
    /// The index of a round that starts after this call; `None` when that round failed.
    async fn index(&self, deadline: Instant) -> Option<LogIndex> {
        let (reply, answer) = oneshot::channel();
        self.lock().push(reply);
        self.bell.notify_one();
        timeout_at(deadline, answer).await.ok()?.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<oneshot::Sender<LogIndex>>> {
        self.waiting.lock().expect("nothing panics while the reads are locked")
    }
}

/// Runs the rounds until the future is dropped.
pub(super) async fn run(node: Arc<Node>) {
    loop {
        node.reads.bell.notified().await;
        let batch = mem::take(&mut *node.reads.lock());
        if batch.is_empty() {
            continue;
        }
        // A failed round drops the senders: each read tries again on its own account.
        if let Some(index) = node.find_read_index().await {
            for reply in batch {
                let _ = reply.send(index);
            }
        }
    }
}

impl Node {
    /// Applies here whatever was acknowledged anywhere before this call; `false` when that failed
    /// for now, which changes nothing.
    pub(super) async fn reach_barrier(&self, deadline: Instant) -> bool {
        let Some(index) = self.reads.index(deadline).await else { return false };
        let applied = timeout_at(deadline, self.replica.wait_applied(index)).await;
        matches!(applied, Ok(Ok(())))
    }

    /// As [`Node::reach_barrier`], at the leader itself. The caller sets the deadline.
    pub(super) async fn reach_barrier_here(&self) -> bool {
        let Ok(index) = self.replica.read_index().await else { return false };
        self.replica.wait_applied(index).await.is_ok()
    }

    async fn find_read_index(&self) -> Option<LogIndex> {
        let route = self.standing.borrow().route();
        match &route {
            Route::Nowhere => None,
            Route::Here { .. } => {
                let asked = timeout(ROUND_PATIENCE, self.replica.read_index());
                tokio::select! {
                    biased;
                    index = asked => index.ok()?.ok(),
                    () = self.rerouted(&route) => None,
                }
            }
            Route::There { .. } => {
                let answer = self.ask(&route, &Request::ReadIndex, ROUND_PATIENCE).await;
                match answer {
                    Ok(Response::ReadIndex(Ok(index))) => Some(index),
                    _ => None,
                }
            }
        }
    }
}
