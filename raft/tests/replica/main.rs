//! A replicated register, over real TCP and real files.

mod cluster;
mod register;
mod replication;
