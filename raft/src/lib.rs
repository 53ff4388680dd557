//! Raft replication of any state machine: openraft, over a log, a transport and a bootstrap of
//! our own. Nothing in here knows what the machine does, and no openraft type leaves this crate.
//!
//! | module | what it is |
//! |---|---|
//! | [`replica`] | the handle: open, propose, read, call, stop |
//! | [`machine`], [`disk`], [`net`] | what a replica stands on, as traits |
//! | [`log`], [`snapshots`], [`directory`] | what is on disk |
//! | `consensus` | openraft, and the adapters around it |
//! | `transport` | frames, connections, who is at the other end |
//! | `lifeline` | voters that listen to each other, for a failover faster than the timers |
//! | `bootstrap` | how fresh nodes become one cluster |
//! | [`change`] | who votes, changed while it runs |
//!
//! `DESIGN.md` beside this crate tells the whole in three pages.

mod bootstrap;
pub mod call;
pub mod change;
mod codec;
mod consensus;
pub mod directory;
pub mod disk;
pub mod error;
#[cfg(test)]
mod golden;
mod lifeline;
pub mod log;
pub mod machine;
pub mod mutant;
pub mod net;
mod open;
pub mod options;
pub mod peer;
pub mod replica;
pub mod snapshots;
pub mod status;
mod tasks;
mod transport;

pub use call::CallHandler;
pub use change::{Change, ChangeError, ChangePhase, ChangeProgress, ChangeState, Changed};
pub use disk::{Disk, File};
pub use error::{CallError, OpenError, ProposeError, ReadError};
pub use machine::{LogIndex, MachineError, StateMachine};
pub use net::{Connection, Listener, Net};
pub use options::{Bootstrap, Environment, Lifeline, Options, Timing};
pub use peer::{Peer, PeerId};
pub use replica::{ENTRY_BYTES_MAX, Replica};
pub use status::{Progress, Quorum, Role, Status, Stood, Suspicion};
pub use transport::os_net::OsNet;
