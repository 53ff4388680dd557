//! Why a change of the voters was not made.

use serde::{Deserialize, Serialize};

use crate::Peer;

/// Why a change of the voters was not made. Appended to, never reordered: it is sent between nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeError {
    /// This replica does not lead (any more). What it had done, the next leader goes on from when it is
    /// asked for the same change.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<Peer>,
    },
    /// Another change is being made. Nothing was done.
    #[error("another change is in progress: {change}")]
    InProgress {
        /// Which, for people.
        change: String,
    },
    /// It is the only voter. Nothing was done.
    #[error("{label} is the last voter: without it there is no cluster")]
    LastVoter {
        /// Whose.
        label: String,
    },
    /// There is no such voter. Nothing was done.
    #[error("{label} is no voter")]
    NoSuchVoter {
        /// Whose.
        label: String,
    },
    /// A voter of this label has another directory: ids are bound to directories and never reused.
    /// Nothing was done.
    #[error(
        "the node at {address} has a fresh directory, and {label} is a voter with another one: \
         replace the voter if that directory is lost, or start it from that directory"
    )]
    LabelTaken {
        /// The label.
        label: String,
        /// Where the newcomer is.
        address: String,
    },
    /// Nobody answered there. Nothing was done.
    #[error("no node {label} answered at {address}: {reason}")]
    Unreachable {
        /// Who was looked for.
        label: String,
        /// Where.
        address: String,
        /// What came instead.
        reason: String,
    },
    /// The node there is in another cluster. Nothing was done.
    #[error("the node at {address} belongs to another cluster: {reason}")]
    OtherCluster {
        /// Where.
        address: String,
        /// Its own word.
        reason: String,
    },
    /// The voter that is to be replaced is heard of. No voter was changed, and a newcomer that had
    /// begun to catch up was let go.
    #[error("voter {label} is alive: stop it first, or remove it and add the other")]
    StillHeard {
        /// Whose.
        label: String,
    },
    /// Fewer than a quorum of the voters that there would be are heard of. No voter was changed.
    #[error("{heard} of the {voters} voters that there would be answer: no quorum")]
    NoQuorum {
        /// How many are heard of, or will be.
        heard: usize,
        /// How many there would be.
        voters: usize,
    },
    /// The newcomer did not catch up. It was taken out again; no voter was changed.
    #[error("{label} did not catch up: {reason}")]
    Behind {
        /// Whose.
        label: String,
        /// What was seen of it.
        reason: String,
    },
    /// There would be more voters than a cluster has. Nothing was done.
    #[error("a cluster has {limit} voters at most")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// No other voter took the leadership over in time. No voter was changed.
    #[error("no voter took the leadership over in time")]
    NoSuccessor,
    /// A configuration was appended and is not committed in time: it may be, now or later.
    #[error("the outcome is unknown: no quorum has confirmed the configuration in time")]
    Unknown,
    /// The replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}
