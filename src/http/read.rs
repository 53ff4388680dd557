//! What can be asked of the queue: `GET /work/get/{work_id}`, `/work/status`,
//! `/work/for-node/{node_id}`.

use std::time::Duration;

use axum::extract::{Path, rejection::PathRejection};
use tokio::time::Instant;

use super::{
    answer::{Answer, Failure},
    call::Call,
    history::found_in_archive,
    present::look,
};
use crate::{
    node::{Consistency, View},
    queue::{InvalidName, JobId, Rev, WorkerId},
    wire::{ApiError, Code, ForNodeResponse, Freshness, GetResponse, Job, ReadQuery, WorkStatus},
};

/// A path's one parameter, as it came.
pub(super) type InPath = Result<Path<String>, PathRejection>;

pub(super) async fn get(path: InPath, call: Call) -> Result<Answer, Failure> {
    let job = named("work_id", path, JobId::parse)?;
    let query = ReadQuery::parse(call.query.as_deref())?;
    let wait = Duration::from_millis(query.wait_ms.unwrap_or(0));
    let view = when_ended(&call, &job, consistency(query.freshness), wait).await?;
    let view = match view {
        View { value: Some(whole), rev } if !whole.tombstone => View { value: Some(whole), rev },
        View { value: left, rev } => View { value: found_in_archive(&call, &job, left).await, rev },
    };
    let View { value: Some(found), rev } = view else {
        let error = ApiError::new(Code::NotFound, format!("There is no job {job}."));
        let error = error.with("work_id", job.as_str());
        return Err(Failure { rev: Some(view.rev), ..error.into() });
    };
    Ok(Answer::ok(&GetResponse { job: found, rev }).at(rev).seen(query.freshness))
}

/// Reads a job, again when it has ended or the wait is over.
async fn when_ended(
    call: &Call,
    job: &JobId,
    consistency: Consistency,
    wait: Duration,
) -> Result<View<Option<Job>>, Failure> {
    let (handle, deadline) = (&call.site.handle, Instant::now() + wait);
    loop {
        // Read before waiting: only after this is the local replica known to have the job at all.
        let view = handle.read(consistency, call.hold, |state| look::found(state, job)).await?;
        let view = View { value: view.value.map(look::job), rev: view.rev };
        let is_over = view.value.as_ref().is_none_or(|job| job.state.is_terminal());
        let remaining = deadline.saturating_duration_since(Instant::now());
        if is_over || remaining.is_zero() || !handle.lets_wait() {
            return Ok(view);
        }
        handle.ended(job, remaining).await?;
    }
}

pub(super) async fn status(call: Call) -> Result<Answer, Failure> {
    let freshness = Freshness::parse(call.query.as_deref())?;
    let (body, rev) = totals(&call, consistency(freshness)).await?;
    Ok(Answer::ok(&body).at(rev).seen(freshness))
}

/// The totals, with who leads.
pub(super) async fn totals(
    call: &Call,
    consistency: Consistency,
) -> Result<(WorkStatus, Rev), Failure> {
    let view = call.site.handle.read(consistency, call.hold, look::totals).await?;
    let raft = call.site.handle.status().raft;
    let body = WorkStatus {
        is_leader: raft.leader.as_ref().is_some_and(|leader| leader.id == raft.me.id),
        leader_id: raft.leader.map(|leader| leader.label),
        rev: view.rev,
        ..view.value
    };
    Ok((body, view.rev))
}

pub(super) async fn for_node(path: InPath, call: Call) -> Result<Answer, Failure> {
    let worker = named("node_id", path, WorkerId::parse)?;
    let freshness = Freshness::parse(call.query.as_deref())?;
    let looked = |state: &crate::queue::State| look::held_by(state, &worker);
    let view = call.site.handle.read(consistency(freshness), call.hold, looked).await?;
    let (rev, (count, held)) = (view.rev, view.value);
    let work_items: Vec<Job> = held.into_iter().map(look::job).collect();
    let body = ForNodeResponse { node_id: worker, work_items, count, rev };
    Ok(Answer::ok(&body).at(rev).seen(freshness))
}

pub(super) fn consistency(freshness: Freshness) -> Consistency {
    match freshness {
        Freshness::Linearizable => Consistency::Linearizable,
        Freshness::Stale => Consistency::Stale,
    }
}

/// Reads a path's parameter; `field` is what a refusal calls it.
pub(super) fn named<T>(
    field: &str,
    path: InPath,
    parse: fn(&str) -> Result<T, InvalidName>,
) -> Result<T, ApiError> {
    let Ok(Path(text)) = path else {
        return Err(ApiError::invalid(field, "must be percent-encoded UTF-8"));
    };
    parse(&text).map_err(|fault| ApiError::invalid(field, fault))
}
