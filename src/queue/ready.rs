//! Which job is next: the ready jobs, in the order of claims.
//!
//! A *lane* holds the ready jobs of one queue and one kind. Above the lanes stand only their heads,
//! by queue, by kind and all together, so that a claim reads the first of a few small sets and its
//! cost does not depend on jobs of other kinds. A queue that must not be served leaves by taking
//! its heads out of the sets above; its lanes stay as they are.

use std::collections::BTreeSet;

use super::{
    Claim, QueueName, WorkType,
    by_name::ByName,
    job::{Job, Rank},
};

/// The ready jobs. Derived from the jobs; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    /// The heads of all lanes.
    heads: BTreeSet<Rank>,
    /// The heads of the lanes of one kind, across queues.
    heads_by_type: ByName<WorkType, BTreeSet<Rank>>,
    queues: ByName<QueueName, Lanes>,
    /// The queues that must not be served, whether they have lanes or not.
    closed: BTreeSet<QueueName>,
}

/// The lanes of one queue. None is empty.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lanes {
    heads: BTreeSet<Rank>,
    by_type: ByName<WorkType, BTreeSet<Rank>>,
}

impl Ready {
    /// The job that a claim is granted next.
    pub(super) fn next(&self, claim: &Claim) -> Option<Rank> {
        let types = &claim.work_types;
        if claim.queues.is_empty() {
            return best(&self.heads, &self.heads_by_type, types);
        }
        let open = claim.queues.iter().filter(|queue| self.is_open(queue));
        let mut listed = open.filter_map(|queue| self.queues.get(queue));
        listed.find_map(|lanes| best(&lanes.heads, &lanes.by_type, types))
    }

    /// Whether it was not there before.
    pub(super) fn insert(&mut self, job: &Job) -> bool {
        let rank = job.rank();
        let lanes = self.queues.get_or_default(&job.queue);
        let lane = lanes.by_type.get_or_default(&job.work_type);
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

    pub(super) fn is_open(&self, queue: &QueueName) -> bool {
        !self.closed.contains(queue)
    }

    /// Lets a queue be served, or not. It costs as much as the queue has lanes; nothing when that is
    /// so already.
    pub(super) fn set_open(&mut self, queue: &QueueName, is_open: bool) {
        let has_changed =
            if is_open { self.closed.remove(queue) } else { self.closed.insert(queue.clone()) };
        let Some(lanes) = self.queues.get(queue).filter(|_| has_changed) else { return };
        for (work_type, lane) in lanes.by_type.iter() {
            let head = lane.first().copied();
            let (old, new) = if is_open { (None, head) } else { (head, None) };
            replace_above(&mut self.heads, &mut self.heads_by_type, work_type, old, new);
        }
    }

    /// The kinds of the ready jobs of a queue.
    pub(super) fn lanes(&self, queue: &QueueName) -> impl Iterator<Item = &WorkType> {
        self.queues.get(queue).into_iter().flat_map(|lanes| lanes.by_type.keys())
    }

    /// Takes a queue's lanes away, all at once.
    pub(super) fn take(&mut self, queue: &QueueName) -> impl Iterator<Item = BTreeSet<Rank>> {
        let lanes = self.queues.remove(queue).unwrap_or_default();
        if self.is_open(queue) {
            for (work_type, lane) in lanes.by_type.iter() {
                let head = lane.first().copied();
                replace_above(&mut self.heads, &mut self.heads_by_type, work_type, head, None);
            }
        }
        lanes.by_type.into_values()
    }

    /// Tells the sets above a lane that its head has changed.
    fn replace_head(&mut self, job: &Job, old: Option<Rank>, new: Option<Rank>) {
        if self.is_open(&job.queue) {
            replace_above(&mut self.heads, &mut self.heads_by_type, &job.work_type, old, new);
        }
        let Some(lanes) = self.queues.get_mut(&job.queue) else { return };
        replace(&mut lanes.heads, old, new);
        if lanes.heads.is_empty() {
            self.queues.remove(&job.queue);
        }
    }
}

/// Tells the sets above the queues that the head of a lane has changed.
fn replace_above(
    heads: &mut BTreeSet<Rank>,
    by_type: &mut ByName<WorkType, BTreeSet<Rank>>,
    work_type: &WorkType,
    old: Option<Rank>,
    new: Option<Rank>,
) {
    replace(heads, old, new);
    // Looked up once where it is known, as at each grant: there may be very many kinds.
    match by_type.get_mut(work_type) {
        Some(of_type) => {
            replace(of_type, old, new);
            if of_type.is_empty() {
                by_type.remove(work_type);
            }
        }
        None => {
            if let Some(new) = new {
                by_type.get_or_default(work_type).insert(new);
            }
        }
    }
}

/// The first of the lanes of these kinds; of all when none is named.
fn best(
    heads: &BTreeSet<Rank>,
    by_type: &ByName<WorkType, BTreeSet<Rank>>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::state::tests::{Bench, job_in};

    #[test]
    fn lanes_of_a_queue_are_handed_out_whole_so_that_they_can_be_freed_piece_by_piece() {
        let mut bench = Bench::new();
        for (id, queue, work_type) in
            [("1", "a", "x"), ("2", "a", "y"), ("3", "a", "x"), ("4", "b", "x")]
        {
            bench.add(job_in(id, queue, work_type, 50)).unwrap();
        }
        let queue = QueueName::parse("a").unwrap();
        let taken: Vec<_> = bench.state.indexes.ready.take(&queue).map(|lane| lane.len()).collect();
        assert_eq!(taken, [2, 1]);
        assert_eq!(bench.state.indexes.ready.heads.len(), 1, "that of the other queue");
    }
}
