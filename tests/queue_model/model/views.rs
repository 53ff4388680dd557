//! What is seen.

use std::sync::Arc;

use quorate::queue::{
    AttemptView, Filter, Found, JobId, JobNumber, JobState, JobView, LeaseView, QueueName,
    QueueTotals, QueueView, Token, TombstoneView, Totals, WallMs, WorkerId, WorkerView,
};

use super::{Attempt, Job, Model, Worker};

impl Model {
    pub(crate) fn found(&self, id: &JobId) -> Option<Found> {
        if let Some(job) = self.jobs.iter().find(|job| job.new.id == *id) {
            return Some(Found::Job(Box::new(self.view(job))));
        }
        let grave = self.graves.iter().find(|grave| grave.new.id == *id)?;
        Some(Found::Tombstone(TombstoneView {
            id: id.clone(),
            state: grave.state,
            token: grave.last.as_ref().map(|attempt| Token(attempt.token)),
        }))
    }

    pub(crate) fn view(&self, job: &Job) -> JobView {
        let mut errors =
            job.attempts.iter().filter_map(|attempt| attempt.end.as_ref()?.error.clone());
        JobView {
            number: JobNumber(job.number),
            id: job.new.id.clone(),
            queue: job.new.queue.clone(),
            work_type: job.new.work_type.clone(),
            priority: job.new.priority,
            state: job.state_seen(),
            payload: job.new.payload.clone(),
            tags: job.new.tags.clone(),
            lease_ms: job.lease_default_ms,
            max_attempts: job.max_attempts,
            attempts_used: job.used,
            attempts_lost: job.lost,
            attempts: job.attempts.iter().map(attempt_view).collect(),
            result: job.result.clone(),
            depends_on: job.new.depends_on.clone(),
            group: job.new.group.clone(),
            error: job.doomed.as_deref().map(Arc::from).or(errors.next_back()),
            progress: job.progress.clone(),
            added_at: WallMs(job.added_at),
            run_at: job.run_at().map(WallMs),
            lease: job.is_leased().then(|| {
                let attempt = job.attempts.last().unwrap();
                LeaseView {
                    holder: attempt.claim.worker.clone(),
                    token: Token(attempt.token),
                    lease_expires_in_ms: job.deadline.saturating_sub(self.clock),
                }
            }),
            finished_at: match job.purge {
                Some(purge) => Some(WallMs(purge.at)),
                None => job.phase.is_terminal().then_some(WallMs(job.finished_at)),
            },
        }
    }

    pub(crate) fn held_by(&self, worker: &WorkerId) -> Vec<JobView> {
        let holds =
            |job: &&Job| job.is_leased() && job.attempts.last().unwrap().claim.worker == *worker;
        let mut held: Vec<_> = self.jobs.iter().filter(holds).map(|job| self.view(job)).collect();
        held.sort_by_key(|job| job.lease.as_ref().map(|lease| lease.token));
        held
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { total: self.jobs.len() as u64, ..Totals::default() };
        totals.tombstones = self.graves.len() as u64;
        for queue in &self.queues {
            totals.queues.insert(queue.name.clone(), self.totals_of(&queue.name));
        }
        for job in &self.jobs {
            *totals.by_status.entry(job.state_seen()).or_default() += 1;
            *totals.by_type.entry(job.new.work_type.clone()).or_default() += 1;
        }
        totals
    }

    fn totals_of(&self, name: &QueueName) -> QueueTotals {
        let mut totals =
            QueueTotals { is_paused: self.settings(name).is_paused, ..QueueTotals::default() };
        for job in self.jobs.iter().filter(|job| job.new.queue == *name) {
            *totals.by_status.entry(job.state_seen()).or_default() += 1;
            totals.unfinished += u64::from(job.is_unfinished());
            if job.state_seen() == JobState::Pending && totals.oldest_pending.is_none() {
                totals.oldest_pending = Some(WallMs(job.added_at));
            }
        }
        totals
    }

    pub(crate) fn queue(&self, name: &QueueName) -> Option<QueueView> {
        let queue = self.existing(name).ok()?;
        Some(QueueView {
            name: name.clone(),
            settings: queue.settings.clone(),
            totals: self.totals_of(name),
            bytes: self.bytes_in(name),
        })
    }

    pub(crate) fn queues(&self) -> Vec<QueueView> {
        let mut views: Vec<_> =
            self.queues.iter().filter_map(|queue| self.queue(&queue.name)).collect();
        views.sort_by_key(|view| view.name.clone());
        views
    }

    pub(crate) fn workers(&self) -> Vec<WorkerView> {
        let view = |worker: &Worker| WorkerView {
            id: worker.id.clone(),
            labels: worker.labels.clone(),
            session: worker.session,
            is_down: worker.session.is_some() && worker.over == worker.session,
            is_draining: worker.draining,
            held: self.held_by(&worker.id).len(),
            seen_at: WallMs(worker.seen_at),
        };
        let mut views: Vec<_> = self.workers.iter().map(view).collect();
        views.sort_by_key(|view| view.id.clone());
        views
    }

    /// The whole list, from one job on.
    pub(crate) fn list(&self, filter: &Filter, after: Option<JobNumber>) -> Vec<JobView> {
        let Filter { queue, states, work_type, tags } = filter;
        let fits = |job: &&Job| {
            after.is_none_or(|after| job.number > after.0)
                && queue.as_ref().is_none_or(|queue| job.new.queue == *queue)
                && (states.is_empty() || states.contains(&job.state_seen()))
                && work_type.as_ref().is_none_or(|work_type| job.new.work_type == *work_type)
                && tags.iter().all(|(key, value)| job.new.tags.get(key) == Some(value))
        };
        self.jobs.iter().filter(fits).map(|job| self.view(job)).collect()
    }

    /// What has ended, and is cleared if it was purged, the last one first.
    pub(crate) fn history(&self, state: Option<JobState>) -> Vec<JobView> {
        let fits =
            |job: &&Job| job.phase.is_terminal() && state.is_none_or(|state| job.phase == state);
        let mut ended: Vec<_> = self.jobs.iter().filter(fits).collect();
        ended.sort_by_key(|job| std::cmp::Reverse((job.buried_from, job.number)));
        ended.into_iter().map(|job| self.view(job)).collect()
    }
}

fn attempt_view(attempt: &Attempt) -> AttemptView {
    let end = attempt.end.as_ref();
    AttemptView {
        attempt: attempt.number,
        token: Token(attempt.token),
        worker: attempt.claim.worker.clone(),
        claimed_at: WallMs(attempt.claimed_at),
        ended_at: end.map(|end| WallMs(end.at)),
        end: end.map(|end| end.how),
        error: end.and_then(|end| end.error.clone()),
    }
}
