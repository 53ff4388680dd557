//! Finished jobs that have left the replicated state, kept on this node's disk alone, in sled.
//!
//! ```text
//!   apply ─▶ offer ─▶ Intake (bounded) ─▶ writer thread ─▶ Store (sled) ─▶ find · history ─▶ readers
//!              └─ full: dropped, counted        │             └─ error or panic: the archive is off
//!                                               └─ place: a damaged directory goes aside
//! ```
//! **Architecture invariant:** nothing that a client was promised stands on this room. Its directory
//! may be deleted, damaged, full or slow: the history is shorter then, and the node says so and goes on.

mod disk;
mod failure;
mod intake;
mod place;
mod record;
#[cfg(test)]
mod samples;
mod store;
mod writer;

pub use disk::{DiskArchive, Options};
