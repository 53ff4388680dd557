//! The HTTP server: thin. It parses, asks the node's handle, and prints.
//!
//! ```text
//!   TcpStream ─▶ connection (deadlines) ─▶ hyper ─▶ gate (Host, Origin, sizes) ─▶ routes
//!                                                                                   │
//!      one file a resource: jobs · claims · settle · read · history · cluster  ◀──────────────┘
//!         request ─▶ wire ─▶ command ─▶ node::Handle ─▶ present ─▶ answer
//!                                            └─ rejection ─▶ failure (one table)
//! ```
//! **Invariant:** whatever goes wrong, the answer is the JSON of [`crate::wire::ApiError`].

mod answer;
mod body;
mod call;
mod claims;
mod cluster;
mod command;
mod connection;
mod delivery;
mod failure;
mod gate;
mod history;
mod jobs;
mod options;
mod present;
mod read;
mod routes;
mod server;
mod settle;
mod stream;

pub use options::*;
pub use server::*;
