//! The command line as a user drives it: the built binary, real processes, real ports.

#![expect(clippy::unwrap_used, reason = "whatever a test's own code cannot do fails the test")]

mod clients;
mod harness;
mod history;
mod import;
mod run;
mod serve;
