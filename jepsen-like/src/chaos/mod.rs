//! Runs in which clients work while one thing after the other goes wrong, and every promise is judged from
//! what they saw.
//!
//! ```text
//!   seed ─▶ story: a fault, its victim, how long, then a rest ──▶ the cluster
//!   clients ─▶ producers and workers, each a process of the history ──▶ recorder ─▶ judge, as it happens
//!   then: all healed ─▶ a new term ─▶ a write through each node ─▶ every job as each node has it ─▶ results
//! ```
//! A run that did not exercise what it claims is unknown: a class of faults that was never in force, a
//! promise that was not put to the test, too many answers that nobody got.

mod arguments;
mod client;
mod recorder;
mod report;
mod run;
mod story;

pub(crate) use arguments::RunArgs;
pub(crate) use run::run;
