//! A node's standing: `GET /health`, `/ready`, `/status`, `/election/status`.

use super::{
    Exposure,
    answer::{Answer, Failure},
    call::Call,
    read,
};
use crate::{
    node::{self, Consistency, GossipFigures, MemberState, Reason, Unavailable},
    wire::{self, ApiError, Check, Code, ElectionStatus, Freshness, Health, NodeStatus, Ready},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn health(call: Call) -> Result<Answer, Failure> {
    call.no_query()?;
    Ok(Answer::ok(&Health {
        status: "ok".to_owned(),
        node_id: call.site.handle.status().raft.me.label,
        version: VERSION.to_owned(),
        insecure: call.site.exposure == Exposure::Insecure,
    }))
}

pub(super) async fn ready(call: Call) -> Result<Answer, Failure> {
    call.no_query()?;
    // A node on its way out keeps its standing to the end, and is to be sent nothing more.
    if call.site.handle.is_leaving() {
        return Err(Unavailable::NotApplied(Reason::ShuttingDown).into());
    }
    let status = call.site.handle.status();
    let checks: Vec<Check> = status.checks.into_iter().map(check).collect();
    if status.is_ready {
        return Ok(Answer::ok(&Ready { status: "ready".to_owned(), checks }));
    }
    let failing = checks.iter().filter(|check| !check.ok);
    let failing: Vec<_> = failing.map(|check| check.detail.as_str()).collect();
    let error = format!("This node is not ready: {}.", failing.join("; "));
    let checks = serde_json::to_value(&checks).expect("checks serialize");
    let error = ApiError::new(Code::NotReady, error).with("checks", checks);
    Err(error.with("retry_after_ms", 1000).into())
}

fn check(check: node::Check) -> Check {
    Check { name: check.name.to_owned(), ok: check.is_ok, detail: check.detail }
}

pub(super) async fn status(call: Call) -> Result<Answer, Failure> {
    call.no_query()?;
    let (work, rev) = read::totals(&call, Consistency::Stale).await?;
    let status = call.site.handle.status();
    let raft = status.raft;
    let configured = raft.voters.len() + raft.learners.len();
    // Without gossip nobody knows who lives: while there is a leader, a majority does.
    let assumed = if raft.leader.is_some() { configured } else { 1 };
    let gossip = call.site.handle.figures().gossip;
    let body = NodeStatus {
        node_id: raft.me.label,
        role: role(raft.role),
        alive_peers: gossip.as_ref().map_or(assumed, GossipFigures::alive_peers),
        leader_id: raft.leader.map(|leader| leader.label),
        term: raft.term,
        voters: raft.voters.into_iter().map(|peer| peer.label).collect(),
        learners: raft.learners.into_iter().map(|peer| peer.label).collect(),
        commit_index: raft.commit_index,
        applied_index: raft.applied_index,
        rev: status.rev,
        state_hash: format!("{:032x}", status.state_hash),
        uptime_ms: status.uptime_ms,
        version: VERSION.to_owned(),
        swim: gossip.as_ref().map(swim),
        archive: Some(archive(call.site.handle.archive_status())),
        work,
    };
    Ok(Answer::ok(&body).at(rev).seen(Freshness::Stale))
}

fn swim(gossip: &GossipFigures) -> wire::Swim {
    wire::Swim {
        members: gossip.count(|_, _| true),
        suspect: gossip.count(|state, _| state == MemberState::Suspect),
        down: gossip.count(|state, _| state == MemberState::Down),
    }
}

fn archive(status: node::ArchiveStatus) -> wire::ArchiveStatus {
    wire::ArchiveStatus {
        available: status.is_available,
        jobs: status.jobs,
        bytes: status.bytes,
        written: status.written,
        dropped: status.dropped,
        unreadable: status.unreadable,
        detail: status.detail,
    }
}

pub(super) async fn election(call: Call) -> Result<Answer, Failure> {
    call.no_query()?;
    let status = call.site.handle.status();
    let (me, leader) = (status.raft.me, status.raft.leader);
    let change = |change: node::LeaderChange| wire::LeaderChange {
        term: change.term,
        leader_id: change.leader,
        at_ms: change.at_ms,
        gap_ms: change.gap_ms,
        cause: change.cause.as_str().to_owned(),
    };
    let changes: Vec<_> = status.changes.into_iter().map(change).collect();
    let body = ElectionStatus {
        role: role(status.raft.role),
        is_leader: leader.as_ref().is_some_and(|leader| leader.id == me.id),
        leader_id: leader.map(|leader| leader.label),
        node_id: me.label,
        term: status.raft.term,
        last_change: changes.first().cloned(),
        changes,
    };
    Ok(Answer::ok(&body).seen(Freshness::Stale))
}

/// `Role::Follower` is `follower`. The roles are the consensus crate's, which this room does not name.
fn role(role: impl std::fmt::Debug) -> String {
    format!("{role:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use raft::Role;

    #[test]
    fn roles_have_the_contracts_names() {
        let roles = [Role::Fresh, Role::Learner, Role::Follower, Role::Candidate, Role::Leader];
        let names = ["fresh", "learner", "follower", "candidate", "leader"];
        assert_eq!(roles.map(super::role), names);
    }
}
