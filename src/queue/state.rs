//! The whole replicated state, and the one door through which it changes.

use std::{hash::Hash, sync::Arc};

use imbl::OrdMap;

use super::{
    Answer, Claim, ClockMs, Command, Departed, Entry, JobId, JobNumber, JobState, Limits, Outcome,
    QueueName, Rejection, Rev, Tombstone, WallMs, WorkType, chain,
    indexes::{Indexes, Place},
    invariants,
    job::{EndState, Ending, Job, Phase},
    snapshot::QueueRecord,
    tombstone::TombstoneNumber,
};

/// The queue.
///
/// Two states that applied the same entries are equal, indexes and all. Only `jobs`, `tombstones`
/// and `queues` are of any size in a snapshot, and cloning them is O(1).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(super) limits: Limits,
    /// Raised by one at each change of a job's state, each grant and each expiry.
    pub(super) rev: Rev,
    /// The greatest stamp applied.
    pub(super) clock: ClockMs,
    /// The last stamp applied; it may go back.
    pub(super) wall: WallMs,
    pub(super) hash: u128,
    /// The number of the next job to be added.
    pub(super) next_job: JobNumber,
    /// The number of the next tombstone to be set.
    pub(super) next_tombstone: TombstoneNumber,
    pub(super) jobs: OrdMap<JobNumber, Arc<Job>>,
    /// In the order in which they were set, which is the order in which they go.
    pub(super) tombstones: OrdMap<TombstoneNumber, Tombstone>,
    /// Every queue that an add has named.
    pub(super) queues: OrdMap<QueueName, QueueRecord>,
    pub(super) indexes: Indexes,
    /// The media type of the last payload: nearly all are the same, and share its bytes.
    pub(super) content_type: ContentType,
    /// What the entry under way has buried so far; empty between entries.
    pub(super) departed: Departed,
}

/// A cache, no part of the state: all are equal.
#[derive(Debug, Default)]
pub(super) struct ContentType(pub(super) Option<Arc<str>>);

impl PartialEq for ContentType {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ContentType {}

/// What applying one entry did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Applied {
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// What others may be waiting for, in the order in which it happened.
    pub changes: Vec<Change>,
    /// The finished jobs that left the state for their tombstones, in the order in which they did.
    pub departed: Departed,
}

/// A change that a waiting caller cares about. Derived, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// A job became ready to be claimed: added, come due, given back, or its lease lost.
    Ready {
        /// Where.
        queue: QueueName,
        /// Of which kind.
        work_type: WorkType,
    },
    /// A job reached a terminal state.
    Ended {
        /// Which.
        job: JobId,
        /// How.
        state: JobState,
    },
}

/// When time alone will next change the state; what the leader's tick waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The earliest lease, delay, backoff, expiry or end of retention, on the cluster clock.
    pub clock: Option<ClockMs>,
    /// The earliest `run_at_ms`, on the wall clock.
    pub wall: Option<WallMs>,
    /// Whether an earlier entry left work over (bounded steps): tick again at once.
    pub is_behind: bool,
}

/// Where a job of some id is, if anywhere.
pub(super) enum Kept<'state> {
    Job(&'state Arc<Job>),
    Tombstone(&'state Tombstone),
}

impl State {
    /// An empty queue with other bounds than the usual ones. Every replica must start with the same.
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Applies one entry: lets its time pass, then its commands in order.
    pub fn apply(&mut self, entry: &Entry) -> Applied {
        let mut changes = Vec::new();
        let mut steps_left = self.pass_time(entry.stamp, &mut changes);
        let outcomes = entry
            .commands
            .iter()
            .map(|command| {
                let result = self.carry_out(command, &mut changes);
                let outcome = Outcome { rev: self.rev, result };
                while steps_left > 0 && self.settle_dependent(&mut changes) {
                    steps_left -= 1;
                }
                outcome
            })
            .collect();
        let departed = std::mem::take(&mut self.departed);
        let applied = Applied { outcomes, changes, departed };
        self.hash = chain::link(self.hash, self.rev, entry, &applied);
        if cfg!(debug_assertions) {
            invariants::assert_after(self, &applied.changes);
        }
        applied
    }

    /// The revision.
    pub fn rev(&self) -> Rev {
        self.rev
    }

    /// The cluster clock: the greatest stamp applied.
    pub fn clock(&self) -> ClockMs {
        self.clock
    }

    /// The wall clock of the last entry applied. It may go back from one entry to the next.
    pub fn wall(&self) -> WallMs {
        self.wall
    }

    /// The bounds of this state.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The hash chain over entries, answers and changes (S16).
    pub fn hash(&self) -> u128 {
        self.hash
    }

    /// See [`Deadlines`].
    pub fn deadlines(&self) -> Deadlines {
        let timers = &self.indexes.timers;
        Deadlines {
            clock: [timers.next_clock(), self.next_burial()].into_iter().flatten().min(),
            wall: timers.next_wall(),
            is_behind: self.is_behind(),
        }
    }

    /// Whether a claim would be granted a job now, or would repeat an earlier one: only then is it
    /// worth an entry. Costs no more than the claim.
    pub fn would_grant(&self, claim: &Claim) -> bool {
        self.indexes.ready.next(claim).is_some() || !matches!(self.repeat_of(claim), Ok(None))
    }

    fn carry_out(
        &mut self,
        command: &Command,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        match command {
            Command::Add(add) => self.add(add, changes),
            Command::Claim(claim) => self.claim(claim, changes),
            Command::Start(holding) => self.start(holding, changes),
            Command::Heartbeat(heartbeat) => Ok(self.heartbeat(heartbeat, changes)),
            Command::Complete(complete) => self.complete(complete, changes),
            Command::Fail(fail) => self.fail(fail, changes),
            Command::Release(release) => self.release(release, changes),
            Command::Cancel(cancel) => self.cancel(cancel, changes),
        }
    }

    /// Changes a job's state. There is no other way to: here the indexes follow it, the revision
    /// rises, and whoever waits is told.
    pub(super) fn transition(
        &mut self,
        number: JobNumber,
        changes: &mut Vec<Change>,
        edit: impl FnOnce(&mut Job),
    ) {
        let job = editable(&mut self.jobs, number);
        self.indexes.leave(job);
        edit(job);
        self.indexes.enter(job);
        self.rev.0 += 1;
        changes.extend(self.indexes.change_of(job));
        let freed = job.group().filter(|_| job.state().is_terminal());
        if let Some(next) = freed.and_then(|group| self.indexes.groups.head(group)) {
            self.offer(next, changes);
        }
    }

    /// Makes the head of a group ready if it waited only for the one before it.
    fn offer(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        let job = self.jobs.get(&number).expect("indexes name only jobs of the state");
        if self.indexes.is_ready(job) && self.indexes.ready.insert(job) {
            changes.extend(self.indexes.change_of(job));
        }
    }

    /// Edits what a job's state does not depend on, its deadline at the most.
    pub(super) fn adjust(&mut self, number: JobNumber, edit: impl FnOnce(&mut Job)) {
        let job = editable(&mut self.jobs, number);
        self.indexes.timers.leave(job);
        edit(job);
        self.indexes.timers.enter(job);
    }

    /// For what no index knows of.
    pub(super) fn job_mut(&mut self, number: JobNumber) -> &mut Job {
        editable(&mut self.jobs, number)
    }

    pub(super) fn job_numbered(&self, number: JobNumber) -> &Arc<Job> {
        self.jobs.get(&number).expect("indexes name only jobs of the state")
    }

    pub(super) fn find(&self, id: &JobId) -> Option<Kept<'_>> {
        match *self.indexes.ids.get(id)? {
            Place::Job(number) => self.jobs.get(&number).map(Kept::Job),
            Place::Tombstone(number) => self.tombstones.get(&number).map(Kept::Tombstone),
        }
    }

    /// The end of a job that ends now.
    pub(super) fn ending(&self, how: EndState) -> Phase {
        let reap_at = self.clock.after(self.limits.retention_ms);
        Phase::Ended(Ending { how, at: self.wall, reap_at })
    }
}

impl Indexes {
    /// What the state that a job has just come into means to those who wait.
    pub(super) fn change_of(&self, job: &Job) -> Option<Change> {
        match job.phase {
            Phase::Pending if self.is_ready(job) => {
                Some(Change::Ready { queue: job.queue.clone(), work_type: job.work_type.clone() })
            }
            Phase::Ended(ending) => {
                Some(Change::Ended { job: job.id.clone(), state: ending.how.state() })
            }
            _ => None,
        }
    }
}

/// The job of that number, its own copy if a snapshot still reads the shared one.
fn editable(jobs: &mut OrdMap<JobNumber, Arc<Job>>, number: JobNumber) -> &mut Job {
    Arc::make_mut(jobs.get_mut(&number).expect("indexes name only jobs of the state"))
}

#[cfg(test)]
mod tests;
