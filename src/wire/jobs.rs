//! `add`, `add_batch` and `cancel`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    ApiError, LEASE_MS, PAYLOAD_BYTES_MAX,
    fields::{Fields, missing},
    schema::DurationMs,
};
use crate::queue::{
    GroupName, JobId, JobState, OnDependencyFailure, QueueName, RequestId, Rev, WorkType,
};

/// The longest delay, backoff or expiry, ms: 100 years, so that sums of them stay far below 2^53.
const DELAY_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;
/// The most jobs that one job may wait for.
pub const DEPENDENCIES_MAX: usize = 1000;
/// The most tags of one job, and the most labels of a worker.
pub const TAGS_MAX: usize = 16;

/// `POST /work/add`, and one item of `add_batch` and of `then`. What is absent has its default.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct AddRequest {
    /// Any JSON, kept as the bytes that came; `{}` when absent. `config` is another name of it. A body
    /// without it is shorthand: whatever this schema does not name becomes the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// The idempotency key; made by the server when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_id: Option<JobId>,
    /// Where it waits; `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// Its kind; `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_type: Option<WorkType>,
    /// 0–100, higher first; 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub priority: Option<u8>,
    /// Not before this has passed, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = DELAY_MS_MAX))]
    pub delay_ms: Option<u64>,
    /// Not before this instant, ms since the Unix epoch; never beside `delay_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at_ms: Option<u64>,
    /// The lease of a claim that asks for none, ms, 100–43200000; 30000. `timeout_seconds` is another
    /// name of it, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("minimum" = LEASE_MS.start(), "maximum" = LEASE_MS.end()))]
    pub lease_ms: Option<u64>,
    /// 1–1000; 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_attempts: Option<u32>,
    /// The wait after `fail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// `expired` when not claimed for the first time within this, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("minimum" = 1, "maximum" = DELAY_MS_MAX))]
    pub expires_in_ms: Option<u64>,
    /// `blocked` until all of these are `completed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<JobId>,
    /// What a dependency that ends otherwise does to it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "dependency_failure")]
    #[schemars(with = "Option<OnDependencyFailure>")]
    pub on_dependency_failure: Option<OnDependencyFailure>,
    /// At most one job of a group is leased at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// For filters: at most 16.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// The wait after failed attempt n (from 1): `initial_ms · factorⁿ⁻¹`, at most `max_ms`, ± `jitter`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("required" = []))]
pub struct Backoff {
    /// ms; 1000.
    #[schemars(with = "DurationMs", extend("maximum" = DELAY_MS_MAX))]
    pub initial_ms: u64,
    /// 1–1000, taken to thousandths; 2.
    #[schemars(range(min = 1, max = 1000))]
    pub factor: f64,
    /// ms; 300000.
    #[schemars(with = "DurationMs", extend("maximum" = DELAY_MS_MAX))]
    pub max_ms: u64,
    /// 0–1, taken to thousandths; 0.1.
    #[schemars(range(min = 0, max = 1))]
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial_ms: 1000, factor: 2.0, max_ms: 300_000, jitter: 0.1 }
    }
}

impl Backoff {
    fn of_fields(mut fields: Fields<'_>) -> Result<Self, ApiError> {
        let default = Self::default();
        let backoff = Self {
            initial_ms: fields
                .duration_ms("initial_ms", 0..=DELAY_MS_MAX)?
                .unwrap_or(default.initial_ms),
            factor: fields.value("factor", "a number from 1 to 1000")?.unwrap_or(default.factor),
            max_ms: fields.duration_ms("max_ms", 0..=DELAY_MS_MAX)?.unwrap_or(default.max_ms),
            jitter: fields.value("jitter", "a number from 0 to 1")?.unwrap_or(default.jitter),
        };
        if !(1.0..=1000.0).contains(&backoff.factor) {
            return Err(ApiError::invalid("factor", "must be a number from 1 to 1000"));
        }
        if !(0.0..=1.0).contains(&backoff.jitter) {
            return Err(ApiError::invalid("jitter", "must be a number from 0 to 1"));
        }
        fields.finish().map(|()| backoff)
    }
}

impl AddRequest {
    /// Reads a body. Without `payload` (or `config`), every field that the table does not name
    /// becomes the payload; with it, such a field is an error.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Self::of_fields(Fields::of_body(body)?)
    }

    pub(super) fn of_fields(mut fields: Fields<'_>) -> Result<Self, ApiError> {
        fields.alias("payload", "config")?;
        let mut job = Self::of_named(&mut fields)?;
        job.payload = match fields.raw("payload") {
            Some(payload) => {
                fields.finish()?;
                Some(payload.to_owned())
            }
            None => RawValue::from_string(fields.into_rest()).ok(),
        };
        let payload_bytes = job.payload.as_ref().map_or(0, |payload| payload.get().len());
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(ApiError::too_large("payload", payload_bytes, PAYLOAD_BYTES_MAX));
        }
        Ok(job)
    }

    /// Everything but the payload.
    fn of_named(fields: &mut Fields<'_>) -> Result<Self, ApiError> {
        let narrow = "the range was checked";
        not_both(fields, "delay_ms", "run_at_ms")?;
        Ok(Self {
            payload: None,
            work_id: fields.name("work_id", JobId::parse)?,
            queue: fields.name("queue", QueueName::parse)?,
            work_type: fields.name("work_type", WorkType::parse)?,
            priority: fields.integer("priority", 0..=100)?.map(|n| n.try_into().expect(narrow)),
            delay_ms: fields.duration_ms("delay_ms", 0..=DELAY_MS_MAX)?,
            run_at_ms: fields.integer("run_at_ms", 0..=(1 << 53) - 1)?,
            lease_ms: lease(fields)?,
            max_attempts: fields
                .integer("max_attempts", 1..=1000)?
                .map(|n| n.try_into().expect(narrow)),
            backoff: backoff(fields)?,
            expires_in_ms: fields.duration_ms("expires_in_ms", 1..=DELAY_MS_MAX)?,
            depends_on: fields.names("depends_on", JobId::parse)?,
            on_dependency_failure: on_dependency_failure(fields)?,
            group: fields.name("group", GroupName::parse)?,
            tags: fields.strings("tags", TAGS_MAX)?,
        })
    }
}

/// Refuses two fields that say the same thing.
pub(super) fn not_both(fields: &Fields<'_>, one: &str, other: &str) -> Result<(), ApiError> {
    if fields.has(one) && fields.has(other) {
        let reason = format!("cannot stand beside `{one}`; send one of them");
        return Err(ApiError::invalid(other, reason));
    }
    Ok(())
}

/// `lease_ms`, or its other name `timeout_seconds`, whose bare integers count seconds.
pub(super) fn lease(fields: &mut Fields<'_>) -> Result<Option<u64>, ApiError> {
    not_both(fields, "lease_ms", "timeout_seconds")?;
    match fields.duration_seconds("timeout_seconds", LEASE_MS)? {
        Some(lease_ms) => Ok(Some(lease_ms)),
        None => fields.duration_ms("lease_ms", LEASE_MS),
    }
}

fn backoff(fields: &mut Fields<'_>) -> Result<Option<Backoff>, ApiError> {
    let Some(raw) = fields.raw("backoff").filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let wanted = "must be an object with `initial_ms`, `factor`, `max_ms` and `jitter`";
    let inner = Fields::of_raw(raw).map_err(|_| ApiError::invalid("backoff", wanted))?;
    Backoff::of_fields(inner).map(Some).map_err(|fault| {
        let field = fault.details.get("field").and_then(serde_json::Value::as_str).unwrap_or("");
        let field = format!("backoff.{field}");
        fault.with("field", field)
    })
}

fn on_dependency_failure(fields: &mut Fields<'_>) -> Result<Option<OnDependencyFailure>, ApiError> {
    let field = "on_dependency_failure";
    match fields.value::<String>(field, "\"fail\" or \"run\"")?.as_deref() {
        None => Ok(None),
        Some("fail") => Ok(Some(OnDependencyFailure::Fail)),
        Some("run") => Ok(Some(OnDependencyFailure::Run)),
        Some(_) => Err(ApiError::invalid(field, "must be \"fail\" or \"run\"")),
    }
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a field to its serializer by reference"
)]
fn dependency_failure<S: serde::Serializer>(
    choice: &Option<OnDependencyFailure>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.serialize_str(match choice {
        Some(OnDependencyFailure::Run) => "run",
        Some(OnDependencyFailure::Fail) | None => "fail",
    })
}

/// The answer to `add`: 201, or 200 when the job existed already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddResponse {
    /// `added`.
    pub status: Done,
    /// The job.
    pub work_id: JobId,
    /// Where it waits.
    pub queue: QueueName,
    /// Its kind.
    pub work_type: WorkType,
    /// Its priority.
    pub priority: u8,
    /// Its state now.
    pub state: JobState,
    /// Whether it existed already.
    pub duplicate: bool,
    /// The revision of this answer.
    pub rev: Rev,
}

/// What a call has done: the `status` of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// To `add` and `add_batch`.
    Added,
    /// To a claim that got something.
    Claimed,
    /// To a claim that got nothing.
    NoWorkAvailable,
    /// To `start`.
    Started,
    /// To `complete`.
    Completed,
    /// To `fail`, when a further attempt follows.
    Retrying,
    /// To `fail`, when none follows.
    Failed,
    /// To `release`.
    Released,
    /// To `cancel`.
    Cancelled,
    /// To `retry`.
    Retried,
    /// To a `PUT` that made the queue.
    Created,
    /// To a `PUT` of a queue that was there.
    Updated,
    /// To `pause`.
    Paused,
    /// To `resume`, of a queue or a worker.
    Resumed,
    /// To `purge`.
    Purged,
    /// To `DELETE`.
    Deleted,
    /// To `drain`.
    Draining,
}

/// `POST /work/add_batch`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "AddBatchRequest", extend("required" = ["items"]))]
pub struct AddBatchRequest<Item = AddRequest> {
    /// The jobs, at most 1000.
    #[schemars(length(max = super::BATCH_ITEMS_MAX))]
    pub items: Vec<Item>,
    /// Whether one bad item rejects them all (the default), or each answers for itself.
    pub atomic: bool,
    /// Makes the call safe to repeat when its items have no ids of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
}

impl AddBatchRequest<Result<AddRequest, ApiError>> {
    /// Reads a body. A bad item refuses the batch here when it is all or nothing; else its refusal
    /// stands in its place.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let items = fields.items("items")?;
        let items = items.ok_or_else(|| missing("items", "a list of jobs to add"))?;
        let atomic = fields.value::<bool>("atomic", "true or false")?.unwrap_or(true);
        let request_id = fields.name("request_id", RequestId::parse)?;
        fields.finish()?;
        let items: Vec<_> = items.into_iter().enumerate().map(add_item).collect();
        match items.iter().find_map(|item| item.as_ref().err()) {
            Some(fault) if atomic => Err(fault.clone()),
            _ => Ok(Self { items, atomic, request_id }),
        }
    }
}

fn add_item((index, raw): (usize, &RawValue)) -> Result<AddRequest, ApiError> {
    let job = Fields::of_raw(raw).and_then(AddRequest::of_fields);
    job.map_err(|fault| fault.at("items", index))
}

/// The jobs of `then`: one bad one refuses the call.
pub(super) fn then_items(fields: &mut Fields<'_>) -> Result<Vec<AddRequest>, ApiError> {
    let Some(raw) = fields.raw("then").filter(|raw| raw.get() != "null") else {
        return Ok(Vec::new());
    };
    let wanted = format!("must be a list of at most {} jobs", super::BATCH_ITEMS_MAX);
    let items: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|_| ApiError::invalid("then", &wanted))?;
    if items.len() > super::BATCH_ITEMS_MAX {
        return Err(ApiError::invalid("then", wanted));
    }
    let jobs = items.into_iter().enumerate().map(|(index, raw)| {
        let job = Fields::of_raw(raw).and_then(AddRequest::of_fields);
        job.map_err(|fault| fault.at("then", index))
    });
    jobs.collect()
}

/// The answer to `add_batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddBatchResponse {
    /// `added`.
    pub status: Done,
    /// How many were accepted, duplicates among them.
    pub count: usize,
    /// The ids of those, in the order of the items.
    pub work_ids: Vec<JobId>,
    /// One for each item, in order.
    pub items: Vec<Item<AddedItem>>,
    /// The revision of this answer.
    pub rev: Rev,
}

/// An accepted job of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddedItem {
    /// The job.
    pub work_id: JobId,
    /// Whether it existed already.
    pub duplicate: bool,
}

/// One item's place in the answer to a batch whose items answer for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "{T}OrError")]
pub enum Item<T> {
    /// It failed; it alone.
    Refused(ApiError),
    /// It was done.
    Done(T),
}

/// `POST /work/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CancelRequest {
    /// The job.
    pub work_id: JobId,
}

impl CancelRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let work_id = work_id(&mut fields)?;
        fields.finish().map(|()| Self { work_id })
    }
}

pub(super) fn work_id(fields: &mut Fields<'_>) -> Result<JobId, ApiError> {
    fields.name("work_id", JobId::parse)?.ok_or_else(|| missing("work_id", "the job's id"))
}

#[cfg(test)]
mod tests;
