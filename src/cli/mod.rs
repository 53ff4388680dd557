//! The command line: one binary, `queue`, one file a verb.
//!
//! ```text
//!   args ─▶ config ─▶ verb ─▶ client ─▶ Report ─▶ stdout      Exit ─▶ the process's code
//!                       └───▶ Failure ─▶ stderr (JSON when JSON was asked for) ─▶ Exit
//! ```
//! `serve` and `run` compose a node with its HTTP; every other verb is a client and nothing else.

mod add;
mod args;
mod cancel;
mod child;
mod claim;
mod complete;
mod embedded;
mod entry;
pub mod exit;
mod fail;
mod failure;
mod get;
mod heartbeat;
mod history;
mod import;
mod input;
mod leader;
mod lease;
mod ndjson;
mod release;
mod report;
mod run;
mod serve;
mod server;
mod session;
mod settle;
mod signals;
mod status;

pub use args::Cli;
pub use entry::{main, main_over};
pub use exit::Exit;
pub use failure::Failure;
