//! What nodes without a cluster say to each other.

use serde::{Deserialize, Serialize};

use crate::{
    Peer,
    bootstrap::promise::{Declined, Fate, Set},
};

/// How a node stands, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stance {
    /// Fresh and bound to nobody: a candidate.
    Free,
    /// Fresh, and bound to a set or barred from founding one.
    Bound,
    /// In a cluster.
    InCluster,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// "This is me, and these I know." Answered by [`Reply::Greeting`].
    Greet(Greeting),
    /// "Promise yourself to this set." Answered by [`Reply::Promised`] or [`Reply::Declined`].
    Propose(Set),
    /// "What became of your set?" Answered by [`Reply::Fate`].
    AskFate {
        /// Its number.
        attempt: u64,
    },
}

/// Who one is and whom one knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Greeting {
    pub(crate) me: Peer,
    pub(crate) stance: Stance,
    /// Other nodes that were heard of lately, for who has other seeds.
    pub(crate) known: Vec<Peer>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    Greeting(Greeting),
    /// The promise is on disk.
    Promised,
    Declined(Declined),
    Fate(Fate),
}
