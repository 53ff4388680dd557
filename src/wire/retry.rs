//! `retry`: finished jobs put back, one by its id or many by their state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApiError, Done,
    fields::{Fields, missing},
};
use crate::queue::{JobId, JobState, QueueName, RETRY_MAX, RequestId, Rev};

/// How many jobs a bulk retry puts back at the most, unless it says.
const LIMIT_DEFAULT: u32 = 100;
const TERMINAL: &str = "\"completed\", \"failed\", \"cancelled\" or \"expired\"";

/// `POST /work/retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RetryRequest {
    /// Which jobs.
    #[serde(flatten)]
    pub which: Retried,
    /// Whether only to say what it would put back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Makes the call safe to repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

/// Which jobs a retry is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Retried {
    /// This one.
    Job {
        /// Its id.
        work_id: JobId,
    },
    /// Those of a queue.
    Jobs(RetriedJobs),
}

/// Finished jobs of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(extend("required" = ["queue"]))]
pub struct RetriedJobs {
    /// The queue.
    pub queue: QueueName,
    /// In this terminal state; `failed` unless said.
    pub state: JobState,
    /// At most this many, the first added first, 1–1000; 100 unless said.
    #[schemars(range(min = 1, max = RETRY_MAX))]
    pub limit: u32,
}

impl RetryRequest {
    /// Reads a body: `work_id`, or `queue` with `state` and `limit`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let request = Self {
            which: Retried::of_fields(&mut fields)?,
            dry_run: fields.value("dry_run", "true or false")?.unwrap_or(false),
            request_id: fields.request_id()?,
        };
        fields.finish().map(|()| request)
    }
}

impl Retried {
    fn of_fields(fields: &mut Fields<'_>) -> Result<Self, ApiError> {
        if let Some(work_id) = fields.name("work_id", JobId::parse)? {
            if let Some(field) = ["queue", "state", "limit"].iter().find(|name| fields.has(name)) {
                let reason = "cannot stand beside `work_id`; send one of them";
                return Err(ApiError::invalid(field, reason));
            }
            return Ok(Self::Job { work_id });
        }
        let queue = fields.name("queue", QueueName::parse)?;
        let hint = "the job's id, or `queue` to retry jobs of a queue";
        Ok(Self::Jobs(RetriedJobs {
            queue: queue.ok_or_else(|| missing("work_id", hint))?,
            state: terminal(fields)?.unwrap_or(JobState::Failed),
            limit: limit(fields)?.unwrap_or(LIMIT_DEFAULT),
        }))
    }
}

fn terminal(fields: &mut Fields<'_>) -> Result<Option<JobState>, ApiError> {
    let state = fields.value::<JobState>("state", TERMINAL)?;
    match state {
        Some(state) if !state.is_terminal() => {
            Err(ApiError::invalid("state", format!("must be {TERMINAL}")))
        }
        state => Ok(state),
    }
}

fn limit(fields: &mut Fields<'_>) -> Result<Option<u32>, ApiError> {
    let limit = fields.integer("limit", 1..=u64::from(RETRY_MAX))?;
    Ok(limit.map(|limit| limit.try_into().expect("the range was checked")))
}

/// The answer to `retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryResponse {
    /// `retried`, also when nothing was put back.
    pub status: Done,
    /// How many jobs were put back, or would be.
    pub count: usize,
    /// Which, the first added first.
    pub work_ids: Vec<JobId>,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Whether further jobs of the queue are in that state: beyond `limit`, or beyond its room.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Whether an earlier call had done it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// The revision of this answer.
    pub rev: Rev,
}

#[cfg(test)]
mod tests;
