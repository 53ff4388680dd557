//! What waits to be written: bounded in jobs and in bytes. Whoever offers never waits for the disk.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use crate::queue::Job;

/// What a job takes beside its content, bytes, about.
const JOB_BYTES: usize = 512;

/// The queue between `apply` and the writer.
#[derive(Debug)]
pub(super) struct Intake {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    jobs_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Arc<Job>>,
    bytes: usize,
    is_closed: bool,
}

/// What the writer gets.
#[derive(Debug)]
pub(super) enum Taken {
    /// Jobs, oldest first; none when there were none in time.
    Jobs(Vec<Arc<Job>>),
    /// There are none, and there will be none.
    Closed,
}

impl Intake {
    pub(super) fn bounded(jobs_max: usize, bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), jobs_max, bytes_max }
    }

    /// Lets jobs in as long as there is room. Returns how many were left outside.
    pub(super) fn offer(&self, jobs: Vec<Arc<Job>>) -> usize {
        let offered = jobs.len();
        let mut waiting = self.lock();
        let before = waiting.jobs.len();
        for job in jobs {
            let bytes = waiting.bytes + bytes_of(&job);
            // One job may be larger than all the room: it goes in alone.
            let has_room = bytes <= self.bytes_max || waiting.jobs.is_empty();
            if waiting.is_closed || waiting.jobs.len() >= self.jobs_max || !has_room {
                break;
            }
            waiting.bytes = bytes;
            waiting.jobs.push_back(job);
        }
        let let_in = waiting.jobs.len() - before;
        drop(waiting);
        if let_in > 0 {
            self.changed.notify_one();
        }
        offered - let_in
    }

    /// Takes up to `most` jobs, waiting for the first of them no longer than this.
    pub(super) fn take(&self, most: usize, patience: Duration) -> Taken {
        let is_idle = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.is_closed;
        let waited = self.changed.wait_timeout_while(self.lock(), patience, is_idle);
        let (mut waiting, _) = waited.expect(UNPOISONED);
        if waiting.jobs.is_empty() && waiting.is_closed {
            return Taken::Closed;
        }
        let count = waiting.jobs.len().min(most);
        let jobs: Vec<_> = waiting.jobs.drain(..count).collect();
        waiting.bytes -= jobs.iter().map(|job| bytes_of(job)).sum::<usize>();
        Taken::Jobs(jobs)
    }

    /// Lets nothing more in; what waits can still be taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Lets nothing more in, and gives up what waits. Returns how many jobs that were.
    pub(super) fn abandon(&self) -> usize {
        self.close();
        let mut waiting = self.lock();
        waiting.bytes = 0;
        std::mem::take(&mut waiting.jobs).len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "nothing panics while the intake is locked";

fn bytes_of(job: &Job) -> usize {
    JOB_BYTES + job.content_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::samples;

    const NOW: Duration = Duration::ZERO;

    fn taken(intake: &Intake, most: usize) -> usize {
        match intake.take(most, NOW) {
            Taken::Jobs(jobs) => jobs.len(),
            Taken::Closed => panic!("it is closed"),
        }
    }

    #[test]
    fn what_is_over_the_number_of_jobs_stays_outside() {
        let intake = Intake::bounded(3, 1 << 20);
        assert_eq!(intake.offer(samples::departed(2)), 0);
        assert_eq!(intake.offer(samples::departed(2)), 1);
        assert_eq!((taken(&intake, 2), taken(&intake, 2), taken(&intake, 2)), (2, 1, 0));
        assert_eq!(intake.offer(samples::departed(4)), 1, "there is room again");
    }

    #[test]
    fn what_is_over_the_bytes_stays_outside_but_for_one_job_alone() {
        let large = || samples::departed_with(1, 10_000);
        let intake = Intake::bounded(100, 5_000);
        assert_eq!(intake.offer(large()), 0);
        assert_eq!(intake.offer(large()), 1);
        assert_eq!(intake.offer(samples::departed(1)), 1);
        assert_eq!(taken(&intake, 9), 1);
        assert_eq!(intake.offer(samples::departed(3)), 0, "its bytes went with it");
    }

    #[test]
    fn a_closed_intake_gives_what_it_has_and_an_abandoned_one_nothing() {
        let intake = Intake::bounded(9, 1 << 20);
        intake.offer(samples::departed(2));
        intake.close();
        assert_eq!(intake.offer(samples::departed(1)), 1);
        assert_eq!(taken(&intake, 9), 2);
        assert!(matches!(intake.take(9, Duration::from_mins(1)), Taken::Closed));
        let intake = Intake::bounded(9, 1 << 20);
        intake.offer(samples::departed(2));
        assert_eq!(intake.abandon(), 2);
        assert!(matches!(intake.take(9, NOW), Taken::Closed));
    }
}
