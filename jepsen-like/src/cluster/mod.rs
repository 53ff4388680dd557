//! A cluster of real processes: where they stand, how they are started, signalled and watched.

mod agents;
mod binary;
mod control;
mod jobs;
mod nodes;
mod process;
mod stranger;

pub(crate) use agents::{Agent, Orders, Victim};
pub(crate) use binary::Binary;
pub(crate) use control::Control;
pub(crate) use jobs::holder_of;
pub(crate) use nodes::{Cluster, Node, Plan};
pub(crate) use process::{Process, cpu_ticks, ended_by, resident_bytes, start_time};
pub(crate) use stranger::Stranger;
