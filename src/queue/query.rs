//! What can be seen of the state. Nothing here searches: each look costs what it returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;

use super::{
    AttemptEnd, ClockMs, GroupName, Job, JobId, JobNumber, JobState, Payload, QueueName,
    QueueRecord, QueueSettings, RETRY_MAX, RetryJobs, State, Token, Tombstone, WallMs, WorkType,
    WorkerId,
    counts::StateCounts,
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
    /// How many are not finished.
    pub unfinished: u64,
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

/// A queue that exists, as `GET /queues/{name}` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// Its name.
    pub name: QueueName,
    /// What it is held to.
    pub settings: QueueSettings,
    /// How many jobs it has.
    pub totals: QueueTotals,
    /// The payload bytes of its unfinished jobs.
    pub bytes: u64,
}

/// A worker that was granted jobs lately, or drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// Its name.
    pub id: WorkerId,
    /// What it said of itself in its last claim that was granted something.
    pub labels: BTreeMap<String, String>,
    /// Its newest incarnation, if it is an agent.
    pub session: Option<u64>,
    /// Whether that one was declared down.
    pub is_down: bool,
    /// Whether it is told to claim no more.
    pub is_draining: bool,
    /// How many jobs it holds.
    pub held: usize,
    /// Its last grant, heartbeat or drain, to 10 s.
    pub seen_at: WallMs,
}

/// A session that holds jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Whose.
    pub worker: WorkerId,
    /// Its number.
    pub session: u64,
    /// How many jobs it holds; at least one.
    pub held: usize,
}

/// Which jobs a list shows: those that agree with everything named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this queue.
    pub queue: Option<QueueName>,
    /// In one of these states; none named: in any.
    pub states: Vec<JobState>,
    /// Of this kind.
    pub work_type: Option<WorkType>,
    /// With all of these tags and values.
    pub tags: Vec<(String, String)>,
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
            Kept::Job(job) => Found::Job(Box::new(self.view(&job))),
            Kept::Tombstone(tombstone) => Found::Tombstone(TombstoneView::of(tombstone)),
        })
    }

    /// What a worker holds, the oldest lease first; at most `limit` jobs of it.
    pub fn for_worker(&self, worker: &WorkerId, limit: usize) -> Held {
        let shown = self.leased_by(worker).take(limit);
        Held { count: self.held_by(worker), jobs: shown.map(|job| self.view(job)).collect() }
    }

    /// How many jobs a worker holds.
    pub(super) fn held_by(&self, worker: &WorkerId) -> usize {
        self.indexes.holders.get(worker).map_or(0, |grants| self.count_leased(grants))
    }

    /// How many of these grants are leases still, and not of purged jobs.
    pub(super) fn count_leased(&self, grants: &BTreeSet<(Token, JobNumber)>) -> usize {
        if self.indexes.bounds.purging.is_empty() {
            return grants.len();
        }
        let jobs = grants.iter().map(|(_, number)| self.job_numbered(*number));
        jobs.filter(|job| self.purged_as(job).is_none()).count()
    }

    fn leased_by(&self, worker: &WorkerId) -> impl Iterator<Item = &Job> {
        let leased = self.indexes.holders.get(worker).into_iter().flatten();
        let leased = leased.map(|(_, number)| &**self.job_numbered(*number));
        leased.filter(|job| self.purged_as(job).is_none())
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
                .values()
                .map(|record| (record.name.clone(), self.totals_of(record)))
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
            if filter.fits(job, self.state_now(job)) {
                page.items.push(self.view(&self.current(job)));
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

    /// A queue; `None` when it does not exist.
    pub fn queue(&self, name: &QueueName) -> Option<QueueView> {
        self.queues.get(name).filter(|record| record.exists).map(|record| self.queue_view(record))
    }

    /// Every queue that exists, by name.
    pub fn queues(&self) -> Vec<QueueView> {
        self.queues_after(None, usize::MAX)
    }

    /// The queues that exist, by name, from the one after `after` on; at most `limit`.
    pub fn queues_after(&self, after: Option<&QueueName>, limit: usize) -> Vec<QueueView> {
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let records =
            self.queues.range::<_, QueueName>((first, Bound::Unbounded)).map(|(_, record)| record);
        let existing = records.filter(|record| record.exists);
        existing.take(limit).map(|record| self.queue_view(record)).collect()
    }

    /// The finished jobs that a bulk retry would put back now: its dry run.
    pub fn retriable(&self, retry: &RetryJobs) -> Vec<JobId> {
        if self.queues.get(&retry.queue).is_none_or(|record| !record.exists) {
            return Vec::new();
        }
        let chosen = self.chosen(retry).into_iter();
        chosen.map(|number| self.job_numbered(number).id.clone()).collect()
    }

    /// The finished jobs that a bulk retry puts back now, in add order: it stops before the first that
    /// the queue has no room for.
    pub(super) fn chosen(&self, retry: &RetryJobs) -> Vec<JobNumber> {
        let counts = self.indexes.counts.queues.get(&retry.queue);
        let finished = counts.into_iter().flat_map(|counts| counts.in_terminal_state(retry.state));
        let mut room = self.room(&retry.queue);
        let has_room = |number: &JobNumber| room.take(self.job_numbered(*number).size()).is_ok();
        finished.take(retry.limit.min(RETRY_MAX) as usize).take_while(has_room).collect()
    }

    fn queue_view(&self, record: &QueueRecord) -> QueueView {
        QueueView {
            name: record.name.clone(),
            settings: record.settings.clone(),
            totals: self.totals_of(record),
            bytes: self.indexes.counts.bytes_of(&record.name),
        }
    }

    fn totals_of(&self, record: &QueueRecord) -> QueueTotals {
        let counts = self.indexes.counts.queues.get(&record.name);
        let by_state = counts.map_or_else(StateCounts::default, |counts| counts.by_state);
        let oldest = counts.and_then(|counts| counts.unfinished.first_pending());
        QueueTotals {
            by_status: by_state.present(),
            unfinished: by_state.unfinished(),
            oldest_pending: oldest.map(|number| self.job_numbered(number).added_at),
            is_paused: record.settings.is_paused,
        }
    }

    /// Shows a job as it is given; what a purge made of it must be in it.
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
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Scheduled,
        Self::Blocked,
        Self::Pending,
        Self::Claimed,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
    ];

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
    /// Whether it shows a job that is in this state.
    fn fits(&self, job: &Job, state: JobState) -> bool {
        let has_tag = |tag: &(String, String)| {
            job.tags
                .as_deref()
                .and_then(|tags| tags.get(&tag.0))
                .is_some_and(|value| *value == tag.1)
        };
        self.queue.as_ref().is_none_or(|queue| *queue == job.queue)
            && (self.states.is_empty() || self.states.contains(&state))
            && self.work_type.as_ref().is_none_or(|work_type| *work_type == job.work_type)
            && self.tags.iter().all(has_tag)
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
