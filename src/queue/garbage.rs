//! What is left of purged queues, freed piece by piece: to free the places of a million jobs at once
//! would hold up the queue for longer than an entry may take.

use std::collections::BTreeSet;

use super::job::Rank;

/// How much one entry frees. Twice what it may clear, so that it does not pile up.
const SWEEP_MAX: usize = 4_000;

/// Lanes that nobody reads any more. A cache, no part of the state: all are equal.
#[derive(Debug, Default)]
pub(super) struct Garbage(Vec<BTreeSet<Rank>>);

impl PartialEq for Garbage {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Garbage {}

impl Garbage {
    pub(super) fn throw(&mut self, lanes: impl IntoIterator<Item = BTreeSet<Rank>>) {
        self.0.extend(lanes);
    }

    /// Frees a bounded part of it.
    pub(super) fn sweep(&mut self) {
        let mut left = SWEEP_MAX;
        while left > 0
            && let Some(lane) = self.0.last_mut()
        {
            while left > 0 && lane.pop_first().is_some() {
                left -= 1;
            }
            if lane.is_empty() {
                self.0.pop();
                left = left.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{JobNumber, job::Job};

    #[test]
    fn sweep_frees_a_bounded_part_and_in_the_end_all() {
        let lane = |count: u64| (0..count).map(|number| Job::rank_of(50, JobNumber(number)));
        let mut garbage = Garbage::default();
        garbage.throw([lane(3_000).collect(), lane(3_000).collect()]);
        garbage.sweep();
        assert_eq!(garbage.0.iter().map(BTreeSet::len).sum::<usize>(), 2_001);
        garbage.sweep();
        assert!(garbage.0.is_empty());
    }
}
