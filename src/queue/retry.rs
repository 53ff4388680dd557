//! Finished jobs put back: by an explicit retry, and nothing else.
//!
//! A job that is put back keeps its number, and so its place in the order of claims and in its group,
//! its id and its history of attempts; the attempts that it has begin anew.

use std::collections::BTreeSet;

use super::{
    Answer, Change, JobId, JobNumber, Once, QueueName, RETRY_MAX, Rejection, RetryJobs, State,
    job::Phase, state::Kept,
};

impl State {
    /// Whether the retry of this one job would put it back now, or what it would be rejected for: its
    /// dry run.
    pub fn can_retry(&self, id: &JobId) -> Result<(), Rejection> {
        self.to_put_back(id).map(|_| ())
    }

    pub(super) fn retry_job(
        &mut self,
        id: &JobId,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let number = self.to_put_back(id)?;
        Ok(self.put_all_back(&[number], changes))
    }

    fn to_put_back(&self, id: &JobId) -> Result<JobNumber, Rejection> {
        let Some(Kept::Job(job)) = self.find(id) else {
            return Err(Rejection::JobNotFound { job: id.clone() });
        };
        if !job.state().is_terminal() {
            return Err(Rejection::WrongState { job: id.clone(), state: job.state() });
        }
        if !self.queue_exists(&job.queue) {
            return Err(Rejection::QueueNotFound { queue: job.queue.clone() });
        }
        self.room(&job.queue).take(job.payload.bytes.len() as u64)?;
        Ok(job.number)
    }

    pub(super) fn retry_jobs(
        &mut self,
        retry: &RetryJobs,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        if !self.queue_exists(&retry.queue) {
            return Err(Rejection::QueueNotFound { queue: retry.queue.clone() });
        }
        if !retry.state.is_terminal() {
            return Err(invalid("state", "must be terminal".into()));
        }
        if !(1..=RETRY_MAX).contains(&retry.limit) {
            return Err(invalid("limit", format!("must be 1 to {RETRY_MAX}")));
        }
        Ok(self.put_all_back(&self.chosen(retry), changes))
    }

    fn queue_exists(&self, queue: &QueueName) -> bool {
        self.queues.get(queue).is_some_and(|record| record.exists)
    }

    fn put_all_back(&mut self, numbers: &[JobNumber], changes: &mut Vec<Change>) -> Answer {
        let put_back = numbers.iter().map(|number| {
            self.put_back(*number, changes);
            self.job_numbered(*number).id.clone()
        });
        Answer::Retried { once: Once::First, jobs: put_back.collect() }
    }

    fn put_back(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        self.spare(number, changes);
        let job = self.job_numbered(number);
        let depends_on = job.bonds.iter().flat_map(|bonds| &bonds.depends_on);
        let is_unfinished =
            |id: &&JobId| self.find(id).is_some_and(|kept| !kept.state().is_terminal());
        let unmet: BTreeSet<JobId> = depends_on.filter(is_unfinished).cloned().collect();
        self.transition(number, changes, |job| {
            job.begin_anew();
            job.phase = if unmet.is_empty() { Phase::Pending } else { Phase::Blocked(None) };
            if let Some(bonds) = &mut job.bonds {
                bonds.unmet = unmet;
            }
        });
    }
}

fn invalid(field: &str, reason: String) -> Rejection {
    Rejection::Invalid { index: 0, field: field.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
