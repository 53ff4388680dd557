//! Who a replica is, to its peers.

/// A replica's Raft id: a fresh random number bound to its data directory, never reused.
pub type PeerId = u64;

/// A replica as the configuration knows it.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Peer {
    /// The Raft id.
    pub id: PeerId,
    /// The name that people use (`node_id`).
    pub label: String,
    /// Where its peers reach it: `host:port`.
    pub address: String,
}
