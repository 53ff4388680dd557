//! What a command answers. Rejections are answers too: deterministic, the same on every replica,
//! and without effect.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{ClockMs, JobId, Payload, QueueName, Rev, Token, WallMs, WorkType, WorkerId};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Delayed, or backing off.
    Scheduled,
    /// Waits for its dependencies.
    Blocked,
    /// Ready to be claimed.
    Pending,
    /// Leased; the worker has not yet said that it runs it.
    Claimed,
    /// Leased, and the worker has said so by `start` or a first heartbeat.
    Running,
    /// Finished.
    Completed,
    /// Attempts exhausted, or told not to retry: a dead letter.
    Failed,
    /// Called off.
    Cancelled,
    /// Not claimed in time.
    Expired,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// By `complete`.
    Completed,
    /// By `fail`.
    Failed,
    /// By `release`.
    Released,
    /// The lease ran out.
    Expired,
    /// The worker's session was declared down, or a later one has begun.
    WorkerDown,
    /// The job was cancelled under it.
    Cancelled,
}

/// What one command answered, and the revision it was answered at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// The revision after the command (of *this* answer, on a duplicate as well).
    pub rev: Rev,
    /// The answer.
    pub result: Result<Answer, Rejection>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// To [`super::Command::Add`], in the order of its jobs.
    Added(Vec<Added>),
    /// To [`super::Command::Claim`]; empty when nothing was ready.
    Claimed(Vec<Claimed>),
    /// To [`super::Command::Start`].
    Started(Once),
    /// To [`super::Command::Heartbeat`], in the order of its items.
    Heartbeat {
        /// One a lease.
        items: Vec<Beaten>,
        /// Whether the worker should claim nothing more.
        drain: bool,
    },
    /// To [`super::Command::Complete`].
    Completed {
        /// Whether this call did it.
        once: Once,
        /// The jobs of `then`.
        then: Vec<Added>,
    },
    /// To [`super::Command::Fail`], when a further attempt follows.
    Retrying {
        /// Whether this call did it.
        once: Once,
        /// When, by the wall clock of the entry that failed it.
        run_at: WallMs,
    },
    /// To [`super::Command::Fail`], when none follows.
    Failed(Once),
    /// To [`super::Command::Release`].
    Released(Once),
    /// To [`super::Command::Cancel`].
    Cancelled(Once),
    /// To [`super::Action::RetryJob`] and [`super::Action::RetryJobs`].
    Retried {
        /// Whether this call did it.
        once: Once,
        /// What was put back, in add order; empty when nothing fitted.
        jobs: Vec<JobId>,
    },
    /// To [`super::Action::SetQueue`] and [`super::Action::PauseQueue`].
    QueueSet {
        /// Whether this call did it.
        once: Once,
        /// Whether it made the queue.
        is_new: bool,
    },
    /// To [`super::Action::PurgeQueue`].
    Purged {
        /// Whether this call did it.
        once: Once,
        /// How many jobs it cancelled.
        count: u64,
    },
    /// To [`super::Action::DeleteQueue`].
    QueueDeleted(Once),
    /// To [`super::Action::DrainWorker`].
    DrainSet(Once),
    /// To [`super::Command::WorkerDown`]; a duplicate as well when a later session has begun.
    WorkerDown(Once),
}

/// Whether a call did something, or had done it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Once {
    /// This call did it.
    First,
    /// An earlier call had done it; this one answers as that one did and changed nothing.
    Duplicate,
}

/// An added job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Added {
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub work_type: WorkType,
    /// Its priority.
    pub priority: u8,
    /// Its state now.
    pub state: JobState,
    /// Whether this call added it.
    pub once: Once,
}

/// One job of a claim's answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Claimed {
    /// Held by the worker now.
    Granted(Grant),
    /// In a repeated claim: no longer held under that token.
    Lost {
        /// The job.
        job: JobId,
        /// The token it was held under.
        token: Token,
        /// What became of it.
        state: JobState,
    },
}

/// A lease, as its worker gets it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grant {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub work_type: WorkType,
    /// What to do.
    pub payload: Payload,
    /// Its priority.
    pub priority: u8,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// The fencing token: pass it on to whatever the job writes to.
    pub token: Token,
    /// The lease granted, ms.
    pub lease_ms: u64,
    /// What is left of it, ms, at this answer's cluster clock.
    pub lease_expires_in_ms: u64,
    /// When it ends on the cluster clock.
    pub deadline: ClockMs,
    /// When the job was added.
    pub added_at: WallMs,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// One lease of a heartbeat's answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beaten {
    /// The job.
    pub job: JobId,
    /// The token named.
    pub token: Token,
    /// What became of the lease.
    pub status: BeatStatus,
}

/// What a heartbeat did to one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BeatStatus {
    /// It holds for this long, ms.
    Extended {
        /// What is left of it, ms.
        lease_expires_in_ms: u64,
    },
    /// The token is not valid (any more).
    Lost,
    /// The job was cancelled: stop.
    CancelRequested,
}

/// Why a command did nothing. The state is unchanged after each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rejection {
    /// No such job.
    JobNotFound {
        /// The job.
        job: JobId,
    },
    /// The job is held under another token, or under none.
    StaleToken {
        /// The job.
        job: JobId,
        /// The valid token, if the job is leased.
        current_token: Option<Token>,
        /// Who holds it.
        holder: Option<WorkerId>,
        /// Its state.
        state: JobState,
        /// How the attempt under the token named ended, when that is remembered.
        ended_as: Option<AttemptEnd>,
    },
    /// The job's state does not allow this.
    WrongState {
        /// The job.
        job: JobId,
        /// Its state.
        state: JobState,
    },
    /// A job of this id with other content exists.
    JobIdConflict {
        /// The job.
        job: JobId,
        /// Its place in the batch, from 0.
        index: u32,
    },
    /// A claim of this worker, or an operation, under this request id had other arguments.
    RequestIdConflict,
    /// A queue is full, or all tombstones are taken. Decided in the state, so never indeterminate.
    Full {
        /// What is full, for people.
        reason: Arc<str>,
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
    /// A job to add names what does not exist or is out of range.
    Invalid {
        /// Its place in the batch, from 0.
        index: u32,
        /// The field, as the API names it.
        field: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// A job to add would close a circle of dependencies.
    DependencyCycle {
        /// Its place in the batch, from 0.
        index: u32,
        /// The job.
        job: JobId,
    },
    /// No such queue.
    QueueNotFound {
        /// The queue.
        queue: QueueName,
    },
    /// The queue has unfinished jobs.
    QueueNotEmpty {
        /// The queue.
        queue: QueueName,
        /// How many.
        unfinished: u64,
    },
    /// The session that claims is over: the worker has a later one, or it was declared down.
    StaleSession {
        /// The worker's newest session: the next one must be greater.
        current: u64,
        /// Whether that one was declared down.
        is_down: bool,
    },
}
