//! What time does.

use quorate::queue::{AttemptEnd, JobId, JobState, OnDependencyFailure};

use super::{End, Grave, Job, Model, Wake, leased};

/// What a deadline on the cluster clock does to its job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Expires,
    LosesLease,
    Wakes,
}

impl Model {
    /// One step, of the first kind of which there is one.
    pub(super) fn one_thing_due(&mut self) -> bool {
        self.one_deadline()
            || self.one_run_at()
            || self.one_window_over()
            || self.one_thing_begun()
            || self.one_grave_gone()
            || self.one_burial()
            || self.one_memory_gone()
            || self.one_worker_gone()
    }

    /// One step of what a command or an earlier step began.
    pub(super) fn one_thing_begun(&mut self) -> bool {
        self.end_one_session() || self.settle_one_dependent() || self.clear_one_purged()
    }

    fn next_deadline(&self) -> Option<(u64, usize, Due)> {
        use JobState::{Blocked, Pending, Scheduled};
        let mut due = Vec::new();
        for (at, job) in self.jobs.iter().enumerate() {
            let waits = [Blocked, Pending, Scheduled].contains(&job.phase);
            if let Some(expires_at) = job.expires_at
                && waits
                && job.attempts.is_empty()
            {
                due.push((expires_at, at, Due::Expires));
            }
            if leased(job.phase) {
                due.push((job.deadline, at, Due::LosesLease));
            }
            if job.phase == Scheduled
                && let Some(Wake::Clock { at: wakes_at, .. }) = job.wake
            {
                due.push((wakes_at, at, Due::Wakes));
            }
        }
        due.into_iter().min()
    }

    fn next_run_at(&self) -> Option<(u64, usize)> {
        let waiting = self.jobs.iter().enumerate().filter_map(|(at, job)| match job.wake {
            Some(Wake::Wall(run_at)) if job.phase == JobState::Scheduled => Some((run_at, at)),
            _ => None,
        });
        waiting.min()
    }

    fn next_burial(&self) -> Option<(u64, usize)> {
        let ended = self.jobs.iter().enumerate().filter(|(_, job)| job.phase.is_terminal());
        ended.map(|(at, job)| (job.buried_from, at)).min()
    }

    pub(super) fn graves_left(&self) -> bool {
        (self.graves.len() as u64) < self.limits.tombstones_max
    }

    fn one_deadline(&mut self) -> bool {
        let Some((when, at, due)) = self.next_deadline() else { return false };
        if when > self.clock {
            return false;
        }
        if self.jobs[at].purge.is_some() {
            self.encounter("purged met by its timer");
            self.clear(at);
            return true;
        }
        match due {
            Due::Expires => self.finish(at, JobState::Expired),
            Due::LosesLease => self.lose(at, AttemptEnd::Expired),
            Due::Wakes => self.make_ready(at),
        }
        true
    }

    fn one_run_at(&mut self) -> bool {
        let Some((when, at)) = self.next_run_at() else { return false };
        if when > self.wall {
            return false;
        }
        if self.jobs[at].purge.is_some() {
            self.clear(at);
        } else {
            self.make_ready(at);
        }
        true
    }

    pub(super) fn lose(&mut self, at: usize, how: AttemptEnd) {
        let job = &mut self.jobs[at];
        job.lost += 1;
        let is_last = job.used >= job.max_attempts;
        let end = End::plain(how, self.wall);
        job.attempts.last_mut().unwrap().end = Some(end);
        if is_last {
            self.finish(at, JobState::Failed);
        } else {
            self.make_ready(at);
        }
    }

    /// (what has ended, who waits for it), the first by names and then by age.
    fn dependent(&self) -> Option<(JobId, usize)> {
        let mut pairs = Vec::new();
        for (at, job) in self.jobs.iter().enumerate() {
            for id in job.unmet.iter().filter(|_| job.phase == JobState::Blocked) {
                if self.has_ended_and_is_cleared(id) {
                    pairs.push((id.clone(), at));
                }
            }
        }
        pairs.into_iter().min()
    }

    fn has_ended_and_is_cleared(&self, id: &JobId) -> bool {
        let is_uncleared = self.place_of(id).is_some_and(|at| self.jobs[at].purge.is_some());
        !is_uncleared && self.known(id).is_some_and(|(_, state)| state.is_terminal())
    }

    pub(super) fn settle_one_dependent(&mut self) -> bool {
        let Some((id, at)) = self.dependent() else { return false };
        if self.jobs[at].purge.is_some() {
            self.encounter("purged met by its dependency");
            self.clear(at);
            return true;
        }
        let state = self.known(&id).unwrap().1;
        let job = &mut self.jobs[at];
        let runs = job.new.on_dependency_failure == OnDependencyFailure::Run;
        if state != JobState::Completed && !runs {
            job.doomed = Some(doom(&id, state));
            self.finish(at, JobState::Failed);
            return true;
        }
        job.unmet.retain(|unmet| *unmet != id);
        if job.unmet.is_empty() {
            let is_early = match job.wake {
                None => false,
                Some(Wake::Clock { at, .. }) => at > self.clock,
                Some(Wake::Wall(at)) => at > self.wall,
            };
            if is_early {
                self.transition(at, |job| job.phase = JobState::Scheduled);
            } else {
                self.make_ready(at);
            }
        }
        true
    }

    fn one_grave_gone(&mut self) -> bool {
        let is_due = self.graves.first().is_some_and(|grave| grave.until <= self.clock);
        if is_due {
            self.graves.remove(0);
        }
        is_due
    }

    fn one_burial(&mut self) -> bool {
        let Some((when, at)) = self.next_burial() else { return false };
        if when > self.clock || !self.graves_left() {
            return false;
        }
        let job = self.jobs.remove(at);
        let keeps = self.limits.retention_ms.max(self.limits.tombstone_floor_ms);
        self.graves.push(Grave {
            new: job.new,
            state: job.phase,
            last: job.attempts.last().cloned(),
            until: self.clock + keeps,
        });
        self.drop_deleted_queues_without_jobs();
        true
    }

    /// The earliest moments on the two clocks, and whether one of them has passed.
    pub(crate) fn deadlines(&self) -> (Option<u64>, Option<u64>, bool) {
        let by_wall = self.next_run_at().map(|due| due.0);
        let free_from = if self.graves_left() { 0 } else { self.graves[0].until };
        let burial = self.next_burial().map(|due| due.0.max(free_from));
        let of_jobs = self.next_deadline().map(|due| due.0);
        let of_windows = self.next_window_over().map(|due| due.0);
        let of_memories = self.memories.iter().map(|memory| memory.until).min();
        let of_workers = self.next_worker_gone().map(|due| due.0);
        let has_passed = |at: Option<u64>| at.is_some_and(|at| at <= self.clock);
        let is_behind = by_wall.is_some_and(|at| at <= self.wall)
            || [of_jobs, of_windows, of_memories, of_workers].into_iter().any(has_passed)
            || self.next_of_sessions_over().is_some()
            || self.dependent().is_some()
            || self.jobs.iter().any(|job| job.purge.is_some())
            || (self.graves_left() && has_passed(burial));
        let by_clock = [of_jobs, of_windows, of_memories, of_workers, burial];
        (by_clock.into_iter().flatten().min(), by_wall, is_behind)
    }
}

impl Wake {
    pub(super) fn run_at(self) -> u64 {
        match self {
            Self::Clock { run_at, .. } | Self::Wall(run_at) => run_at,
        }
    }
}

impl Job {
    /// While it may not be handed out yet, and people are told from when on.
    pub(super) fn run_at(&self) -> Option<u64> {
        let waits = [JobState::Scheduled, JobState::Blocked].contains(&self.state_seen());
        self.wake.filter(|_| waits).map(Wake::run_at)
    }
}

pub(super) fn doom(dependency: &JobId, state: JobState) -> String {
    format!("its dependency {dependency} is {}", format!("{state:?}").to_lowercase())
}
