//! Looks at the queue's state, as the wire shows it. Those that take the state run under its lock,
//! and `apply` waits for it: they copy what will be shown (payloads are shared, not copied), and
//! what costs more comes after.

use super::{json, payload};
use crate::{
    queue::{
        AttemptView, Filter, Found, JobId, JobNumber, JobState, JobView, QueueName, QueueSettings,
        QueueTotals, QueueView, State, TombstoneView, WallMs, WorkerId, WorkerView,
    },
    wire::{Attempt, Job, Queue, QueueStatus, WorkStatus, Worker},
};

/// The most jobs of one worker that an answer shows.
const HELD_MAX: usize = 1000;
/// The bytes of them together; a single job may have more.
const HELD_BYTES: usize = 8 << 20;

/// A job as it was found, and the wall clock of the state.
pub(in crate::http) type Seen = (Found, WallMs);

/// One job, or its tombstone.
pub(in crate::http) fn found(state: &State, id: &JobId) -> Option<Seen> {
    Some((state.job(id)?, state.wall()))
}

/// What a worker holds: how many jobs, and as many of them, the oldest lease first, as fit in one
/// answer.
pub(in crate::http) fn held_by(state: &State, worker: &WorkerId) -> (usize, Vec<Seen>) {
    let held = state.for_worker(worker, HELD_MAX);
    let mut bytes = 0;
    let fits = |(place, view): &(usize, JobView)| {
        bytes += bytes_of(view);
        *place == 0 || bytes <= HELD_BYTES
    };
    let fitting = held.jobs.into_iter().enumerate().take_while(fits);
    let seen = fitting.map(|(_, view)| (Found::Job(Box::new(view)), state.wall()));
    (held.count, seen.collect())
}

/// A look's worth of a list: each job with its place, and where to go on.
pub(in crate::http) fn listed(
    state: &State,
    filter: &Filter,
    after: Option<JobNumber>,
    limit: usize,
) -> (Vec<(JobNumber, Seen)>, Option<JobNumber>) {
    let page = state.list(filter, after, limit);
    let seen = |view: JobView| (view.number, (Found::Job(Box::new(view)), state.wall()));
    (page.items.into_iter().map(seen).collect(), page.next)
}

/// What a job takes of an answer, about: what its clients wrote in it.
pub(in crate::http) fn bytes_of(view: &JobView) -> usize {
    let errors = view.attempts.iter().filter_map(|attempt| attempt.error.as_ref());
    let errors = errors.chain(&view.error).map(|error| error.len());
    let tags = view.tags.iter().map(|(key, value)| key.len() + value.len());
    let depends_on = view.depends_on.iter().map(|job| job.as_str().len());
    let reported = view.progress.iter().chain(&view.result).map(bytes::Bytes::len).sum::<usize>();
    let texts = errors.chain(tags).chain(depends_on).sum::<usize>();
    view.payload.bytes.len() + reported + texts
}

/// A job as the wire shows it. Checks that its payload is JSON, so not under the lock.
pub(in crate::http) fn job((found, now): Seen) -> Job {
    match found {
        Found::Job(view) => whole(*view, now),
        Found::Tombstone(view) => left_over(view),
    }
}

/// The kept counts. Who leads, and the revision, the caller fills in.
pub(in crate::http) fn totals(state: &State) -> WorkStatus {
    let totals = state.totals();
    let queues = totals.queues.into_iter();
    WorkStatus {
        total_items: totals.total,
        by_status: totals.by_status,
        by_type: totals.by_type,
        queues: queues.map(|(name, totals)| (name, queue_status(totals, state.wall()))).collect(),
        ..WorkStatus::default()
    }
}

/// One queue; `None` when it does not exist.
pub(in crate::http) fn queue(state: &State, name: &QueueName) -> Option<Queue> {
    Some(queue_shown(state.queue(name)?, state.wall()))
}

/// A queue that does not exist (any more), as one that nothing was said about.
pub(in crate::http) fn no_queue(name: QueueName) -> Queue {
    let (settings, totals) = (QueueSettings::default(), QueueTotals::default());
    queue_shown(QueueView { name, settings, totals, bytes: 0 }, WallMs(0))
}

/// The queues after `after`, at most `limit`, and where to go on.
pub(in crate::http) fn queues(
    state: &State,
    after: Option<&QueueName>,
    limit: usize,
) -> (Vec<Queue>, Option<QueueName>) {
    let queues = state.queues_after(after, limit + 1).into_iter();
    let shown = queues.map(|queue| queue_shown(queue, state.wall()));
    page(shown.collect(), limit, |queue| &queue.queue)
}

fn queue_shown(view: QueueView, now: WallMs) -> Queue {
    let (settings, totals) = (view.settings, view.totals);
    let in_state = |state| totals.by_status.get(&state).copied().unwrap_or(0);
    Queue {
        queue: view.name,
        paused: settings.is_paused,
        max_jobs: settings.max_jobs,
        max_bytes: settings.max_bytes,
        default_lease_ms: settings.default_lease_ms,
        max_attempts: settings.max_attempts,
        max_leased: settings.max_leased,
        rate_per_second: settings.rate_per_second,
        jobs: totals.unfinished,
        bytes: view.bytes,
        leased: in_state(JobState::Claimed) + in_state(JobState::Running),
        oldest_pending_ms: waited(&totals, now),
        by_status: totals.by_status,
    }
}

/// One worker; `None` when it is not known (any more).
pub(in crate::http) fn worker(state: &State, id: &WorkerId) -> Option<Worker> {
    Some(worker_shown(state.worker(id)?, state.wall()))
}

/// The workers after `after`, at most `limit`, and where to go on.
pub(in crate::http) fn workers(
    state: &State,
    after: Option<&WorkerId>,
    limit: usize,
) -> (Vec<Worker>, Option<WorkerId>) {
    let workers = state.workers(after, limit + 1).into_iter();
    let shown = workers.map(|worker| worker_shown(worker, state.wall()));
    page(shown.collect(), limit, |worker| &worker.node_id)
}

fn worker_shown(view: WorkerView, now: WallMs) -> Worker {
    Worker {
        node_id: view.id,
        labels: view.labels,
        session: view.session,
        down: view.is_down,
        draining: view.is_draining,
        held: view.held,
        last_seen_at_ms: view.seen_at.0,
        last_seen_ms_ago: now.0.saturating_sub(view.seen_at.0),
    }
}

/// Cuts what is one longer than a page when there is more, and names the last that is left then.
fn page<T, Name: Clone>(
    mut items: Vec<T>,
    limit: usize,
    name: impl Fn(&T) -> &Name,
) -> (Vec<T>, Option<Name>) {
    let is_more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| is_more).map(|last| name(last).clone());
    (items, last)
}

fn queue_status(totals: QueueTotals, now: WallMs) -> QueueStatus {
    QueueStatus {
        oldest_pending_ms: waited(&totals, now),
        by_state: totals.by_status,
        paused: totals.is_paused,
    }
}

/// How long the oldest pending job has waited, ms.
fn waited(totals: &QueueTotals, now: WallMs) -> Option<u64> {
    totals.oldest_pending.map(|added| now.0.saturating_sub(added.0))
}

/// A job of the archive, as the wire shows it. Checks its payload too.
pub(in crate::http) fn archived(view: JobView) -> Job {
    // A finished job has no times that are left of something.
    Job { archived: true, ..whole(view, WallMs::default()) }
}

/// A whole job, seen when the wall clock showed `now`.
pub(in crate::http) fn whole(view: JobView, now: WallMs) -> Job {
    let (holder, lease) = view.lease.map_or((None, None), |lease| {
        (Some(lease.holder), Some((lease.token, lease.lease_expires_in_ms)))
    });
    Job {
        work_id: view.id,
        state: view.state,
        queue: Some(view.queue),
        work_type: Some(view.work_type),
        payload: Some(payload(&view.payload)),
        priority: Some(view.priority),
        attempt: Some(view.attempts_used),
        max_attempts: Some(view.max_attempts),
        attempts_lost: Some(view.attempts_lost),
        attempts: view.attempts.into_iter().map(attempt).collect(),
        token: lease.map(|(token, _)| token),
        node_id: holder,
        lease_expires_in_ms: lease.map(|(_, left)| left),
        lease_ms: Some(view.lease_ms),
        added_at_ms: Some(view.added_at.0),
        run_at_ms: view.run_at.map(|run_at| run_at.0),
        ready_in_ms: view.run_at.map(|run_at| run_at.0.saturating_sub(now.0)),
        ended_at_ms: view.finished_at.map(|ended| ended.0),
        result: view.result.as_ref().map(json),
        error: view.error.map(|error| error.to_string()),
        progress: view.progress.as_ref().map(json),
        depends_on: view.depends_on,
        group: view.group,
        tags: view.tags,
        tombstone: false,
        archived: false,
    }
}

fn left_over(view: TombstoneView) -> Job {
    Job {
        work_id: view.id,
        state: view.state,
        token: view.token,
        tombstone: true,
        archived: false,
        queue: None,
        work_type: None,
        payload: None,
        priority: None,
        attempt: None,
        max_attempts: None,
        attempts_lost: None,
        attempts: Vec::new(),
        node_id: None,
        lease_expires_in_ms: None,
        lease_ms: None,
        added_at_ms: None,
        run_at_ms: None,
        ready_in_ms: None,
        ended_at_ms: None,
        result: None,
        error: None,
        progress: None,
        depends_on: Vec::new(),
        group: None,
        tags: std::collections::BTreeMap::new(),
    }
}

fn attempt(view: AttemptView) -> Attempt {
    Attempt {
        attempt: view.attempt,
        token: view.token,
        node_id: view.worker,
        claimed_at_ms: view.claimed_at.0,
        ended_at_ms: view.ended_at.map(|ended| ended.0),
        end: view.end,
        error: view.error.map(|error| error.to_string()),
    }
}
