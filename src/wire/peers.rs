//! The members that gossip knows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The answer to `GET /peers`, and to `GET /gossip/peers`: every member, as the node that was asked
/// sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeersResponse {
    /// This node.
    pub node_id: String,
    /// Whether it gossips; when not, it knows no members.
    pub gossip: bool,
    /// The cluster's name, under which it gossips; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The timers of its gossip, `local`, `lan` or `wan`, which all members share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// How many members follow.
    pub count: usize,
    /// By name, this node among them.
    pub peers: Vec<PeerMember>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerMember {
    /// Its name; a worker's is the `node_id` under which it claims.
    pub node_id: String,
    /// How it is.
    pub state: MemberState,
    /// What it is: by the configuration of the voters as the node that answers knows it, and of whoever is
    /// not in there by what it says of itself; `null` until it has said so.
    pub kind: Option<MemberKind>,
    /// Which life of it this is; greater is later.
    pub incarnation: u64,
    /// Where its gossip goes (UDP), `host:port`.
    pub gossip_addr: String,
    /// Where a node listens for its peers (TCP), `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_addr: Option<String>,
    /// Where a node serves clients, `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_addr: Option<String>,
    /// A worker's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Of its binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it says of itself besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How long it takes to answer the probes of the node that was asked, µs, smoothed; `null` until it
    /// has answered one.
    pub rtt_us: Option<u64>,
    /// Since when the node that was asked sees it in this state, ms since the Unix epoch.
    pub since_at_ms: u64,
    /// How long ago that was, ms.
    pub since_ms_ago: u64,
    /// Whether it is the node that was asked.
    #[serde(rename = "self", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_self: bool,
}

/// How a member is, by SWIM.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer, and has a while to say that it is alive.
    Suspect,
    /// It did not, or it has left.
    Down,
}

/// What a member is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum MemberKind {
    /// A node that votes.
    Voter,
    /// A node that replicates without a vote.
    Learner,
    /// An agent that works.
    Worker,
    /// A node that is in no cluster yet.
    Fresh,
}
