//! The agents among the members: what the rest of the node asks about them.

use super::{Kind, Member, MemberState};

/// An agent, as this node's gossip sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerMember {
    /// The `node_id` under which it claims.
    pub name: String,
    /// The session under which it claims: one life of the agent.
    pub session: u64,
    /// How it is.
    pub state: MemberState,
    /// Since when this node sees it so, ms since the Unix epoch by this node's wall clock.
    pub since_wall_ms: u64,
}

/// What has become of an agent's session. A hint: some are lost when nobody takes them in time, and then
/// [`Gossip::workers`](super::Gossip::workers) has the truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It is alive: it is new, or was down by mistake.
    Up {
        /// As [`WorkerMember::name`].
        name: String,
        /// As [`WorkerMember::session`].
        session: u64,
    },
    /// It is down: it did not answer in time, or it has left.
    Down {
        /// As [`WorkerMember::name`].
        name: String,
        /// As [`WorkerMember::session`].
        session: u64,
    },
}

impl WorkerMember {
    /// What a member is as an agent, if it is one.
    pub(super) fn of(member: Member) -> Option<Self> {
        let card = member.card.filter(|card| card.kind == Kind::Worker)?;
        Some(Self {
            name: member.name,
            session: card.session,
            state: member.state,
            since_wall_ms: member.since_wall_ms,
        })
    }
}

impl WorkerEvent {
    /// What to tell of a member that is now up or down, if it is an agent.
    pub(super) fn of(member: Member) -> Option<Self> {
        let WorkerMember { name, session, state, .. } = WorkerMember::of(member)?;
        match state {
            MemberState::Alive => Some(Self::Up { name, session }),
            MemberState::Suspect => None,
            MemberState::Down => Some(Self::Down { name, session }),
        }
    }
}
