//! What a replica says of itself.

use crate::{LogIndex, Peer};

/// What a replica does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// In no cluster yet: its bootstrap is under way.
    #[default]
    Fresh,
    /// Replicates without a vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads its term.
    Leader,
}

/// A replica's standing, as of the last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The cluster's minted id, 0 before bootstrap.
    pub cluster_id: u64,
    /// This replica.
    pub me: Peer,
    /// What it does.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// The leader it knows of; `None` while there is none, or none that is heard and acknowledged.
    pub leader: Option<Peer>,
    /// The voters of the effective configuration, by id.
    pub voters: Vec<Peer>,
    /// The learners of the effective configuration, by id.
    pub learners: Vec<Peer>,
    /// The last index in its log.
    pub last_log_index: LogIndex,
    /// The last index it knows committed.
    pub commit_index: LogIndex,
    /// The last index its machine has applied.
    pub applied_index: LogIndex,
    /// The last index in its newest snapshot.
    pub snapshot_index: LogIndex,
    /// Why it stopped for good, if it did.
    pub failure: Option<String>,
}
