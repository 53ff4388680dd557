//! The rules of the queue: a pure function of (state, entry).
//!
//! Nothing in here reads a clock, a random number, a file, a socket or the environment, and nothing
//! depends on the order of a hash map: every replica that applies the same entries holds the same
//! state (guarantees §4). Time is data: each entry carries the leader's stamp.

#![deny(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::float_arithmetic,
    clippy::iter_over_hash_type
)]

mod command;
mod ids;
mod outcome;
mod state;
mod time;

pub use command::*;
pub use ids::*;
pub use outcome::*;
pub use state::*;
pub use time::*;
