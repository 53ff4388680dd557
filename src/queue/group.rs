//! Groups: at most one job of a group is leased at a time, in add order.

use std::collections::{BTreeMap, BTreeSet};

use super::{GroupName, JobNumber, job::Job};

/// The groups that have unfinished jobs. Derived from the jobs; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Groups(BTreeMap<GroupName, Group>);

/// One group. Its *head*, the first of its unfinished jobs, may be claimed while no other is leased:
/// a head that is delayed, backing off or blocked holds the others back, and a leased job that is no
/// head any more, since a retry put one before it, holds back the head.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    /// In add order.
    unfinished: BTreeSet<JobNumber>,
    /// The one that is leased, if any.
    leased: Option<JobNumber>,
}

impl Groups {
    pub(super) fn enter(&mut self, job: &Job) {
        let Some(name) = job.group().filter(|_| !job.state().is_terminal()) else { return };
        let group = self.0.entry(name.clone()).or_default();
        group.unfinished.insert(job.number);
        if job.lease().is_some() {
            group.leased = Some(job.number);
        }
    }

    pub(super) fn leave(&mut self, job: &Job) {
        let Some(name) = job.group() else { return };
        let Some(group) = self.0.get_mut(name) else { return };
        group.unfinished.remove(&job.number);
        group.leased = group.leased.filter(|leased| *leased != job.number);
        if group.unfinished.is_empty() {
            self.0.remove(name);
        }
    }

    /// The first unfinished job of this group.
    pub(super) fn head(&self, group: &GroupName) -> Option<JobNumber> {
        self.0.get(group)?.head()
    }

    /// Whether its group, if it has one, lets it be claimed.
    pub(super) fn lets(&self, job: &Job) -> bool {
        let lets = |group: &Group| group.head() == Some(job.number) && group.leased.is_none();
        job.group().is_none_or(|name| self.0.get(name).is_some_and(lets))
    }

    /// The heads that a leased job after them holds back.
    pub(super) fn heads_held_back(&self) -> impl Iterator<Item = JobNumber> {
        let held_back = |group: &Group| {
            let leased = group.leased?;
            group.head().filter(|head| *head != leased)
        };
        self.0.values().filter_map(held_back)
    }
}

impl Group {
    fn head(&self) -> Option<JobNumber> {
        self.unfinished.first().copied()
    }
}
