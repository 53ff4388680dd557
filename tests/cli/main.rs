//! The command line as a user drives it: the built binary, real processes, real ports.

#![expect(clippy::unwrap_used, reason = "whatever a test's own code cannot do fails the test")]

mod admin;
mod backup;
mod called_back;
mod clients;
mod contract_config;
mod contract_history;
mod contract_output;
mod contract_queues;
mod contract_verbs;
mod events;
mod harness;
mod history;
mod import;
mod members;
mod operate;
mod run;
mod serve;
mod worker;
