//! openraft's metrics, as a [`Status`].

use std::{collections::BTreeSet, time::Duration};

use openraft::{Instant as _, RaftMetrics, ServerState};
use tokio::time::Instant;

use crate::{Peer, Progress, Quorum, Role, Status, consensus::types::TypeConfig};

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

/// How this replica stands with those who follow it; `None` while it does not lead.
pub(crate) fn quorum(metrics: &RaftMetrics<TypeConfig>, me: &Peer) -> Option<Quorum> {
    let (matched, heard) = (metrics.replication.as_ref()?, metrics.heartbeat.as_ref()?);
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let milliseconds = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let progress = |(id, peer): (&u64, &Peer)| {
        let is_me = *id == me.id;
        let match_index =
            matched.get(id).and_then(Option::as_ref).map_or(0, |matched| matched.index);
        let acknowledged = heard.get(id).and_then(Option::as_ref);
        Progress {
            peer: peer.clone(),
            is_voter: voters.contains(id),
            match_index: if is_me { metrics.last_log_index.unwrap_or(0) } else { match_index },
            acknowledged_ms_ago: if is_me {
                Some(0)
            } else {
                acknowledged.map(|acknowledged| milliseconds(acknowledged.elapsed()))
            },
        }
    };
    let alone = (voters.len() == 1).then_some(Duration::ZERO);
    let acknowledged = metrics.last_quorum_acked.map(|acknowledged| acknowledged.elapsed());
    Some(Quorum {
        acknowledged_ms_ago: alone.or(acknowledged).map(milliseconds),
        peers: membership.nodes().map(progress).collect(),
    })
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
        stood: None,
        failure,
    }
}
