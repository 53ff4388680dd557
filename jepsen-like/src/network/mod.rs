//! The network between the nodes, where faults of the network can be made.
//!
//! ```text
//!   n1 ──veth── ┌──────────────┐ ──veth── n2        each node: a network namespace of its own
//!   10.77.1.1   │ the hub:     │           10.77.2.1
//!               │ this process │ ──veth── n3        FORWARD holds the faults: one atomic table
//!   clients ────│              │           10.77.3.1
//!               └──────────────┘
//! ```
//! The hub is a network namespace too, private to the run and entered at its start; it forwards between
//! its legs. A fault drops packets *in the hub*, so no sender is told, as on a wire (a rule in the
//! sender's own OUTPUT would fail its `send`). Clients stand in the hub and are not forwarded: they
//! reach every node, whatever is cut between the nodes.
//!
//! Everything is private to the run's mount and network namespaces, the names under `/run/netns` as
//! well: nothing of it outlives the run's last process, however that ends. Without root the same is
//! done in a user namespace.

mod datagram;
mod hub;
mod isolation;
mod raw;
mod rules;
mod tap;

pub(crate) use datagram::Datagram;
pub(crate) use hub::Hub;
pub(crate) use isolation::enter;
pub(crate) use raw::RawSocket;
pub(crate) use rules::{Effect, Rule};
pub(crate) use tap::Tap;
