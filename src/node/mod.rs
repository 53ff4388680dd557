//! The one room that knows the queue, Raft and SWIM, and the only one that reads the machine's
//! clock and randomness.

mod clock;
mod handle;

pub use clock::*;
pub use handle::*;
