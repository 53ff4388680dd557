//! The wire between replicas: frames of our own on persistent TCP connections.
//!
//! ```text
//!             ┌───────────────┐  Append      one connection for each    ┌────────────────┐
//!  openraft ─▶│ append_client │─▶Heartbeat   purpose and peer, dialled   │ append_server  │─▶ openraft
//!             ├───────────────┤              by whoever asks             ├────────────────┤
//!  openraft ─▶│ caller        │─▶Control                               ─▶│ server         │─▶ openraft
//!  Replica  ─▶│               │─▶Calls          hello, then frames       │                │─▶ CallHandler
//!  bootstrap─▶│               │─▶Bootstrap                               │                │─▶ bootstrap
//!             ├───────────────┤                                          ├────────────────┤
//!  openraft ─▶│ snapshot_…    │─▶Snapshot                                │ snapshot_…     │─▶ openraft
//!             └───────────────┘                                          └────────────────┘
//! ```
//!
//! Lifelines open connections of their own (`lifeline`).
//!
//! A heartbeat never waits behind log entries, a vote never behind a proxied request, and nothing
//! behind a snapshot. Everything that waits has a deadline; every length is checked before it is
//! believed.

pub(crate) mod append_client;
pub(crate) mod append_server;
pub(crate) mod caller;
pub(crate) mod frame;
pub(crate) mod heard;
pub(crate) mod hello;
pub(crate) mod link;
pub(crate) mod os_net;
pub(crate) mod server;
pub(crate) mod snapshot_client;
pub(crate) mod snapshot_server;
