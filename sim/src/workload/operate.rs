//! An operator: it limits and pauses the queue that the others work on, purges it, drains workers, and
//! retries jobs in bulk. What it does is not in the history; that it is safe to repeat is checked here.

use std::time::Duration;

use quorate::{
    node::Unavailable,
    queue::{
        Action, Add, Answer, Claim, Claimed, Command, Complete, Fail, Holding, JobId, JobState,
        Once, Outcome, Patch, QueueName, RequestId, Retry, RetryJobs, SetQueue, WorkerId,
    },
};
use rand::RngExt;
use tokio::time;

use super::{AGAIN, BTreeMap, Client, HOLD, PATIENCE, QUEUE, REPEATS, name, new_job, single};

/// What is counted of operators.
pub const OPERATIONS: [&str; 6] =
    ["limits", "pauses", "purges", "bulk retries", "drains", "repeats"];

impl Client {
    /// Operates the cluster, and undoes what keeps others from their work.
    pub(super) async fn operate(mut self, workers: Vec<WorkerId>) {
        while self.pause(100, 700).await {
            match self.rng.random_range(0..12) {
                0..=2 => self.limit().await,
                3 | 4 => self.interrupt().await,
                5 => self.act("purges", Action::PurgeQueue(name(QUEUE, QueueName::parse))).await,
                6 | 7 => {
                    let worker = workers[self.rng.random_range(0..workers.len())].clone();
                    self.drain(worker).await;
                }
                _ => self.work_again().await,
            }
        }
    }

    /// Sets limits that are low enough to be met, or lifts them.
    async fn limit(&mut self) {
        let set = SetQueue {
            queue: name(QUEUE, QueueName::parse),
            is_paused: Some(false),
            max_jobs: self.patch(20, 200),
            max_bytes: self.patch(300, 3_000),
            default_lease_ms: Patch::Keep,
            max_attempts: Patch::Keep,
            max_leased: self.patch(1, 9),
            rate_per_second: match self.patch(5, 50) {
                Patch::Set(rate) => Patch::Set(u32::try_from(rate).expect("it is less than 50")),
                Patch::Keep => Patch::Keep,
                Patch::Clear => Patch::Clear,
            },
        };
        self.act("limits", Action::SetQueue(set)).await;
    }

    fn patch(&mut self, least: u64, most: u64) -> Patch<u64> {
        match self.rng.random_range(0..4) {
            0 => Patch::Set(self.rng.random_range(least..most)),
            1 => Patch::Keep,
            _ => Patch::Clear,
        }
    }

    /// Pauses the queue for a while. When this host dies meanwhile, another resumes it.
    async fn interrupt(&mut self) {
        let queue = name(QUEUE, QueueName::parse);
        self.act("pauses", Action::PauseQueue { queue: queue.clone(), is_paused: true }).await;
        self.pause(50, 500).await;
        self.act("resumes", Action::PauseQueue { queue, is_paused: false }).await;
    }

    async fn drain(&mut self, worker: WorkerId) {
        let set = |is_draining| Action::DrainWorker { worker: worker.clone(), is_draining };
        self.act("drains", set(true)).await;
        self.pause(50, 1_500).await;
        self.act("undrains", set(false)).await;
    }

    /// Adds a few jobs that nobody else takes, finishes or fails what it gets, and puts all that ended
    /// so back.
    async fn work_again(&mut self) {
        let queue = name(AGAIN, QueueName::parse);
        let mut jobs = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            self.made += 1;
            let job = name(&format!("{}.again.{}", self.name, self.made), JobId::parse);
            jobs.push(new_job(AGAIN, job, self.made));
        }
        self.carry_out(Command::Add(Add { jobs })).await;
        self.made += 1;
        let claim = Command::Claim(Claim {
            worker: self.worker(),
            session: None,
            queues: vec![queue.clone()],
            work_types: Vec::new(),
            max: 5,
            lease_ms: Some(500),
            request_id: name(&format!("again{}", self.made), RequestId::parse),
            labels: BTreeMap::new(),
        });
        if let Some(Answer::Claimed(jobs)) = self.carry_out(claim).await {
            for job in jobs {
                let Claimed::Granted(grant) = job else { continue };
                let holding = Holding { job: grant.job, token: grant.token };
                let settle = if self.rng.random_range(0..2) == 0 {
                    Command::Complete(Complete { holding, result: None, then: Vec::new() })
                } else {
                    Command::Fail(Fail { holding, error: None, retry: Retry::Never })
                };
                self.carry_out(settle).await;
            }
        }
        let state =
            if self.rng.random_range(0..2) == 0 { JobState::Completed } else { JobState::Failed };
        let limit = self.rng.random_range(1..8);
        self.act("bulk retries", Action::RetryJobs(RetryJobs { queue, state, limit })).await;
    }

    /// Carries an operation out. Once it is answered, its repeat must answer the same and do nothing,
    /// whoever leads by then.
    async fn act(&mut self, what: &'static str, action: Action) {
        let command = self.operation(action);
        let Some(answer) = self.carry_out(command.clone()).await else { return };
        self.recorder.count(what);
        if self.rng.random_range(0..3) > 0 {
            return;
        }
        self.pause(1, 1_500).await;
        if let Some(repeated) = self.carry_out(command).await {
            assert_eq!(repeated, as_duplicate(answer), "{what} is not safe to repeat");
            self.recorder.count("repeats");
        }
    }

    /// Asks, and asks again while the outcome is unknown. `None`: it is still, or nothing was done.
    async fn carry_out(&mut self, command: Command) -> Option<Answer> {
        for _ in 0..=REPEATS {
            let asked = self.handle.submit(vec![command.clone()], HOLD);
            match time::timeout(PATIENCE, asked).await.map(|answer| answer.map(single)) {
                Ok(Ok(Outcome { result, .. })) => return result.ok(),
                Ok(Err(Unavailable::NotApplied(_))) => return None,
                Ok(Err(Unavailable::OutcomeUnknown)) | Err(_) => {
                    time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        None
    }
}

/// What the repeat of an operation answers that answered this.
fn as_duplicate(mut answer: Answer) -> Answer {
    match &mut answer {
        Answer::Retried { once, .. }
        | Answer::QueueSet { once, .. }
        | Answer::Purged { once, .. }
        | Answer::QueueDeleted(once)
        | Answer::DrainSet(once) => *once = Once::Duplicate,
        other => panic!("{other:?} is the answer to no operation"),
    }
    answer
}
