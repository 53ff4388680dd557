//! Queues: what each is held to, and whether claims are granted its jobs now.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{
    Answer, Change, ClockMs, LEASE_MS_MAX, LEASE_MS_MIN, MAX_ATTEMPTS_MAX, Once, Patch, QueueName,
    RATE_MAX, Rejection, SetQueue, State, purge::Purge,
};

/// What is kept of a queue. Opaque outside the rules: [`super::QueueView`] is what others see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    pub(super) name: QueueName,
    /// `false`: it was deleted, and stands here only while finished jobs of it are kept.
    pub(super) exists: bool,
    pub(super) settings: QueueSettings,
    /// The purges whose jobs are not all cleared away, oldest first.
    pub(super) purges: Vec<Purge>,
    /// The second that its rate counts in; `None`: none has begun.
    pub(super) window: Option<Window>,
}

/// What a queue is held to. `None` is no limit, or the default of all queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Whether claims pass it over.
    pub is_paused: bool,
    /// The most unfinished jobs; an add beyond is refused.
    pub max_jobs: Option<u64>,
    /// The most payload bytes of unfinished jobs; an add beyond is refused.
    pub max_bytes: Option<u64>,
    /// The lease of its jobs that name none, ms.
    pub default_lease_ms: Option<u64>,
    /// The attempts of its jobs that name no number.
    pub max_attempts: Option<u32>,
    /// The most leased jobs; a claim beyond finds nothing.
    pub max_leased: Option<u64>,
    /// The most grants within a second that begins with one; a claim beyond finds nothing.
    pub rate_per_second: Option<u32>,
}

/// One second of a queue's rate. It begins with a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) ends_at: ClockMs,
    pub(super) granted: u32,
}

/// How long a window is, ms.
const WINDOW_MS: u64 = 1_000;
/// The greatest limit: numbers beyond are not exact in JSON.
const LIMIT_MAX: u64 = (1 << 53) - 1;

/// What a queue may still take.
pub(super) struct Room<'state> {
    queue: &'state QueueName,
    /// `None`: it takes whatever comes, and nothing is counted.
    settings: Option<&'state QueueSettings>,
    unfinished: u64,
    bytes: u64,
}

impl QueueRecord {
    /// A queue that nothing was said about.
    pub(super) fn new(name: QueueName) -> Self {
        Self {
            name,
            exists: true,
            settings: QueueSettings::default(),
            purges: Vec::new(),
            window: None,
        }
    }

    /// Until when its rate allows no more grants. A full window holds until its end is applied.
    pub(super) fn full_until(&self) -> Option<ClockMs> {
        let (window, rate) = self.window.zip(self.settings.rate_per_second)?;
        (window.granted >= rate).then_some(window.ends_at)
    }

    /// Whether claims may be granted its jobs while it has this many leased.
    pub(super) fn is_open(&self, leased: u64) -> bool {
        !self.settings.is_paused
            && self.settings.max_leased.is_none_or(|max_leased| leased < max_leased)
            && self.full_until().is_none()
    }

    /// Counts a grant for its rate.
    pub(super) fn count_grant(&mut self, clock: ClockMs) {
        if self.settings.rate_per_second.is_none() {
            return;
        }
        self.window = Some(match self.window {
            Some(window) if clock < window.ends_at => {
                Window { granted: window.granted.saturating_add(1), ..window }
            }
            _ => Window { ends_at: clock.after(WINDOW_MS), granted: 1 },
        });
    }

    fn change(&mut self, set: &SetQueue) {
        let settings = &mut self.settings;
        let rate = settings.rate_per_second;
        settings.is_paused = set.is_paused.unwrap_or(settings.is_paused);
        set.max_jobs.apply(&mut settings.max_jobs);
        set.max_bytes.apply(&mut settings.max_bytes);
        set.default_lease_ms.apply(&mut settings.default_lease_ms);
        set.max_attempts.apply(&mut settings.max_attempts);
        set.max_leased.apply(&mut settings.max_leased);
        set.rate_per_second.apply(&mut settings.rate_per_second);
        if settings.rate_per_second != rate {
            self.window = None;
        }
    }
}

impl Room<'_> {
    /// Takes the room of one job; [`Rejection::Full`] when there is none, and nothing is taken.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Rejection> {
        self.take_all(1, bytes)
    }

    /// Takes the room of jobs with so many payload bytes together.
    pub(super) fn take_all(&mut self, jobs: u64, bytes: u64) -> Result<(), Rejection> {
        let Some(settings) = self.settings else { return Ok(()) };
        let unfinished = self.unfinished.saturating_add(jobs);
        let bytes = self.bytes.saturating_add(bytes);
        let queue = self.queue;
        if let Some(limit) = settings.max_jobs.filter(|limit| unfinished > *limit) {
            return Err(full(format!("queue {queue} may have {limit} unfinished jobs")));
        }
        if let Some(limit) = settings.max_bytes.filter(|limit| bytes > *limit) {
            let what = "payload bytes of unfinished jobs";
            return Err(full(format!("queue {queue} may have {limit} {what}")));
        }
        (self.unfinished, self.bytes) = (unfinished, bytes);
        Ok(())
    }
}

impl State {
    pub(super) fn set_queue(
        &mut self,
        set: &SetQueue,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        check_ranges(set)?;
        let queue = &set.queue;
        let is_new = self.make_queue(queue);
        let before = self.queues.get(queue).map(|record| record.settings.clone());
        let has_opened = self.edit_queue(queue, |record| record.change(set));
        let after = self.queues.get(queue).map(|record| &record.settings);
        if is_new || before.as_ref() != after {
            self.rev.0 += 1;
        }
        changes.extend(has_opened.then(|| Change::Opened { queue: queue.clone() }));
        Ok(Answer::QueueSet { once: Once::First, is_new })
    }

    pub(super) fn pause_queue(
        &mut self,
        queue: &QueueName,
        is_paused: bool,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        if self.existing(queue)?.settings.is_paused != is_paused {
            let has_opened = self.edit_queue(queue, |record| record.settings.is_paused = is_paused);
            self.rev.0 += 1;
            changes.extend(has_opened.then(|| Change::Opened { queue: queue.clone() }));
        }
        Ok(Answer::QueueSet { once: Once::First, is_new: false })
    }

    pub(super) fn delete_queue(&mut self, queue: &QueueName) -> Result<Answer, Rejection> {
        self.existing(queue)?;
        let unfinished = self.indexes.counts.of(queue).unfinished();
        if unfinished > 0 {
            return Err(Rejection::QueueNotEmpty { queue: queue.clone(), unfinished });
        }
        self.edit_queue(queue, |record| {
            record.exists = false;
            record.settings = QueueSettings::default();
            record.window = None;
        });
        self.rev.0 += 1;
        self.drop_if_gone(queue);
        Ok(Answer::QueueDeleted(Once::First))
    }

    /// Forgets a deleted queue that has no jobs any more.
    pub(super) fn drop_if_gone(&mut self, queue: &QueueName) {
        let has_jobs = self.indexes.counts.queues.contains_key(queue);
        if !has_jobs && self.record_of(queue).is_none() {
            self.queues.remove(queue);
        }
    }

    /// The record of a queue that exists.
    pub(super) fn existing(&self, queue: &QueueName) -> Result<&QueueRecord, Rejection> {
        self.record_of(queue).ok_or_else(|| Rejection::QueueNotFound { queue: queue.clone() })
    }

    fn record_of(&self, queue: &QueueName) -> Option<&QueueRecord> {
        self.queues.get(queue).filter(|record| record.exists)
    }

    /// Makes a queue, or a deleted one anew. Whether it did not exist.
    pub(super) fn make_queue(&mut self, queue: &QueueName) -> bool {
        if self.record_of(queue).is_some() {
            return false;
        }
        if self.queues.contains_key(queue) {
            self.edit_queue(queue, |record| record.exists = true);
        } else {
            self.queues.insert(queue.clone(), QueueRecord::new(queue.clone()));
        }
        true
    }

    /// Edits the record of a queue. There is no other way to: here the indexes follow it. Whether
    /// ready jobs of it may be claimed now that could not before.
    pub(super) fn edit_queue(
        &mut self,
        queue: &QueueName,
        edit: impl FnOnce(&mut QueueRecord),
    ) -> bool {
        let record = self.queues.get_mut(queue).expect("whoever edits a queue has looked it up");
        self.indexes.bounds.leave(record);
        edit(record);
        self.indexes.bounds.enter(record);
        self.open_or_close(queue)
    }

    /// What a queue may still take.
    pub(super) fn room<'state>(&'state self, queue: &'state QueueName) -> Room<'state> {
        let mut room = Room { queue, settings: None, unfinished: 0, bytes: 0 };
        if self.indexes.bounds.on_adds.contains(queue) {
            room.settings = self.queues.get(queue).map(|record| &record.settings);
            room.unfinished = self.indexes.counts.of(queue).unfinished();
            room.bytes = self.indexes.counts.bytes_of(queue);
        }
        room
    }
}

/// Soon enough to try again when a queue is full: workers may finish jobs at any time.
const FULL_RETRY_MS: u64 = 1_000;

fn full(reason: String) -> Rejection {
    Rejection::Full { reason: reason.into(), retry_after_ms: FULL_RETRY_MS }
}

fn check_ranges(set: &SetQueue) -> Result<(), Rejection> {
    check_range("max_jobs", set.max_jobs, 1..=LIMIT_MAX)?;
    check_range("max_bytes", set.max_bytes, 1..=LIMIT_MAX)?;
    check_range("default_lease_ms", set.default_lease_ms, LEASE_MS_MIN..=LEASE_MS_MAX)?;
    check_range("max_attempts", set.max_attempts, 1..=MAX_ATTEMPTS_MAX)?;
    check_range("max_leased", set.max_leased, 1..=LIMIT_MAX)?;
    check_range("rate_per_second", set.rate_per_second, 1..=RATE_MAX)
}

fn check_range<T: Into<u64>>(
    field: &str,
    patch: Patch<T>,
    range: RangeInclusive<T>,
) -> Result<(), Rejection> {
    let Patch::Set(value) = patch else { return Ok(()) };
    let (min, max) = range.into_inner();
    let (value, min, max) = (value.into(), min.into(), max.into());
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let reason = format!("must be {min} to {max}").into();
    Err(Rejection::Invalid { index: 0, field: field.into(), reason })
}

#[cfg(test)]
mod tests;
