//! The typed client of the public contract: what the command line and the worker talk through.
//!
//! ```text
//!   Client::claim ─▶ identity (request_id) ─▶ Transport::call ─▶ address 1 ✗
//!                                                   │            address 2 ✗ … pause … address 1 ✔
//!                                                   └──────────▶ Answer, or why there is none
//! ```
//! **Architecture invariant:** every request that leaves here is safe to repeat. A write that comes
//! without an identity is given one before its first attempt, and keeps it through all of them.

mod calls;
mod download;
mod error;
mod events;
mod list;
mod operations;
mod options;
mod servers;
mod transport;
mod voters;

pub use calls::{Answer, Client, fresh_job_id, fresh_request_id, is_terminal};
pub use download::Download;
pub use error::ClientError;
pub use events::{Events, EventsRequest, Told};
pub use list::ListRequest;
pub use options::Options;
