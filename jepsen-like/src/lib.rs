//! The black box: what clients saw of a cluster, and whether the promises held in it.
//!
//! ```text
//!   clients ──▶ classify ──▶ history (NDJSON) ──▶ pairing ──▶ one checker a promise ──▶ report
//!               ok|fail|info                                        ▲
//!                                     final read of every node ─────┘
//! ```
//!
//! A checker is fed event by event, then given the final read: the attempt log of every job as
//! `GET /work/get` tells it after the faults have healed. The promises are those of
//! `guarantees.md`; nothing in here is shared with the server, so no bug is either.
//!
//! **Architecture invariant:** this library imports no crate of ours, reads no clock and opens no
//! socket. A verdict is a function of a history. (The binary beside it makes the faults: it starts
//! processes and talks to them, and imports no crate of ours either.)

mod bounds;
pub mod checker;
pub mod classify;
pub mod final_read;
pub mod history;
mod judge;
mod linear;

pub use judge::{Judge, Overall, judge_history};
