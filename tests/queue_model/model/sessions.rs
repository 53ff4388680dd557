//! The sessions of agents: of each worker only the last may claim and hold.

use std::collections::BTreeMap;

use quorate::queue::{
    Answer, AttemptEnd, Claim, Holding, Once, Rejection, SessionView, WorkerDown, WorkerId,
};

use super::{Job, Model, Worker, leased};

impl Job {
    /// Who was granted it last, and in which session, whether or not a purge covers it.
    fn last_session(&self) -> Option<(&WorkerId, u64, u64)> {
        let attempt = self.attempts.last().filter(|_| leased(self.phase))?;
        Some((&attempt.claim.worker, attempt.claim.session?, attempt.token))
    }
}

impl Model {
    fn is_over(&self, worker: &WorkerId, session: u64) -> bool {
        let known = self.workers.iter().find(|known| known.id == *worker);
        known.is_some_and(|known| known.over >= Some(session))
    }

    pub(super) fn stale_session(&self, claim: &Claim) -> Option<Rejection> {
        let session = claim.session?;
        let worker = self.workers.iter().find(|worker| worker.id == claim.worker)?;
        (worker.over >= Some(session)).then(|| Rejection::StaleSession {
            current: worker.session.unwrap(),
            is_down: worker.over == worker.session,
        })
    }

    /// Whether it is later than one that is known.
    pub(super) fn is_later_session(&self, claim: &Claim) -> bool {
        let mut known = self.workers.iter().filter(|worker| worker.id == claim.worker);
        known.any(|worker| worker.session.is_some() && worker.session < claim.session)
    }

    /// A claim was answered: all before its session are over.
    pub(super) fn note_session_of(&mut self, claim: &Claim) {
        let (clock, wall) = (self.clock, self.wall);
        let Some(session) = claim.session else { return };
        let Some(worker) = self.worker_mut(&claim.worker) else { return };
        worker.session = Some(session);
        worker.over = worker.over.max(session.checked_sub(1));
        worker.seen = clock;
        worker.seen_at = wall;
    }

    pub(super) fn worker_down(&mut self, down: &WorkerDown) -> Result<Answer, Rejection> {
        let WorkerDown { worker: id, session } = down;
        let (clock, wall, has_room) = (self.clock, self.wall, self.has_room_for_workers());
        if self.is_over(id, *session) {
            return Ok(Answer::WorkerDown(Once::Duplicate));
        }
        if self.worker_mut(id).is_none() {
            if !has_room {
                let first = self.next_worker_gone().map_or(0, |due| due.0);
                self.encounter("worker down without room");
                return Err(Rejection::Full {
                    reason: "no further worker can be listed".into(),
                    retry_after_ms: first.saturating_sub(clock).max(1),
                });
            }
            self.workers.push(Worker {
                id: id.clone(),
                labels: BTreeMap::new(),
                session: None,
                over: None,
                draining: false,
                seen: clock,
                seen_at: wall,
            });
        }
        let worker = self.worker_mut(id).unwrap();
        worker.session = Some(*session);
        worker.over = Some(*session);
        worker.seen = clock;
        Ok(Answer::WorkerDown(Once::First))
    }

    /// The job that is next taken from a session that is over: by worker, session and token.
    pub(super) fn next_of_sessions_over(&self) -> Option<usize> {
        let of_sessions = (0..self.jobs.len()).filter(|at| {
            let last = self.jobs[*at].last_session();
            last.is_some_and(|(worker, session, _)| self.is_over(worker, session))
        });
        of_sessions.min_by_key(|at| self.jobs[*at].last_session())
    }

    pub(super) fn end_one_session(&mut self) -> bool {
        let Some(at) = self.next_of_sessions_over() else { return false };
        if self.jobs[at].purge.is_some() {
            self.encounter("purged met by the end of its session");
            self.clear(at);
            return true;
        }
        let (worker, session, _) = self.jobs[at].last_session().unwrap();
        let newest = self.workers.iter().find(|known| known.id == *worker).unwrap().session;
        let is_newest = newest == Some(session);
        self.encounter(if is_newest { "lost as down" } else { "lost to a later session" });
        self.lose(at, AttemptEnd::WorkerDown);
        true
    }

    pub(super) fn note_sessions_left_over(&mut self) {
        if self.next_of_sessions_over().is_some() {
            self.encounter("session not wholly ended by its entry");
        }
    }

    /// What holds jobs and goes on.
    pub(crate) fn sessions(&self) -> Vec<SessionView> {
        let mut views: Vec<SessionView> = Vec::new();
        for job in self.jobs.iter().filter(|job| job.is_leased()) {
            let Some((worker, session, _)) = job.last_session() else { continue };
            let known = views.iter_mut().find(|it| it.worker == *worker && it.session == session);
            if let Some(view) = known {
                view.held += 1;
            } else if !self.is_over(worker, session) {
                views.push(SessionView { worker: worker.clone(), session, held: 1 });
            }
        }
        views.sort_by_key(|view| (view.worker.clone(), view.session));
        views
    }

    pub(crate) fn session_under(&self, holding: &Holding) -> Option<(WorkerId, u64)> {
        let job = self.jobs.iter().find(|job| job.new.id == holding.job)?;
        let (worker, session, token) = job.last_session()?;
        (job.is_leased() && token == holding.token.0).then(|| (worker.clone(), session))
    }
}
