//! The numbers that status shows, kept at every change: never a scan (S14).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::{
    JobNumber, JobState, QueueName, WorkType,
    by_name::ByName,
    job::{Job, Phase},
};

/// How many jobs there are, by state, kind and queue. Derived from the jobs; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) by_state: StateCounts,
    /// No zeros.
    pub(super) by_type: BTreeMap<WorkType, u64>,
    /// Only queues that have jobs.
    pub(super) queues: ByName<QueueName, QueueCounts>,
}

/// The same of one queue, and which jobs these are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct QueueCounts {
    pub(super) by_state: StateCounts,
    /// The payload bytes of the unfinished jobs.
    pub(super) bytes: u64,
    /// The unfinished jobs: those that no purge covers.
    pub(super) unfinished: Unfinished,
    /// The jobs that a purge covers and that are not cleared, those of each purge of the queue's
    /// record apart, in its order: to bring them together would cost as much as they are. They are
    /// counted as cancelled.
    pub(super) purged: Vec<Unfinished>,
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

const STATES: [JobState; 9] = JobState::ALL;

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
        self.queues.get_or_default(&job.queue);
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

    /// A job has come into the state that a purge covers, the one in this place of its queue's.
    pub(super) fn enter_purged(&mut self, job: &Job, place: usize) {
        self.by_state.raise(JobState::Cancelled);
        let queue = self.queue_of(job);
        queue.by_state.raise(JobState::Cancelled);
        let purges = queue.purged.len().max(place + 1);
        queue.purged.resize_with(purges, Unfinished::default);
        queue.purged[place].insert(job);
    }

    /// A job is about to be cleared, one of the purge in this place, which goes with its last.
    pub(super) fn clear(&mut self, job: &Job, place: usize) {
        let purged = &mut self.queue_of(job).purged;
        purged[place].remove(job);
        if purged[place].len() == 0 {
            purged.remove(place);
        }
    }

    /// A job is about to leave its phase. One that a purge covers is being cleared.
    pub(super) fn leave(&mut self, job: &Job) {
        let mut state = job.state();
        let queue = self.queue_of(job);
        if let Some(ended) = queue.ended(state) {
            ended.remove(&job.number);
        } else if queue.unfinished.remove(job) {
            queue.bytes -= job.size();
        } else {
            state = JobState::Cancelled;
        }
        queue.by_state.lower(state);
        self.by_state.lower(state);
    }

    /// Counts every unfinished job of a queue as cancelled. Returns how many they are.
    ///
    /// It costs the same for any number of them.
    pub(super) fn purge(&mut self, queue: &QueueName) -> u64 {
        let Some(queue) = self.queues.get_mut(queue) else { return 0 };
        let before = queue.by_state;
        queue.by_state.cancel(&before);
        self.by_state.cancel(&before);
        queue.bytes = 0;
        if before.unfinished() > 0 {
            queue.purged.push(std::mem::take(&mut queue.unfinished));
        }
        before.unfinished()
    }

    /// Whether a purge covers an unfinished job.
    pub(super) fn is_purged(&self, job: &Job) -> bool {
        self.queues.get(&job.queue).is_some_and(|queue| !queue.unfinished.contains(job))
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
        let purged = if state == JobState::Cancelled { &self.purged[..] } else { &[] };
        let parts = purged.iter().flat_map(|purged| [&purged.pending, &purged.others]);
        in_order(ended.into_iter().chain(parts))
    }

    fn ended(&mut self, state: JobState) -> Option<&mut BTreeSet<JobNumber>> {
        Some(&mut self.ended[(state as usize).checked_sub(FIRST_TERMINAL)?])
    }
}

/// The numbers of all the parts, the least first.
fn in_order<'parts>(
    parts: impl Iterator<Item = &'parts BTreeSet<JobNumber>>,
) -> impl Iterator<Item = JobNumber> {
    let mut parts: Vec<_> = parts.map(|part| part.iter().copied()).collect();
    let firsts = parts.iter_mut().enumerate();
    let firsts = firsts.filter_map(|(place, part)| Some(Reverse((part.next()?, place))));
    let mut firsts: BinaryHeap<_> = firsts.collect();
    std::iter::from_fn(move || {
        let Reverse((least, place)) = firsts.pop()?;
        firsts.extend(parts[place].next().map(|next| Reverse((next, place))));
        Some(least)
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
