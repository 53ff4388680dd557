//! A cluster of real processes: where they stand, how they are started, signalled and watched.

mod binary;
mod control;
mod nodes;
mod process;

pub(crate) use binary::Binary;
pub(crate) use control::Control;
pub(crate) use nodes::{Cluster, Plan};
pub(crate) use process::{Process, ended_by, start_time};
