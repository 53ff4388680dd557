//! What a member says of itself: who it is to Raft, where it serves, what it is called.
//!
//! It travels as the opaque metadata of the membership layer.
//!
//! ```text
//! ┌─────────────┬───────────────────────────────────────────┐
//! │ format  u16 │ body: bincode 1, fixed-width integers     │  little-endian
//! └─────────────┴───────────────────────────────────────────┘
//! ```
//! A later version adds fields behind those of format 1 and kinds behind the last: an older node reads
//! the fields that it knows, and shows a member of an unknown kind without its card.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::node::codec::{self, CodecError};

/// The layout of a card.
const CARD_FORMAT: u16 = 1;
/// The longest card, bytes.
const CARD_BYTES_MAX: usize = membership::METADATA_BYTES_MAX;
/// The longest text in a card that is read, bytes. Ours are shorter.
const TEXT_BYTES_MAX: usize = 255;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// It votes.
    Voter,
    /// It replicates without a vote.
    Learner,
    /// An agent that works.
    Worker,
    /// A node that is in no cluster yet.
    Fresh,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 4] = [Self::Voter, Self::Learner, Self::Worker, Self::Fresh];

    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::Worker => "worker",
            Self::Fresh => "fresh",
        }
    }

    /// Whether it is a node of the queue.
    pub fn is_node(self) -> bool {
        self != Self::Worker
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// What it is.
    pub kind: Kind,
    /// A worker's incarnation, under which it claims; 0 of a node.
    pub session: u64,
    /// The id of the cluster that a node is in; 0 while it is fresh, and of a worker.
    pub cluster_id: u64,
    /// A node's Raft id, 0 of a worker.
    pub raft_id: u64,
    /// Where a node listens for its peers, `host:port`; empty of a worker.
    pub raft_address: String,
    /// Where a node serves clients, `host:port`; empty of a worker.
    pub http_address: String,
    /// Of its binary.
    pub version: String,
    /// What else is said of it.
    pub labels: BTreeMap<String, String>,
}

impl Card {
    /// The card of an agent that claims under `session`.
    pub fn of_worker(session: u64, labels: BTreeMap<String, String>) -> Self {
        Self {
            kind: Kind::Worker,
            session,
            cluster_id: 0,
            raft_id: 0,
            raft_address: String::new(),
            http_address: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels,
        }
    }

    /// The card as it can be sent: without labels that nobody would read, and, when there are too many,
    /// without the last by name.
    pub(super) fn fitted(mut self) -> Self {
        self.labels.retain(|key, value| is_plain(key) && is_plain(value));
        while self.encode().len() > CARD_BYTES_MAX && self.labels.pop_last().is_some() {}
        self
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> Bytes {
        codec::encode(CARD_FORMAT, self)
    }

    /// Reads the card of another member. Nothing in it can be trusted to be true; what it says is at
    /// least short and printable.
    ///
    /// # Errors
    /// When it is no card, or of a format or a kind that this version does not know.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > CARD_BYTES_MAX {
            return Err(CodecError::TooLong { bytes: bytes.len(), limit: CARD_BYTES_MAX });
        }
        let card: Self = codec::decode_head(CARD_FORMAT, bytes)?;
        if card.is_plain() {
            Ok(card)
        } else {
            Err(CodecError::Malformed("a text is too long, or has control characters".to_owned()))
        }
    }

    /// Whether every text is short, and disturbs no terminal.
    fn is_plain(&self) -> bool {
        let labels = self.labels.iter().flat_map(|(key, value)| [key, value]);
        let mut texts = labels.chain([&self.raft_address, &self.http_address, &self.version]);
        texts.all(|text| is_plain(text))
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests;
