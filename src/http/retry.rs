//! `POST /work/retry`.

use super::{
    answer::{Answer, Failure},
    call::Call,
    command,
    failure::refused,
    present,
};
use crate::{
    node::{Consistency, View},
    queue::{Action, JobId, Rejection, RequestId, State},
    wire::{Done, Retried, RetriedJobs, RetryRequest, RetryResponse},
};

pub(super) async fn retry(mut call: Call) -> Result<Answer, Failure> {
    let request = RetryRequest::parse(&call.body_alone()?)?;
    let body = if request.dry_run {
        foretold(&call, &request.which).await?
    } else {
        carried_out(&call, request.which, request.request_id).await?
    };
    let rev = body.rev;
    Ok(Answer::ok(&body).at(rev))
}

async fn carried_out(
    call: &Call,
    which: Retried,
    request_id: Option<RequestId>,
) -> Result<RetryResponse, Failure> {
    let action = match which.clone() {
        Retried::Job { work_id } => Action::RetryJob(work_id),
        Retried::Jobs(jobs) => Action::RetryJobs(command::retry_jobs(jobs)),
    };
    let (answer, rev) = call.operate(request_id, action).await?;
    let (once, work_ids) = present::retried(answer);
    Ok(RetryResponse {
        status: Done::Retried,
        count: work_ids.len(),
        more: leaves_some(call, which).await,
        work_ids,
        dry_run: false,
        duplicate: present::is_duplicate(once),
        rev,
    })
}

/// Whether jobs are left after a bulk retry. It is done by now, so when this is not known, it is not
/// said.
async fn leaves_some(call: &Call, which: Retried) -> bool {
    let Retried::Jobs(jobs) = which else { return false };
    let looked = |state: &State| how_many(state, &jobs) > 0;
    let view = call.site.handle.read(Consistency::Linearizable, call.hold, looked).await;
    view.is_ok_and(|view| view.value)
}

/// How many jobs of the queue are in that state.
fn how_many(state: &State, jobs: &RetriedJobs) -> usize {
    let counts = state.queue(&jobs.queue).map(|queue| queue.totals.by_status);
    let count = counts.and_then(|counts| counts.get(&jobs.state).copied()).unwrap_or(0);
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// What a retry would do now. Nothing is proposed.
async fn foretold(call: &Call, which: &Retried) -> Result<RetryResponse, Failure> {
    let looked = |state: &State| would_retry(state, which);
    let view = call.site.handle.read(Consistency::Linearizable, call.hold, looked).await?;
    let View { value, rev } = view;
    let (work_ids, more) = value.map_err(|rejection| refused(rejection, rev))?;
    Ok(RetryResponse {
        status: Done::Retried,
        count: work_ids.len(),
        work_ids,
        dry_run: true,
        more,
        duplicate: false,
        rev,
    })
}

/// The jobs, and whether further ones of the queue are in that state.
fn would_retry(state: &State, which: &Retried) -> Result<(Vec<JobId>, bool), Rejection> {
    match which {
        Retried::Job { work_id } => {
            state.can_retry(work_id)?;
            Ok((vec![work_id.clone()], false))
        }
        Retried::Jobs(jobs) => {
            if state.queue(&jobs.queue).is_none() {
                return Err(Rejection::QueueNotFound { queue: jobs.queue.clone() });
            }
            let found = state.retriable(&command::retry_jobs(jobs.clone()));
            let is_more = how_many(state, jobs) > found.len();
            Ok((found, is_more))
        }
    }
}
