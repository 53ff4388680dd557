//! Everything that can be told from the rest of the state, kept so that nothing is searched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::OrdMap;

use super::{
    Claim, JobId, JobNumber, QueueName, QueueRecord, RequestId, State, Token, WorkerId,
    bounds::Bounds,
    chain,
    counts::Counts,
    dependency::Dependents,
    garbage::Garbage,
    group::Groups,
    job::{Attempt, Job, Phase},
    operation::Memories,
    ready::Ready,
    session::Sessions,
    timers::Timers,
    tombstone::{Tombstone, TombstoneNumber},
    workers::Sightings,
};

/// The indexes. Never stored: [`Indexes::of`] makes them anew, and `invariants` compares.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes {
    pub(super) ids: BTreeMap<JobId, Place>,
    pub(super) ready: Ready,
    pub(super) timers: Timers,
    pub(super) counts: Counts,
    pub(super) dependents: Dependents,
    pub(super) groups: Groups,
    pub(super) bounds: Bounds,
    pub(super) memories: Memories,
    pub(super) sightings: Sightings,
    /// What each worker holds, the oldest grant first.
    pub(super) holders: BTreeMap<WorkerId, BTreeSet<(Token, JobNumber)>>,
    pub(super) sessions: Sessions,
    /// Which grants answered which claim, in the order of the grants. The key is a hint: whoever
    /// looks compares the attempt's worker and request id.
    claims: BTreeSet<(ClaimKey, Token, JobNumber)>,
    pub(super) garbage: Garbage,
}

/// Stands for a claim's worker and request id: the first bytes of the request id, then a hash of
/// both. Ids that begin with their time, as ours do, so lie together, and a claim touches memory
/// that the one before it touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ClaimKey([u8; 8], u64);

/// Where a job of some id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Among the jobs.
    Job(JobNumber),
    /// Gone; this is what is left.
    Tombstone(TombstoneNumber),
}

impl Indexes {
    /// The indexes of what a state holds.
    pub(super) fn of(state: &State) -> Self {
        let mut indexes = Self::default();
        for queue in state.queues.values() {
            indexes.bounds.enter(queue);
        }
        for job in state.jobs.values() {
            indexes.add(job, state.queues.get(&job.queue));
        }
        for (number, tombstone) in &state.tombstones {
            indexes.inter(tombstone, *number);
        }
        for worker in state.workers.values() {
            indexes.sightings.enter(worker);
            indexes.sessions.follow(&worker.id, worker.session);
        }
        for remembered in state.memory.values() {
            indexes.memories.enter(remembered);
        }
        indexes.link(&state.jobs);
        indexes.close(&state.queues);
        indexes
    }

    /// Finds the queues that are not to be served: only when all jobs are there.
    pub(super) fn close(&mut self, queues: &OrdMap<QueueName, QueueRecord>) {
        for (name, record) in queues {
            let is_open = record.is_open(self.counts.of(name).leased());
            self.ready.set_open(name, is_open);
        }
    }

    /// Finds the dependencies that have ended and that jobs wait for, and the heads of groups that a
    /// later job holds back: only when all are there.
    pub(super) fn link(&mut self, jobs: &OrdMap<JobNumber, Arc<Job>>) {
        let has_ended = |id: &JobId| match self.ids.get(id) {
            Some(Place::Job(number)) => {
                jobs.get(number).is_some_and(|job| job.state().is_terminal())
            }
            Some(Place::Tombstone(_)) | None => true,
        };
        let mut ended = self.dependents.awaited();
        ended.retain(has_ended);
        for id in &ended {
            self.dependents.on_end(id);
        }
        for head in self.groups.heads_held_back() {
            if let Some(job) = jobs.get(&head) {
                self.ready.remove(job);
            }
        }
    }

    /// A job has come into the state, into a queue that may have purged it.
    pub(super) fn add(&mut self, job: &Job, queue: Option<&QueueRecord>) {
        self.ids.insert(job.id.clone(), Place::Job(job.number));
        self.counts.add(job);
        let purge = queue.and_then(|queue| queue.purge_of(job.number));
        if let Some(place) = purge.filter(|_| !job.state().is_terminal()) {
            self.counts.enter_purged(job, place);
            self.enter_order(job);
        } else {
            self.enter(job);
        }
        for attempt in &job.attempts {
            let key = ClaimKey::of(&attempt.worker, &attempt.request_id);
            self.claims.insert((key, attempt.token, job.number));
        }
    }

    /// A tombstone has come into the state from elsewhere.
    pub(super) fn inter(&mut self, tombstone: &Tombstone, number: TombstoneNumber) {
        self.ids.insert(tombstone.id.clone(), Place::Tombstone(number));
    }

    /// A finished job leaves the state for its tombstone.
    pub(super) fn bury(&mut self, job: &Job, tombstone: TombstoneNumber) {
        self.ids.insert(job.id.clone(), Place::Tombstone(tombstone));
        self.leave(job);
        self.counts.remove(job);
        for attempt in &job.attempts {
            self.forget(job.number, attempt);
        }
    }

    /// A job has come into its phase.
    pub(super) fn enter(&mut self, job: &Job) {
        self.counts.enter(job);
        self.enter_order(job);
        if self.is_ready(job) {
            self.ready.insert(job);
        }
    }

    /// What a purge of the job leaves as it is until the job is cleared.
    fn enter_order(&mut self, job: &Job) {
        self.timers.enter(job);
        self.dependents.enter(job);
        self.groups.enter(job);
        if let Some((holder, lease)) = job.holder().zip(job.lease()) {
            self.sessions.enter(holder, lease, job.number);
            let grant = (lease.token, job.number);
            match self.holders.get_mut(holder) {
                Some(held) => {
                    held.insert(grant);
                }
                None => {
                    self.holders.insert(holder.clone(), BTreeSet::from([grant]));
                }
            }
        }
    }

    /// A job is about to leave its phase.
    pub(super) fn leave(&mut self, job: &Job) {
        self.counts.leave(job);
        self.timers.leave(job);
        self.dependents.leave(job);
        self.groups.leave(job);
        if job.phase == Phase::Pending {
            self.ready.remove(job);
        }
        if let Some((holder, lease)) = job.holder().zip(job.lease()) {
            self.sessions.leave(holder, lease, job.number);
            if let Some(held) = self.holders.get_mut(holder) {
                held.remove(&(lease.token, job.number));
                if held.is_empty() {
                    self.holders.remove(holder);
                }
            }
        }
    }

    /// Whether it may be claimed now.
    pub(super) fn is_ready(&self, job: &Job) -> bool {
        job.phase == Phase::Pending && self.groups.lets(job) && !self.is_purged(job)
    }

    /// Whether a purge covers an unfinished job.
    fn is_purged(&self, job: &Job) -> bool {
        !self.bounds.purging.is_empty() && self.counts.is_purged(job)
    }

    /// A claim was granted a job.
    pub(super) fn remember(&mut self, job: JobNumber, token: Token, claim: &Claim) {
        self.claims.insert((ClaimKey::of(&claim.worker, &claim.request_id), token, job));
    }

    /// A job no longer knows of an attempt.
    pub(super) fn forget(&mut self, job: JobNumber, attempt: &Attempt) {
        let key = ClaimKey::of(&attempt.worker, &attempt.request_id);
        self.claims.remove(&(key, attempt.token, job));
    }

    /// The grants that may have answered this claim before, oldest first.
    pub(super) fn grants_to(&self, claim: &Claim) -> impl Iterator<Item = (Token, JobNumber)> {
        let key = ClaimKey::of(&claim.worker, &claim.request_id);
        let first = (key, Token(0), JobNumber(0));
        let last = (key, Token(u64::MAX), JobNumber(u64::MAX));
        self.claims.range(first..=last).map(|grant| (grant.1, grant.2))
    }
}

impl ClaimKey {
    fn of(worker: &WorkerId, request_id: &RequestId) -> Self {
        let text = request_id.as_str().as_bytes();
        let mut beginning = [0; 8];
        let length = text.len().min(beginning.len());
        beginning[..length].copy_from_slice(&text[..length]);
        Self(beginning, chain::hash_of(&(worker, request_id)))
    }
}
