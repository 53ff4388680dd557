//! Who is alive: SWIM gossip (Das, Gupta, Motivala 2002) on foca.
//!
//! ```text
//!   datagram ──▶ envelope ──▶ codec ──▶ foca ──▶ member up, member down
//!                                         ▲
//!                          identity ──────┘  name + address + incarnation
//! ```
//!
//! **Architecture invariant:** nothing in here knows of Raft, of voters or of jobs. What gossip says is
//! advice; `node` decides what it means.

mod codec;
mod complaints;
mod copies;
mod effects;
mod engine;
mod envelope;
mod figures;
mod goodbye;
mod identity;
mod keyring;
mod lookup;
mod member;
mod membership;
mod metadata;
mod net;
mod newcomer;
mod options;
mod profile;
mod replay;
mod requests;
mod roster;
mod seeds;
mod task;

pub use figures::Figures;
pub use identity::{Identity, InvalidIdentity};
pub use keyring::{KeyFault, Keyring, KeyringError};
pub use member::{Event, METADATA_BYTES_MAX, Member, MemberState};
pub use membership::{Membership, OpenError};
pub use net::{DatagramSocket, Datagrams, OsDatagrams, Resolved};
pub use options::{CLUSTER_BYTES_MAX, Clock, Environment, Options};
pub use profile::Profile;
