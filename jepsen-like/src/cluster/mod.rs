//! A cluster of real processes: where they stand, how they are started, signalled and watched.

mod agents;
mod binary;
mod control;
mod nodes;
mod process;

pub(crate) use agents::{Agent, Orders, Victim};
pub(crate) use binary::Binary;
pub(crate) use control::Control;
pub(crate) use nodes::{Cluster, Node, Plan};
pub(crate) use process::{Process, ended_by, start_time};
