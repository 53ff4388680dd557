//! The file system as the log and the snapshots see it: few calls, each of which a test can make
//! lose, tear or fail. All paths are absolute. All calls block; the log calls them from a thread
//! of its own (or inline, in simulation).
//!
//! | disk | what it is for |
//! |---|---|
//! | [`OsDisk`] | the machine's file system |
//! | `HangingDisk` (feature `faults`) | the machine's, whose syncs wait while a test says so |
//! | `StagedDisk` (feature `faults`) | any other disk, with all that is not synced held in memory: `kill -9` of the process is a power cut |
//! | `MemoryDisk` (feature `faults`) | a `StagedDisk` over plain memory, whose power a test cuts |

mod file_system;
#[cfg(feature = "faults")]
mod hanging;
#[cfg(feature = "faults")]
mod memory;
mod os;
#[cfg(feature = "faults")]
mod staged;

pub(crate) use file_system::read_exact_at;
pub use file_system::{DirectoryLock, Disk, File};
#[cfg(feature = "faults")]
pub use hanging::HangingDisk;
#[cfg(feature = "faults")]
pub use memory::MemoryDisk;
pub use os::OsDisk;
#[cfg(feature = "faults")]
pub use staged::{Loss, StagedDisk};
