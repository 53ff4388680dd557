//! The command line as a user drives it: the built binary, real processes, real ports.

mod clients;
mod harness;
mod import;
mod run;
mod serve;
