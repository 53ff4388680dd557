//! What queues are held to.

use std::collections::BTreeSet;

use quorate::queue::{
    Answer, Change, Once, Patch, QueueName, QueueSettings, Rejection, SetQueue, WorkType,
};

use super::{Job, Model, invalid};

pub(crate) struct Queue {
    pub(crate) name: QueueName,
    /// Else it was deleted, and some jobs of it are left.
    pub(crate) exists: bool,
    pub(crate) settings: QueueSettings,
    /// (when it ends, how many grants it has seen)
    pub(crate) window: Option<(u64, u32)>,
}

const COUNT_MAX: u64 = (1 << 53) - 1;

impl Queue {
    fn is_window_full(&self) -> bool {
        match (self.settings.rate_per_second, self.window) {
            (Some(rate), Some((_, granted))) => granted >= rate,
            _ => false,
        }
    }
}

impl Model {
    /// Its record, whether it exists or not.
    pub(super) fn record(&self, name: &QueueName) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.name == *name)
    }

    fn record_mut(&mut self, name: &QueueName) -> &mut Queue {
        self.queues.iter_mut().find(|queue| queue.name == *name).unwrap()
    }

    pub(super) fn existing(&self, name: &QueueName) -> Result<&Queue, Rejection> {
        let record = self.record(name).filter(|queue| queue.exists);
        record.ok_or_else(|| Rejection::QueueNotFound { queue: name.clone() })
    }

    pub(super) fn settings(&self, name: &QueueName) -> QueueSettings {
        self.record(name).map(|queue| queue.settings.clone()).unwrap_or_default()
    }

    /// Makes or revives it if need be, and says whether.
    pub(super) fn ensure(&mut self, name: &QueueName) -> bool {
        if self.existing(name).is_ok() {
            return false;
        }
        self.queues.retain(|queue| queue.name != *name);
        self.queues.push(Queue {
            name: name.clone(),
            exists: true,
            settings: QueueSettings::default(),
            window: None,
        });
        true
    }

    pub(super) fn unfinished_in(&self, name: &QueueName) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(move |job| job.new.queue == *name && job.is_unfinished())
    }

    pub(super) fn bytes_in(&self, name: &QueueName) -> u64 {
        self.unfinished_in(name).map(|job| job.new.payload.bytes.len() as u64).sum()
    }

    /// Whether so much more may wait in it.
    pub(super) fn room(&self, name: &QueueName, jobs: u64, bytes: u64) -> Result<(), Rejection> {
        let settings = self.settings(name);
        let full = |limit: u64, of: &str| {
            Err(Rejection::Full {
                reason: format!("queue {name} may have {limit} {of}").into(),
                retry_after_ms: 1000,
            })
        };
        let (jobs, bytes) =
            (self.unfinished_in(name).count() as u64 + jobs, self.bytes_in(name) + bytes);
        match (settings.max_jobs, settings.max_bytes) {
            (Some(limit), _) if jobs > limit => full(limit, "unfinished jobs"),
            (_, Some(limit)) if bytes > limit => full(limit, "payload bytes of unfinished jobs"),
            _ => Ok(()),
        }
    }

    /// Whether claims may be granted its jobs now.
    pub(super) fn is_open(&self, name: &QueueName) -> bool {
        let Some(queue) = self.record(name) else { return true };
        let leased = self.jobs.iter().filter(|job| job.new.queue == *name && job.is_leased());
        !queue.settings.is_paused
            && queue.settings.max_leased.is_none_or(|limit| (leased.count() as u64) < limit)
            && !queue.is_window_full()
    }

    pub(super) fn count_grant(&mut self, name: &QueueName) {
        let clock = self.clock;
        let queue = self.record_mut(name);
        if queue.settings.rate_per_second.is_some() {
            queue.window = Some(match queue.window {
                Some((ends_at, granted)) if clock < ends_at => (ends_at, granted + 1),
                _ => (clock + 1000, 1),
            });
        }
    }

    /// Of the full ones: (when it ends, whose)
    pub(super) fn next_window_over(&self) -> Option<(u64, QueueName)> {
        let full = self.queues.iter().filter(|queue| queue.is_window_full());
        full.map(|queue| (queue.window.unwrap().0, queue.name.clone())).min()
    }

    pub(super) fn one_window_over(&mut self) -> bool {
        let Some((ends_at, queue)) = self.next_window_over() else { return false };
        if ends_at > self.clock {
            return false;
        }
        self.alter(&queue, |queue| queue.window = None);
        true
    }

    /// Kinds of the ready jobs of a queue.
    fn lanes(&self, name: &QueueName) -> BTreeSet<WorkType> {
        let places = (0..self.jobs.len()).filter(|at| self.jobs[*at].new.queue == *name);
        let ready = places.filter(|at| self.is_ready(*at));
        ready.map(|at| self.jobs[at].new.work_type.clone()).collect()
    }

    pub(super) fn say_lanes_ready(&mut self, queue: &QueueName) {
        for work_type in self.lanes(queue) {
            self.changes.push(Change::Ready { queue: queue.clone(), work_type });
        }
    }

    fn alter(&mut self, name: &QueueName, edit: impl FnOnce(&mut Queue)) {
        let was_open = self.is_open(name);
        edit(self.record_mut(name));
        if !was_open && self.is_open(name) && !self.lanes(name).is_empty() {
            self.changes.push(Change::Opened { queue: name.clone() });
        }
    }

    pub(super) fn set_queue(&mut self, set: &SetQueue) -> Result<Answer, Rejection> {
        in_range("max_jobs", set.max_jobs, 1, COUNT_MAX)?;
        in_range("max_bytes", set.max_bytes, 1, COUNT_MAX)?;
        in_range("default_lease_ms", set.default_lease_ms, 100, 43_200_000)?;
        in_range("max_attempts", set.max_attempts, 1, 1000)?;
        in_range("max_leased", set.max_leased, 1, COUNT_MAX)?;
        in_range("rate_per_second", set.rate_per_second, 1, 1_000_000)?;
        let is_new = self.ensure(&set.queue);
        let before = self.settings(&set.queue);
        let after = QueueSettings {
            is_paused: set.is_paused.unwrap_or(before.is_paused),
            max_jobs: patched(set.max_jobs, before.max_jobs),
            max_bytes: patched(set.max_bytes, before.max_bytes),
            default_lease_ms: patched(set.default_lease_ms, before.default_lease_ms),
            max_attempts: patched(set.max_attempts, before.max_attempts),
            max_leased: patched(set.max_leased, before.max_leased),
            rate_per_second: patched(set.rate_per_second, before.rate_per_second),
        };
        if is_new || after != before {
            self.rev += 1;
        }
        self.alter(&set.queue, |queue| {
            if after.rate_per_second != before.rate_per_second {
                queue.window = None;
            }
            queue.settings = after;
        });
        Ok(Answer::QueueSet { once: Once::First, is_new })
    }

    pub(super) fn pause(&mut self, name: &QueueName, pauses: bool) -> Result<Answer, Rejection> {
        if self.existing(name)?.settings.is_paused != pauses {
            self.rev += 1;
        }
        self.alter(name, |queue| queue.settings.is_paused = pauses);
        Ok(Answer::QueueSet { once: Once::First, is_new: false })
    }

    pub(super) fn delete(&mut self, name: &QueueName) -> Result<Answer, Rejection> {
        self.existing(name)?;
        let unfinished = self.unfinished_in(name).count() as u64;
        if unfinished > 0 {
            return Err(Rejection::QueueNotEmpty { queue: name.clone(), unfinished });
        }
        self.rev += 1;
        let queue = self.record_mut(name);
        queue.exists = false;
        queue.settings = QueueSettings::default();
        queue.window = None;
        self.drop_deleted_queues_without_jobs();
        Ok(Answer::QueueDeleted(Once::First))
    }

    pub(super) fn drop_deleted_queues_without_jobs(&mut self) {
        let jobs = &self.jobs;
        let has_jobs = |queue: &Queue| jobs.iter().any(|job| job.new.queue == queue.name);
        self.queues.retain(|queue| queue.exists || has_jobs(queue));
    }
}

fn patched<T>(patch: Patch<T>, before: Option<T>) -> Option<T> {
    match patch {
        Patch::Keep => before,
        Patch::Clear => None,
        Patch::Set(value) => Some(value),
    }
}

fn in_range<T: Into<u64>>(
    field: &str,
    patch: Patch<T>,
    least: u64,
    greatest: u64,
) -> Result<(), Rejection> {
    match patched(patch, None).map(Into::into) {
        Some(value) if value < least || value > greatest => {
            Err(invalid(0, field, &format!("must be {least} to {greatest}")))
        }
        _ => Ok(()),
    }
}
