//! A node's standing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkStatus;
use crate::queue::Rev;

/// The answer to `GET /health`: the process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// This node.
    pub node_id: String,
    /// Of the binary.
    pub version: String,
    /// Whether it listens to more than this machine without any protection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

/// The answer to `GET /ready`: 200 when every check holds, else the error `not_ready`, whose
/// `details` has the same checks. A disk with little room left fails its check and is no reason to
/// send requests elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// `ready`.
    pub status: String,
    /// Each of them.
    pub checks: Vec<Check>,
}

/// One thing that must hold before a node is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub ok: bool,
    /// What is the case, for people.
    pub detail: String,
}

/// The answer to `GET /status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStatus {
    /// This node.
    pub node_id: String,
    /// `fresh`, `learner`, `follower`, `candidate` or `leader`.
    pub role: String,
    /// Who leads; `null` while nobody does.
    pub leader_id: Option<String>,
    /// The Raft term.
    pub term: u64,
    /// How many members of the cluster are alive, as far as this node can tell, itself included.
    pub alive_peers: usize,
    /// The labels of the voters.
    pub voters: Vec<String>,
    /// The labels of the learners.
    pub learners: Vec<String>,
    /// The last log index that this node knows committed.
    pub commit_index: u64,
    /// The last log index that it has applied.
    pub applied_index: u64,
    /// The queue's revision here.
    pub rev: Rev,
    /// The hash chain at `applied_index`, 32 hexadecimal digits.
    pub state_hash: String,
    /// Since the node started, ms.
    pub uptime_ms: u64,
    /// Of the binary.
    pub version: String,
    /// The gossip layer; absent while it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swim: Option<Swim>,
    /// Its archive of finished jobs. Nothing but the length of the history depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveStatus>,
    /// The totals of the queue, as this node has applied it.
    pub work: WorkStatus,
}

/// The archive in short. The counts but `jobs` and `bytes` are since the node started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArchiveStatus {
    /// Whether it can be read, and takes jobs.
    pub available: bool,
    /// How many jobs it holds.
    pub jobs: u64,
    /// What their records take, bytes.
    pub bytes: u64,
    /// Jobs written.
    pub written: u64,
    /// Jobs that left the queue's state and were not written.
    pub dropped: u64,
    /// Records met that could not be read.
    pub unreadable: u64,
    /// What is the case, for people.
    pub detail: String,
}

/// The gossip layer in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Swim {
    /// All members known.
    pub members: usize,
    /// Of those, suspected.
    pub suspect: usize,
    /// Of those, down.
    pub down: usize,
}

/// The answer to `GET /election/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ElectionStatus {
    /// This node.
    pub node_id: String,
    /// Its role.
    pub role: String,
    /// Who leads; `null` while nobody does.
    pub leader_id: Option<String>,
    /// Whether this node leads.
    pub is_leader: bool,
    /// The Raft term.
    pub term: u64,
    /// The last change of leader that this node saw; `null` before the first.
    pub last_change: Option<LeaderChange>,
    /// The last 32 that it saw since it started, the newest first.
    #[serde(default)]
    pub changes: Vec<LeaderChange>,
}

/// A change of leader as a node saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaderChange {
    /// The new term.
    pub term: u64,
    /// The new leader.
    pub leader_id: String,
    /// When it was seen, ms since the Unix epoch.
    pub at_ms: u64,
    /// From the last sign of the leader before to the first of this one, as the node saw them, ms: what
    /// clients felt, but for their own round trips. Of the first leader that a node knew: since when it
    /// had missed one.
    pub gap_ms: u64,
    /// `start`, `transfer`, `crash` (its process is gone), `hang` (it answers nothing, its machine does),
    /// `partition` (its machine does not either) or `unknown`.
    pub cause: String,
}

/// The answer to `GET /lease/status`: how the leader stands with its quorum, as far as the node that
/// was asked knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseStatus {
    /// This node.
    pub node_id: String,
    /// Who leads; `null` while nobody does.
    pub leader_id: Option<String>,
    /// Whether this node leads.
    pub is_leader: bool,
    /// The Raft term.
    pub term: u64,
    /// How long ago the leader sent the newest request that a quorum has acknowledged, ms; 0 of a single
    /// voter. `null` on a node that does not lead, and until a quorum has acknowledged something.
    pub quorum_acknowledged_ms_ago: Option<u64>,
    /// The last log index that this node knows committed.
    pub commit_index: u64,
    /// The voters and learners, the leader among them; empty on a node that does not lead.
    pub followers: Vec<Follower>,
    /// What makes reads linearizable. The standing above is for people: leader leases are not used for
    /// reads.
    pub reads: Reads,
}

/// How far one node follows the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Follower {
    /// Who.
    pub node_id: String,
    /// Whether it has a vote.
    pub is_voter: bool,
    /// The last log index that it is known to share with the leader; 0 while none is.
    pub match_index: u64,
    /// How long ago the leader sent the newest request that it has acknowledged, ms; 0 of the leader
    /// itself, `null` while it has acknowledged none of this term.
    pub acknowledged_ms_ago: Option<u64>,
}

/// What makes reads linearizable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// A quorum confirms the leader at every read (Raft §6.4).
    ReadIndex,
}
