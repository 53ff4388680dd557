//! Finished jobs put back.

use quorate::queue::{Answer, JobId, JobState, Once, Rejection, RetryJobs};

use super::{Job, Model, invalid, leased};

impl Model {
    pub(super) fn retry_job(&mut self, id: &JobId) -> Result<Answer, Rejection> {
        let Some(at) = self.place_of(id) else {
            return Err(Rejection::JobNotFound { job: id.clone() });
        };
        let job = &self.jobs[at];
        if job.is_unfinished() {
            let state = job.state_seen();
            return Err(Rejection::WrongState { job: id.clone(), state });
        }
        self.existing(&job.new.queue)?;
        self.room(&job.new.queue, 1, job.new.payload.bytes.len() as u64)?;
        self.put_back(at);
        Ok(Answer::Retried { once: Once::First, jobs: vec![id.clone()] })
    }

    pub(super) fn retry_jobs(&mut self, retry: &RetryJobs) -> Result<Answer, Rejection> {
        self.existing(&retry.queue)?;
        if !retry.state.is_terminal() {
            return Err(invalid(0, "state", "must be terminal"));
        }
        if retry.limit == 0 || retry.limit > 1000 {
            return Err(invalid(0, "limit", "must be 1 to 1000"));
        }
        let jobs = self.retriable(retry);
        for id in &jobs {
            self.put_back(self.place_of(id).unwrap());
        }
        Ok(Answer::Retried { once: Once::First, jobs })
    }

    /// What a bulk retry would put back now.
    pub(crate) fn retriable(&self, retry: &RetryJobs) -> Vec<JobId> {
        let mut chosen: Vec<JobId> = Vec::new();
        let mut bytes = 0;
        if self.existing(&retry.queue).is_err() || !retry.state.is_terminal() {
            return chosen;
        }
        for job in &self.jobs {
            let fits = job.new.queue == retry.queue && job.state_seen() == retry.state;
            if !fits || chosen.len() >= retry.limit as usize {
                continue;
            }
            bytes += job.new.payload.bytes.len() as u64;
            if self.room(&retry.queue, chosen.len() as u64 + 1, bytes).is_err() {
                break;
            }
            chosen.push(job.new.id.clone());
        }
        chosen
    }

    fn put_back(&mut self, at: usize) {
        if self.jobs[at].purge.is_some() {
            self.encounter("purged put back");
        }
        self.clear(at);
        let of_group = |other: &Job| {
            self.jobs[at].new.group.is_some() && other.new.group == self.jobs[at].new.group
        };
        if self.jobs[at..].iter().any(|other| of_group(other) && leased(other.phase)) {
            self.encounter("put back before a leased one of its group");
        }
        let mut unmet: Vec<JobId> = Vec::new();
        for id in &self.jobs[at].new.depends_on {
            let is_unfinished = self.known(id).is_some_and(|(_, state)| !state.is_terminal());
            if is_unfinished {
                unmet.push(id.clone());
            }
        }
        self.transition(at, |job| {
            job.phase = if unmet.is_empty() { JobState::Pending } else { JobState::Blocked };
            job.unmet = unmet;
            job.wake = None;
            job.expires_at = None;
            job.used = 0;
            job.lost = 0;
            job.result = None;
            job.progress = None;
            job.doomed = None;
        });
    }
}
