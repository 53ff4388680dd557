//! Queues: what each is held to, and how it stands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    ApiError, Done, Freshness, LEASE_MS, PAGE_MAX, StateCounts,
    fields::Fields,
    query::{self, Kinds},
    read::freshness,
    schema::{DurationMs, Setting},
};
use crate::queue::{MAX_ATTEMPTS_MAX, Patch, QueueName, RATE_MAX, RequestId, Rev};

/// The greatest count that a queue may be held to: the greatest integer of every JSON reader.
const COUNT_MAX: u64 = (1 << 53) - 1;

/// `PUT /queues/{name}`: what to change of a queue. `null` takes a limit away, or a default back to
/// that of all queues; what is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetQueueRequest {
    /// Whether claims pass it over; `null` is `false`.
    #[serde(skip_serializing_if = "is_kept", serialize_with = "patch")]
    #[schemars(with = "Setting<bool>")]
    pub paused: Patch<bool>,
    /// The most unfinished jobs, 1 to 2^53-1.
    #[serde(skip_serializing_if = "is_kept", serialize_with = "patch")]
    #[schemars(with = "Setting<u64>", extend("minimum" = 1, "maximum" = COUNT_MAX))]
    pub max_jobs: Patch<u64>,
    /// The most payload bytes of unfinished jobs, 1 to 2^53-1.
    #[serde(skip_serializing_if = "is_kept", serialize_with = "patch")]
    #[schemars(with = "Setting<u64>", extend("minimum" = 1, "maximum" = COUNT_MAX))]
    pub max_bytes: Patch<u64>,
    /// The lease of its jobs that name none, ms.
    #[serde(skip_serializing_if = "is_kept", serialize_with = "patch")]
    #[schemars(with = "Setting<DurationMs>", extend("minimum" = LEASE_MS.start(), "maximum" = LEASE_MS.end()))]
    pub default_lease_ms: Patch<u64>,
    /// The attempts of its jobs that name no number, 1–1000.
    #[serde(skip_serializing_if = "is_kept", serialize_with = "patch")]
    #[schemars(with = "Setting<u32>", extend("minimum" = 1, "maximum" = MAX_ATTEMPTS_MAX))]
    pub max_attempts: Patch<u32>,
    /// The most jobs leased at a time, 1 to 2^53-1.
    #[serde(skip_serializing_if = "is_kept", serialize_with = "patch")]
    #[schemars(with = "Setting<u64>", extend("minimum" = 1, "maximum" = COUNT_MAX))]
    pub max_leased: Patch<u64>,
    /// The most grants in a second, 1–1,000,000.
    #[serde(skip_serializing_if = "is_kept", serialize_with = "patch")]
    #[schemars(with = "Setting<u32>", extend("minimum" = 1, "maximum" = RATE_MAX))]
    pub rate_per_second: Patch<u32>,
    /// Makes the call safe to repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

impl SetQueueRequest {
    /// Reads a body, which may be empty: then the queue is made, unless it is there.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_optional_body(body)?;
        let lease = |fields: &mut Fields<'_>| fields.duration_ms("default_lease_ms", LEASE_MS);
        let request = Self {
            paused: fields.patch("paused", |fields| fields.value("paused", "true or false"))?,
            max_jobs: count(&mut fields, "max_jobs")?,
            max_bytes: count(&mut fields, "max_bytes")?,
            default_lease_ms: fields.patch("default_lease_ms", lease)?,
            max_attempts: number(&mut fields, "max_attempts", MAX_ATTEMPTS_MAX)?,
            max_leased: count(&mut fields, "max_leased")?,
            rate_per_second: number(&mut fields, "rate_per_second", RATE_MAX)?,
            request_id: fields.request_id()?,
        };
        fields.finish().map(|()| request)
    }
}

fn count(fields: &mut Fields<'_>, name: &str) -> Result<Patch<u64>, ApiError> {
    fields.patch(name, |fields| fields.integer(name, 1..=COUNT_MAX))
}

fn number(fields: &mut Fields<'_>, name: &str, most: u32) -> Result<Patch<u32>, ApiError> {
    fields.patch(name, |fields| {
        let number = fields.integer(name, 1..=u64::from(most))?;
        Ok(number.map(|number| number.try_into().expect("the range was checked")))
    })
}

fn is_kept<T>(setting: &Patch<T>) -> bool {
    matches!(setting, Patch::Keep)
}

fn patch<T: Serialize, S: Serializer>(setting: &Patch<T>, to: S) -> Result<S::Ok, S::Error> {
    match setting {
        Patch::Set(value) => value.serialize(to),
        Patch::Clear | Patch::Keep => to.serialize_none(),
    }
}

/// The body of a call that its path says all about, and that may be empty: the operations on a queue
/// or a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OperationRequest {
    /// Makes the call safe to repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

impl OperationRequest {
    /// Reads a body, which may be empty.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_optional_body(body)?;
        let request_id = fields.request_id()?;
        fields.finish().map(|()| Self { request_id })
    }
}

/// The query of a list that is in the order of names: `GET /queues` and `GET /workers`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "NamesQueryOf{Name}")]
pub struct NamesQuery<Name> {
    /// How many at the most, 1–1000; 1000 unless said.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    pub limit: u32,
    /// Go on after this name.
    pub after: Option<Name>,
    /// How fresh the answer must be.
    #[schemars(rename = "consistency", default)]
    pub freshness: Freshness,
}

impl<Name> NamesQuery<Name> {
    /// Reads the query of such a list.
    pub fn parse(
        query: Option<&str>,
        name: fn(&str) -> Result<Name, crate::queue::InvalidName>,
    ) -> Result<Self, ApiError> {
        let kinds = Kinds { numbers: &["limit"], ..Kinds::default() };
        let parameters = query::parameters(query.unwrap_or_default(), kinds)?;
        let mut fields = Fields::of_parameters(&parameters)?;
        let read = Self {
            limit: limit(&mut fields)?.unwrap_or(PAGE_MAX),
            after: fields.name("after", name)?,
            freshness: freshness(&mut fields)?,
        };
        fields.finish().map(|()| read)
    }
}

/// Takes the `limit` of a page.
pub(super) fn limit(fields: &mut Fields<'_>) -> Result<Option<u32>, ApiError> {
    let limit = fields.integer("limit", 1..=u64::from(PAGE_MAX))?;
    Ok(limit.map(|limit| limit.try_into().expect("the range was checked")))
}

/// A queue: what it is held to, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// Its name.
    pub queue: QueueName,
    /// Whether claims pass it over.
    pub paused: bool,
    /// The most unfinished jobs; `null`: no limit, as below.
    pub max_jobs: Option<u64>,
    /// The most payload bytes of unfinished jobs.
    pub max_bytes: Option<u64>,
    /// The lease of its jobs that name none, ms; `null`: the default of all queues, as below.
    pub default_lease_ms: Option<u64>,
    /// The attempts of its jobs that name no number.
    pub max_attempts: Option<u32>,
    /// The most jobs leased at a time.
    pub max_leased: Option<u64>,
    /// The most grants in a second.
    pub rate_per_second: Option<u32>,
    /// How many jobs are not finished.
    pub jobs: u64,
    /// The payload bytes of those.
    pub bytes: u64,
    /// How many are claimed or running.
    pub leased: u64,
    /// How many jobs it keeps, by state; states without a job are absent.
    pub by_status: StateCounts,
    /// How long the oldest pending job has waited, ms; `null` when none waits.
    pub oldest_pending_ms: Option<u64>,
}

/// The answer to `GET /queues`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueuesResponse {
    /// By name.
    pub queues: Vec<Queue>,
    /// How many these are.
    pub count: usize,
    /// Go on after this name; `null` at the end.
    #[serde(default)]
    pub next: Option<QueueName>,
    /// The revision of this answer.
    pub rev: Rev,
}

/// The answer to `GET /queues/{name}`: the queue's fields and `rev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueResponse {
    /// The queue.
    #[serde(flatten)]
    pub queue: Queue,
    /// The revision of this answer.
    pub rev: Rev,
}

/// The answer to `PUT /queues/{name}`: 201 when it made the queue, else 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetQueueResponse {
    /// `created` or `updated`.
    pub status: Done,
    /// The queue as it is now.
    #[serde(flatten)]
    pub queue: Queue,
    /// Whether an earlier call had done it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// The revision of this answer.
    pub rev: Rev,
}

/// The answer to `pause`, `resume`, `purge` and `DELETE` of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueOperated {
    /// What the call has done.
    pub status: Done,
    /// The queue.
    pub queue: QueueName,
    /// After `purged`: how many jobs it cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Whether an earlier call had done it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// The revision of this answer.
    pub rev: Rev,
}

#[cfg(test)]
mod tests;
