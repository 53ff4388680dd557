//! From what the queue rejects and the node cannot do to the error table.

use serde_json::{Value, json};

use super::answer::Failure;
use crate::{
    node::{Reason, Unavailable},
    queue::{Answer, JobState, Outcome, Rejection, Rev},
    wire::{ApiError, Code},
};

/// Which list of a request the index of a rejection points into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// None: the request is one job.
    Alone,
    /// This field.
    Batch(&'static str),
}

/// What was answered, at which revision, or the failure.
pub(super) fn accepted(outcome: Outcome, place: Place) -> Result<(Answer, Rev), Failure> {
    let rev = outcome.rev;
    match outcome.result {
        Ok(answer) => Ok((answer, rev)),
        Err(rejection) => Err(Failure { rev: Some(rev), ..rejected(rejection, place).into() }),
    }
}

/// The failure of a look at the state that found what a command would be rejected for.
pub(super) fn refused(rejection: Rejection, rev: Rev) -> Failure {
    Failure { rev: Some(rev), ..rejected(rejection, Place::Alone).into() }
}

/// The row of the table for a rejection. The state is unchanged after each.
pub(super) fn rejected(rejection: Rejection, place: Place) -> ApiError {
    match rejection {
        Rejection::JobNotFound { job } => {
            ApiError::new(Code::NotFound, format!("There is no job {job}."))
                .with("work_id", job.as_str())
        }
        stale @ Rejection::StaleToken { .. } => stale_token(stale),
        Rejection::WrongState { job, state } => {
            let error = format!("Job {job} is {}: its state does not allow this.", name(state));
            ApiError::new(Code::WrongState, error)
                .with("work_id", job.as_str())
                .with("state", json!(state))
        }
        Rejection::JobIdConflict { job, index } => {
            let error = format!("Job {job} exists with other content; take another `work_id`.");
            let error = ApiError::new(Code::IdConflict, error).with("field", "work_id");
            placed(error.with("work_id", job.as_str()), place, index)
        }
        Rejection::RequestIdConflict => {
            let error = "A call under this `request_id` had other arguments; take a fresh one.";
            ApiError::new(Code::IdConflict, error).with("field", "request_id")
        }
        Rejection::Full { reason, retry_after_ms } => {
            let error = format!("The queue is full: {reason}. Try again later.");
            ApiError::new(Code::QueueFull, error).with("retry_after_ms", retry_after_ms)
        }
        Rejection::Invalid { index, field, reason } => {
            placed(ApiError::invalid(&field, reason), place, index)
        }
        Rejection::QueueNotFound { queue } => {
            ApiError::new(Code::NotFound, format!("There is no queue {queue}."))
                .with("queue", queue.as_str())
        }
        Rejection::QueueNotEmpty { queue, unfinished } => {
            let error = format!(
                "Queue {queue} is not empty: {unfinished} unfinished; have them done or purge it first."
            );
            ApiError::new(Code::WrongState, error)
                .with("queue", queue.as_str())
                .with("unfinished", unfinished)
        }
        Rejection::StaleSession { current, is_down } => {
            let what = if is_down { "was declared down" } else { "is the worker's newest" };
            let error =
                format!("This session is over: session {current} {what}. Begin a greater one.");
            ApiError::new(Code::StaleSession, error)
                .with("field", "session")
                .with("current_session", current)
                .with("down", is_down)
        }
        Rejection::DependencyCycle { index, job } => {
            let error = format!("`depends_on` of job {job} closes a circle.");
            let error = ApiError::new(Code::DependencyCycle, error).with("field", "depends_on");
            placed(error.with("work_id", job.as_str()), place, index)
        }
    }
}

fn placed(error: ApiError, place: Place, index: u32) -> ApiError {
    match place {
        Place::Alone => error,
        Place::Batch(field) => error.at(field, index as usize),
    }
}

fn stale_token(rejection: Rejection) -> ApiError {
    let Rejection::StaleToken { job, current_token, holder, state, ended_as } = rejection else {
        unreachable!("the caller matched it")
    };
    let why = match (&holder, ended_as) {
        (Some(holder), _) => format!("it is held by {holder} under another token"),
        (None, Some(_)) => format!("that attempt has ended, and the job is {}", name(state)),
        (None, None) => format!("nobody holds it, and it is {}", name(state)),
    };
    ApiError::new(Code::StaleToken, format!("Not the valid token of job {job}: {why}."))
        .with("work_id", job.as_str())
        .with("current_token", json!(current_token))
        .with("holder", holder.map_or(Value::Null, |holder| holder.as_str().into()))
        .with("state", json!(state))
        .with("ended_as", json!(ended_as))
}

fn name(state: JobState) -> &'static str {
    match state {
        JobState::Scheduled => "scheduled",
        JobState::Blocked => "blocked",
        JobState::Pending => "pending",
        JobState::Claimed => "claimed",
        JobState::Running => "running",
        JobState::Completed => "completed",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
        JobState::Expired => "expired",
    }
}

impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Self {
        let reason = match unavailable {
            Unavailable::NotApplied(reason) => reason,
            Unavailable::OutcomeUnknown => {
                let error = "It was proposed and the answer was lost: it may have been applied. \
                             Repeat it under the same identity.";
                return ApiError::new(Code::OutcomeUnknown, error).into();
            }
        };
        let (code, retry_after_ms) = match reason {
            Reason::NoLeader => (Code::NoLeader, 500),
            Reason::NotReady => (Code::NotReady, 1000),
            Reason::ShuttingDown => (Code::ShuttingDown, 1000),
            Reason::DiskFull => (Code::DiskFull, 10_000),
            Reason::Overloaded { retry_after_ms } => (Code::RateLimited, retry_after_ms),
            Reason::TooManyWaiters { retry_after_ms } => (Code::TooManyWaiters, retry_after_ms),
        };
        let error = format!("Not applied: {reason}. Try again.");
        ApiError::new(code, error).with("retry_after_ms", retry_after_ms).into()
    }
}

#[cfg(test)]
mod tests;
