//! Jobs that wait for other jobs.
//!
//! A blocked job knows which of its dependencies are unmet. When one of them ends, the jobs that
//! wait for it are settled one after the other, as many in an entry as its bound on steps allows.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Change, JobId, JobNumber, JobState, NewJob, OnDependencyFailure, State,
    job::{EndState, Job, Phase, Wake},
    state::Kept,
};

/// Who waits for whom. Derived from the jobs; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dependents {
    /// A dependency and a blocked job that it is unmet for.
    waiting: BTreeSet<(JobId, JobNumber)>,
    /// The dependencies that have ended and that jobs still wait for: work left to do.
    ended: BTreeSet<JobId>,
}

impl Dependents {
    pub(super) fn enter(&mut self, job: &Job) {
        match job.phase {
            Phase::Blocked(_) => {
                self.waiting.extend(job.unmet().map(|unmet| (unmet.clone(), job.number)));
            }
            Phase::Ended(_) => self.on_end(&job.id),
            _ => {}
        }
    }

    pub(super) fn leave(&mut self, job: &Job) {
        match job.phase {
            Phase::Blocked(_) => job.unmet().for_each(|unmet| self.remove(unmet, job.number)),
            // It is put back: whoever was not settled yet goes on waiting for it.
            Phase::Ended(_) => {
                self.ended.remove(&job.id);
            }
            _ => {}
        }
    }

    /// A job has ended: whoever waits for it is to be settled.
    pub(super) fn on_end(&mut self, id: &JobId) {
        if self.first_waiting_for(id).is_some() {
            self.ended.insert(id.clone());
        }
    }

    /// A job does not wait for this dependency (any more).
    pub(super) fn remove(&mut self, dependency: &JobId, job: JobNumber) {
        self.waiting.remove(&(dependency.clone(), job));
        if self.ended.contains(dependency) && self.first_waiting_for(dependency).is_none() {
            self.ended.remove(dependency);
        }
    }

    /// The dependencies that jobs wait for.
    pub(super) fn awaited(&self) -> BTreeSet<JobId> {
        self.waiting.iter().map(|waiting| waiting.0.clone()).collect()
    }

    /// The next job to settle, and which of its dependencies has ended.
    pub(super) fn next(&self) -> Option<(JobId, JobNumber)> {
        let ended = self.ended.first()?;
        Some((ended.clone(), self.first_waiting_for(ended)?))
    }

    fn first_waiting_for(&self, id: &JobId) -> Option<JobNumber> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut from = self.waiting.range((id.clone(), JobNumber(0))..);
        from.next().filter(|waiting| waiting.0 == *id).map(|waiting| waiting.1)
    }
}

/// What the dependencies of a new job make of it.
pub(super) enum Outlook {
    /// None is unmet.
    Free,
    /// It waits for these.
    Blocked(BTreeSet<JobId>),
    /// It can never run, for this reason.
    Doomed(String),
}

impl State {
    /// What the dependencies of a new job make of it; those not known yet come with its batch.
    pub(super) fn outlook(&self, new: &NewJob) -> Outlook {
        let mut unmet = BTreeSet::new();
        for dependency in &new.depends_on {
            match self.find(dependency).map(|kept| kept.state()) {
                Some(JobState::Completed) => {}
                Some(state) if state.is_terminal() => {
                    if new.on_dependency_failure == OnDependencyFailure::Fail {
                        return Outlook::Doomed(reason(dependency, state));
                    }
                }
                _ => {
                    unmet.insert(dependency.clone());
                }
            }
        }
        if unmet.is_empty() { Outlook::Free } else { Outlook::Blocked(unmet) }
    }

    /// Settles one job, one of whose dependencies has ended; false when there is none.
    pub(super) fn settle_dependent(&mut self, changes: &mut Vec<Change>) -> bool {
        let Some((dependency, number)) = self.indexes.dependents.next() else { return false };
        if self.clear(number, changes) {
            return true; // A purged job waits for nothing any more.
        }
        let ended_as = self.find(&dependency).map_or(JobState::Failed, |kept| kept.state());
        let job = self.job_numbered(number);
        let runs_anyway = job
            .bonds
            .as_ref()
            .is_some_and(|bonds| bonds.on_dependency_failure == OnDependencyFailure::Run);
        if ended_as != JobState::Completed && !runs_anyway {
            let failed = self.ending(EndState::Failed);
            self.transition(number, changes, |job| {
                job.report_mut().failure = Some(reason(&dependency, ended_as).into());
                job.phase = failed;
            });
        } else if job.unmet().count() > 1 {
            self.indexes.dependents.remove(&dependency, number);
            self.job_mut(number).meet(&dependency);
        } else {
            let freed = self.phase_of_freed(job);
            self.transition(number, changes, |job| {
                job.meet(&dependency);
                job.phase = freed;
            });
        }
        true
    }

    /// Where a job goes whose last dependency is met: it may still be too early for it.
    fn phase_of_freed(&self, job: &Job) -> Phase {
        let Phase::Blocked(wake) = job.phase else { return job.phase };
        let still_waits = wake.filter(|wake| match *wake {
            Wake::Clock { at, .. } => at > self.clock,
            Wake::Wall(at) => at > self.wall,
        });
        still_waits.map_or(Phase::Pending, Phase::Scheduled)
    }
}

impl Kept<'_> {
    pub(super) fn state(&self) -> JobState {
        match self {
            Self::Job(job) => job.state(),
            Self::Tombstone(tombstone) => tombstone.state(),
        }
    }
}

/// A job of a list that depends on itself, through others of the list or directly: its place.
///
/// Only a list can close a circle: whatever is there already depends on nothing that comes later.
/// Of the jobs that cannot be put in order, the walk starts at the first and follows each one's
/// first dependency that cannot be either, until it meets a job again.
pub(super) fn circle_in(new_jobs: &[&NewJob]) -> Option<usize> {
    let places: BTreeMap<&JobId, usize> =
        new_jobs.iter().enumerate().map(|(place, job)| (&job.id, place)).collect();
    let within = |place: usize| {
        new_jobs[place].depends_on.iter().filter_map(|dependency| places.get(dependency).copied())
    };
    let mut unmet: Vec<usize> = (0..new_jobs.len()).map(|place| within(place).count()).collect();
    let mut dependents = vec![Vec::new(); new_jobs.len()];
    for place in 0..new_jobs.len() {
        within(place).for_each(|dependency| dependents[dependency].push(place));
    }
    let mut ordered: Vec<usize> = (0..new_jobs.len()).filter(|place| unmet[*place] == 0).collect();
    while let Some(place) = ordered.pop() {
        for dependent in &dependents[place] {
            unmet[*dependent] -= 1;
            if unmet[*dependent] == 0 {
                ordered.push(*dependent);
            }
        }
    }
    let mut place = unmet.iter().position(|unmet| *unmet > 0)?;
    let mut walked = BTreeSet::new();
    while walked.insert(place) {
        place = within(place).find(|dependency| unmet[*dependency] > 0)?;
    }
    Some(place)
}

fn reason(dependency: &JobId, ended_as: JobState) -> String {
    format!("its dependency {dependency} is {}", ended_as.as_str())
}
