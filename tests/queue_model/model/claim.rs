//! Claims.

use quorate::queue::{
    Answer, Claim, Claimed, ClockMs, Grant, JobState, QueueName, Rejection, Token, WallMs,
};

use super::{Attempt, Job, Model};

impl Model {
    /// The ready job that goes first: highest priority, then oldest.
    fn best(&self, claim: &Claim, queue: Option<&QueueName>) -> Option<usize> {
        let fits = |at: &usize| {
            let new = &self.jobs[*at].new;
            queue.is_none_or(|queue| *queue == new.queue)
                && (claim.work_types.is_empty() || claim.work_types.contains(&new.work_type))
                && self.is_ready(*at)
                && self.is_open(&new.queue)
        };
        let ready = (0..self.jobs.len()).filter(fits);
        ready.max_by_key(|at| (self.jobs[*at].new.priority, u64::MAX - self.jobs[*at].number))
    }

    fn next_for(&self, claim: &Claim) -> Option<usize> {
        if self.is_draining(&claim.worker) {
            None
        } else if claim.queues.is_empty() {
            self.best(claim, None)
        } else {
            claim.queues.iter().find_map(|queue| self.best(claim, Some(queue)))
        }
    }

    /// What it was granted before, as it stands.
    fn repeated(&self, claim: &Claim) -> Result<Vec<Claimed>, Rejection> {
        let mut repeated = Vec::new();
        for job in &self.jobs {
            for attempt in &job.attempts {
                let asked = &attempt.claim;
                if asked.worker == claim.worker && asked.request_id == claim.request_id {
                    if asked != claim {
                        return Err(Rejection::RequestIdConflict);
                    }
                    repeated.push((attempt.token, job));
                }
            }
        }
        repeated.sort_by_key(|(token, _)| *token);
        let answers = repeated.into_iter().map(|(token, job)| {
            if job.is_leased() && job.attempts.last().unwrap().token == token {
                Claimed::Granted(self.grant(job))
            } else {
                let (job, state) = (job.new.id.clone(), job.state_seen());
                Claimed::Lost { job, token: Token(token), state }
            }
        });
        Ok(answers.collect())
    }

    pub(crate) fn would_grant(&self, claim: &Claim) -> bool {
        if self.stale_session(claim).is_some() || self.is_later_session(claim) {
            return true;
        }
        let is_new = self.repeated(claim).is_ok_and(|repeated| repeated.is_empty());
        !is_new || self.next_for(claim).is_some()
    }

    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Answer, Rejection> {
        if let Some(refusal) = self.stale_session(claim) {
            return Err(refusal);
        }
        let repeated = self.repeated(claim)?;
        if !repeated.is_empty() {
            return Ok(Answer::Claimed(repeated));
        }
        if self.is_later_session(claim) {
            self.note_session_of(claim);
        }
        if self.is_draining(&claim.worker) {
            self.encounter("claim of a draining worker");
        }
        let mut granted = Vec::new();
        while granted.len() < claim.max.min(1000) as usize {
            let Some(at) = self.next_for(claim) else { break };
            self.lease(at, claim);
            granted.push(Claimed::Granted(self.grant(&self.jobs[at])));
            let queue = self.jobs[at].new.queue.clone();
            self.count_grant(&queue);
            if granted.len() < claim.max as usize {
                self.note_closing_of(&queue);
            }
        }
        if !granted.is_empty() {
            self.note_grants_to(claim);
        }
        Ok(Answer::Claimed(granted))
    }

    fn lease(&mut self, at: usize, claim: &Claim) {
        let (token, clock, claimed_at) = (self.rev + 1, self.clock, self.wall);
        self.transition(at, |job| {
            job.phase = JobState::Claimed;
            job.used += 1;
            job.lease_ms = claim.lease_ms.unwrap_or(job.lease_default_ms).clamp(100, 43_200_000);
            job.deadline = clock + job.lease_ms;
            let (number, claim) = (job.used, claim.clone());
            let attempt = Attempt { number, token, claim, claimed_at, started: false, end: None };
            job.attempts.push(attempt);
            if job.attempts.len() > 32 {
                job.attempts.remove(0);
            }
        });
    }

    fn grant(&self, job: &Job) -> Grant {
        let attempt = job.attempts.last().unwrap();
        Grant {
            job: job.new.id.clone(),
            queue: job.new.queue.clone(),
            work_type: job.new.work_type.clone(),
            payload: job.new.payload.clone(),
            priority: job.new.priority,
            attempt: attempt.number,
            max_attempts: job.max_attempts,
            token: Token(attempt.token),
            lease_ms: job.lease_ms,
            lease_expires_in_ms: job.deadline.saturating_sub(self.clock),
            deadline: ClockMs(job.deadline),
            added_at: WallMs(job.added_at),
            tags: job.new.tags.clone(),
        }
    }
}
