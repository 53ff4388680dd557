//! A job as the state keeps it. Its fields are the snapshot's format (`snapshot::VERSION`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    ATTEMPTS_KEPT, Added, AttemptEnd, Backoff, ClockMs, GroupName, JobId, JobState,
    OnDependencyFailure, PRIORITY_MAX, Payload, QueueName, RequestId, Token, WallMs, WorkType,
    WorkerId, lease::Lease,
};

/// A job's place in the order of adding, from 0; never used twice. It is the job's name inside the
/// state: "oldest first" and "in add order" mean by this.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct JobNumber(pub u64);

/// A job. Opaque outside the rules: [`super::JobView`] is what others see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub(super) number: JobNumber,
    pub(super) id: JobId,
    /// What a second add under the same id is compared with.
    pub(super) content_hash: u64,
    pub(super) queue: QueueName,
    pub(super) work_type: WorkType,
    pub(super) payload: Payload,
    /// `None`: none, the usual case.
    pub(super) tags: Option<Arc<BTreeMap<String, String>>>,
    pub(super) priority: u8,
    pub(super) lease_ms: u64,
    pub(super) max_attempts: u32,
    /// Grants, less those released; at most `max_attempts`.
    pub(super) attempts_used: u32,
    /// Attempts that ended with the lease; among those used.
    pub(super) attempts_lost: u32,
    pub(super) backoff: Backoff,
    pub(super) added_at: WallMs,
    /// It becomes `expired` when not claimed for the first time by then.
    pub(super) expires_at: Option<ClockMs>,
    /// What ties it to other jobs; `None`: nothing, the usual case.
    pub(super) bonds: Option<Box<Bonds>>,
    pub(super) phase: Phase,
    /// The last [`ATTEMPTS_KEPT`], oldest first. Once there is one it never empties.
    pub(super) attempts: Vec<Attempt>,
    /// What its workers reported; `None`: nothing yet.
    pub(super) report: Option<Box<Report>>,
}

/// Where a job is in its life, with what holds only there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// Delayed, or backing off.
    Scheduled(Wake),
    /// Waits for its dependencies, and then perhaps for this.
    Blocked(Option<Wake>),
    /// Ready to be claimed, once it is the head of its group.
    Pending,
    /// Claimed or running.
    Leased(Lease),
    /// In a terminal state.
    Ended(Ending),
}

/// What ties a job to others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bonds {
    pub(super) group: Option<GroupName>,
    /// As they were named.
    pub(super) depends_on: Vec<JobId>,
    /// Those of them that it still waits for; not empty while it is blocked.
    pub(super) unmet: BTreeSet<JobId>,
    pub(super) on_dependency_failure: OnDependencyFailure,
}

/// What a scheduled job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wake {
    /// The cluster clock.
    Clock {
        /// When.
        at: ClockMs,
        /// The same, as people read it.
        run_at: WallMs,
    },
    /// An entry whose wall clock has reached this.
    Wall(WallMs),
}

/// The end of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) how: EndState,
    pub(super) at: WallMs,
    /// When a tombstone may take its place.
    pub(super) reap_at: ClockMs,
}

/// The terminal states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EndState {
    Completed,
    Failed,
    Cancelled,
    Expired,
}

/// One grant of a job and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempt {
    /// From 1; a released attempt's number is used again.
    pub(super) number: u32,
    pub(super) token: Token,
    pub(super) worker: WorkerId,
    /// The claim that was granted it, and the hash of that claim's arguments.
    pub(super) request_id: RequestId,
    pub(super) arguments: u64,
    pub(super) claimed_at: WallMs,
    /// Whether `start` was called under its token.
    pub(super) has_started: bool,
    pub(super) ended: Option<Ended>,
}

/// How an attempt ended, with what a repeat of the call that ended it answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) how: AttemptEnd,
    pub(super) at: WallMs,
    /// What went wrong, in the worker's words.
    pub(super) error: Option<Arc<str>>,
    /// When the next attempt was to follow, if `fail` led to one.
    pub(super) run_at: Option<WallMs>,
}

/// What was reported of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// JSON, from the last heartbeat that carried some.
    pub(super) progress: Option<Bytes>,
    /// JSON, from `complete`.
    pub(super) result: Option<Bytes>,
    /// What `complete` answered about the jobs of its `then`, if it had any, under each token that is
    /// remembered: a job put back may be completed again.
    pub(super) then: BTreeMap<Token, Vec<Added>>,
    /// Why it failed without an attempt of its own.
    pub(super) failure: Option<Arc<str>>,
}

/// A place in the order of claims: the lesser goes first. Higher priorities first, then add order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    urgency: u8,
    pub(super) number: JobNumber,
}

impl Job {
    pub(super) fn state(&self) -> JobState {
        self.phase.state()
    }

    pub(super) fn rank(&self) -> Rank {
        Self::rank_of(self.priority, self.number)
    }

    /// The place of a job of that priority and number.
    pub(super) fn rank_of(priority: u8, number: JobNumber) -> Rank {
        Rank { urgency: PRIORITY_MAX.saturating_sub(priority), number }
    }

    /// The bytes that count for its queue's `max_bytes`.
    pub(super) fn size(&self) -> u64 {
        self.payload.bytes.len() as u64
    }

    pub(super) fn group(&self) -> Option<&GroupName> {
        self.bonds.as_ref()?.group.as_ref()
    }

    /// The dependencies that it waits for.
    pub(super) fn unmet(&self) -> impl Iterator<Item = &JobId> {
        self.bonds.iter().flat_map(|bonds| &bonds.unmet)
    }

    /// It does not wait for this dependency any more.
    pub(super) fn meet(&mut self, dependency: &JobId) {
        if let Some(bonds) = &mut self.bonds {
            bonds.unmet.remove(dependency);
        }
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        match &self.phase {
            Phase::Leased(lease) => Some(lease),
            _ => None,
        }
    }

    /// The lease under this token, if that is the one it is held under.
    pub(super) fn lease_under(&self, token: Token) -> Option<&Lease> {
        self.lease().filter(|lease| lease.token == token)
    }

    /// Who holds it.
    pub(super) fn holder(&self) -> Option<&WorkerId> {
        self.lease().and(self.attempts.last()).map(|attempt| &attempt.worker)
    }

    /// The attempt under this token, while it is remembered.
    pub(super) fn attempt_under(&self, token: Token) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.token == token)
    }

    /// The token of the last grant.
    pub(super) fn last_token(&self) -> Option<Token> {
        self.attempts.last().map(|attempt| attempt.token)
    }

    pub(super) fn has_attempts_left(&self) -> bool {
        self.attempts_used < self.max_attempts
    }

    /// Appends an attempt; returns the one that is forgotten for it, if any.
    pub(super) fn push_attempt(&mut self, attempt: Attempt) -> Option<Attempt> {
        let forgotten = (self.attempts.len() >= ATTEMPTS_KEPT).then(|| self.attempts.remove(0));
        if let Some((forgotten, report)) = forgotten.as_ref().zip(self.report.as_mut()) {
            report.then.remove(&forgotten.token);
        }
        // Most jobs are granted once: room for one, where `push` would make room for four.
        self.attempts.reserve_exact(1);
        self.attempts.push(attempt);
        forgotten
    }

    /// Ends the attempt that is under way.
    pub(super) fn end_attempt(&mut self, ended: Ended) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.ended = Some(ended);
        }
    }

    /// Forgets what a retry begins anew. What earlier attempts answered stays, for their repeats.
    pub(super) fn begin_anew(&mut self) {
        self.attempts_used = 0;
        self.attempts_lost = 0;
        self.expires_at = None;
        let then = self.report.take().map(|report| report.then).filter(|then| !then.is_empty());
        self.report = then.map(|then| Box::new(Report { then, ..Report::default() }));
    }

    pub(super) fn report_mut(&mut self) -> &mut Report {
        self.report.get_or_insert_default()
    }
}

impl Phase {
    pub(super) fn state(&self) -> JobState {
        match self {
            Self::Scheduled(_) => JobState::Scheduled,
            Self::Blocked(_) => JobState::Blocked,
            Self::Pending => JobState::Pending,
            Self::Leased(lease) if lease.is_running => JobState::Running,
            Self::Leased(_) => JobState::Claimed,
            Self::Ended(ending) => ending.how.state(),
        }
    }
}

impl Wake {
    /// When, as people read it.
    pub(super) fn run_at(&self) -> WallMs {
        match *self {
            Self::Clock { run_at, .. } | Self::Wall(run_at) => run_at,
        }
    }
}

impl EndState {
    pub(super) fn state(self) -> JobState {
        match self {
            Self::Completed => JobState::Completed,
            Self::Failed => JobState::Failed,
            Self::Cancelled => JobState::Cancelled,
            Self::Expired => JobState::Expired,
        }
    }
}

impl Ended {
    /// An end with nothing more to say.
    pub(super) fn plainly(how: AttemptEnd, at: WallMs) -> Self {
        Self { how, at, error: None, run_at: None }
    }
}
