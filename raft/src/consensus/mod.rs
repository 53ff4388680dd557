//! openraft, and what stands between it and the rest of this crate.
//!
//! ```text
//!              ┌────────────────────────── openraft ──────────────────────────┐
//!   propose ──▶│ RaftLogStorage      RaftStateMachine       RaftNetwork…       │
//!              └──────┬───────────────────┬──────────────────────┬─────────────┘
//!                 log_store          machine_store             network
//!                     │                   │                      │
//!                 crate::log        crate::snapshots       crate::transport
//! ```

pub(crate) mod blocking;
mod config;
pub(crate) mod log_store;
pub(crate) mod machine_store;
pub(crate) mod network;
pub(crate) mod observe;
mod scope;
#[cfg(all(test, feature = "faults"))]
mod storage_suite;
pub(crate) mod types;

pub(crate) use config::config;
pub(crate) use scope::{in_scope, seeded, spawn};

/// openraft over our log, our machine and our network.
pub(crate) type Raft<S> = openraft::Raft<types::TypeConfig, machine_store::MachineStore<S>>;
