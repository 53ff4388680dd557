//! What HTTP (and anyone else in the process) holds of a node.

use std::time::Duration;

use crate::queue::{Claim, Command, JobId, Outcome, Rev, State};

/// A cheap handle on a running node; clones share it. Every call works on any node: a follower
/// forwards to the leader, and without a leader the call is held, up to its `hold`.
#[derive(Debug, Clone)]
pub struct Handle {}

/// Why a call was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Certainly not applied, now or later.
    #[error("{0}")]
    NotApplied(Reason),
    /// It was proposed and its answer was lost: it may have been applied.
    #[error("the outcome is unknown: the command was proposed and its answer was lost")]
    OutcomeUnknown,
}

/// Why a call was certainly not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No leader was found in time.
    #[error("no leader was found in time")]
    NoLeader,
    /// This node is in no cluster yet, or has not caught up.
    #[error("this node is not ready yet")]
    NotReady,
    /// This node is stopping.
    #[error("this node is shutting down")]
    ShuttingDown,
    /// The disk is (nearly) full: adds are refused.
    #[error("the disk is full")]
    DiskFull,
    /// Too many commands wait for the log.
    #[error("too many requests are waiting")]
    Overloaded {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
    /// Too many long polls wait for a job.
    #[error("too many claims are waiting")]
    TooManyWaiters {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Sees every write acknowledged before it (ReadIndex).
    #[default]
    Linearizable,
    /// Whatever this replica has applied.
    Stale,
}

/// A view of the state and the revision it was taken at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<T> {
    /// What was seen.
    pub value: T,
    /// When.
    pub rev: Rev,
}

impl Handle {
    /// Carries out commands, each on its own but in one entry where they fit; outcomes in their order.
    /// Safe to repeat inside: each command has its identity.
    pub async fn submit(
        &self,
        commands: Vec<Command>,
        hold: Duration,
    ) -> Result<Vec<Outcome>, Unavailable> {
        let _ = (commands, hold);
        std::future::pending().await
    }

    /// Claims, waiting up to `wait` for a job (`hold` is apart from it). Dropping the future gives the
    /// place up; a grant that comes too late for it is released, its attempt not counted.
    pub async fn claim(
        &self,
        claim: Claim,
        wait: Duration,
        hold: Duration,
    ) -> Result<Outcome, Unavailable> {
        let _ = (claim, wait, hold);
        std::future::pending().await
    }

    /// Looks at the state. `view` runs under its lock: keep it short.
    pub async fn read<T: Send>(
        &self,
        consistency: Consistency,
        hold: Duration,
        view: impl FnOnce(&State) -> T + Send,
    ) -> Result<View<T>, Unavailable> {
        let _ = (consistency, hold, view);
        std::future::pending().await
    }

    /// Waits until a job is in a terminal state or gone, or `wait` has passed, whichever is first; then
    /// the caller reads. Costs one place among the waiters.
    pub async fn ended(&self, job: &JobId, wait: Duration) -> Result<(), Unavailable> {
        let _ = (job, wait);
        std::future::pending().await
    }

    /// A fresh unique id (ULID), for jobs and requests whose caller gave none.
    pub fn fresh_id(&self) -> String {
        String::new()
    }

    /// This node's standing.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Gives up leadership, answers what it has, and stops. Later calls answer `ShuttingDown`.
    pub async fn stop(&self) {}
}

/// A node's standing, for `/status`, `/ready` and `/election/status`.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// What Raft says.
    pub raft: raft::Status,
    /// The queue's revision here.
    pub rev: Rev,
    /// The queue's hash chain here.
    pub state_hash: u128,
    /// Since the node started, ms.
    pub uptime_ms: u64,
    /// Whether a leader is known and this replica has caught up with it.
    pub checks: Vec<Check>,
    /// The last change of leader that this node saw.
    pub last_change: Option<LeaderChange>,
}

/// One thing that must hold before a node is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name: `bootstrapped`, `leader_known`, `caught_up`, `disk`.
    pub name: &'static str,
    /// Whether it holds.
    pub is_ok: bool,
    /// What is the case, for people.
    pub detail: String,
}

/// A change of leader as a node saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderChange {
    /// The new term.
    pub term: u64,
    /// The new leader's label.
    pub leader: String,
    /// When it was seen, by this node's wall clock.
    pub at_ms: u64,
    /// How long this node knew of no leader, ms.
    pub gap_ms: u64,
    /// Why, as far as this node can tell: `start|crash|hang|partition|transfer`.
    pub cause: &'static str,
}
