//! Whether the operations on one job can be put in an order: one that real time allows, and in which each
//! answer is right.
//!
//! ```text
//!   operations and attempt log of a job ──▶ calls ──▶ search ──▶ an order, none, or too many to try
//!                                                       └── job: what a call does to a job
//! ```
//!
//! It is blind to revisions, so it does not depend on the cluster's own word for the order. Jobs meet only in
//! which of them a claim picks, so each is judged alone.

mod calls;
mod job;
mod search;

pub(crate) use calls::{Known, calls};
pub(crate) use job::Call;
pub(crate) use search::{Order, search};
