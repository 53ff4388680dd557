//! What can be asked of the queue. These types are stored in the log: variants and fields are only
//! ever appended, inside a new version (`node::codec` frames them; golden bytes hold them).

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    GroupName, JobId, JobState, NAME_DEFAULT, PRIORITY_DEFAULT, QueueName, RequestId, Stamp, Token,
    WallMs, WorkType, WorkerId,
};

/// One entry of the log: what waited when the leader last proposed, and the leader's clocks. An entry
/// with no command is a tick: it only lets time pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The leader's clocks as it proposed.
    pub stamp: Stamp,
    /// Applied in this order.
    pub commands: Vec<Command>,
}

/// One request that may change the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Adds jobs.
    Add(Add),
    /// Leases jobs to a worker.
    Claim(Claim),
    /// The holder says that it runs the job.
    Start(Holding),
    /// A worker extends its leases.
    Heartbeat(Heartbeat),
    /// The holder has finished the job.
    Complete(Complete),
    /// The holder could not finish the job.
    Fail(Fail),
    /// The holder gives the job back; the attempt does not count.
    Release(Release),
    /// Ends a job that is not finished.
    Cancel(Cancel),
    /// Anything whose only identity is its request id.
    Operate(Operation),
    /// Ends what a session of a worker holds.
    WorkerDown(WorkerDown),
}

/// Jobs to add, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Add {
    /// The jobs. All are accepted, or none is (a caller that wants each to answer for itself sends
    /// one command a job).
    pub jobs: Vec<NewJob>,
}

/// One job as it is added.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NewJob {
    /// The idempotency key; made by the receiving node when the caller gave none.
    pub id: JobId,
    /// Where it waits.
    pub queue: QueueName,
    /// Its kind.
    pub work_type: WorkType,
    /// What the worker gets, as the bytes that came.
    pub payload: Payload,
    /// 0–100, higher first.
    pub priority: u8,
    /// When it may first be handed out.
    pub delay: Delay,
    /// The lease that a claim grants unless it asks otherwise, ms; `None`: the queue's default.
    pub lease_ms: Option<u64>,
    /// How many attempts it has; `None`: the queue's default.
    pub max_attempts: Option<u32>,
    /// How long it waits after `fail`.
    pub backoff: Backoff,
    /// It becomes `expired` when not claimed for the first time within this, ms.
    pub expires_in_ms: Option<u64>,
    /// It is `blocked` until all of these are `completed`.
    pub depends_on: Vec<JobId>,
    /// What a dependency that ends otherwise does to it.
    pub on_dependency_failure: OnDependencyFailure,
    /// At most one job of a group is leased at a time.
    pub group: Option<GroupName>,
    /// For filters: at most 16.
    pub tags: BTreeMap<String, String>,
}

impl NewJob {
    /// A job of which nothing was said: in the queue `default`, of the kind `default`, with `{}` for a
    /// payload and every other default.
    pub fn plain(id: JobId) -> Self {
        const IS_A_NAME: &str = "the constant is a name";
        Self {
            id,
            queue: QueueName::parse(NAME_DEFAULT).expect(IS_A_NAME),
            work_type: WorkType::parse(NAME_DEFAULT).expect(IS_A_NAME),
            payload: Payload {
                bytes: Bytes::from_static(b"{}"),
                content_type: "application/json".into(),
            },
            priority: PRIORITY_DEFAULT,
            delay: Delay::None,
            lease_ms: None,
            max_attempts: None,
            backoff: Backoff::default(),
            expires_in_ms: None,
            depends_on: Vec::new(),
            on_dependency_failure: OnDependencyFailure::default(),
            group: None,
            tags: BTreeMap::new(),
        }
    }
}

/// A payload: bytes that nobody in here looks into.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payload {
    /// As they came.
    pub bytes: Bytes,
    /// Their media type, `application/json` for the native API.
    pub content_type: Arc<str>,
}

/// When a job may first be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Delay {
    /// At once.
    None,
    /// After this many ms on the cluster clock.
    For(u64),
    /// When an entry's wall clock has reached this.
    Until(WallMs),
}

/// The wait after a failed attempt n (from 1): `initial · factorⁿ⁻¹`, at most `max`, ± `jitter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backoff {
    /// ms.
    pub initial_ms: u64,
    /// In thousandths: 2000 doubles.
    pub factor_thousandths: u32,
    /// ms.
    pub max_ms: u64,
    /// In thousandths of the wait, 0–1000; drawn from the job's id and attempt.
    pub jitter_thousandths: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial_ms: 1000,
            factor_thousandths: 2000,
            max_ms: 300_000,
            jitter_thousandths: 100,
        }
    }
}

/// What becomes of a job whose dependency was not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum OnDependencyFailure {
    /// It fails too, with the reason.
    #[default]
    Fail,
    /// It runs all the same.
    Run,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Who will hold the leases.
    pub worker: WorkerId,
    /// An agent's incarnation, greater than any before it: a claim of a later one, or its being
    /// declared down, ends its leases and no others.
    pub session: Option<u64>,
    /// Strictly in this order; none: all queues, highest priority first, then oldest.
    pub queues: Vec<QueueName>,
    /// Any of these; none: all.
    pub work_types: Vec<WorkType>,
    /// How many jobs at the most, 1–1000.
    pub max: u32,
    /// The lease, ms; `None`: each job's own.
    pub lease_ms: Option<u64>,
    /// Repeats under this id return the same jobs; made by the receiving node when absent.
    pub request_id: RequestId,
    /// What the worker says of itself.
    pub labels: BTreeMap<String, String>,
}

/// A job and the token it is held under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holding {
    /// The job.
    pub job: JobId,
    /// The token of the grant.
    pub token: Token,
}

/// Extends leases, all of one worker's in one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose they are; optional for a caller that names only jobs and tokens.
    pub worker: Option<WorkerId>,
    /// The leases, at most 1000.
    pub items: Vec<Beat>,
}

/// One lease to extend.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beat {
    /// The job and its token.
    pub holding: Holding,
    /// The lease from now, ms; `None`: as granted. It never shortens a lease.
    pub lease_ms: Option<u64>,
    /// JSON that `get` shows, as the bytes that came.
    pub progress: Option<Bytes>,
}

/// A finished job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Complete {
    /// The job and its token.
    pub holding: Holding,
    /// What came out: JSON, as the bytes that came.
    pub result: Option<Bytes>,
    /// Jobs to add in the same step; one that is invalid rejects the whole call.
    pub then: Vec<NewJob>,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fail {
    /// The job and its token.
    pub holding: Holding,
    /// What went wrong.
    pub error: Option<Arc<str>>,
    /// Whether a further attempt is worth it.
    pub retry: Retry,
}

/// Whether, and when, a failed job is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Retry {
    /// After the job's backoff.
    Backoff,
    /// After this many ms.
    After(u64),
    /// Not at all: `failed`, whatever attempts are left.
    Never,
}

/// A job given back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The job and its token.
    pub holding: Holding,
    /// Not handed out again before this has passed, ms; 0: at once.
    pub delay_ms: u64,
}

/// A job called off.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cancel {
    /// The job.
    pub job: JobId,
}

/// A session that whoever watches the workers has declared down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkerDown {
    /// The worker.
    pub worker: WorkerId,
    /// Its session. Later ones of the worker go on; it and earlier ones are over.
    pub session: u64,
}

/// An action that no job, token or worker makes safe to repeat: its request id does, for
/// [`super::Limits::memory_ms`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// A repeat under this id answers as the first did and changes nothing; made by the receiving
    /// node when absent.
    pub request_id: RequestId,
    /// What is to be done.
    pub action: Action,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Puts one finished job back.
    RetryJob(JobId),
    /// Puts finished jobs of a queue back, in add order.
    RetryJobs(RetryJobs),
    /// Changes what a queue is held to; makes the queue when there is none.
    SetQueue(SetQueue),
    /// Stops or lets on the claims of a queue that exists.
    PauseQueue {
        /// Which.
        queue: QueueName,
        /// `false` resumes it.
        is_paused: bool,
    },
    /// Cancels every unfinished job of a queue that exists.
    PurgeQueue(QueueName),
    /// Forgets a queue that has no unfinished job.
    DeleteQueue(QueueName),
    /// Tells a worker to claim no more, or that it may again.
    DrainWorker {
        /// Which.
        worker: WorkerId,
        /// `false` lets it claim again.
        is_draining: bool,
    },
}

/// Which finished jobs to put back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryJobs {
    /// Of this queue.
    pub queue: QueueName,
    /// In this terminal state.
    pub state: JobState,
    /// At most this many, the oldest of them, 1–1000.
    pub limit: u32,
}

/// What to change of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetQueue {
    /// Which.
    pub queue: QueueName,
    /// Whether claims pass it over; `None` leaves that as it is.
    pub is_paused: Option<bool>,
    /// See [`super::QueueSettings::max_jobs`].
    pub max_jobs: Patch<u64>,
    /// See [`super::QueueSettings::max_bytes`].
    pub max_bytes: Patch<u64>,
    /// See [`super::QueueSettings::default_lease_ms`].
    pub default_lease_ms: Patch<u64>,
    /// See [`super::QueueSettings::max_attempts`].
    pub max_attempts: Patch<u32>,
    /// See [`super::QueueSettings::max_leased`].
    pub max_leased: Patch<u64>,
    /// See [`super::QueueSettings::rate_per_second`].
    pub rate_per_second: Patch<u32>,
}

impl SetQueue {
    /// Changes nothing of this queue.
    pub fn unchanged(queue: QueueName) -> Self {
        Self {
            queue,
            is_paused: None,
            max_jobs: Patch::Keep,
            max_bytes: Patch::Keep,
            default_lease_ms: Patch::Keep,
            max_attempts: Patch::Keep,
            max_leased: Patch::Keep,
            rate_per_second: Patch::Keep,
        }
    }
}

/// What to make of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Patch<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// There is none any more.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Patch<T> {
    /// Carries it out.
    pub(super) fn apply(self, setting: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *setting = None,
            Self::Set(value) => *setting = Some(value),
        }
    }
}
