//! What happens, as this node sees it, for whoever listens: changes of leader, members that come and go,
//! and what becomes of jobs as this replica applies it.
//!
//! ```text
//!   apply ── transitions ─┐
//!   leaders ── changes ───┼─▶ Ring: the last N, numbered ◀── cursors of the listeners
//!   gossip ── members ────┘        │ bounded                  │ woken once an entry
//!                                  └─ overrun ──▶ a Gap in the place of what was missed
//! ```
//!
//! There is one ring and no queue of a listener's own: a listener is a place in it, so the memory is the
//! same for one or for all, and nobody who reads slowly holds anybody up. Whoever falls behind by more
//! than the ring gets a [`Gap`] and goes on with what is left.
//!
//! Nothing is recorded while nobody listens, nor has for [`KEPT_FOR`]: then an applied entry costs one
//! look at a flag.
//!
//! **Order**: the numbers are the order in which this node learned of things. Jobs' events are in the
//! order of their revisions. Every node tells of every job, each in its own numbers; so an id means
//! something to the run of the node that gave it, and is a gap to any other.

mod event;
mod feed;
mod hosts;
mod listener;
mod ring;

pub use event::{Event, EventId, Gap, GapReason, Happening, Host};
pub(super) use feed::Events;
pub use feed::{EventFigures, KEPT_FOR};
pub(super) use hosts::follow;
pub use listener::Listener;
