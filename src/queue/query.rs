//! What can be seen of the state. Nothing here searches: each look costs what it returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    AttemptEnd, ClockMs, GroupName, Job, JobId, JobNumber, JobState, Payload, QueueName, State,
    Token, Tombstone, WallMs, WorkType, WorkerId,
    job::{Attempt, Phase},
    state::Kept,
};

/// A job, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A job of the state.
    Job(Box<JobView>),
    /// A finished job that has left the state.
    Tombstone(TombstoneView),
}

/// A whole job, as `GET /work/get` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// Its place in the order of adding: a cursor through lists.
    pub number: JobNumber,
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub work_type: WorkType,
    /// Its priority, 0–100.
    pub priority: u8,
    /// Where it is in its life.
    pub state: JobState,
    /// What a worker gets.
    pub payload: Payload,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its lease, ms, unless a claim asks otherwise.
    pub lease_ms: u64,
    /// How many attempts it has.
    pub max_attempts: u32,
    /// How many of them are used: grants, less those released.
    pub attempts_used: u32,
    /// How many of those used were lost with their lease.
    pub attempts_lost: u32,
    /// The last 32 attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// What it waits, or waited, for.
    pub depends_on: Vec<JobId>,
    /// Its group.
    pub group: Option<GroupName>,
    /// JSON: what came out.
    pub result: Option<Bytes>,
    /// What went wrong: why it failed without an attempt, else what its last attempt that failed said.
    pub error: Option<Arc<str>>,
    /// JSON: how far its worker is, or was.
    pub progress: Option<Bytes>,
    /// When it was added.
    pub added_at: WallMs,
    /// When it may be handed out; only while it is scheduled, or blocked and delayed.
    pub run_at: Option<WallMs>,
    /// Who holds it, and how; only while it is leased.
    pub lease: Option<LeaseView>,
    /// When it reached its terminal state.
    pub finished_at: Option<WallMs>,
}

/// A lease, at the state's cluster clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// Who holds the job.
    pub holder: WorkerId,
    /// Under which token.
    pub token: Token,
    /// What is left, ms.
    pub lease_expires_in_ms: u64,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    /// From 1; the number of a released attempt is used again.
    pub attempt: u32,
    /// The token of the grant.
    pub token: Token,
    /// Who held the job.
    pub worker: WorkerId,
    /// When it was granted.
    pub claimed_at: WallMs,
    /// When it ended; `None`: it is under way.
    pub ended_at: Option<WallMs>,
    /// How it ended; `None`: it is under way.
    pub end: Option<AttemptEnd>,
    /// What went wrong, in the worker's words.
    pub error: Option<Arc<str>>,
}

/// What is left of a job after its retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TombstoneView {
    /// Its id.
    pub id: JobId,
    /// Its terminal state.
    pub state: JobState,
    /// The token of its last grant.
    pub token: Option<Token>,
}

/// How many jobs there are. Jobs that left for their tombstones are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// All.
    pub total: u64,
    /// By state; no zeros.
    pub by_status: BTreeMap<JobState, u64>,
    /// By kind; no zeros.
    pub by_type: BTreeMap<WorkType, u64>,
    /// Every queue that exists.
    pub queues: BTreeMap<QueueName, QueueTotals>,
    /// Finished jobs that left and are remembered by their ids.
    pub tombstones: u64,
}

/// How many jobs a queue has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// By state; no zeros.
    pub by_status: BTreeMap<JobState, u64>,
    /// When the oldest pending job was added.
    pub oldest_pending: Option<WallMs>,
    /// Whether claims pass it over.
    pub is_paused: bool,
}

/// What a worker holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// How many jobs.
    pub count: usize,
    /// Those that were asked for.
    pub jobs: Vec<JobView>,
}

/// Which jobs a list shows: those that agree with everything named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this queue.
    pub queue: Option<QueueName>,
    /// In this state.
    pub state: Option<JobState>,
    /// Of this kind.
    pub work_type: Option<WorkType>,
    /// With this tag and value.
    pub tag: Option<(String, String)>,
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In the list's order. There may be fewer than were asked for, even none, before the end.
    pub items: Vec<JobView>,
    /// Where to go on; `None`: at the end.
    pub next: Option<JobNumber>,
}

/// How many jobs one page looks at, so that a filter that fits few does not hold up the queue.
const PAGE_SCAN_MAX: usize = 10_000;

impl State {
    /// A job, or its tombstone; `None` when the id is not known (any more).
    pub fn job(&self, id: &JobId) -> Option<Found> {
        Some(match self.find(id)? {
            Kept::Job(job) => Found::Job(Box::new(self.view(job))),
            Kept::Tombstone(tombstone) => Found::Tombstone(TombstoneView::of(tombstone)),
        })
    }

    /// What a worker holds, the oldest lease first; at most `limit` jobs of it.
    pub fn for_worker(&self, worker: &WorkerId, limit: usize) -> Held {
        let held = self.indexes.holders.get(worker);
        let shown = held.into_iter().flatten().take(limit);
        Held {
            count: held.map_or(0, BTreeSet::len),
            jobs: shown.map(|(_, number)| self.view(self.job_numbered(*number))).collect(),
        }
    }

    /// The kept counts.
    pub fn totals(&self) -> Totals {
        let counts = &self.indexes.counts;
        Totals {
            total: self.jobs.len() as u64,
            by_status: counts.by_state.present(),
            by_type: counts.by_type.clone(),
            queues: self
                .queues
                .keys()
                .map(|queue| (queue.clone(), self.totals_of(queue)))
                .collect(),
            tombstones: self.tombstones.len() as u64,
        }
    }

    /// The jobs that fit, in add order, from the one after `after` on; at most `limit`.
    pub fn list(&self, filter: &Filter, after: Option<JobNumber>, limit: usize) -> Page {
        let first = after.map_or(JobNumber(0), |after| JobNumber(after.0.saturating_add(1)));
        let mut page = Page::default();
        for (looked_at, (number, job)) in self.jobs.range(first..).enumerate() {
            if page.items.len() >= limit || looked_at >= PAGE_SCAN_MAX {
                return page;
            }
            if filter.fits(job) {
                page.items.push(self.view(job));
            }
            page.next = Some(*number);
        }
        page.next = None;
        page
    }

    /// Finished jobs of one of these states, or of any when none is named, the last one first; at most
    /// `limit`, of those that are still in the state, and of the last 10,000 of these.
    pub fn history(&self, states: &[JobState], limit: usize) -> Vec<JobView> {
        let ended = self.indexes.timers.ended().take(PAGE_SCAN_MAX);
        let jobs = ended.map(|number| self.job_numbered(number));
        let fitting = jobs.filter(|job| states.is_empty() || states.contains(&job.state()));
        fitting.take(limit).map(|job| self.view(job)).collect()
    }

    fn totals_of(&self, queue: &QueueName) -> QueueTotals {
        let Some(counts) = self.indexes.counts.queues.get(queue) else {
            return QueueTotals::default();
        };
        let oldest = counts.pending.first();
        QueueTotals {
            by_status: counts.by_state.present(),
            oldest_pending: oldest.map(|number| self.job_numbered(*number).added_at),
            is_paused: false,
        }
    }

    fn view(&self, job: &Job) -> JobView {
        Self::view_at(self.clock, job)
    }

    /// A job as it is seen at this cluster clock, which only a lease depends on.
    pub(super) fn view_at(clock: ClockMs, job: &Job) -> JobView {
        let lease = job.lease().zip(job.holder()).map(|(lease, holder)| LeaseView {
            holder: holder.clone(),
            token: lease.token,
            lease_expires_in_ms: lease.remaining_ms(clock),
        });
        let report = job.report.as_deref();
        JobView {
            number: job.number,
            id: job.id.clone(),
            queue: job.queue.clone(),
            work_type: job.work_type.clone(),
            priority: job.priority,
            state: job.state(),
            payload: job.payload.clone(),
            tags: job.tags.as_deref().cloned().unwrap_or_default(),
            lease_ms: job.lease_ms,
            max_attempts: job.max_attempts,
            attempts_used: job.attempts_used,
            attempts_lost: job.attempts_lost,
            attempts: job.attempts.iter().map(AttemptView::of).collect(),
            depends_on: job.bonds.as_ref().map_or_else(Vec::new, |bonds| bonds.depends_on.clone()),
            group: job.group().cloned(),
            result: report.and_then(|report| report.result.clone()),
            error: error_of(job),
            progress: report.and_then(|report| report.progress.clone()),
            added_at: job.added_at,
            run_at: match &job.phase {
                Phase::Scheduled(wake) | Phase::Blocked(Some(wake)) => Some(wake.run_at()),
                _ => None,
            },
            lease,
            finished_at: match &job.phase {
                Phase::Ended(ending) => Some(ending.at),
                _ => None,
            },
        }
    }
}

impl JobState {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Blocked => "blocked",
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether it is final until an explicit retry.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Expired)
    }
}

impl Filter {
    fn fits(&self, job: &Job) -> bool {
        let has_tag = |tag: &(String, String)| {
            job.tags
                .as_deref()
                .and_then(|tags| tags.get(&tag.0))
                .is_some_and(|value| *value == tag.1)
        };
        self.queue.as_ref().is_none_or(|queue| *queue == job.queue)
            && self.state.is_none_or(|state| state == job.state())
            && self.work_type.as_ref().is_none_or(|work_type| *work_type == job.work_type)
            && self.tag.as_ref().is_none_or(has_tag)
    }
}

impl AttemptView {
    fn of(attempt: &Attempt) -> Self {
        let ended = attempt.ended.as_ref();
        Self {
            attempt: attempt.number,
            token: attempt.token,
            worker: attempt.worker.clone(),
            claimed_at: attempt.claimed_at,
            ended_at: ended.map(|ended| ended.at),
            end: ended.map(|ended| ended.how),
            error: ended.and_then(|ended| ended.error.clone()),
        }
    }
}

impl TombstoneView {
    fn of(tombstone: &Tombstone) -> Self {
        Self {
            id: tombstone.id.clone(),
            state: tombstone.state(),
            token: tombstone.last_attempt.map(|last| last.token),
        }
    }
}

fn error_of(job: &Job) -> Option<Arc<str>> {
    if let Some(failure) = job.report.as_ref().and_then(|report| report.failure.clone()) {
        return Some(failure);
    }
    let mut ended = job.attempts.iter().rev().filter_map(|attempt| attempt.ended.as_ref());
    ended.find_map(|ended| ended.error.clone())
}
