//! The numbers that status shows, kept at every change: never a scan (S14).

use std::collections::{BTreeMap, BTreeSet};

use super::{JobNumber, JobState, QueueName, WorkType, job::Job};

/// How many jobs there are, by state, kind and queue. Derived from the jobs; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) by_state: StateCounts,
    /// No zeros.
    pub(super) by_type: BTreeMap<WorkType, u64>,
    /// Only queues that have jobs.
    pub(super) queues: BTreeMap<QueueName, QueueCounts>,
}

/// The same of one queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct QueueCounts {
    pub(super) by_state: StateCounts,
    /// The pending jobs in add order: its first is the oldest.
    pub(super) pending: BTreeSet<JobNumber>,
}

const STATES: [JobState; 9] = JobState::ALL;

/// A number for each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct StateCounts([u64; STATES.len()]);

impl StateCounts {
    pub(super) fn of(&self, state: JobState) -> u64 {
        self.0[state as usize]
    }

    pub(super) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The states that occur.
    pub(super) fn present(&self) -> BTreeMap<JobState, u64> {
        let all = STATES.into_iter().map(|state| (state, self.of(state)));
        all.filter(|of_state| of_state.1 > 0).collect()
    }

    fn raise(&mut self, state: JobState) {
        self.0[state as usize] += 1;
    }

    fn lower(&mut self, state: JobState) {
        self.0[state as usize] -= 1;
    }
}

impl Counts {
    /// A job has come into the state.
    pub(super) fn add(&mut self, job: &Job) {
        match self.by_type.get_mut(&job.work_type) {
            Some(count) => *count += 1,
            None => {
                self.by_type.insert(job.work_type.clone(), 1);
            }
        }
        if !self.queues.contains_key(&job.queue) {
            self.queues.insert(job.queue.clone(), QueueCounts::default());
        }
    }

    /// A job has left the state.
    pub(super) fn remove(&mut self, job: &Job) {
        if let Some(count) = self.by_type.get_mut(&job.work_type) {
            *count -= 1;
            if *count == 0 {
                self.by_type.remove(&job.work_type);
            }
        }
        if self.queues.get(&job.queue).is_some_and(|queue| queue.by_state.total() == 0) {
            self.queues.remove(&job.queue);
        }
    }

    /// A job has come into its phase.
    pub(super) fn enter(&mut self, job: &Job) {
        let state = job.state();
        self.by_state.raise(state);
        let queue = self.queue_of(job);
        queue.by_state.raise(state);
        if state == JobState::Pending {
            queue.pending.insert(job.number);
        }
    }

    /// A job is about to leave its phase.
    pub(super) fn leave(&mut self, job: &Job) {
        let state = job.state();
        self.by_state.lower(state);
        let queue = self.queue_of(job);
        queue.by_state.lower(state);
        if state == JobState::Pending {
            queue.pending.remove(&job.number);
        }
    }

    fn queue_of(&mut self, job: &Job) -> &mut QueueCounts {
        self.queues.get_mut(&job.queue).expect("`add` made it when the job came")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_own_place() {
        for (place, state) in STATES.into_iter().enumerate() {
            assert_eq!(state as usize, place);
        }
    }
}
