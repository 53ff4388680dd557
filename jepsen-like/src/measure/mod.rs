//! From what a writer saw to figures: gaps, and how they are distributed.

mod distribution;
mod gap;
mod machine;

pub(crate) use distribution::Distribution;
pub(crate) use gap::{Write, first_after, longest_gap, longest_gap_before};
pub(crate) use machine::Machine;
