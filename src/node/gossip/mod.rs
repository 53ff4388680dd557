//! Who is alive, by gossip: what this node says of itself, what it hears, and what it makes of it.
//!
//! ```text
//!   Subject ── card ──▶ follow ──▶ membership ──▶ UDP, on a thread of its own
//!      ▲                  │ ▲           │
//!      │ suspect, nodes   │ └── events ─┘
//!      └──────────────────┤
//!                         └──▶ worker events        members, workers: looked up when asked for
//! ```
//!
//! Two things come of it for Raft, and neither changes a voter. A leader that did not answer a probe of
//! this node's own (hearsay does not count) is one witness of its silence. And a fresh node is told
//! where other nodes are: it asks them, over the peers' connections, whether they are candidates or in
//! a cluster, and the promise to one set decides (guarantees, rule 7).

mod begin;
mod card;
mod figures;
mod follow;
#[expect(clippy::module_inception, reason = "the file is named after its one type")]
mod gossip;
mod member;
mod options;
mod replica;
mod subject;
#[cfg(test)]
mod tests;
mod workers;

pub use card::{Card, Kind};
pub use figures::GossipFigures;
pub use gossip::Gossip;
pub use member::{Member, MemberState};
pub use options::{GossipOptions, MemberOptions};
pub(super) use replica::ReplicaSubject;
pub use workers::{WorkerEvent, WorkerMember};
