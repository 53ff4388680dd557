//! The state's side of the promises: what of S3, S4, S5, S7, S10, S11, S13, S14 and S16 one state shows, after
//! every entry. What takes two states to see (S6, S8, S9, S15) is the reference model's to judge.

use std::collections::BTreeSet;

use super::{
    ATTEMPTS_KEPT, AttemptEnd, Change, Job, JobState, PRIORITY_MAX, QueueName, State,
    counts::QueueCounts,
    indexes::{Indexes, Place},
    job::{Attempt, Phase},
    state::Kept,
};

/// A promise that a state does not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{promise}: {detail}")]
pub struct Violation {
    /// Its id in the guarantees.
    pub promise: &'static str,
    /// What is the case, for people.
    pub detail: String,
}

/// States of up to this many jobs are checked whole after each entry in debug builds; of greater ones
/// the sums and the jobs that ended, so that a long run is not quadratic.
const WHOLE_MAX: usize = 64;

/// Checks everything. O(n log n).
pub fn check(state: &State) -> Result<(), Violation> {
    check_parts(state)?;
    let derived = Indexes::of(state);
    require("S14", derived == *state.indexes, || {
        format!("the indexes are {:?} and should be {derived:?}", state.indexes)
    })?;
    check_tokens_are_unique(state)?;
    check_groups(state)
}

/// Checks each job and tombstone by itself, and that the indexes name each of them once. O(n).
pub(super) fn check_parts(state: &State) -> Result<(), Violation> {
    for (number, job) in &state.jobs {
        require("S16", *number == job.number, || format!("{} is filed wrongly", job.id))?;
        check_job(state, job)?;
    }
    for (number, tombstone) in &state.tombstones {
        let place = state.indexes.ids.get(&tombstone.id);
        require("S3", place == Some(&Place::Tombstone(*number)), || {
            format!("the tombstone of {} is not found by its id", tombstone.id)
        })?;
        require(
            "S5",
            tombstone.last_attempt.is_none_or(|last| last.token.0 <= state.rev.0),
            || format!("the tombstone of {} has a token of the future", tombstone.id),
        )?;
        require("S3", *number < state.next_tombstone, || "a tombstone of the future".into())?;
    }
    check_memory(state)?;
    check_workers(state)?;
    check_totals(state)
}

/// The operations that are remembered fit their bound, each under its own id and no longer than it may.
fn check_memory(state: &State) -> Result<(), Violation> {
    let (weight, weight_max) = (state.indexes.memories.weight(), state.limits.memory_max);
    require("rule 9", weight <= weight_max, || {
        format!("operations of weight {weight} are remembered, and {weight_max} may be")
    })?;
    let until_max = state.clock.after(state.limits.memory_ms);
    for (request_id, remembered) in &state.memory {
        require("S16", *request_id == remembered.request_id, || {
            format!("operation {} is filed wrongly", remembered.request_id)
        })?;
        require("S16", remembered.until <= until_max, || {
            format!("operation {request_id} is remembered for too long")
        })?;
    }
    Ok(())
}

/// The workers that are known fit their bound, each under its own name and last seen in the past.
fn check_workers(state: &State) -> Result<(), Violation> {
    let (known, workers_max) = (state.workers.len() as u64, state.limits.workers_max);
    require("rule 9", known <= workers_max, || {
        format!("{known} of {workers_max} workers are known")
    })?;
    for (id, record) in &state.workers {
        require("S16", *id == record.id, || format!("worker {} is filed wrongly", record.id))?;
        require("S16", record.seen <= state.clock, || {
            format!("worker {id} was seen in the future")
        })?;
    }
    Ok(())
}

/// The checks of debug builds after an entry.
///
/// # Panics
/// When a promise is broken, which only a fault in these rules can do.
pub(super) fn assert_after(state: &State, changes: &[Change]) {
    let checked = if state.jobs.len() + state.tombstones.len() <= WHOLE_MAX {
        check(state)
    } else {
        check_ended(state, changes).and_then(|()| check_totals(state))
    };
    if let Err(violation) = checked {
        panic!("the queue's rules broke {violation}");
    }
}

fn check_ended(state: &State, changes: &[Change]) -> Result<(), Violation> {
    for change in changes {
        let Change::Ended { job: id, .. } = change else { continue };
        if let Some(Kept::Job(job)) = state.find(id) {
            check_job(state, &job)?;
        }
    }
    Ok(())
}

/// The sums agree (S14). O(queues).
fn check_totals(state: &State) -> Result<(), Violation> {
    let counts = &state.indexes.counts;
    let jobs = state.jobs.len() as u64;
    require("S14", counts.by_state.total() == jobs, || {
        format!("{jobs} jobs are counted as {:?} by state", counts.by_state)
    })?;
    require("S14", counts.by_type.values().sum::<u64>() == jobs, || {
        format!("{jobs} jobs are counted as {:?} by kind", counts.by_type)
    })?;
    let in_queues: u64 = counts.queues.values().map(|queue| queue.by_state.total()).sum();
    require("S14", in_queues == jobs, || {
        format!("{jobs} jobs are counted as {in_queues} in queues")
    })?;
    for (queue, counts) in counts.queues.iter() {
        check_queue(state, queue, counts)?;
    }
    let purging = &state.indexes.bounds.purging;
    let idle = purging.iter().find(|queue| !counts.queues.contains_key(*queue));
    require("S14", idle.is_none(), || format!("{idle:?} has purges and no jobs to clear"))?;
    let held: u64 = state.indexes.holders.values().map(|held| held.len() as u64).sum();
    let leased = counts.by_state.leased();
    // Purged jobs are taken from their holders only as they are cleared.
    let agrees =
        if state.indexes.bounds.purging.is_empty() { held == leased } else { held >= leased };
    require("S7", agrees, || format!("{leased} jobs are leased and {held} are held"))?;
    let of_sessions = state.indexes.sessions.held();
    require("S7", of_sessions <= held, || {
        format!("{held} jobs are held, and {of_sessions} of them by sessions")
    })?;
    let (memories, sightings) = (state.indexes.memories.len(), state.indexes.sightings.len());
    require("S14", (memories, sightings) == (state.memory.len(), state.workers.len()), || {
        format!("{memories} operations and {sightings} workers are waiting to be forgotten")
    })?;
    let ids = state.indexes.ids.len();
    require("S3", ids == state.jobs.len() + state.tombstones.len(), || {
        format!("{ids} ids for {jobs} jobs and {} tombstones", state.tombstones.len())
    })
}

/// What is counted of a queue agrees with its record.
fn check_queue(state: &State, queue: &QueueName, counts: &QueueCounts) -> Result<(), Violation> {
    let unfinished = counts.unfinished.len() as u64;
    require("S14", counts.by_state.unfinished() == unfinished, || {
        format!("queue {queue} has {unfinished} unfinished jobs and counts {:?}", counts.by_state)
    })?;
    let record = state.queues.get(queue);
    let left: Vec<u64> =
        record.iter().flat_map(|record| &record.purges).map(|purge| purge.left).collect();
    let purged: Vec<u64> = counts.purged.iter().map(|purged| purged.len() as u64).collect();
    require("S14", left == purged && !left.contains(&0), || {
        format!("queue {queue} has {purged:?} jobs to clear, its purges {left:?}")
    })?;
    let is_open = record.is_some_and(|record| record.is_open(counts.by_state.leased()));
    require("S11", is_open == state.indexes.ready.is_open(queue), || {
        format!("queue {queue} is served or not against its settings: {record:?}")
    })
}

fn check_job(state: &State, job: &Job) -> Result<(), Violation> {
    let id = &job.id;
    let place = state.indexes.ids.get(id);
    require("S3", place == Some(&Place::Job(job.number)), || {
        format!("{id} is not found by its id")
    })?;
    require("S16", job.number < state.next_job, || format!("{id} has a number of the future"))?;
    require("S14", state.queues.contains_key(&job.queue), || {
        format!("{id} is in a queue that does not exist")
    })?;
    require("S11", job.priority <= PRIORITY_MAX, || format!("{id} has a priority above all"))?;
    require("S10", job.attempts_used <= job.max_attempts, || {
        format!("{id} used {} of {} attempts", job.attempts_used, job.max_attempts)
    })?;
    require("S10", job.attempts_lost <= job.attempts_used, || {
        format!("{id} lost {} of {} attempts", job.attempts_lost, job.attempts_used)
    })?;
    check_attempts(state, job)?;
    check_completion(job)
}

/// A job is completed once, and again only after a retry, from which its attempts count anew (S4).
fn check_completion(job: &Job) -> Result<(), Violation> {
    let id = &job.id;
    let has_completed = |attempt: &Attempt| {
        attempt.ended.as_ref().is_some_and(|ended| ended.how == AttemptEnd::Completed)
    };
    let mut pairs = job.attempts.windows(2);
    require("S4", pairs.all(|pair| !has_completed(&pair[0]) || pair[1].number == 1), || {
        format!("{id} was granted again without a retry after it was completed")
    })?;
    let stands = job.attempts_used > 0 && job.attempts.last().is_some_and(has_completed);
    require("S4", stands == (job.state() == JobState::Completed), || {
        format!("{id} is {:?}, and its attempts are {:?}", job.state(), job.attempts)
    })
}

/// Tokens grow and are of the past (S5), and only a leased job has an attempt under way (S7, S13).
fn check_attempts(state: &State, job: &Job) -> Result<(), Violation> {
    let (id, attempts) = (&job.id, &job.attempts);
    require("S10", attempts.len() <= ATTEMPTS_KEPT, || format!("{id} has too long a memory"))?;
    require("S5", attempts.is_sorted_by(|earlier, later| earlier.token < later.token), || {
        format!("the tokens of {id} do not grow")
    })?;
    require("S5", job.last_token().is_none_or(|token| token.0 <= state.rev.0), || {
        format!("{id} has a token of the future")
    })?;
    let under_way = attempts.iter().filter(|attempt| attempt.ended.is_none());
    let under_way: Vec<_> = under_way.map(|attempt| attempt.token).collect();
    let leased: Vec<_> = job.lease().iter().map(|lease| lease.token).collect();
    require(
        "S7",
        under_way == leased && (leased.is_empty() || job.last_token() == leased.first().copied()),
        || format!("{id} is leased under {leased:?}, its attempts under way are {under_way:?}"),
    )?;
    let can_run = !matches!(job.phase, Phase::Pending | Phase::Scheduled(_) | Phase::Blocked(_));
    require("S10", job.lease().is_none() || job.attempts_used > 0, || {
        format!("{id} is leased without an attempt")
    })?;
    let waits = matches!(job.phase, Phase::Blocked(_));
    require("S13", !waits || job.unmet().next().is_some(), || {
        format!("{id} is blocked and waits for nothing")
    })?;
    require("S10", can_run || job.has_attempts_left(), || {
        format!("{id} waits for an attempt that it does not have")
    })
}

fn check_tokens_are_unique(state: &State) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    for job in state.jobs.values() {
        for attempt in &job.attempts {
            let is_new = seen.insert(attempt.token);
            require("S5", is_new, || format!("{:?} was issued twice", attempt.token))?;
        }
    }
    Ok(())
}

/// A group never has two leased (S11).
fn check_groups(state: &State) -> Result<(), Violation> {
    let mut holding = BTreeSet::new();
    for job in state.jobs.values().filter(|job| job.lease().is_some()) {
        if let Some(group) = job.group() {
            require("S11", holding.insert(group), || format!("group {group} has two leased"))?;
        }
    }
    Ok(())
}

fn require(
    promise: &'static str,
    holds: bool,
    detail: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { promise, detail: detail() }) }
}

#[cfg(test)]
mod tests;
