//! What time alone will change, in the order in which it will.

use std::collections::BTreeSet;

use super::{
    ClockMs, JobNumber, WallMs,
    job::{Job, Phase, Wake},
};

/// The deadlines of all jobs. Derived from the jobs; rebuilt at load. Ties go in add order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Timers {
    /// Leases, delays, backoffs and expiries.
    clock: BTreeSet<(ClockMs, JobNumber, Due)>,
    /// `run_at` of jobs that wait for the wall clock.
    wall: BTreeSet<(WallMs, JobNumber)>,
    /// Ends of retention: apart, so that clearing away never delays an expired lease.
    reaps: BTreeSet<(ClockMs, JobNumber)>,
}

/// What falls due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The job was not claimed in time.
    Expiry,
    /// Its lease ends.
    Lease,
    /// Its delay or backoff is over.
    Wake,
}

impl Timers {
    pub(super) fn enter(&mut self, job: &Job) {
        match job.phase {
            Phase::Scheduled(Wake::Clock { at, .. }) => {
                self.clock.insert((at, job.number, Due::Wake));
            }
            Phase::Scheduled(Wake::Wall(at)) => {
                self.wall.insert((at, job.number));
            }
            Phase::Leased(lease) => {
                self.clock.insert((lease.deadline, job.number, Due::Lease));
            }
            Phase::Ended(ending) => {
                self.reaps.insert((ending.reap_at, job.number));
            }
            Phase::Blocked(_) | Phase::Pending => {}
        }
        if let Some(at) = expiry_of(job) {
            self.clock.insert((at, job.number, Due::Expiry));
        }
    }

    pub(super) fn leave(&mut self, job: &Job) {
        match job.phase {
            Phase::Scheduled(Wake::Clock { at, .. }) => {
                self.clock.remove(&(at, job.number, Due::Wake));
            }
            Phase::Scheduled(Wake::Wall(at)) => {
                self.wall.remove(&(at, job.number));
            }
            Phase::Leased(lease) => {
                self.clock.remove(&(lease.deadline, job.number, Due::Lease));
            }
            Phase::Ended(ending) => {
                self.reaps.remove(&(ending.reap_at, job.number));
            }
            Phase::Blocked(_) | Phase::Pending => {}
        }
        if let Some(at) = expiry_of(job) {
            self.clock.remove(&(at, job.number, Due::Expiry));
        }
    }

    /// The first deadline on the cluster clock that has come.
    pub(super) fn due(&self, clock: ClockMs) -> Option<(JobNumber, Due)> {
        self.clock.first().filter(|first| first.0 <= clock).map(|first| (first.1, first.2))
    }

    /// The first job that this wall clock wakes.
    pub(super) fn due_by_wall(&self, wall: WallMs) -> Option<JobNumber> {
        self.wall.first().filter(|first| first.0 <= wall).map(|first| first.1)
    }

    /// The first finished job whose retention is over.
    pub(super) fn due_to_reap(&self, clock: ClockMs) -> Option<JobNumber> {
        self.reaps.first().filter(|first| first.0 <= clock).map(|first| first.1)
    }

    pub(super) fn next_clock(&self) -> Option<ClockMs> {
        self.clock.first().map(|first| first.0)
    }

    pub(super) fn next_wall(&self) -> Option<WallMs> {
        self.wall.first().map(|first| first.0)
    }

    pub(super) fn next_reap(&self) -> Option<ClockMs> {
        self.reaps.first().map(|first| first.0)
    }

    /// Finished jobs, the last one first.
    pub(super) fn ended(&self) -> impl Iterator<Item = JobNumber> {
        self.reaps.iter().rev().map(|reap| reap.1)
    }
}

/// When the job expires unclaimed; `None` once it was claimed or has ended.
fn expiry_of(job: &Job) -> Option<ClockMs> {
    let is_waiting = matches!(job.phase, Phase::Scheduled(_) | Phase::Blocked(_) | Phase::Pending);
    job.expires_at.filter(|_| is_waiting && job.attempts.is_empty())
}
