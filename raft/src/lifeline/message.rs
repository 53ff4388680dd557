//! What is said on a lifeline. The order of fields is the wire format.

use serde::{Deserialize, Serialize};

use crate::{
    PeerId,
    consensus::types::{LogId, Vote},
};

/// The answer to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pong {
    /// The term of the vote with which this run of the replica began.
    pub(crate) opened_in: u64,
}

/// "Do you hear this leader?"
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The leader's term.
    pub(crate) term: u64,
    /// The leader.
    pub(crate) leader: PeerId,
    /// The last log id of who asks.
    pub(crate) last_log_id: Option<LogId>,
}

/// What a voter says of a leader, and of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Whether it hears the leader, by its own evidence alone.
    pub(crate) hears: bool,
    /// Its vote.
    pub(crate) vote: Vote,
    /// Its last log id.
    pub(crate) last_log_id: Option<LogId>,
}
