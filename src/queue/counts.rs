//! The numbers that status shows, kept at every change: never a scan (S14).

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
};

use super::{
    JobNumber, JobState, QueueName, WorkType,
    job::{Job, Phase},
};

/// How many jobs there are, by state, kind and queue. Derived from the jobs; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) by_state: StateCounts,
    /// No zeros.
    pub(super) by_type: BTreeMap<WorkType, u64>,
    /// Only queues that have jobs.
    pub(super) queues: BTreeMap<QueueName, QueueCounts>,
}

/// The same of one queue, and which jobs these are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct QueueCounts {
    pub(super) by_state: StateCounts,
    /// The payload bytes of the unfinished jobs.
    pub(super) bytes: u64,
    /// The unfinished jobs: those that no purge covers.
    pub(super) unfinished: Unfinished,
    /// The jobs that a purge covers and that are not cleared. They are counted as cancelled.
    pub(super) purged: Unfinished,
    /// The finished jobs by state, in add order.
    ended: [BTreeSet<JobNumber>; STATES.len() - FIRST_TERMINAL],
}

/// Jobs whose phase is not terminal, in add order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// Apart, since the oldest of them is shown.
    pending: BTreeSet<JobNumber>,
    others: BTreeSet<JobNumber>,
}

/// Every state, in the order of a job's life.
const STATES: [JobState; 9] = [
    JobState::Scheduled,
    JobState::Blocked,
    JobState::Pending,
    JobState::Claimed,
    JobState::Running,
    JobState::Completed,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Expired,
];

/// The place of the first terminal state among them.
const FIRST_TERMINAL: usize = JobState::Completed as usize;

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

    /// How many are not in a terminal state.
    pub(super) fn unfinished(&self) -> u64 {
        self.0[..FIRST_TERMINAL].iter().sum()
    }

    /// How many are leased.
    pub(super) fn leased(&self) -> u64 {
        self.of(JobState::Claimed) + self.of(JobState::Running)
    }

    fn raise(&mut self, state: JobState) {
        self.0[state as usize] += 1;
    }

    fn lower(&mut self, state: JobState) {
        self.0[state as usize] -= 1;
    }

    /// Counts the unfinished jobs of `purged` as cancelled.
    fn cancel(&mut self, purged: &Self) {
        for (count, purged) in self.0[..FIRST_TERMINAL].iter_mut().zip(purged.0) {
            *count -= purged;
        }
        self.0[JobState::Cancelled as usize] += purged.unfinished();
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

    /// A job has come into its phase. No purge covers it.
    pub(super) fn enter(&mut self, job: &Job) {
        let state = job.state();
        self.by_state.raise(state);
        let queue = self.queue_of(job);
        queue.by_state.raise(state);
        if let Some(ended) = queue.ended(state) {
            ended.insert(job.number);
        } else {
            queue.unfinished.insert(job);
            queue.bytes += job.size();
        }
    }

    /// A job that a purge covers has come into the state.
    pub(super) fn enter_purged(&mut self, job: &Job) {
        self.by_state.raise(JobState::Cancelled);
        let queue = self.queue_of(job);
        queue.by_state.raise(JobState::Cancelled);
        queue.purged.insert(job);
    }

    /// A job is about to leave its phase.
    pub(super) fn leave(&mut self, job: &Job) {
        let mut state = job.state();
        let queue = self.queue_of(job);
        if let Some(ended) = queue.ended(state) {
            ended.remove(&job.number);
        } else if queue.purged.remove(job) {
            state = JobState::Cancelled;
        } else {
            queue.unfinished.remove(job);
            queue.bytes -= job.size();
        }
        queue.by_state.lower(state);
        self.by_state.lower(state);
    }

    /// Counts every unfinished job of a queue as cancelled. Returns how many they are.
    ///
    /// It costs the same for any number of them, unless an earlier purge is not cleared: then it is
    /// the lesser of both numbers that counts.
    pub(super) fn purge(&mut self, queue: &QueueName) -> u64 {
        let Some(queue) = self.queues.get_mut(queue) else { return 0 };
        let before = queue.by_state;
        queue.by_state.cancel(&before);
        self.by_state.cancel(&before);
        queue.bytes = 0;
        queue.purged.absorb(std::mem::take(&mut queue.unfinished));
        before.unfinished()
    }

    /// Whether a purge covers an unfinished job.
    pub(super) fn is_purged(&self, job: &Job) -> bool {
        self.queues.get(&job.queue).is_some_and(|queue| queue.purged.contains(job))
    }

    /// The same of a queue that may have no jobs.
    pub(super) fn of(&self, queue: &QueueName) -> StateCounts {
        self.queues.get(queue).map_or_else(StateCounts::default, |queue| queue.by_state)
    }

    /// The payload bytes of a queue's unfinished jobs.
    pub(super) fn bytes_of(&self, queue: &QueueName) -> u64 {
        self.queues.get(queue).map_or(0, |queue| queue.bytes)
    }

    fn queue_of(&mut self, job: &Job) -> &mut QueueCounts {
        self.queues.get_mut(&job.queue).expect("`add` made it when the job came")
    }
}

impl QueueCounts {
    /// The jobs in a terminal state, in add order; those that are only covered by a purge as well.
    pub(super) fn in_terminal_state(&self, state: JobState) -> impl Iterator<Item = JobNumber> {
        let ended = (state as usize).checked_sub(FIRST_TERMINAL).map(|place| &self.ended[place]);
        let purged = (state == JobState::Cancelled).then_some(&self.purged);
        let parts =
            [ended, purged.map(|purged| &purged.pending), purged.map(|purged| &purged.others)];
        in_order(parts.map(|part| part.into_iter().flatten().copied().peekable()))
    }

    fn ended(&mut self, state: JobState) -> Option<&mut BTreeSet<JobNumber>> {
        Some(&mut self.ended[(state as usize).checked_sub(FIRST_TERMINAL)?])
    }
}

/// The least of all the parts' firsts, again and again.
fn in_order<Part>(mut parts: [Peekable<Part>; 3]) -> impl Iterator<Item = JobNumber>
where
    Part: Iterator<Item = JobNumber>,
{
    std::iter::from_fn(move || {
        let firsts = parts.iter_mut().filter_map(|part| Some((*part.peek()?, part)));
        firsts.min_by_key(|first| first.0)?.1.next()
    })
}

impl Unfinished {
    fn part_of(&mut self, job: &Job) -> &mut BTreeSet<JobNumber> {
        if job.phase == Phase::Pending { &mut self.pending } else { &mut self.others }
    }

    fn insert(&mut self, job: &Job) {
        self.part_of(job).insert(job.number);
    }

    fn contains(&self, job: &Job) -> bool {
        let part = if job.phase == Phase::Pending { &self.pending } else { &self.others };
        part.contains(&job.number)
    }

    /// Whether it was there.
    fn remove(&mut self, job: &Job) -> bool {
        self.part_of(job).remove(&job.number)
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.others.len()
    }

    pub(super) fn first(&self) -> Option<JobNumber> {
        self.pending.first().into_iter().chain(self.others.first()).min().copied()
    }

    /// The oldest pending job.
    pub(super) fn first_pending(&self) -> Option<JobNumber> {
        self.pending.first().copied()
    }

    fn absorb(&mut self, more: Self) {
        absorb(&mut self.pending, more.pending);
        absorb(&mut self.others, more.others);
    }
}

/// Adds the lesser set to the greater one.
fn absorb(set: &mut BTreeSet<JobNumber>, mut more: BTreeSet<JobNumber>) {
    if set.len() < more.len() {
        std::mem::swap(set, &mut more);
    }
    set.extend(more);
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
