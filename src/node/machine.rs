//! The queue as Raft's state machine: bytes in, outcomes out, and bells for those who wait.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use raft::{LogIndex, MachineError, StateMachine};
use tokio::sync::watch;

use super::{
    Archive, Limits, MachineClock, NoArchive, codec,
    ended::Ended,
    events::{Events, Gap, GapReason, Happening},
    planted, snapshot,
    waiters::{Call, Waiters},
};
use crate::queue::{Change, Deadlines, Found, Image, JobId, Outcome, State, WallMs};

/// What an applied entry tells the rest of the node. Nothing in here makes `apply` wait: a change
/// rings at most a few bells under a short lock, a value replaces the one before it, and the archive
/// takes what it has room for.
#[derive(Debug)]
pub(super) struct Bells {
    archive: Arc<dyn Archive>,
    waiters: Arc<Waiters>,
    ended: Arc<Ended>,
    events: Arc<Events>,
    deadlines: watch::Sender<Deadlines>,
    generations: AtomicU64,
}

impl Default for Bells {
    fn default() -> Self {
        let events = Events::new(Limits::default(), 0, Arc::new(MachineClock::start()));
        Self::new(Arc::new(NoArchive), events)
    }
}

impl Bells {
    /// Bells of a node whose finished jobs go to the archive in the end, and which tells of them there.
    pub(super) fn new(archive: Arc<dyn Archive>, events: Arc<Events>) -> Self {
        Self {
            archive,
            events,
            waiters: Arc::default(),
            ended: Arc::default(),
            deadlines: watch::Sender::default(),
            generations: AtomicU64::default(),
        }
    }

    /// The line of parked claims.
    pub(super) fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    /// Those who wait for a job's end.
    pub(super) fn ended(&self) -> &Arc<Ended> {
        &self.ended
    }

    /// What happens, for whoever listens.
    pub(super) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// The state's deadlines. Readers are woken when one comes sooner than they knew.
    pub(super) fn deadlines(&self) -> watch::Receiver<Deadlines> {
        self.deadlines.subscribe()
    }

    fn ring(&self, change: Change) {
        match change {
            Change::Ready { queue, work_type } => self.waiters.ring(&Call { queue, work_type }),
            Change::Ended { job, .. } => self.ended.ring(&job),
            Change::Opened { queue } => self.waiters.ring_all_of(&queue),
            Change::Purged { .. } => self.ended.ring_all(),
        }
    }

    fn publish(&self, next: Deadlines) {
        self.deadlines.send_if_modified(|last| {
            let is_sooner = next.is_behind
                || is_sooner(next.clock, last.clock)
                || is_sooner(next.wall, last.wall);
            *last = next;
            is_sooner
        });
    }
}

fn is_sooner<T: Ord>(next: Option<T>, last: Option<T>) -> bool {
    match (next, last) {
        (Some(next), Some(last)) => next < last,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// The queue's state on this replica.
#[derive(Debug)]
pub(super) struct Machine {
    state: State,
    bells: Arc<Bells>,
    generation: u64,
}

impl Machine {
    /// An empty queue.
    pub(super) fn new(bells: Arc<Bells>) -> Self {
        Self::with(State::default(), bells)
    }

    fn with(state: State, bells: Arc<Bells>) -> Self {
        let generation = bells.generations.fetch_add(1, Ordering::Relaxed);
        Self { state, bells, generation }
    }

    /// The queue.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Whether a job is in a terminal state, or gone.
    pub(super) fn has_ended(&self, job: &JobId) -> bool {
        match self.state.job(job) {
            Some(Found::Job(job)) => job.state.is_terminal(),
            Some(Found::Tombstone(_)) | None => true,
        }
    }

    /// Another number after the state was replaced as a whole, by a snapshot.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Says what the deadlines are, without an entry.
    pub(super) fn publish_deadlines(&self) {
        self.bells.publish(self.state.deadlines());
    }
}

impl StateMachine for Machine {
    type Outcome = Vec<Outcome>;
    type Image = Image;

    fn apply(&mut self, index: LogIndex, entry: &Bytes) -> Result<Vec<Outcome>, MachineError> {
        let mut entry = codec::decode_entry(entry)
            .map_err(|reason| MachineError(format!("log entry {index}: {reason}")))?;
        planted::before(&self.state, &mut entry);
        let mut applied = if self.bells.events.is_recording() {
            let (applied, transitions) = self.state.apply_watched(&entry);
            if !transitions.is_empty() {
                self.bells.events.record_jobs(entry.stamp.wall, transitions);
            }
            applied
        } else {
            self.state.apply(&entry)
        };
        planted::after(&self.state, &mut applied);
        for change in applied.changes {
            self.bells.ring(change);
        }
        self.publish_deadlines();
        if !applied.departed.0.is_empty() {
            self.bells.archive.offer(applied.departed.0);
        }
        Ok(applied.outcomes)
    }

    fn freeze(&self) -> Image {
        self.state.freeze()
    }

    fn write(image: Image, out: &mut dyn io::Write) -> io::Result<()> {
        snapshot::write(&image, out)
    }

    fn restore(&self, source: &mut dyn io::Read) -> Result<Self, MachineError> {
        let mut state = snapshot::read(source)
            .map_err(|reason| MachineError(format!("queue snapshot: {reason}")))?;
        planted::restored(&mut state);
        if state.rev() != self.state.rev() {
            let (WallMs(at_ms), rev) = (state.wall(), state.rev());
            let gap = Gap { reason: GapReason::Snapshot, after: None, missed: None, rev };
            self.bells.events.record_one(at_ms, Happening::Gap(gap));
        }
        Ok(Self::with(state, Arc::clone(&self.bells)))
    }
}

#[cfg(test)]
mod tests;
