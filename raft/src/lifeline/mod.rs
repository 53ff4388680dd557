//! The lifeline: voters that listen to each other beside Raft, so that a leader that is gone is
//! replaced in tens of milliseconds and not after the timers.
//!
//! ```text
//!   line ── ping ──▶ answering          one connection a pair and direction, on a thread of its own
//!     │                  │
//!     ▼                  ▼ "do you hear term T's leader?"
//!   ears ── doubt ──▶ suspicion ── exchange ──▶ verdict ── stand ──▶ openraft
//!                        │                                   │
//!                     patience                             polls
//! ```
//!
//! Nothing in here is needed for safety, and nothing waits for it: it only ever lets a voter stand
//! for election earlier than its timer would.

mod answering;
pub(crate) mod ears;
mod home;
mod line;
mod lines;
pub(crate) mod message;
mod patience;
pub(crate) mod polls;
mod suspicion;
mod verdict;

pub(crate) use lines::{Lifelines, Parts};
