//! What a node counts of itself, for whoever watches it.

use std::collections::BTreeMap;

use super::{EventFigures, Gossip, GossipFigures, Handle, LaneLoad, WallClock};

/// A node's counters and loads at one moment, beside its [`super::Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The commands under way, by lane.
    pub lanes: [LaneLoad; 3],
    /// The claims under way, those that wait for work among them.
    pub claims: usize,
    /// The claims that wait here for work: their clients' or, at the leader, other nodes'.
    pub claims_parked: usize,
    /// The linearizable reads under way.
    pub reads: usize,
    /// How many changes of leader it saw since it started, by their cause
    /// ([`super::LeaderChange::cause`]).
    pub leader_changes: BTreeMap<&'static str, u64>,
    /// The other voters that answer its lifeline; `None` while that is off.
    pub lifelines: Option<usize>,
    /// How its wall clock stands among the voters'.
    pub wall_clock: WallClock,
    /// What its disk has free, bytes; `None` when it does not look.
    pub disk_free_bytes: Option<u64>,
    /// What is counted of its events.
    pub events: EventFigures,
    /// What gossip counts; `None` while it is off.
    pub gossip: Option<GossipFigures>,
}

impl Handle {
    /// The figures of this node.
    pub fn figures(&self) -> Figures {
        let node = self.node();
        let under_way = node.admission.under_way();
        // Not within the literal below, whose temporaries would keep these locked until its end.
        let leader_changes = node.leaders().counts();
        let wall_clock = *node.wall_clock.borrow();
        Figures {
            lanes: under_way.lanes,
            claims: under_way.claims,
            claims_parked: node.bells.waiters().parked(),
            reads: under_way.reads,
            leader_changes,
            lifelines: node.replica.lifelines().map(|heard| heard.len()),
            wall_clock,
            disk_free_bytes: node.room.free_bytes(),
            events: node.bells.events().figures(),
            gossip: node.gossip.as_ref().map(Gossip::figures),
        }
    }

    /// How this node stands with its quorum; `None` while it does not lead.
    pub fn quorum(&self) -> Option<raft::Quorum> {
        self.node().replica.quorum()
    }
}
