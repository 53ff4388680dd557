//! Which job is next: the ready jobs, in the order of claims.
//!
//! A *lane* holds the ready jobs of one queue and one kind. Above the lanes stand only their heads,
//! by queue, by kind and all together, so that a claim reads the first of a few small sets and its
//! cost does not depend on jobs of other kinds. A queue that must not be served leaves by taking
//! its heads out of the sets above; its lanes stay as they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Claim, QueueName, WorkType,
    job::{Job, Rank},
};

/// The ready jobs. Derived from the jobs; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    /// The heads of all lanes.
    heads: BTreeSet<Rank>,
    /// The heads of the lanes of one kind, across queues.
    heads_by_type: BTreeMap<WorkType, BTreeSet<Rank>>,
    queues: BTreeMap<QueueName, Lanes>,
}

/// The lanes of one queue. None is empty.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lanes {
    heads: BTreeSet<Rank>,
    by_type: BTreeMap<WorkType, BTreeSet<Rank>>,
}

impl Ready {
    /// The job that a claim is granted next.
    pub(super) fn next(&self, claim: &Claim) -> Option<Rank> {
        let types = &claim.work_types;
        if claim.queues.is_empty() {
            return best(&self.heads, &self.heads_by_type, types);
        }
        let mut listed = claim.queues.iter().filter_map(|queue| self.queues.get(queue));
        listed.find_map(|lanes| best(&lanes.heads, &lanes.by_type, types))
    }

    /// Whether it was not there before.
    pub(super) fn insert(&mut self, job: &Job) -> bool {
        let rank = job.rank();
        let lanes = entry(&mut self.queues, &job.queue);
        let lane = entry(&mut lanes.by_type, &job.work_type);
        let head = lane.first().copied();
        let is_new = lane.insert(rank);
        if head.is_none_or(|head| rank < head) {
            self.replace_head(job, head, Some(rank));
        }
        is_new
    }

    pub(super) fn remove(&mut self, job: &Job) {
        let rank = job.rank();
        let Some(lanes) = self.queues.get_mut(&job.queue) else { return };
        let Some(lane) = lanes.by_type.get_mut(&job.work_type) else { return };
        let head = lane.first().copied();
        lane.remove(&rank);
        let next = lane.first().copied();
        if next.is_none() {
            lanes.by_type.remove(&job.work_type);
        }
        if head != next {
            self.replace_head(job, head, next);
        }
    }

    /// Tells the sets above a lane that its head has changed.
    fn replace_head(&mut self, job: &Job, old: Option<Rank>, new: Option<Rank>) {
        replace(&mut self.heads, old, new);
        let of_type = entry(&mut self.heads_by_type, &job.work_type);
        replace(of_type, old, new);
        if of_type.is_empty() {
            self.heads_by_type.remove(&job.work_type);
        }
        let lanes = entry(&mut self.queues, &job.queue);
        replace(&mut lanes.heads, old, new);
        if lanes.heads.is_empty() {
            self.queues.remove(&job.queue);
        }
    }
}

/// The first of the lanes of these kinds; of all when none is named.
fn best(
    heads: &BTreeSet<Rank>,
    by_type: &BTreeMap<WorkType, BTreeSet<Rank>>,
    types: &[WorkType],
) -> Option<Rank> {
    if types.is_empty() {
        return heads.first().copied();
    }
    types.iter().filter_map(|work_type| by_type.get(work_type)?.first().copied()).min()
}

fn replace(heads: &mut BTreeSet<Rank>, old: Option<Rank>, new: Option<Rank>) {
    if let Some(old) = old {
        heads.remove(&old);
    }
    heads.extend(new);
}

/// The value under a key, made when there is none; the key is cloned only then.
fn entry<'map, K: Ord + Clone, V: Default>(map: &'map mut BTreeMap<K, V>, key: &K) -> &'map mut V {
    if !map.contains_key(key) {
        map.insert(key.clone(), V::default());
    }
    map.get_mut(key).expect("it is there: looked up or inserted just now")
}
