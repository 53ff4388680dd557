//! Quorate: a Raft-replicated work queue with SWIM membership.
//!
//! The rooms, and who may look into which (`ARCHITECTURE.md` draws it, `tests/tidy.rs` holds it):
//! [`queue`] is the rules, pure; [`node`] composes them with `raft` and `membership` and owns time;
//! [`archive`] keeps finished jobs longer, as far as it can;
//! [`http`] and [`client`] speak [`wire`], the JSON of the public contract; [`worker`] is the agent that runs
//! commands as jobs; [`cli`] is one file a verb.

pub mod archive;
pub mod cli;
pub mod client;
pub mod config;
pub mod http;
pub mod node;
pub mod queue;
pub mod wire;
pub mod worker;
