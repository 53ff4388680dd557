//! A job in the words of the history.

use jepsen_like::final_read::{Attempt, End, JobView};
use quorate::queue::{self, AttemptEnd};
use serde_json::Value;

/// As `GET /work/get` prints it.
pub fn job_view(job: &queue::JobView) -> JobView {
    let json = |bytes: &[u8]| {
        serde_json::from_slice(bytes)
            .unwrap_or_else(|_| Value::from("not the JSON that was put in"))
    };
    JobView {
        work_id: job.id.to_string(),
        state: format!("{:?}", job.state).to_lowercase(),
        payload: Some(json(&job.payload.bytes)),
        result: job.result.as_deref().map(json),
        attempts: job.attempts.iter().map(attempt).collect(),
    }
}

fn attempt(attempt: &queue::AttemptView) -> Attempt {
    Attempt {
        attempt: attempt.attempt,
        token: attempt.token.0,
        node_id: attempt.worker.to_string(),
        claimed_at_ms: attempt.claimed_at.0,
        ended_at_ms: attempt.ended_at.map(|at| at.0),
        end: attempt.end.map(end),
        error: attempt.error.as_deref().map(str::to_owned),
    }
}

fn end(end: AttemptEnd) -> End {
    match end {
        AttemptEnd::Completed => End::Completed,
        AttemptEnd::Failed => End::Failed,
        AttemptEnd::Released => End::Released,
        AttemptEnd::Expired => End::Expired,
        AttemptEnd::WorkerDown => End::WorkerDown,
        AttemptEnd::Cancelled => End::Cancelled,
    }
}
