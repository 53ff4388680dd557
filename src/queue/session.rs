//! Sessions: the incarnations of an agent under one worker's name, each with a greater number than
//! the one before (guarantees, rule 7).
//!
//! Only a worker's newest session claims. What older ones hold, and what the newest holds once it is
//! declared down, is lost as if the leases had run out, a bounded number in an entry. Claims without a
//! session, and the leases they were granted, are no part of this.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Answer, AttemptEnd, Change, Claim, Holding, JobNumber, Once, Rejection, SessionView, State,
    Token, WorkerDown, WorkerId, lease::Lease, state::Kept,
};

/// The newest session of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    /// The agent chooses it, greater than any that it had before.
    pub(super) number: u64,
    /// Whether it was declared down: then it is over as well, for good.
    pub(super) is_down: bool,
}

impl Session {
    /// One that has just claimed.
    pub(super) fn begun(number: u64) -> Self {
        Self { number, is_down: false }
    }

    /// Whether a session of the worker that this is the newest of may claim no more, and loses what
    /// it holds.
    fn ends(self, number: u64) -> bool {
        number < self.number || (number == self.number && self.is_down)
    }
}

/// Which session holds what. Derived from the jobs and the workers; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sessions {
    /// What each session holds, the oldest grant first; none holds nothing.
    leases: BTreeMap<(WorkerId, u64), BTreeSet<(Token, JobNumber)>>,
    /// The newest session of each worker whose record has one.
    newest: BTreeMap<WorkerId, Session>,
    /// The workers with leases of sessions that are over: work left to do.
    ending: BTreeSet<WorkerId>,
}

impl Sessions {
    /// A job was leased.
    pub(super) fn enter(&mut self, holder: &WorkerId, lease: &Lease, job: JobNumber) {
        let Some(session) = lease.session else { return };
        let held = self.leases.entry((holder.clone(), session)).or_default();
        held.insert((lease.token, job));
        if self.is_over(holder, session) {
            self.ending.insert(holder.clone());
        }
    }

    /// A job is about to be leased no more.
    pub(super) fn leave(&mut self, holder: &WorkerId, lease: &Lease, job: JobNumber) {
        let Some(session) = lease.session else { return };
        let key = (holder.clone(), session);
        let Some(held) = self.leases.get_mut(&key) else { return };
        held.remove(&(lease.token, job));
        if held.is_empty() {
            self.leases.remove(&key);
            self.look_again_at(holder);
        }
    }

    /// The record of a worker has come, has changed its session, or has gone.
    pub(super) fn follow(&mut self, worker: &WorkerId, newest: Option<Session>) {
        match newest {
            Some(newest) => self.newest.insert(worker.clone(), newest),
            None => self.newest.remove(worker),
        };
        self.look_again_at(worker);
    }

    fn look_again_at(&mut self, worker: &WorkerId) {
        if self.first_over(worker).is_some() {
            self.ending.insert(worker.clone());
        } else {
            self.ending.remove(worker);
        }
    }

    fn is_over(&self, worker: &WorkerId, session: u64) -> bool {
        self.newest.get(worker).is_some_and(|newest| newest.ends(session))
    }

    /// The oldest grant of the first session of a worker, if that one is over.
    fn first_over(&self, worker: &WorkerId) -> Option<JobNumber> {
        let newest = self.newest.get(worker)?;
        let ((holder, session), held) = self.leases.range((worker.clone(), 0)..).next()?;
        let is_over = holder == worker && newest.ends(*session);
        held.first().filter(|_| is_over).map(|grant| grant.1)
    }

    /// The next job to be taken from a session that is over: workers by name, their sessions from the
    /// oldest on, and of each the oldest grant first.
    fn next_over(&self) -> Option<JobNumber> {
        self.ending.first().and_then(|worker| self.first_over(worker))
    }

    /// Whether a session that is over still holds jobs.
    pub(super) fn is_behind(&self) -> bool {
        !self.ending.is_empty()
    }

    /// How many leases have a session.
    pub(super) fn held(&self) -> u64 {
        self.leases.values().map(|held| held.len() as u64).sum()
    }
}

impl State {
    /// The sessions that hold jobs, by worker and number, but for those that are over: what these still
    /// hold is taken from them within the next entries. Costs as much as there are; while purged jobs
    /// are being cleared, as much as they hold.
    pub fn sessions(&self) -> Vec<SessionView> {
        let sessions = &self.indexes.sessions;
        let live = sessions
            .leases
            .iter()
            .filter(|((worker, session), _)| !sessions.is_over(worker, *session));
        let counted = live.map(|((worker, session), held)| SessionView {
            worker: worker.clone(),
            session: *session,
            held: self.count_leased(held),
        });
        counted.filter(|view| view.held > 0).collect()
    }

    /// Whose lease this is, if it holds and was granted to a session: a call under its token is a sign
    /// of life of that one.
    pub fn session_under(&self, holding: &Holding) -> Option<(WorkerId, u64)> {
        let Kept::Job(job) = self.find(&holding.job)? else { return None };
        let session = job.lease_under(holding.token)?.session?;
        job.holder().cloned().zip(Some(session))
    }

    /// Whether a claim is of a session that may still claim.
    pub(super) fn check_session(&self, claim: &Claim) -> Result<(), Rejection> {
        let newest = self.workers.get(&claim.worker).and_then(|record| record.session);
        match newest.zip(claim.session) {
            Some((newest, claiming)) if newest.ends(claiming) => {
                Err(Rejection::StaleSession { current: newest.number, is_down: newest.is_down })
            }
            _ => Ok(()),
        }
    }

    /// Whether a claim is the first of a session that comes after one that is known: worth an entry
    /// even when nothing is ready, since the earlier one's leases end by it.
    pub(super) fn begins_session(&self, claim: &Claim) -> bool {
        let newest = self.workers.get(&claim.worker).and_then(|record| record.session);
        newest.zip(claim.session).is_some_and(|(newest, claiming)| newest.number < claiming)
    }

    /// A claim is about to be answered: its session is its worker's newest from now on, if that had
    /// one before.
    pub(super) fn begin_session(&mut self, claim: &Claim) {
        if self.begins_session(claim) {
            let session = claim.session.map(Session::begun);
            self.hear_of(&claim.worker, |record| record.session = session);
        }
    }

    /// Declares a session of a worker down: no claim of it, or of an earlier one, is granted anything
    /// from now on, and what they hold is taken from them, now or in later entries. It changes nothing
    /// about later ones.
    pub(super) fn worker_down(&mut self, down: &WorkerDown) -> Result<Answer, Rejection> {
        let WorkerDown { worker, session: number } = down;
        let newest = self.workers.get(worker).and_then(|record| record.session);
        if newest.is_some_and(|newest| newest.ends(*number)) {
            return Ok(Answer::WorkerDown(Once::Duplicate));
        }
        // It may never have claimed: a claim of it may still be on its way.
        self.make_known(worker)?;
        let clock = self.clock;
        self.edit_worker(worker, |record| {
            record.session = Some(Session { number: *number, is_down: true });
            record.seen = clock;
        });
        Ok(Answer::WorkerDown(Once::First))
    }

    /// Takes the next job from a session that is over; false when there is none.
    pub(super) fn end_session(&mut self, changes: &mut Vec<Change>) -> bool {
        let Some(number) = self.indexes.sessions.next_over() else { return false };
        // A purged job has been taken from it already.
        if !self.clear(number, changes) {
            self.lose_lease(number, AttemptEnd::WorkerDown, changes);
        }
        true
    }
}

#[cfg(test)]
mod tests;
