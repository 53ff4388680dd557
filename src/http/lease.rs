//! `GET /lease/status`: how the leader stands with its quorum.

use super::{
    answer::{Answer, Failure},
    call::Call,
};
use crate::wire::{Follower, Freshness, LeaseStatus, Reads};

pub(super) async fn status(call: Call) -> Result<Answer, Failure> {
    call.no_query()?;
    let handle = &call.site.handle;
    let (raft, quorum) = (handle.status().raft, handle.quorum());
    let is_leader = raft.leader.as_ref().is_some_and(|leader| leader.id == raft.me.id);
    // A leader that lost its quorum steps down; between the two looks it may have.
    let quorum = quorum.filter(|_| is_leader);
    let followers = quorum.as_ref().map(|quorum| quorum.peers.iter());
    let followers = followers.into_iter().flatten().map(|progress| Follower {
        node_id: progress.peer.label.clone(),
        is_voter: progress.is_voter,
        match_index: progress.match_index,
        acknowledged_ms_ago: progress.acknowledged_ms_ago,
    });
    let body = LeaseStatus {
        followers: followers.collect(),
        node_id: raft.me.label,
        leader_id: raft.leader.map(|leader| leader.label),
        is_leader,
        term: raft.term,
        quorum_acknowledged_ms_ago: quorum.and_then(|quorum| quorum.acknowledged_ms_ago),
        commit_index: raft.commit_index,
        reads: Reads::ReadIndex,
    };
    Ok(Answer::ok(&body).seen(Freshness::Stale))
}
