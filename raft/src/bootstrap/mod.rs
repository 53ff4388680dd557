//! How fresh nodes become one cluster, once, whatever the order and timing of their starts.
//!
//! ```text
//!            propose (the least candidate)          all promised
//!   Free ───────────────────────────▶ Proposing ───────────────────▶ Member
//!    │ ▲                                 │                              ▲
//!    │ └───────────── abandon ───────────┘                              │
//!    │                                                                  │
//!    │ a proposer asks       ┌─────────────▶ it says "founded", or a    │
//!    ├──────────────▶ Promised               voter of the set dials ────┤
//!    │   ▲               └─── it says "abandoned" ──▶ Free              │
//!    │                                                                  │
//!    └─ met a cluster ─▶ Barred ──────── taken in as a learner ─────────┘
//! ```
//!
//! Every arrow is on disk before anybody hears of it ([`promise::Record`]).
//!
//! **Claim.** No node is a founding voter of two clusters. With fewer than 2·N fresh nodes, at most
//! one cluster of N is founded.
//!
//! **Proof.** A set is founded only after each of its voters answered "promised" to that set and
//! that attempt. Let X be a voter of two founded sets A and B, and let it have promised itself to A
//! first. To answer B it must have left A, and it leaves A only when A's proposer says that A is
//! abandoned (or, if X is itself that proposer, when it abandons A). A proposer says so only of
//! attempts that its own record has passed without founding, and it never returns to one: numbers
//! are written down before they are used. So A was never founded. Founded sets are disjoint; with
//! fewer than 2·N nodes there is no room for two. A node that is in a cluster, or has met one, makes
//! no promise at all. ∎
//!
//! This is two-phase commit whose coordinator may abort until it has decided. Its price is that of
//! 2PC: a node promised to a proposer that died for ever waits for ever, since that proposer may
//! have founded the set. Only when that directory is lost, and no node of the set is in a cluster, does
//! the operator stop the waiting nodes, empty their directories and start them again. Progress: once the
//! candidates know each other, only the least of the free ones proposes, and whoever proposed
//! earlier abandons its set after a round without success.
//!
//! Left out: 2·N or more fresh nodes that cannot see each other may found two clusters of one name;
//! their ids differ, so they never mix.

mod driver;
pub(crate) mod message;
pub(crate) mod promise;
mod reminder;

pub(crate) use driver::{Bootstrapper, Ended};
