//! The one room that knows the queue, Raft and SWIM, and the only one that reads the machine's clock and
//! randomness.
//!
//! ```text
//!              Handle  submit · claim · read · ended · status · stop
//!                │
//!   admission ───┤  bounded; refused before proposing
//!                ▼
//!   routing ── who leads? ── here ──▶ proposer ── one entry ──▶ raft ──▶ machine ──▶ queue::State
//!                │                       ▲                                  │
//!                └──── elsewhere ──▶ forward ─ call ─▶ desk (at the leader)  │ changes
//!                                                                           ▼
//!   expiry (ticks) · reads (ReadIndex) · claims (long polls)  ◀── waiters, ended
//! ```
//!
//! Beside all that, `gossip` says and hears who is alive. It is advice: nothing that it says changes a
//! voter, and without it ([`NodeOptions::gossip`]) every promise of safety holds; the jobs of a dead agent
//! wait for their leases.
//!
//! What happens is told to whoever listens: `events`.
//!
//! Finished jobs that leave the state go to an [`Archive`], which this room declares and does not have.
//!
//! A request is a loop in [`Handle`]: find the leader, try there, and on a setback try again until
//! the request's deadline. It remembers one thing of its past: whether it may have been proposed.

mod admission;
mod archive;
mod backup;
mod calls;
mod claims;
mod clock;
mod codec;
mod desk;
mod ended;
mod events;
mod expiry;
mod figures;
mod forward;
mod gather;
mod gossip;
mod handle;
mod leaders;
mod machine;
mod open;
mod parked;
mod planted;
mod proposer;
mod reads;
mod routing;
#[cfg(test)]
mod samples;
mod snapshot;
mod space;
mod standing;
mod tries;
mod voters;
mod waiters;
mod wall_clock;
mod worker_down;

pub use admission::{LaneLoad, Limits};
pub use archive::{Archive, ArchiveQuery, ArchiveStatus, ArchiveUnavailable, NoArchive};
pub use backup::{Backup, BackupCheck, BackupFault};
pub use clock::*;
pub use events::{
    Event, EventFigures, EventId, Gap, GapReason, Happening, Host, KEPT_FOR, Listener,
};
pub use figures::Figures;
pub use gossip::*;
pub use handle::*;
pub use leaders::Cause;
pub use open::*;
pub use raft::{Change, ChangeError, ChangePhase, ChangeState, Changed};
pub use space::{FileSystem, Space};
pub use wall_clock::WallClock;
