//! Which queues are held to something. Most are not, and a command that concerns one of those must
//! not pay for the others: it looks whether a set is empty.

use std::collections::BTreeSet;

use super::{ClockMs, QueueName, queues::QueueRecord};

/// Derived from the queues' records; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The queues with `max_jobs` or `max_bytes`.
    pub(super) on_adds: BTreeSet<QueueName>,
    /// The queues with `max_leased` or `rate_per_second`.
    pub(super) on_grants: BTreeSet<QueueName>,
    /// The ends of the windows that are full.
    windows: BTreeSet<(ClockMs, QueueName)>,
    /// The queues with purged jobs that are not cleared.
    pub(super) purging: BTreeSet<QueueName>,
}

impl Bounds {
    /// A record has come, or has been edited.
    pub(super) fn enter(&mut self, record: &QueueRecord) {
        let (name, settings) = (&record.name, &record.settings);
        if settings.max_jobs.is_some() || settings.max_bytes.is_some() {
            self.on_adds.insert(name.clone());
        }
        if settings.max_leased.is_some() || settings.rate_per_second.is_some() {
            self.on_grants.insert(name.clone());
        }
        if let Some(ends_at) = record.full_until() {
            self.windows.insert((ends_at, name.clone()));
        }
        if !record.purges.is_empty() {
            self.purging.insert(name.clone());
        }
    }

    /// A record is about to go, or to be edited.
    pub(super) fn leave(&mut self, record: &QueueRecord) {
        let name = &record.name;
        self.on_adds.remove(name);
        self.on_grants.remove(name);
        self.purging.remove(name);
        if let Some(ends_at) = record.full_until() {
            self.windows.remove(&(ends_at, name.clone()));
        }
    }

    /// When the first full window ends.
    pub(super) fn next_window(&self) -> Option<ClockMs> {
        self.windows.first().map(|first| first.0)
    }

    /// The first queue whose full window has ended.
    pub(super) fn window_over(&self, clock: ClockMs) -> Option<&QueueName> {
        self.windows.first().filter(|first| first.0 <= clock).map(|first| &first.1)
    }
}
