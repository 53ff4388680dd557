//! All that can be seen of the rules, held against the model.

use std::collections::BTreeMap;

use quorate::queue::{
    Deadlines, Filter, Found, Held, Holding, JobState, JobView, QueueName, RetryJobs, State, Token,
    Totals, WallMs, WorkType, WorkerId,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{model::Model, same};

/// In the order of a job's life.
const STATES: [JobState; 9] = [
    JobState::Scheduled,
    JobState::Blocked,
    JobState::Pending,
    JobState::Claimed,
    JobState::Running,
    JobState::Completed,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Expired,
];

const QUEUES: [&str; 4] = ["a", "b", "c", "d"];
const WORKERS: [&str; 4] = ["w1", "w2", "w3", "w4"];

/// What needs no arguments, or is asked for everything there is.
pub(crate) fn compare_everything(state: &State, model: &Model) -> Result<(), String> {
    same("the revision", &state.rev().0, &model.rev)?;
    same("the cluster clock", &state.clock().0, &model.clock)?;
    same("the totals", &state.totals(), &model.totals())?;
    let Deadlines { clock, wall, is_behind } = state.deadlines();
    let deadlines = (clock.map(|at| at.0), wall.map(|at| at.0), is_behind);
    same("the deadlines", &deadlines, &model.deadlines())?;
    for job in &model.jobs {
        let expected = Found::Job(Box::new(model.view(job)));
        same("a job", &state.job(&job.new.id), &Some(expected))?;
        for token in job.attempts.iter().map(|attempt| Token(attempt.token)) {
            let holding = Holding { job: job.new.id.clone(), token };
            let expected = model.session_under(&holding);
            same("whose session holds it", &state.session_under(&holding), &expected)?;
        }
    }
    for grave in &model.graves {
        same("a tombstone", &state.job(&grave.new.id), &model.found(&grave.new.id))?;
    }
    same("the queues", &state.queues(), &model.queues())?;
    same("the sessions", &state.sessions(), &model.sessions())?;
    same("the workers", &state.workers(None, usize::MAX), &model.workers())?;
    for worker in WORKERS.map(worker) {
        let mut jobs = model.held_by(&worker);
        let count = jobs.len();
        jobs.truncate(2);
        let held = state.for_worker(&worker, 2);
        same("what a worker holds", &held, &Held { count, jobs })?;
    }
    Ok(())
}

/// The looks that take arguments, with some drawn from a seed.
pub(crate) fn compare_at_random(state: &State, model: &Model, seed: u64) -> Result<(), String> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut below = |bound: usize| rng.random_range(0..bound);
    let name = queue(QUEUES[below(4)]);
    same("a queue", &state.queue(&name), &model.queue(&name))?;
    let (after, limit) = (worker(WORKERS[below(4)]), below(3));
    let workers = model.workers();
    let known = workers.iter().find(|view| view.id == after);
    same("a worker", &state.worker(&after), &known.cloned())?;
    let following = workers.into_iter().filter(|view| view.id > after).take(limit).collect();
    same("some workers", &state.workers(Some(&after), limit), &following)?;
    let retry =
        RetryJobs { queue: name, state: STATES[below(9)], limit: [0, 1, 2, 3, 1_000][below(5)] };
    let retriable = (&retry, state.retriable(&retry));
    same("what a retry would put back", &retriable, &(&retry, model.retriable(&retry)))?;
    let ended = [None, Some(STATES[5 + below(4)])][below(2)];
    let (limit, mut history) = (below(6), model.history(ended));
    history.truncate(limit);
    same("the history", &state.history(ended.as_slice(), limit), &history)?;
    let filter = Filter {
        queue: [None, Some(queue(QUEUES[below(4)]))][below(2)].clone(),
        states: (0..below(3)).map(|_| STATES[below(9)]).collect(),
        work_type: [None, Some(WorkType::parse(["x", "y"][below(2)]).unwrap())][below(2)].clone(),
        tags: vec![("tag".to_owned(), "value".to_owned()); below(3) / 2],
    };
    let limit = 1 + below(4);
    let listed = (&filter, listed(state, &filter, limit)?);
    same("a list", &listed, &(&filter, model.list(&filter, None)))
}

/// Page by page.
fn listed(state: &State, filter: &Filter, limit: usize) -> Result<Vec<JobView>, String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = state.list(filter, after, limit);
        if page.items.len() > limit {
            return Err(format!("a page of {} has {} jobs", limit, page.items.len()));
        }
        all.extend(page.items);
        if page.next.is_none() {
            return Ok(all);
        }
        if page.next <= after {
            return Err(format!("a list goes on after {:?} at {after:?}", page.next));
        }
        after = page.next;
    }
}

/// The counts again (S14), from nothing but what is shown of each job.
pub(crate) fn count_the_views(state: &State) -> Result<(), String> {
    let jobs = listed(state, &Filter::default(), 1_000)?;
    let kept = state.totals();
    let mut counted = Totals { tombstones: kept.tombstones, ..Totals::default() };
    for (name, of_queue) in &kept.queues {
        let queue = counted.queues.entry(name.clone()).or_default();
        queue.is_paused = of_queue.is_paused;
    }
    let mut bytes: BTreeMap<QueueName, u64> = BTreeMap::new();
    let mut held: BTreeMap<WorkerId, usize> = BTreeMap::new();
    for job in &jobs {
        counted.total += 1;
        *counted.by_status.entry(job.state).or_default() += 1;
        *counted.by_type.entry(job.work_type.clone()).or_default() += 1;
        let queue = counted.queues.entry(job.queue.clone()).or_default();
        *queue.by_status.entry(job.state).or_default() += 1;
        if !job.state.is_terminal() {
            queue.unfinished += 1;
            *bytes.entry(job.queue.clone()).or_default() += job.payload.bytes.len() as u64;
        }
        if job.state == JobState::Pending {
            queue.oldest_pending.get_or_insert(WallMs(job.added_at.0));
        }
        if let Some(lease) = &job.lease {
            *held.entry(lease.holder.clone()).or_default() += 1;
        }
    }
    same("the totals, and what the views add up to", &kept, &counted)?;
    for queue in state.queues() {
        let counted = bytes.get(&queue.name).copied().unwrap_or(0);
        same("the bytes of a queue, and its views'", &queue.bytes, &counted)?;
    }
    for (worker, count) in held {
        same("what a worker holds, and its views'", &state.for_worker(&worker, 0).count, &count)?;
    }
    Ok(())
}

fn queue(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}
