//! What gossip counts, for whoever watches the node.

use std::collections::BTreeMap;

use super::{Kind, MemberState};

/// What gossip counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GossipFigures {
    /// The members by state and kind, this node among them; kind as of [`Member::kind`](super::Member::kind).
    pub members: BTreeMap<(MemberState, Option<Kind>), usize>,
    /// Cards that came and could not be read, since the start.
    pub unreadable_cards: u64,
    /// What the membership layer counts of its datagrams.
    pub(super) layer: membership::Figures,
}

impl GossipFigures {
    /// How many members are so.
    pub fn count(&self, wanted: impl Fn(MemberState, Option<Kind>) -> bool) -> usize {
        let members = self.members.iter().filter(|((state, kind), _)| wanted(*state, *kind));
        members.map(|(_, count)| count).sum()
    }

    /// The datagrams by what became of them.
    pub fn datagrams(&self) -> [(&'static str, u64); 9] {
        let layer = &self.layer;
        let dropped = layer.dropped_malformed
            + layer.dropped_unopened
            + layer.dropped_stale
            + layer.dropped_replayed
            + layer.dropped_copies
            + layer.dropped_refused;
        [
            ("sent", layer.sent),
            ("unsent", layer.unsent),
            ("taken", layer.received.saturating_sub(dropped)),
            ("malformed", layer.dropped_malformed),
            ("unopened", layer.dropped_unopened),
            ("stale", layer.dropped_stale),
            ("replayed", layer.dropped_replayed),
            ("copies", layer.dropped_copies),
            ("refused", layer.dropped_refused),
        ]
    }

    /// How many probes of this node's own nobody answered.
    pub fn probes_failed(&self) -> u64 {
        self.layer.probes_failed
    }

    /// How often this member was declared down by others, and went on as a later life.
    pub fn rejoins(&self) -> u64 {
        self.layer.rejoins
    }

    /// How many nodes of the cluster are alive, this one included even while it is in none.
    pub fn alive_peers(&self) -> usize {
        let in_cluster = |kind| matches!(kind, Some(Kind::Voter | Kind::Learner));
        self.count(|state, kind| state == MemberState::Alive && in_cluster(kind)).max(1)
    }
}
