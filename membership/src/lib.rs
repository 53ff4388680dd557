//! Who is alive: SWIM gossip (Das, Gupta, Motivala 2002) on foca.
//!
//! ```text
//!   datagram ──▶ codec ──▶ foca ──▶ member up, member down
//!                            ▲
//!             identity ──────┘  name + address + incarnation
//! ```
//!
//! Here so far: the [`Identity`] of a member, the [`Codec`] of a datagram, and the [`Profile`] of the
//! timers. Sealing, the task that owns the socket, and broadcasts follow (`DESIGN.md`).
//!
//! **Architecture invariant:** nothing in here knows of Raft, of voters or of jobs. What gossip says is
//! advice; `node` decides what it means.

mod codec;
mod identity;
mod profile;

pub use codec::{Codec, CodecError};
pub use identity::{Identity, InvalidIdentity};
pub use profile::{PACKET_BYTES_MAX, Profile};
