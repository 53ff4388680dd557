//! `failover`: a fault in a cluster of real processes, again and again, and for how long no write was
//! acknowledged.
//!
//! ```text
//! settled ─▶ traffic ─▶ fault begun, in force ─▶ observed ─▶ evidence ─▶ healed ─▶ ready ─▶ settled
//!            writer, load, on the surviving nodes only                   └ the gap after healing
//! ```
//! Of a worker, [`handover`] measures for how long its job was nobody's.
//!
//! A trial without evidence that its fault was in force, or that it was in force on the leader it was
//! for, is void, and a run with over a tenth of its trials void proves nothing.

mod fault;
mod goal;
pub(crate) mod handover;
mod report;
mod row;
mod run;
mod trial;

pub(crate) use fault::{Evidence, Fault, Injected, Target};
pub(crate) use goal::GapGoal;
pub(crate) use row::prove_nothing;
pub(crate) use run::{failover, matrix};
pub(crate) use trial::{Outcome, Setting, Trial};
