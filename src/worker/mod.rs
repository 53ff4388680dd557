//! The agent: claims jobs, runs a command for each, keeps their leases, and settles them.
//!
//! ```text
//!            ┌────────────── agent ───────────────┐
//!   claim ──▶│ a free place? ──▶ attempt ─┐       │
//!            │                    │ child  │ ends  │──▶ complete · fail · release
//!   beats ◀─▶│ leases (one call) ─┘ stop ◀─┘      │
//!            └────────────────────────────────────┘
//! ```
//!
//! A lease is believed in for as long as this machine's monotonic clock says, counted from before the
//! request that extended it, or from the answer that granted it; a command is ended before its lease is (guarantees S8). Whoever
//! finds that a lease is lost, by whatever answer, ends the command's process group and goes on with the
//! next job: nothing is settled under a token that is spent.
//!
//! The room talks to a server through [`crate::client`] alone. Whether the agent gossips as well is
//! nothing to it: who starts it sees to that.

mod agent;
mod attempt;
mod child;
mod leases;
mod output;

pub use agent::{Agent, AgentError, AgentOptions, Happening, Observer, Order};
pub use child::{Child, Input, StartError};
pub use leases::Stop;
