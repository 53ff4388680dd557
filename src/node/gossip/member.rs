//! The members as this node sees them.

use std::net::SocketAddr;

use super::{Card, Kind};

/// A member, nodes and agents alike, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name: a node's label, a worker's `node_id`.
    pub name: String,
    /// Where its gossip goes.
    pub address: SocketAddr,
    /// Which life of it this is; greater is later.
    pub incarnation: u64,
    /// How it is.
    pub state: MemberState,
    /// Since when this node sees it so, ms since the Unix epoch by this node's wall clock.
    pub since_wall_ms: u64,
    /// How long it takes to answer this node's probes, µs, smoothed; `None` until it has answered one.
    pub rtt_us: Option<u64>,
    /// What it is: by the configuration that this node's replica knows when the member is in it, else as it
    /// says itself; `None` until it has.
    pub kind: Option<Kind>,
    /// What it says of itself; `None` until that has come, or when it cannot be read.
    pub card: Option<Card>,
    /// Whether it is this node.
    pub is_self: bool,
}

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer, and has a while to say that it is alive.
    Suspect,
    /// It did not, or it has left.
    Down,
}

impl MemberState {
    /// Every state there is.
    pub const ALL: [Self; 3] = [Self::Alive, Self::Suspect, Self::Down];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }
}
