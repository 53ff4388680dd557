//! Workers, as far as the queue must remember them: what each said of itself, when it was last heard
//! of, and whether it is to claim no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use serde::{Deserialize, Serialize};

use super::{
    Answer, BeatStatus, Beaten, Claim, ClockMs, Heartbeat, Once, Rejection, SEEN_GRAIN_MS, State,
    WallMs, WorkerId, WorkerView, session::Session, state::Kept,
};

/// What is kept of a worker. Opaque outside the rules: [`super::WorkerView`] is what others see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    pub(super) id: WorkerId,
    /// From its last claim that was granted something.
    pub(super) labels: BTreeMap<String, String>,
    /// Its newest session, from a claim that was granted something or that ended an earlier one, or as
    /// it was declared down. Claims without a session leave it; it never goes back.
    pub(super) session: Option<Session>,
    /// Whether it is told to claim no more.
    pub(super) is_draining: bool,
    /// Its last grant, heartbeat or drain, to [`super::SEEN_GRAIN_MS`]; or when it was declared down, or
    /// would have been forgotten had it not held jobs.
    pub(super) seen: ClockMs,
    /// Its last grant, heartbeat or drain, as people read it.
    pub(super) seen_at: WallMs,
}

/// When each worker was last seen: the order in which they are forgotten. Derived; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sightings(BTreeSet<(ClockMs, WorkerId)>);

impl Sightings {
    pub(super) fn enter(&mut self, worker: &WorkerRecord) {
        self.0.insert((worker.seen, worker.id.clone()));
    }

    fn leave(&mut self, worker: &WorkerRecord) {
        self.0.remove(&(worker.seen, worker.id.clone()));
    }

    fn move_from(&mut self, seen: ClockMs, worker: &WorkerRecord) {
        self.0.remove(&(seen, worker.id.clone()));
        self.enter(worker);
    }

    /// How many workers there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn first(&self) -> Option<&(ClockMs, WorkerId)> {
        self.0.first()
    }
}

impl State {
    /// A worker; `None` when it is not known (any more).
    pub fn worker(&self, id: &WorkerId) -> Option<WorkerView> {
        self.workers.get(id).map(|record| self.worker_view(record))
    }

    /// The workers by name, after `after`; at most `limit`.
    pub fn workers(&self, after: Option<&WorkerId>, limit: usize) -> Vec<WorkerView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let records = self.workers.range::<_, WorkerId>((from, Bound::Unbounded));
        records.take(limit).map(|(_, record)| self.worker_view(record)).collect()
    }

    /// Whether a worker is told to claim no more: then nothing is granted to it.
    pub fn is_draining(&self, worker: &WorkerId) -> bool {
        self.workers.get(worker).is_some_and(|record| record.is_draining)
    }

    pub(super) fn drain_worker(
        &mut self,
        worker: &WorkerId,
        is_draining: bool,
    ) -> Result<Answer, Rejection> {
        let was_draining = self.is_draining(worker);
        if is_draining {
            self.make_known(worker)?;
        }
        self.hear_of(worker, |record| record.is_draining = is_draining);
        if was_draining != is_draining {
            self.rev.0 += 1;
        }
        Ok(Answer::DrainSet(Once::First))
    }

    /// A claim was granted something: its worker is known from now on, if there is room.
    pub(super) fn note_claim(&mut self, claim: &Claim) {
        if self.make_known(&claim.worker).is_err() {
            return;
        }
        self.hear_of(&claim.worker, |record| {
            record.session = claim.session.map(Session::begun).or(record.session);
            if record.labels != claim.labels {
                record.labels.clone_from(&claim.labels);
            }
        });
    }

    /// A heartbeat has come, by this worker or, when it names none, by the holder of the first lease
    /// that it extended. Whether that one should claim nothing more.
    pub(super) fn note_heartbeat(&mut self, heartbeat: &Heartbeat, items: &[Beaten]) -> bool {
        let named = heartbeat.worker.clone();
        let Some(worker) = named.or_else(|| self.holder_of_first_extended(items)) else {
            return false;
        };
        let Some(record) = self.workers.get(&worker) else { return false };
        let is_draining = record.is_draining;
        if self.clock >= record.seen.after(SEEN_GRAIN_MS) {
            self.hear_of(&worker, |_| ());
        }
        is_draining
    }

    fn holder_of_first_extended(&self, items: &[Beaten]) -> Option<WorkerId> {
        let was_extended = |item: &&Beaten| matches!(item.status, BeatStatus::Extended { .. });
        match self.find(&items.iter().find(was_extended)?.job)? {
            Kept::Job(job) => job.holder().cloned(),
            Kept::Tombstone(_) => None,
        }
    }

    /// When the first worker is due to be forgotten.
    pub(super) fn next_forgotten_worker(&self) -> Option<ClockMs> {
        let (seen, _) = self.indexes.sightings.first()?;
        // At least 1: one that holds jobs would otherwise be kept for ever in one instant.
        Some(seen.after(self.limits.worker_ms.max(1)))
    }

    /// Forgets the first worker that is due to be, or keeps it for another while if it holds jobs;
    /// false when there is none.
    pub(super) fn forget_worker(&mut self) -> bool {
        if self.next_forgotten_worker().is_none_or(|due| due > self.clock) {
            return false;
        }
        let Some((_, worker)) = self.indexes.sightings.first().cloned() else { return false };
        if self.held_by(&worker) > 0 {
            let clock = self.clock;
            self.edit_worker(&worker, |record| record.seen = clock);
        } else if let Some(forgotten) = self.workers.remove(&worker) {
            self.indexes.sightings.leave(&forgotten);
            self.indexes.sessions.follow(&worker, None);
        }
        true
    }

    /// Takes a record in; returns the one that stood in its place, if any.
    pub(super) fn enlist(&mut self, record: WorkerRecord) -> Option<WorkerRecord> {
        self.indexes.sightings.enter(&record);
        self.indexes.sessions.follow(&record.id, record.session);
        self.workers.insert(record.id.clone(), record)
    }

    /// Makes a record of a worker unless there is one. Refused when no further worker can be listed.
    pub(super) fn make_known(&mut self, worker: &WorkerId) -> Result<(), Rejection> {
        if self.workers.contains_key(worker) {
            return Ok(());
        }
        if !self.has_room_for_workers() {
            return Err(self.too_many_workers());
        }
        self.enlist(WorkerRecord::new(worker.clone(), self.clock, self.wall));
        Ok(())
    }

    pub(super) fn hear_of(&mut self, worker: &WorkerId, edit: impl FnOnce(&mut WorkerRecord)) {
        let (clock, wall) = (self.clock, self.wall);
        self.edit_worker(worker, |record| {
            (record.seen, record.seen_at) = (clock, wall);
            edit(record);
        });
    }

    pub(super) fn edit_worker(&mut self, worker: &WorkerId, edit: impl FnOnce(&mut WorkerRecord)) {
        let Some(record) = self.workers.get_mut(worker) else { return };
        let (seen, session) = (record.seen, record.session);
        edit(record);
        if record.session != session {
            self.indexes.sessions.follow(worker, record.session);
        }
        if record.seen != seen {
            self.indexes.sightings.move_from(seen, record);
        }
    }

    fn has_room_for_workers(&self) -> bool {
        (self.workers.len() as u64) < self.limits.workers_max
    }

    fn too_many_workers(&self) -> Rejection {
        let room_at = self.next_forgotten_worker().unwrap_or(self.clock);
        Rejection::Full {
            reason: "no further worker can be listed".into(),
            retry_after_ms: room_at.0.saturating_sub(self.clock.0).max(1),
        }
    }

    fn worker_view(&self, record: &WorkerRecord) -> WorkerView {
        WorkerView {
            id: record.id.clone(),
            labels: record.labels.clone(),
            session: record.session.map(|session| session.number),
            is_down: record.session.is_some_and(|session| session.is_down),
            is_draining: record.is_draining,
            held: self.held_by(&record.id),
            seen_at: record.seen_at,
        }
    }
}

impl WorkerRecord {
    /// A worker that nothing is known of but that it was heard of now.
    fn new(id: WorkerId, seen: ClockMs, seen_at: WallMs) -> Self {
        Self { id, labels: BTreeMap::new(), session: None, is_draining: false, seen, seen_at }
    }
}

#[cfg(test)]
mod tests;
