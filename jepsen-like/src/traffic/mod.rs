//! What clients do while a fault is in force: one writer whose acknowledgements are the measurement, and
//! many that make the cluster busy. Each is a thread with a runtime of its own, so that the busy ones do
//! not delay the one that measures.

mod load;
mod tally;
mod writer;

pub(crate) use load::{Load, Numbers};
pub(crate) use tally::Tally;
pub(crate) use writer::Writer;

use std::time::Duration;

/// A call that is not answered within this has failed: a node holds a request for 5 s at most.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// The bytes of each job.
const PAYLOAD_BYTES: usize = 128;
