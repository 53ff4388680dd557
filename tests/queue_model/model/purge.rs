//! Purges: all of a queue is cancelled at once, and cleared away one by one.

use quorate::queue::{Answer, AttemptEnd, Change, JobState, Once, QueueName, Rejection};

use super::{End, Model, Purge};

impl Model {
    pub(super) fn purge(&mut self, queue: &QueueName) -> Result<Answer, Rejection> {
        self.existing(queue)?;
        let purge = Purge { at: self.wall, buried_from: self.clock + self.limits.retention_ms };
        let mut count = 0;
        for job in &mut self.jobs {
            if job.new.queue != *queue || !job.is_unfinished() {
                continue;
            }
            count += 1;
            if job.is_leased() {
                let end = End::plain(AttemptEnd::Cancelled, purge.at);
                job.attempts.last_mut().unwrap().end = Some(end);
            }
            job.purge = Some(purge);
        }
        if count > 0 {
            self.rev += 1;
            self.changes.push(Change::Purged { queue: queue.clone() });
        }
        Ok(Answer::Purged { once: Once::First, count })
    }

    /// The first of the purged jobs, by queue and then by age, lets go of all it held up.
    pub(super) fn clear_one_purged(&mut self) -> bool {
        let purged = self.jobs.iter().enumerate().filter(|(_, job)| job.purge.is_some());
        let first = purged.min_by_key(|(_, job)| (job.new.queue.clone(), job.number));
        let Some((at, _)) = first else { return false };
        self.clear(at);
        true
    }

    pub(super) fn clear(&mut self, at: usize) {
        let Some(purge) = self.jobs[at].purge else { return };
        self.edit(at, |job| {
            job.phase = JobState::Cancelled;
            job.purge = None;
            job.finished_at = purge.at;
            job.buried_from = purge.buried_from;
        });
    }
}
