//! The command line: one binary, `queue`, one file a verb.
//!
//! ```text
//!   args ─▶ config ─▶ verb ─▶ client ─▶ Report ─▶ stdout      Exit ─▶ the process's code
//!                       └───▶ Failure ─▶ stderr (JSON when JSON was asked for) ─▶ Exit
//! ```
//! `serve` and `run` compose a node with its HTTP, `worker` is an agent; every other verb is a client and
//! nothing else.

mod add;
mod add_voter;
mod args;
mod backup;
mod cancel;
mod change_voters;
mod child;
mod claim;
mod complete;
mod completions;
mod delete_queue;
mod drain;
mod embedded;
mod entry;
mod events;
pub mod exit;
mod fail;
mod failure;
mod get;
mod gossiping;
mod heartbeat;
mod help;
mod history;
mod import;
mod input;
mod keygen;
mod leader;
mod lease;
mod list;
mod logging;
mod members;
mod ndjson;
mod operator;
mod pages;
mod pause;
mod purge;
mod queue_call;
mod queues;
mod release;
mod remove_voter;
mod replace_voter;
mod report;
mod resume;
mod retry;
mod run;
mod serve;
mod server;
mod session;
mod set_queue;
mod settle;
mod signals;
mod states;
mod status;
mod transfer;
mod undrain;
mod worker;
mod workers;

pub use args::Cli;
pub use entry::{main, main_over};
pub use exit::Exit;
pub use failure::Failure;
