//! Raft replication of any state machine: openraft, over a log, a transport and a bootstrap of
//! our own. Nothing in here knows what the machine does, and no openraft type leaves this crate.

pub mod directory;
pub mod disk;
pub mod log;
pub mod machine;
pub mod net;
pub mod replica;
pub mod snapshots;

pub use disk::{Disk, File};
pub use machine::{LogIndex, MachineError, StateMachine};
pub use net::{Connection, Listener, Net};
pub use replica::*;
