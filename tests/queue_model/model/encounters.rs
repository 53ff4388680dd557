//! What a run has come across that no answer shows: agreement about it would say nothing otherwise.

use quorate::queue::{Action, Command, JobId, Operation, QueueName};

use super::{Job, Model};

impl Model {
    pub(super) fn encounter(&mut self, what: &'static str) {
        *self.encounters.entry(what).or_default() += 1;
    }

    /// A grant has closed its queue, and a claim that wants more leaves ready jobs there.
    pub(super) fn note_closing_of(&mut self, queue: &QueueName) {
        let is_left = |at: usize| self.jobs[at].new.queue == *queue && self.is_ready(at);
        if !self.is_open(queue) && (0..self.jobs.len()).any(is_left) {
            let by_rate = self.settings(queue).rate_per_second.is_some();
            self.encounter(if by_rate { "closed by its rate" } else { "closed by max_leased" });
        }
    }

    /// Jobs that were purged and are not cleared, met by a call.
    pub(super) fn note_purged_jobs_met_by(&mut self, command: &Command) {
        let is_purged =
            |id: &JobId| self.place_of(id).is_some_and(|at| self.jobs[at].purge.is_some());
        let (is_met, what) = match command {
            Command::Add(add) => {
                let depends = |job: &quorate::queue::NewJob| job.depends_on.iter().any(is_purged);
                if add.jobs.iter().any(depends) {
                    (true, "purged met by a new dependant")
                } else {
                    (add.jobs.iter().any(|job| is_purged(&job.id)), "purged met by add")
                }
            }
            Command::Claim(claim) => {
                let asked = |job: &&Job| job.attempts.iter().any(|attempt| attempt.claim == *claim);
                let mut asked = self.jobs.iter().filter(asked);
                (asked.any(|job| job.purge.is_some()), "purged met by a repeated claim")
            }
            Command::Start(holding) => (is_purged(&holding.job), "purged met by start"),
            Command::Heartbeat(heartbeat) => {
                let mut items = heartbeat.items.iter();
                (items.any(|beat| is_purged(&beat.holding.job)), "purged met by heartbeat")
            }
            Command::Complete(it) => (is_purged(&it.holding.job), "purged met by complete"),
            Command::Fail(fail) => (is_purged(&fail.holding.job), "purged met by fail"),
            Command::Release(it) => (is_purged(&it.holding.job), "purged met by release"),
            Command::Cancel(cancel) => (is_purged(&cancel.job), "purged met by cancel"),
            Command::Operate(operation) => self.purged_met_by(operation),
            Command::WorkerDown(_) => (false, ""), // its jobs are met one by one
        };
        if is_met {
            self.encounter(what);
        }
    }

    fn purged_met_by(&self, operation: &Operation) -> (bool, &'static str) {
        let is_purged_in = |queue: &QueueName| {
            self.jobs.iter().any(|job| job.new.queue == *queue && job.purge.is_some())
        };
        match &operation.action {
            Action::RetryJob(id) => {
                let at = self.place_of(id);
                let is_purged = at.is_some_and(|at| self.jobs[at].purge.is_some());
                (is_purged, "purged met by retry of one")
            }
            Action::RetryJobs(it) => (is_purged_in(&it.queue), "purged met by retry of many"),
            Action::PurgeQueue(queue) => (is_purged_in(queue), "purged met by purge"),
            Action::DeleteQueue(queue) => (is_purged_in(queue), "purged met by delete"),
            Action::SetQueue(_) | Action::PauseQueue { .. } | Action::DrainWorker { .. } => {
                (false, "")
            }
        }
    }
}
