//! Operations at random: bounds so small that they are met, and some out of range.

use quorate::queue::{
    Action, JobState, Operation, Patch, RequestId, RetryJobs, SetQueue, WorkerId,
};

use super::Generator;

impl Generator {
    /// Mostly new; else one of the last, as it was or altered.
    pub(super) fn operation(&mut self) -> Operation {
        if !self.operations.is_empty() && self.one_in(4) {
            let recent = u32::try_from(self.operations.len().min(8)).unwrap();
            let place = self.operations.len() - 1 - self.below(recent) as usize;
            let mut operation = self.operations[place].clone();
            if self.one_in(4) {
                operation.action = self.action();
            }
            return operation;
        }
        let request_id = RequestId::parse(&format!("operation-{}", self.operations.len())).unwrap();
        let operation = Operation { request_id, action: self.action() };
        self.operations.push(operation.clone());
        operation
    }

    fn action(&mut self) -> Action {
        if self.below(20) < if self.profile.is_crowded { 4 } else { 1 } {
            return Action::PurgeQueue(self.queue());
        }
        match self.below(17) {
            0..=4 => Action::RetryJob(self.id()),
            5..=7 => Action::RetryJobs(self.retry_jobs()),
            8..=11 => Action::SetQueue(self.set_queue()),
            12..=13 => Action::PauseQueue { queue: self.queue(), is_paused: self.one_in(4) },
            14..=15 => Action::DeleteQueue(self.queue()),
            _ => Action::DrainWorker {
                worker: WorkerId::parse(&format!("w{}", 1 + self.below(4))).unwrap(),
                is_draining: self.one_in(3),
            },
        }
    }

    /// Mostly few, so that memories have room for them.
    fn retry_jobs(&mut self) -> RetryJobs {
        use JobState::{Cancelled, Completed, Expired, Failed, Running};
        let states = [Cancelled, Cancelled, Cancelled, Completed, Expired, Failed, Failed, Running];
        RetryJobs {
            queue: self.queue(),
            state: states[self.below(8) as usize],
            limit: [0, 1, 1, 2, 3, 5, 1_000, 1_001][self.below(8) as usize],
        }
    }

    fn set_queue(&mut self) -> SetQueue {
        SetQueue {
            queue: self.queue(),
            is_paused: match self.below(8) {
                0 => Some(true),
                1..=3 => Some(false),
                _ => None,
            },
            max_jobs: self.patch(|some| match some.below(25) {
                0 => 0,
                1 => 1 << 53,
                _ => 1 + u64::from(some.below(5)),
            }),
            max_bytes: self.patch(|some| match some.below(25) {
                0 => 0,
                1 => u64::MAX,
                _ => 1 + u64::from(some.below(100)),
            }),
            default_lease_ms: self.patch(|some| match some.below(25) {
                0 => 99,
                1 => 43_200_001,
                _ => 100 + u64::from(some.below(300)),
            }),
            max_attempts: self.patch(|some| match some.below(25) {
                0 => 0,
                1 => 1_001,
                _ => 1 + some.below(3),
            }),
            max_leased: self.patch(|some| match some.below(25) {
                0 => 0,
                1 => 1 << 53,
                _ => 1 + u64::from(some.below(3)),
            }),
            rate_per_second: self.patch(|some| match some.below(25) {
                0 => 0,
                1 => 1_000_001,
                _ => 1 + some.below(5),
            }),
        }
    }

    fn patch<T>(&mut self, set: impl FnOnce(&mut Self) -> T) -> Patch<T> {
        match self.below(12) {
            0..=1 => Patch::Set(set(self)),
            2..=5 => Patch::Clear,
            _ => Patch::Keep,
        }
    }
}
