//! Why something was not done, and what is certain then.

use std::{net::SocketAddr, path::PathBuf};

use crate::Peer;

/// Why an entry got no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead. Certainly never proposed.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<Peer>,
    },
    /// It was proposed and the answer was lost: it may be applied, now or later.
    #[error("the entry was proposed and its outcome is unknown")]
    Unknown,
    /// The replica has stopped. Certainly never proposed.
    #[error("this replica has stopped")]
    Stopped,
    /// The entry is larger than any that can be replicated. Certainly never proposed.
    #[error("an entry of {bytes} bytes is above the limit of {limit}")]
    TooLarge {
        /// The entry's size.
        bytes: usize,
        /// The largest there may be: [`crate::ENTRY_BYTES_MAX`].
        limit: usize,
    },
}

/// Why a read barrier was not reached. Nothing was changed; try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<Peer>,
    },
    /// No quorum confirmed this leader in time.
    #[error("no quorum answered in time")]
    NoQuorum,
    /// The replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a call to a peer got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection to the peer, or none in time: the request was certainly not delivered.
    #[error("the peer could not be reached")]
    Unreachable,
    /// The request was sent and the answer was lost: it may have been carried out.
    #[error("the connection was lost before the answer came")]
    Lost,
}

/// Why a replica did not open. Nothing was written, unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory belongs to another cluster, node or group.
    #[error("data directory {dir}: {reason}")]
    WrongDirectory {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        reason: String,
    },
    /// Another process holds the directory.
    #[error("data directory {dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// A file holds what was never written to it.
    #[error("{file} is corrupt at byte {offset}: {reason}")]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen for peers on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The disk failed.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An option is out of range.
    #[error("{0}")]
    Options(String),
}
