//! What time does by itself. Each entry lets it do a bounded number of steps, in the order of the
//! deadlines; what is left over, the next entries do (guarantees §11).

use super::{
    AttemptEnd, Change, ClockMs, JobNumber, Stamp, State, Tombstone,
    job::{EndState, Ended, Phase},
    timers::Due,
};

impl State {
    /// Moves the clocks and does what has fallen due: leases and delays first, clearing away last.
    /// Returns how many steps the entry has left.
    pub(super) fn pass_time(&mut self, stamp: Stamp, changes: &mut Vec<Change>) -> u32 {
        self.clock = self.clock.max(stamp.clock);
        self.wall = stamp.wall;
        let mut steps_left = self.limits.steps_max;
        while steps_left > 0 && self.step(changes) {
            steps_left -= 1;
        }
        steps_left
    }

    /// Whether something has fallen due that [`State::pass_time`] left over.
    pub(super) fn is_behind(&self) -> bool {
        let timers = &self.indexes.timers;
        timers.due(self.clock).is_some()
            || timers.due_by_wall(self.wall).is_some()
            || self.indexes.dependents.next().is_some()
            || (self.has_room_for_tombstones() && timers.due_to_reap(self.clock).is_some())
    }

    /// When the next finished job can leave for its tombstone.
    pub(super) fn next_burial(&self) -> Option<ClockMs> {
        let reap_at = self.indexes.timers.next_reap()?;
        if self.has_room_for_tombstones() {
            return Some(reap_at);
        }
        self.tombstones.get_min().map(|oldest| oldest.1.until.max(reap_at))
    }

    pub(super) fn has_room_for_tombstones(&self) -> bool {
        (self.tombstones.len() as u64) < self.limits.tombstones_max
    }

    /// Does the one thing that is due first; false when there is none.
    fn step(&mut self, changes: &mut Vec<Change>) -> bool {
        let timers = &self.indexes.timers;
        if let Some((number, due)) = timers.due(self.clock) {
            match due {
                Due::Lease => self.expire_lease(number, changes),
                Due::Wake => self.wake(number, changes),
                Due::Expiry => self.expire(number, changes),
            }
        } else if let Some(number) = timers.due_by_wall(self.wall) {
            self.wake(number, changes);
        } else if self.settle_dependent(changes) {
            // Before anything is cleared away: until then it is known how the dependency ended.
        } else if self.tombstones.get_min().is_some_and(|oldest| oldest.1.until <= self.clock) {
            self.remove_oldest_tombstone();
        } else if let Some(number) = self.indexes.timers.due_to_reap(self.clock)
            && self.has_room_for_tombstones()
        {
            self.bury(number);
        } else {
            return false;
        }
        true
    }

    /// The attempt is lost. It counts; the job is ready again at once, in its original place.
    fn expire_lease(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        let ended = Ended::plainly(AttemptEnd::Expired, self.wall);
        let failed = self.ending(EndState::Failed);
        self.transition(number, changes, |job| {
            job.end_attempt(ended);
            job.attempts_lost += 1;
            job.phase = if job.has_attempts_left() { Phase::Pending } else { failed };
        });
    }

    fn wake(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        self.transition(number, changes, |job| job.phase = Phase::Pending);
    }

    fn expire(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        let expired = self.ending(EndState::Expired);
        self.transition(number, changes, |job| job.phase = expired);
    }

    /// Sets a tombstone in the place of a finished job. Its state stays what it was: no revision.
    fn bury(&mut self, number: JobNumber) {
        let until = self.clock.after(self.limits.tombstone_ms());
        let Some(job) = self.jobs.remove(&number) else { return };
        let tombstone =
            Tombstone::of(&job, until).expect("only finished jobs have an end of retention");
        self.indexes.bury(&job, self.next_tombstone);
        self.tombstones.insert(self.next_tombstone, tombstone);
        self.next_tombstone.0 += 1;
        self.departed.0.push(job);
    }

    fn remove_oldest_tombstone(&mut self) {
        let Some(number) = self.tombstones.get_min().map(|oldest| oldest.0) else { return };
        if let Some(tombstone) = self.tombstones.remove(&number) {
            self.indexes.ids.remove(&tombstone.id);
        }
    }
}
