//! The rules of the queue: a pure function of (state, entry).
//!
//! Nothing in here reads a clock, a random number, a file, a socket or the environment, and nothing
//! depends on the order of a hash map: every replica that applies the same entries holds the same
//! state (guarantees S16). Time is data: each entry carries the leader's stamp.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::float_arithmetic,
    clippy::iter_over_hash_type
)]

mod backoff;
mod bounds;
mod by_name;
mod chain;
mod command;
mod counts;
mod departed;
mod dependency;
mod dispatch;
mod enqueue;
mod expiry;
mod garbage;
mod group;
mod idempotency;
mod ids;
mod indexes;
pub mod invariants;
mod job;
mod lease;
mod limits;
mod operation;
mod outcome;
mod purge;
mod query;
mod queues;
mod ready;
mod retry;
mod session;
mod settle;
mod snapshot;
mod state;
mod time;
mod timers;
mod tombstone;
mod transition;
mod workers;

pub use command::*;
pub use departed::Departed;
pub use ids::*;
pub use job::{Job, JobNumber};
pub use limits::*;
pub use operation::Remembered;
pub use outcome::*;
pub use query::*;
pub use queues::{QueueRecord, QueueSettings};
pub use snapshot::*;
pub use state::*;
pub use time::*;
pub use tombstone::Tombstone;
pub use transition::*;
pub use workers::WorkerRecord;
