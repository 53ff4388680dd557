//! The HTTP server: thin. It parses, asks the node's handle, and prints.
//!
//! ```text
//!   TcpStream ─▶ connection (deadlines) ─▶ hyper ─▶ gate (Host, Origin, sizes) ─▶ routes
//!                                                                                   │
//!      one file a resource: jobs · claims · settle · read · list · history · retry  │
//!                 queues · workers · cluster · voters · peers · lease · events       │
//!                                                         metrics · admin  ◀─────────┘
//!         request ─▶ wire ─▶ command ─▶ node::Handle ─▶ present ─▶ answer
//!                                            └─ rejection ─▶ failure (one table)
//! ```
//! The routes stand in one table (`routes`), which the router and `GET /openapi.json` are made from.
//!
//! **Invariant:** whatever goes wrong, the answer is the JSON of [`crate::wire::ApiError`].

mod admin;
mod answer;
mod body;
mod call;
mod claims;
mod cluster;
mod command;
mod connection;
mod delivery;
mod events;
mod failure;
mod gate;
mod history;
mod jobs;
mod lease;
mod list;
mod meters;
mod metrics;
mod openapi;
mod operator;
mod options;
mod peers;
mod present;
mod queues;
mod read;
mod retry;
mod route;
mod routes;
mod server;
mod settle;
mod stream;
mod voters;
mod workers;

pub use operator::Operator;
pub use options::*;
pub use server::*;
