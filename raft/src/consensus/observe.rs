//! openraft's metrics, as a [`Status`].

use std::time::Duration;

use openraft::{Instant as _, RaftMetrics, ServerState};
use tokio::time::Instant;

use crate::{Peer, Role, Status, consensus::types::TypeConfig};

/// How old the newest request of this leader is that a quorum has acknowledged; without any, for
/// how long it has led, `since` then. One that is its own quorum needs no acknowledgement.
pub(crate) fn unacknowledged_for(
    metrics: &RaftMetrics<TypeConfig>,
    since: Instant,
    now: Instant,
) -> Duration {
    match metrics.last_quorum_acked {
        _ if metrics.membership_config.membership().voter_ids().count() == 1 => Duration::ZERO,
        Some(acked) => acked.elapsed(),
        None => now - since,
    }
}

/// What the metrics say of this replica. The leader is named only when this term's is known; the
/// caller hides it until this replica has caught up after a restart.
pub(crate) fn status(metrics: &RaftMetrics<TypeConfig>, cluster_id: u64, me: &Peer) -> Status {
    let membership = metrics.membership_config.membership();
    let peers = |ids: &mut dyn Iterator<Item = u64>| -> Vec<Peer> {
        ids.filter_map(|id| membership.get_node(&id).cloned()).collect()
    };
    let index = |id: Option<crate::consensus::types::LogId>| id.map_or(0, |id| id.index);
    let role = match metrics.state {
        _ if cluster_id == 0 => Role::Fresh,
        ServerState::Learner | ServerState::Shutdown => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
    };
    let failure = match &metrics.running_state {
        Err(fatal) if !matches!(fatal, openraft::errors::Fatal::Stopped) => Some(fatal.to_string()),
        _ => None,
    };
    Status {
        cluster_id,
        me: me.clone(),
        role,
        term: metrics.current_term,
        leader: metrics.current_leader.and_then(|id| membership.get_node(&id).cloned()),
        voters: peers(&mut membership.voter_ids()),
        learners: peers(&mut membership.learner_ids()),
        last_log_index: metrics.last_log_index.unwrap_or(0),
        commit_index: index(metrics.local_committed),
        applied_index: index(metrics.last_applied),
        snapshot_index: index(metrics.snapshot),
        failure,
    }
}
