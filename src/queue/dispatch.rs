//! Claims: which jobs a worker gets next, and under which tokens; and which queues are open to them.

use std::collections::BTreeMap;

use super::{
    Answer, CLAIM_MAX, Change, Claim, Claimed, ClockMs, Grant, JobNumber, QueueName, QueueRecord,
    Rejection, State, Token, chain,
    indexes::Indexes,
    job::{Attempt, Job, Phase},
    lease::{self, Lease},
};

impl State {
    pub(super) fn claim(
        &mut self,
        claim: &Claim,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        self.check_session(claim)?;
        if let Some(repeated) = self.repeat_of(claim)? {
            return Ok(Answer::Claimed(repeated));
        }
        self.begin_session(claim);
        if self.is_draining(&claim.worker) {
            return Ok(Answer::Claimed(Vec::new()));
        }
        let arguments = chain::claim_hash(claim);
        let mut granted = Vec::new();
        for _ in 0..claim.max.min(CLAIM_MAX) {
            let Some(next) = self.indexes.ready.next(claim) else { break };
            granted.push(Claimed::Granted(self.grant(next.number, claim, arguments, changes)));
        }
        if !granted.is_empty() {
            self.note_claim(claim);
        }
        Ok(Answer::Claimed(granted))
    }

    fn grant(
        &mut self,
        number: JobNumber,
        claim: &Claim,
        arguments: u64,
        changes: &mut Vec<Change>,
    ) -> Grant {
        self.count_grant(number);
        let token = Token(self.rev.0 + 1); // the revision that the transition makes
        let (clock, wall) = (self.clock, self.wall);
        let mut forgotten = None;
        self.transition(number, changes, |job| {
            job.attempts_used += 1;
            forgotten = job.push_attempt(Attempt {
                number: job.attempts_used,
                token,
                worker: claim.worker.clone(),
                request_id: claim.request_id.clone(),
                arguments,
                claimed_at: wall,
                has_started: false,
                ended: None,
            });
            let granted_ms = claim.lease_ms.map_or(job.lease_ms, lease::in_range);
            job.phase = Phase::Leased(Lease {
                token,
                deadline: clock.after(granted_ms),
                granted_ms,
                is_running: false,
                session: claim.session,
            });
        });
        if let Some(forgotten) = forgotten {
            self.indexes.forget(number, &forgotten);
        }
        self.indexes.remember(number, token, claim);
        let job = self.job_numbered(number);
        let lease = job.lease().expect("it was leased just now");
        grant_of(job, lease, clock)
    }

    /// Counts a grant for the rate of its queue, if it has one.
    fn count_grant(&mut self, number: JobNumber) {
        let job = self.jobs.get(&number).expect("indexes name only jobs of the state");
        if self.indexes.bounds.on_grants.contains(&job.queue) {
            let (queue, clock) = (job.queue.clone(), self.clock);
            self.edit_queue(&queue, |record| record.count_grant(clock));
        }
    }

    /// Follows the number of leased jobs of a limited queue, which was this before. Each place that is
    /// free again is told, also beside others: who was told of those may take one alone.
    pub(super) fn on_leased(&mut self, queue: &QueueName, before: u64, changes: &mut Vec<Change>) {
        let leased = self.indexes.counts.of(queue).leased();
        if leased != before {
            self.open_or_close(queue);
        }
        let has_max = |record: &QueueRecord| record.settings.max_leased.is_some();
        let is_limited = self.queues.get(queue).is_some_and(has_max);
        if leased < before && is_limited && self.indexes.ready.is_open(queue) {
            changes.extend(self.indexes.ready.lanes(queue).map(|work_type| Change::Ready {
                queue: queue.clone(),
                work_type: work_type.clone(),
            }));
        }
    }

    /// Lets a queue be served, or not, as its settings and its leased jobs have it. Whether ready jobs
    /// of it may be claimed now that could not before.
    pub(super) fn open_or_close(&mut self, queue: &QueueName) -> bool {
        let Indexes { ready, counts, .. } = &mut *self.indexes;
        let leased = counts.of(queue).leased();
        let (is_open, was_open) = (
            self.queues.get(queue).is_none_or(|record| record.is_open(leased)),
            ready.is_open(queue),
        );
        ready.set_open(queue, is_open);
        is_open && !was_open && ready.lanes(queue).next().is_some()
    }

    /// Ends the first full window that is over; false when there is none.
    pub(super) fn end_window(&mut self, changes: &mut Vec<Change>) -> bool {
        let Some(queue) = self.indexes.bounds.window_over(self.clock).cloned() else {
            return false;
        };
        if self.edit_queue(&queue, |record| record.window = None) {
            changes.push(Change::Opened { queue });
        }
        true
    }
}

/// A lease as its worker gets it, at this cluster clock.
pub(super) fn grant_of(job: &Job, lease: &Lease, clock: ClockMs) -> Grant {
    Grant {
        job: job.id.clone(),
        queue: job.queue.clone(),
        work_type: job.work_type.clone(),
        payload: job.payload.clone(),
        priority: job.priority,
        attempt: job.attempts_used,
        max_attempts: job.max_attempts,
        token: lease.token,
        lease_ms: lease.granted_ms,
        lease_expires_in_ms: lease.remaining_ms(clock),
        deadline: lease.deadline,
        added_at: job.added_at,
        tags: job.tags.as_deref().map_or_else(BTreeMap::new, Clone::clone),
    }
}
