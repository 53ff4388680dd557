//! What a replica says of itself.

use crate::{LogIndex, Peer, PeerId};

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
    /// When it last stood for election before its timer told it to, and why; `None` when it never did
    /// since it opened.
    pub stood: Option<Stood>,
    /// Why it stopped for good, if it did.
    pub failure: Option<String>,
}

/// A replica stood for election because a quorum, itself included, did not hear the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stood {
    /// The term that it would lead.
    pub term: u64,
    /// The leader that it suspected.
    pub leader: PeerId,
    /// Why it did.
    pub suspicion: Suspicion,
}

/// Why a voter does not hear a leader any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// Its machine refuses connections to it: the process is gone, the kernel is there.
    Refused,
    /// It answers, and it was started after it had led.
    Restarted,
    /// Nothing comes from it.
    Silent {
        /// Whether its machine took a connection meanwhile. That of a process that hangs does; one that
        /// is cut off, or without power, does not.
        takes_connections: bool,
    },
}

/// A leader's standing with those who follow it, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quorum {
    /// How long ago it sent the newest request that a quorum has acknowledged, ms; 0 when it is its own
    /// quorum, `None` while none of this term has been acknowledged.
    pub acknowledged_ms_ago: Option<u64>,
    /// The voters and learners, itself included, by id.
    pub peers: Vec<Progress>,
}

/// How far one peer follows its leader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Who.
    pub peer: Peer,
    /// Whether it has a vote.
    pub is_voter: bool,
    /// The last index that its log is known to share with the leader's; 0 while none is.
    pub match_index: LogIndex,
    /// How long ago the newest request that it has acknowledged was sent, ms; 0 of the leader itself,
    /// `None` while it has acknowledged none of this term.
    pub acknowledged_ms_ago: Option<u64>,
}
