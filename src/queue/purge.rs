//! Purging: a watermark that takes effect at once, and is cleared away in bounded steps
//! (guarantees, rule 9).
//!
//! A purge raises the revision by one, whatever the number of its jobs. From then on each of them
//! *is* cancelled: in every answer, view and count. What is left to do about a job (its place in the
//! order of claims and in its group, its timer, those that wait for it) is done as it is *cleared*,
//! which changes nothing about its state and raises no revision.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Answer, AttemptEnd, Change, Job, JobNumber, JobState, Once, QueueName, QueueRecord, Rejection,
    State,
    counts::Unfinished,
    job::{EndState, Ended, Ending, Phase},
};

/// One purge of a queue, until the last of its jobs is cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purge {
    /// It cancelled the unfinished jobs with lesser numbers.
    pub(super) below: JobNumber,
    /// What it made of them.
    pub(super) ending: Ending,
    /// How many of its jobs are not cleared; never 0 between entries.
    pub(super) left: u64,
    /// Jobs with lesser numbers that it does not cover: they were put back after it.
    pub(super) spared: BTreeSet<JobNumber>,
}

impl Purge {
    fn covers(&self, number: JobNumber) -> bool {
        number < self.below && !self.spared.contains(&number)
    }
}

/// The place of the oldest purge that covers a job. They are in the order of `below`.
fn covering(purges: &[Purge], number: JobNumber) -> Option<usize> {
    let first = purges.partition_point(|purge| purge.below <= number);
    purges[first..].iter().position(|purge| purge.covers(number)).map(|place| first + place)
}

/// Makes of a purged job what it is since its purge.
fn end(job: &mut Job, ending: Ending) {
    if job.lease().is_some() {
        job.end_attempt(Ended::plainly(AttemptEnd::Cancelled, ending.at));
    }
    job.phase = Phase::Ended(ending);
}

impl State {
    pub(super) fn purge_queue(
        &mut self,
        queue: &QueueName,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        self.existing(queue)?;
        let count = self.indexes.counts.purge(queue);
        if count > 0 {
            let ending = self.ending_as(EndState::Cancelled);
            let purge =
                Purge { below: self.next_job, ending, left: count, spared: BTreeSet::new() };
            // Before the queue may open: none of these is to be claimed.
            self.indexes.garbage.throw(self.indexes.ready.take(queue));
            self.edit_queue(queue, |record| record.purges.push(purge));
            self.rev.0 += 1;
            changes.push(Change::Purged { queue: queue.clone() });
        }
        Ok(Answer::Purged { once: Once::First, count })
    }

    /// A job as it is, which is not as it is kept when a purge covers it.
    pub(super) fn current<'job>(&self, job: &'job Arc<Job>) -> Cow<'job, Arc<Job>> {
        match self.purged_as(job) {
            None => Cow::Borrowed(job),
            Some(ending) => {
                let mut job = Job::clone(job);
                end(&mut job, ending);
                Cow::Owned(Arc::new(job))
            }
        }
    }

    /// The state that a job is in, also when a purge covers it.
    pub(super) fn state_now(&self, job: &Job) -> JobState {
        self.purged_as(job).map_or_else(|| job.state(), |ending| ending.how.state())
    }

    /// The end of a job that a purge covers and that is not cleared; the oldest such purge counts.
    pub(super) fn purged_as(&self, job: &Job) -> Option<Ending> {
        self.purge_of(job).map(|place| self.queues[&job.queue].purges[place].ending)
    }

    /// The place of that purge among those of its queue.
    fn purge_of(&self, job: &Job) -> Option<usize> {
        let purging = &self.indexes.bounds.purging;
        if purging.is_empty() || job.state().is_terminal() || !purging.contains(&job.queue) {
            return None;
        }
        self.queues.get(&job.queue)?.purge_of(job.number)
    }

    /// Clears the next purged job: queues by name, and of a queue in add order. False when there is
    /// none.
    pub(super) fn clear_next(&mut self, changes: &mut Vec<Change>) -> bool {
        let Some(queue) = self.indexes.bounds.purging.first() else { return false };
        let first = self.first_purged(queue);
        self.clear(first.expect("a queue is purging while it has purged jobs"), changes)
    }

    /// The first purged job of a queue.
    fn first_purged(&self, queue: &QueueName) -> Option<JobNumber> {
        let oldest = self.queues.get(queue)?.purges.first()?;
        let purged = &self.indexes.counts.queues.get(queue)?.purged;
        // Later purges cover later jobs, but for those that were put back after the oldest.
        let looked_at = if oldest.spared.is_empty() { 1 } else { purged.len() };
        purged.iter().take(looked_at).filter_map(Unfinished::first).min()
    }

    /// Does what is left to do about a job that a purge covers, which frees its group and wakes
    /// whoever waits for it. No revision: it was cancelled by then. False when none covers it.
    pub(super) fn clear(&mut self, number: JobNumber, changes: &mut Vec<Change>) -> bool {
        let job = self.job_numbered(number).clone();
        let Some(place) = self.purge_of(&job) else { return false };
        let ending = self.queues[&job.queue].purges[place].ending;
        self.indexes.counts.clear(&job, place);
        let queue = job.queue.clone();
        drop(job); // It is not copied if nobody shares it.
        self.replace(number, changes, |job| end(job, ending));
        self.edit_purges(&queue, |purges| {
            purges[place].left -= 1;
            if purges[place].left == 0 {
                purges.remove(place);
            }
        });
        true
    }

    /// What comes before a job is put back: if it is only covered by a purge it is cleared, and no
    /// purge of the past covers it any more.
    pub(super) fn spare(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        self.clear(number, changes);
        let queue = self.job_numbered(number).queue.clone();
        if self.indexes.bounds.purging.contains(&queue) {
            self.edit_purges(&queue, |purges| {
                for purge in purges.iter_mut().filter(|purge| number < purge.below) {
                    purge.spared.insert(number);
                }
            });
        }
    }

    /// Edits a queue's purges, and forgets that it is purging once there are none.
    fn edit_purges(&mut self, queue: &QueueName, edit: impl FnOnce(&mut Vec<Purge>)) {
        let record = self.queues.get_mut(queue).expect("a queue stays while it has jobs");
        edit(&mut record.purges);
        if record.purges.is_empty() {
            self.indexes.bounds.purging.remove(queue);
        }
    }
}

impl QueueRecord {
    /// The place of the oldest of its purges that covers an unfinished job of it.
    pub(super) fn purge_of(&self, number: JobNumber) -> Option<usize> {
        covering(&self.purges, number)
    }
}

#[cfg(test)]
mod tests;
