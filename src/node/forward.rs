//! The follower's side: what waits goes to the leader in one call.

use std::{sync::Arc, time::Duration};

use raft::CallError;
use tokio::time::Instant;

use super::{
    calls::{Request, Response, Submitted},
    clock::whole_ms,
    gather::{Setback, Submission, answer_all},
    open::Node,
    routing::Route,
};

/// Calls that may be in flight; while they are, the next one fills.
pub(super) const CALLS_IN_FLIGHT: usize = 8;
/// How much longer a call may take than what it carries: the way back.
const WAY_BACK: Duration = Duration::from_millis(50);

/// Carries batches until the node stops.
pub(super) async fn run(node: Arc<Node>) {
    let carrier = Arc::clone(&node);
    node.forwarder.run(CALLS_IN_FLIGHT, |batch| forward(Arc::clone(&carrier), batch)).await;
}

/// Sends one batch to the leader and answers each submission of it.
async fn forward(node: Arc<Node>, batch: Vec<Submission>) {
    let route = node.standing.borrow().route();
    let now = Instant::now();
    let remaining = |submission: &Submission| submission.deadline.saturating_duration_since(now);
    let timeout = batch.iter().map(remaining).max().unwrap_or_default() + WAY_BACK;
    let submitted = batch
        .iter()
        .map(|submission| Submitted {
            commands: submission.work.commands.clone(),
            remaining_ms: whole_ms(remaining(submission)),
        })
        .collect();
    match node.ask(&route, &Request::Submit(submitted), timeout).await {
        Ok(Response::Submitted(attempts)) if attempts.len() == batch.len() => {
            for (submission, attempt) in batch.into_iter().zip(attempts) {
                submission.answer(attempt.map_err(Setback::from));
            }
        }
        Ok(Response::Declined) => answer_all(batch, Setback::NotProposed),
        // An answer to another question is a bug over there: what it did is unknown.
        Ok(_) => answer_all(batch, Setback::Unknown),
        Err(setback) => answer_all(batch, setback),
    }
}

impl Node {
    /// Asks the leader, for as long as it is the leader.
    pub(super) async fn ask(
        &self,
        route: &Route,
        request: &Request,
        timeout: Duration,
    ) -> Result<Response, Setback> {
        let Route::There { leader, .. } = route else { return Err(Setback::NotProposed) };
        let answer = tokio::select! {
            biased;
            answer = self.replica.call(leader, request.encode(), timeout) => answer,
            () = self.rerouted(route) => Err(CallError::Lost),
        };
        match answer {
            Ok(bytes) => Response::decode(&bytes).map_err(|reason| {
                tracing::warn!(leader = leader.label, %reason, "the leader's answer is unreadable");
                Setback::Unknown
            }),
            Err(CallError::Unreachable) => Err(Setback::NotProposed),
            Err(CallError::Lost) => Err(Setback::Unknown),
        }
    }
}
