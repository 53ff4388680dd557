//! A replicated register, over real TCP and real files.

#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

mod bootstrap;
mod calls;
mod catch_up;
mod cluster;
mod cut_net;
mod cut_off;
mod disks;
mod lifelines;
mod register;
mod replication;
mod strangers;
mod switchboard;
mod voters;
mod wired;
