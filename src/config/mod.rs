//! Configuration: raw, then resolved, once.
//!
//! ```text
//!   flags ──▶┐
//!   environment (QUEUE_*, then the older P2P_*) ──▶├─▶ Raw: one value a key, with its origin ──▶ Config
//!   file (cluster.yaml or .toml) ──▶┘                                             (or every fault)
//! ```
//! A flag beats the environment, which beats the file, which beats the default; giving the same key
//! in several places is never an error. [`Surroundings`] is the only thing that reads the
//! environment, and resolving is a pure function of its arguments. Nothing is written to the disk
//! before a configuration has resolved.

mod change;
mod client;
mod fault;
mod file;
mod parse;
mod raw;
mod server;
mod settings;
mod surroundings;

pub use change::{CHANGEABLE, Change};
pub use client::{ClientConfig, Color, Format};
pub use fault::{Fault, Faults, Origin, Sourced};
pub use file::{ConfigFile, NodeEntry};
pub use parse::duration;
pub use raw::{Explained, Flag, Raw};
pub use server::{Bootstrap, Config, Gossip, GossipProfile, LogFormat, TimingPreset};
pub use settings::{SETTINGS, Setting, Side};
pub use surroundings::Surroundings;
