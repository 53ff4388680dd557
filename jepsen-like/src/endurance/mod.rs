//! What lasts: a cluster of real processes under a steady fault or load for minutes, and what is asked of
//! it all the while.
//!
//! ```text
//! settled ─▶ traffic, watch ─▶ fault in force … minutes … evidence ─▶ healed ─▶ checks ─▶ report
//!            writers, load     └ soak | loss | refuse-pair | garbage            one a line
//! ```
//! [`watch`] asks every node throughout; [`elections`] and [`members`] make of the answers what changed,
//! [`looks`] whether there were any.
//! A [`check`] that shows no fault in force is unknown, and the run with it.

mod arguments;
mod burners;
mod check;
mod elections;
mod flood;
mod forgery;
mod garbage;
mod leases;
mod looks;
mod loss;
mod members;
mod memory;
mod metrics;
mod refuse_pair;
mod report;
mod soak;
mod traffic;
mod wait;
mod watch;

pub(crate) use arguments::{GarbageArgs, LossArgs, Pair, RefusePairArgs, SoakArgs};
pub(crate) use check::{Check, percent};
pub(crate) use garbage::garbage;
pub(crate) use loss::loss;
pub(crate) use refuse_pair::refuse_pair;
pub(crate) use report::Report;
pub(crate) use soak::soak;
