//! The whole replicated state, and the one door through which it changes.

use std::{borrow::Cow, hash::Hash, sync::Arc};

use imbl::OrdMap;

use super::{
    Answer, Claim, ClockMs, Command, Departed, Entry, JobId, JobNumber, JobState, Limits, Outcome,
    QueueName, Rejection, RequestId, Rev, Tombstone, Transition, WallMs, WorkType, WorkerId, chain,
    indexes::{Indexes, Place},
    invariants,
    job::{EndState, Ending, Job, Phase},
    operation::Remembered,
    queues::QueueRecord,
    tombstone::TombstoneNumber,
    workers::WorkerRecord,
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
    /// Every queue that exists, or still has jobs.
    pub(super) queues: OrdMap<QueueName, QueueRecord>,
    /// The workers that were granted jobs lately, or drained.
    pub(super) workers: OrdMap<WorkerId, WorkerRecord>,
    /// The operations that would be known again.
    pub(super) memory: OrdMap<RequestId, Remembered>,
    /// Boxed: a state is moved while it is restored and opened, and these are the most of it.
    pub(super) indexes: Box<Indexes>,
    /// The media type of the last payload: nearly all are the same, and share its bytes.
    pub(super) content_type: ContentType,
    /// What the entry under way has buried so far; empty between entries.
    pub(super) departed: Departed,
    /// What became of jobs in the entry under way, if somebody watches; `None` between entries.
    pub(super) watched: Option<Vec<Transition>>,
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
    /// Claims of this queue may be granted jobs again that it held back: it was resumed, one of its
    /// limits was raised, or a new second has begun for its rate.
    Opened {
        /// Which.
        queue: QueueName,
    },
    /// Every job of this queue that was not finished is cancelled. [`Change::Ended`] follows for each
    /// as it is cleared away, now or in later entries.
    Purged {
        /// Which.
        queue: QueueName,
    },
}

/// When time alone will next change the state; what the leader's tick waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The earliest lease, delay, backoff, expiry, end of a full window of a rate or end of retention,
    /// or the first operation or worker to be forgotten, on the cluster clock.
    pub clock: Option<ClockMs>,
    /// The earliest `run_at_ms`, on the wall clock.
    pub wall: Option<WallMs>,
    /// Whether an earlier entry left work over (bounded steps): tick again at once.
    pub is_behind: bool,
}

/// Where a job of some id is, if anywhere.
pub(super) enum Kept<'state> {
    /// As it is, also when a purge covers it.
    Job(Cow<'state, Arc<Job>>),
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
                while steps_left > 0 && self.go_on(&mut changes) {
                    steps_left -= 1;
                }
                outcome
            })
            .collect();
        self.indexes.garbage.sweep();
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
        let Indexes { timers, bounds, .. } = &*self.indexes;
        let on_clock =
            [timers.next_clock(), bounds.next_window(), self.next_burial(), self.next_forgotten()];
        Deadlines {
            clock: on_clock.into_iter().flatten().min(),
            wall: timers.next_wall(),
            is_behind: self.is_behind(),
        }
    }

    /// Whether a claim would be granted a job now, would repeat an earlier one, would end an earlier
    /// session of its worker or would be refused: only then is it worth an entry. Costs no more than the
    /// claim.
    pub fn would_grant(&self, claim: &Claim) -> bool {
        let is_granted =
            !self.is_draining(&claim.worker) && self.indexes.ready.next(claim).is_some();
        is_granted
            || self.begins_session(claim)
            || self.check_session(claim).is_err()
            || !matches!(self.repeat_of(claim), Ok(None))
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
            Command::Operate(operation) => self.operate(operation, changes),
            Command::WorkerDown(down) => self.worker_down(down),
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
        self.rev.0 += 1;
        self.replace(number, changes, edit);
    }

    /// The same without a revision: for a job whose state was changed before, by a purge.
    pub(super) fn replace(
        &mut self,
        number: JobNumber,
        changes: &mut Vec<Change>,
        edit: impl FnOnce(&mut Job),
    ) {
        let job = editable(&mut self.jobs, number);
        let Indexes { bounds, counts, .. } = &*self.indexes;
        let limited = bounds.on_grants.get(&job.queue);
        let limited = limited.map(|queue| (queue.clone(), counts.of(queue).leased()));
        let head_before = job.group().and_then(|group| self.indexes.groups.head(group));
        let before = job.state();
        self.indexes.leave(job);
        edit(job);
        self.indexes.enter(job);
        if let Some(watched) = &mut self.watched {
            watched.push(Transition::of_change(before, job, self.rev));
        }
        changes.extend(self.indexes.change_of(job));
        let head = job.group().and_then(|group| self.indexes.groups.head(group));
        if let Some(head_before) = head_before.filter(|before| head != Some(*before)) {
            self.withdraw(head_before);
        }
        if let Some(head) = head {
            self.offer(head, changes);
        }
        if let Some((queue, leased_before)) = limited {
            self.on_leased(&queue, leased_before, changes);
        }
    }

    /// Makes the head of a group ready if it waited only for another of its group.
    fn offer(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        let job = self.jobs.get(&number).expect("indexes name only jobs of the state");
        if self.indexes.is_ready(job) && self.indexes.ready.insert(job) {
            changes.extend(self.indexes.change_of(job));
        }
    }

    /// A job was put back before what was the head of its group.
    fn withdraw(&mut self, number: JobNumber) {
        let job = self.jobs.get(&number).expect("indexes name only jobs of the state");
        self.indexes.ready.remove(job);
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
            Place::Job(number) => self.jobs.get(&number).map(|job| Kept::Job(self.current(job))),
            Place::Tombstone(number) => self.tombstones.get(&number).map(Kept::Tombstone),
        }
    }

    /// The phase of a job that ends now.
    pub(super) fn ending(&self, how: EndState) -> Phase {
        Phase::Ended(self.ending_as(how))
    }

    pub(super) fn ending_as(&self, how: EndState) -> Ending {
        let reap_at = self.clock.after(self.limits.retention_ms);
        Ending { how, at: self.wall, reap_at }
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
pub(super) mod tests;
