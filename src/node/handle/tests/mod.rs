//! Real nodes in this process, over loopback and temporary directories.

mod cluster;
mod failover;
mod gossip;
mod leases;
mod long_polls;
mod requests;
