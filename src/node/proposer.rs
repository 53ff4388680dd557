//! The leader's side: what waits becomes one entry, stamped with the cluster clock.

use std::{sync::Arc, time::Duration};

use raft::ProposeError;
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    codec,
    gather::{Setback, Submission, answer_all, hand_back},
    open::Node,
    routing::Route,
};

/// Entries that may be in flight. While they are, the next one fills: enough to keep the log's
/// fsync and the network busy at once, few enough that entries grow under load.
pub(super) const ENTRIES_IN_FLIGHT: usize = 4;
/// How long an entry may still get its outcome after this node lost office: a successor usually
/// commits what was in flight.
const AFTER_OFFICE: Duration = Duration::from_millis(100);
/// How long a place in flight is kept for an entry after the last of its callers has gone.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

/// Carries batches until the node stops.
pub(super) async fn run(node: Arc<Node>) {
    let carrier = Arc::clone(&node);
    node.proposer.run(ENTRIES_IN_FLIGHT, |batch| propose(Arc::clone(&carrier), batch)).await;
}

/// Proposes one batch as one entry and answers each submission of it.
async fn propose(node: Arc<Node>, batch: Vec<Submission>) {
    let route = node.standing.borrow().route();
    let stamp = match route {
        Route::Here { term } => node.cluster_clock.stamp(term),
        Route::Nowhere | Route::There { .. } => None,
    };
    let Some(stamp) = stamp else {
        answer_all(batch, Setback::NotProposed);
        return;
    };
    let commands: Vec<_> = batch.iter().flat_map(|submission| &submission.work.commands).collect();
    let entry = codec::encode_entry(stamp, commands.iter().copied());
    let last_deadline = batch.iter().map(|submission| submission.deadline).max();
    let outcomes = tokio::select! {
        biased;
        proposed = node.replica.propose(entry) => proposed,
        () = give_up(&node, &route, last_deadline) => Err(ProposeError::Unknown),
    };
    match outcomes {
        Ok(outcomes) => hand_back(batch, outcomes),
        Err(
            ProposeError::NotLeader { .. } | ProposeError::Stopped | ProposeError::TooLarge { .. },
        ) => {
            answer_all(batch, Setback::NotProposed);
        }
        Err(ProposeError::Unknown) => answer_all(batch, Setback::Unknown),
    }
}

/// Returns when nothing more is to be expected of an entry in flight.
async fn give_up(node: &Node, route: &Route, last_deadline: Option<Instant>) {
    let out_of_office = async {
        // A leader that is named again in the same term may have its entry acknowledged yet.
        while node.standing.borrow().route() == *route {
            node.rerouted(route).await;
            sleep(AFTER_OFFICE).await;
        }
    };
    let too_late = last_deadline.unwrap_or_else(Instant::now) + AFTER_DEADLINE;
    tokio::select! {
        biased;
        () = out_of_office => {}
        () = sleep_until(too_late) => {}
    }
}
