//! What time does by itself. Each entry lets it do a bounded number of steps, in the order of the
//! deadlines; what is left over, the next entries do (guarantees, rule 9).

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
            || self.indexes.bounds.window_over(self.clock).is_some()
            || self.indexes.sessions.is_behind()
            || self.indexes.dependents.next().is_some()
            || !self.indexes.bounds.purging.is_empty()
            || (self.has_room_for_tombstones() && timers.due_to_reap(self.clock).is_some())
            || self.next_forgotten().is_some_and(|due| due <= self.clock)
    }

    /// When the next operation or worker is forgotten.
    pub(super) fn next_forgotten(&self) -> Option<ClockMs> {
        let operation = self.indexes.memories.next_until();
        [operation, self.next_forgotten_worker()].into_iter().flatten().min()
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
        self.settle_timer(changes)
            || self.end_window(changes)
            // Before anything is buried: until then it is known how a dependency ended.
            || self.go_on(changes)
            || self.remove_oldest_tombstone()
            || self.bury_next()
            || self.forget_operation()
            || self.forget_worker()
    }

    /// Does a part of what an earlier step or command began; false when nothing is left of it.
    pub(super) fn go_on(&mut self, changes: &mut Vec<Change>) -> bool {
        self.end_session(changes) || self.settle_dependent(changes) || self.clear_next(changes)
    }

    /// Does what the first deadline that has come is for; false when none has.
    fn settle_timer(&mut self, changes: &mut Vec<Change>) -> bool {
        let timers = &self.indexes.timers;
        let by_wall = || timers.due_by_wall(self.wall).map(|number| (number, Due::Wake));
        let Some((number, due)) = timers.due(self.clock).or_else(by_wall) else { return false };
        if self.clear(number, changes) {
            return true; // A purged job waits for nothing any more.
        }
        match due {
            Due::Lease => self.lose_lease(number, AttemptEnd::Expired, changes),
            Due::Wake => self.wake(number, changes),
            Due::Expiry => self.expire(number, changes),
        }
        true
    }

    /// The attempt is lost. It counts; the job is ready again at once, in its original place.
    pub(super) fn lose_lease(
        &mut self,
        number: JobNumber,
        how: AttemptEnd,
        changes: &mut Vec<Change>,
    ) {
        let ended = Ended::plainly(how, self.wall);
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

    /// Sets a tombstone in the place of the first finished job whose retention is over. Its state
    /// stays what it was: no revision. False when there is none, or no room.
    fn bury_next(&mut self) -> bool {
        let due = self.indexes.timers.due_to_reap(self.clock);
        let Some(number) = due.filter(|_| self.has_room_for_tombstones()) else { return false };
        self.bury(number);
        true
    }

    fn bury(&mut self, number: JobNumber) {
        let until = self.clock.after(self.limits.tombstone_ms());
        let Some(job) = self.jobs.remove(&number) else { return };
        let tombstone =
            Tombstone::of(&job, until).expect("only finished jobs have an end of retention");
        self.indexes.bury(&job, self.next_tombstone);
        self.tombstones.insert(self.next_tombstone, tombstone);
        self.next_tombstone.0 += 1;
        self.drop_if_gone(&job.queue);
        self.departed.0.push(job);
    }

    /// False when it is not time yet, or there is none.
    fn remove_oldest_tombstone(&mut self) -> bool {
        let oldest = self.tombstones.get_min().filter(|oldest| oldest.1.until <= self.clock);
        let Some(number) = oldest.map(|oldest| oldest.0) else { return false };
        if let Some(tombstone) = self.tombstones.remove(&number) {
            self.indexes.ids.remove(&tombstone.id);
        }
        true
    }
}
