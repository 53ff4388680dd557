//! What is known of workers.

use std::collections::BTreeMap;

use quorate::queue::{Answer, Claim, Once, Rejection, WorkerId};

use super::Model;

pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) labels: BTreeMap<String, String>,
    /// The greatest that is known.
    pub(crate) session: Option<u64>,
    /// This one and all before it are over.
    pub(crate) over: Option<u64>,
    pub(crate) draining: bool,
    pub(crate) seen: u64,
    pub(crate) seen_at: u64,
}

impl Model {
    pub(super) fn has_room_for_workers(&self) -> bool {
        (self.workers.len() as u64) < self.limits.workers_max
    }

    pub(super) fn worker_mut(&mut self, id: &WorkerId) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.id == *id)
    }

    pub(super) fn is_draining(&self, id: &WorkerId) -> bool {
        self.workers.iter().any(|worker| worker.id == *id && worker.draining)
    }

    pub(super) fn note_grants_to(&mut self, claim: &Claim) {
        let (clock, wall, has_room) = (self.clock, self.wall, self.has_room_for_workers());
        if let Some(worker) = self.worker_mut(&claim.worker) {
            worker.labels.clone_from(&claim.labels);
            worker.seen = clock;
            worker.seen_at = wall;
        } else if has_room {
            self.workers.push(Worker {
                id: claim.worker.clone(),
                labels: claim.labels.clone(),
                session: None,
                over: None,
                draining: false,
                seen: clock,
                seen_at: wall,
            });
        } else {
            self.encounter("granted without a record");
        }
        self.note_session_of(claim);
    }

    pub(super) fn note_heartbeat_of(&mut self, id: &WorkerId) {
        let (clock, wall) = (self.clock, self.wall);
        if let Some(worker) = self.worker_mut(id)
            && clock >= worker.seen + 10_000
        {
            worker.seen = clock;
            worker.seen_at = wall;
            self.encounter("seen by a heartbeat");
        }
    }

    pub(super) fn drain(&mut self, id: &WorkerId, drains: bool) -> Result<Answer, Rejection> {
        let (clock, wall, has_room) = (self.clock, self.wall, self.has_room_for_workers());
        if let Some(worker) = self.worker_mut(id) {
            let changes = worker.draining != drains;
            worker.draining = drains;
            worker.seen = clock;
            worker.seen_at = wall;
            self.rev += u64::from(changes);
        } else if drains && !has_room {
            let first = self.next_worker_gone().map_or(0, |due| due.0);
            self.encounter("too many workers");
            return Err(Rejection::Full {
                reason: "no further worker can be listed".into(),
                retry_after_ms: first.saturating_sub(clock).max(1),
            });
        } else if drains {
            self.rev += 1;
            self.workers.push(Worker {
                id: id.clone(),
                labels: BTreeMap::new(),
                session: None,
                over: None,
                draining: true,
                seen: clock,
                seen_at: wall,
            });
        }
        Ok(Answer::DrainSet(Once::First))
    }

    /// (when, who)
    pub(super) fn next_worker_gone(&self) -> Option<(u64, WorkerId)> {
        let keeps = self.limits.worker_ms.max(1);
        let workers = self.workers.iter().map(|worker| (worker.seen + keeps, worker.id.clone()));
        workers.min()
    }

    pub(super) fn one_worker_gone(&mut self) -> bool {
        let Some((when, id)) = self.next_worker_gone() else { return false };
        if when > self.clock {
            return false;
        }
        if self.held_by(&id).is_empty() {
            self.workers.retain(|worker| worker.id != id);
            self.encounter("worker forgotten");
        } else {
            let clock = self.clock;
            self.worker_mut(&id).unwrap().seen = clock;
            self.encounter("worker kept for what it holds");
        }
        true
    }
}
