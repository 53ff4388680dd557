//! Groups: at most one job of a group is leased at a time, in add order.

use std::collections::{BTreeMap, BTreeSet};

use super::{GroupName, JobNumber, job::Job};

/// The unfinished jobs of each group, in add order. Only the first, the group's *head*, may be
/// claimed: a head that is leased, delayed, backing off or blocked holds the others back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Groups(BTreeMap<GroupName, BTreeSet<JobNumber>>);

impl Groups {
    pub(super) fn enter(&mut self, job: &Job) {
        if let Some(group) = job.group().filter(|_| !job.state().is_terminal()) {
            self.0.entry(group.clone()).or_default().insert(job.number);
        }
    }

    pub(super) fn leave(&mut self, job: &Job) {
        let Some(group) = job.group() else { return };
        let Some(unfinished) = self.0.get_mut(group) else { return };
        unfinished.remove(&job.number);
        if unfinished.is_empty() {
            self.0.remove(group);
        }
    }

    /// The job of this group that may be claimed.
    pub(super) fn head(&self, group: &GroupName) -> Option<JobNumber> {
        self.0.get(group)?.first().copied()
    }

    /// Whether its group, if it has one, lets it be claimed.
    pub(super) fn lets(&self, job: &Job) -> bool {
        job.group().is_none_or(|group| self.head(group) == Some(job.number))
    }
}
