//! The calls of a holder: each carries the job and the token of its grant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    AddRequest, AddedItem, ApiError, Done, ERROR_BYTES_MAX, Item, LEASE_MS, RESULT_BYTES_MAX,
    fields::{Fields, missing},
    jobs::{then_items, work_id},
    schema::DurationMs,
};
use crate::queue::{JobId, Rev, Token, WorkerId};

/// The longest delay that a holder may ask for, ms: 100 years, as in `add`.
const DELAY_MS_MAX: u64 = 100 * 365 * 24 * 3_600_000;

/// `POST /work/start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StartRequest {
    /// The job.
    pub work_id: JobId,
    /// The token of its grant.
    pub token: Token,
}

impl StartRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let request = Self { work_id: work_id(&mut fields)?, token: fields.token()? };
        fields.finish().map(|()| request)
    }
}

/// `POST /work/complete`, and one item of `complete_batch`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CompleteRequest {
    /// The job.
    pub work_id: JobId,
    /// The token of its grant.
    pub token: Token,
    /// What came out: any JSON, at most 256 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// Jobs to add in the same step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<AddRequest>,
}

impl CompleteRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        Self::of_fields(Fields::of_body(body)?)
    }

    fn of_fields(mut fields: Fields<'_>) -> Result<Self, ApiError> {
        let request = Self {
            work_id: work_id(&mut fields)?,
            token: fields.token()?,
            result: json(&mut fields, "result")?,
            then: then_items(&mut fields)?,
        };
        fields.finish().map(|()| request)
    }
}

fn json(fields: &mut Fields<'_>, name: &str) -> Result<Option<Box<RawValue>>, ApiError> {
    let Some(raw) = fields.raw(name) else { return Ok(None) };
    if raw.get().len() > RESULT_BYTES_MAX {
        return Err(ApiError::too_large(name, raw.get().len(), RESULT_BYTES_MAX));
    }
    Ok(Some(raw.to_owned()))
}

/// `POST /work/complete_batch`. Each item answers for itself.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "CompleteBatchRequest")]
pub struct CompleteBatchRequest<Item = CompleteRequest> {
    /// At most 1000.
    #[schemars(length(max = super::BATCH_ITEMS_MAX))]
    pub items: Vec<Item>,
}

impl CompleteBatchRequest<Result<CompleteRequest, ApiError>> {
    /// Reads a body; a bad item's refusal stands in its place.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let items = fields.items("items")?;
        let items = items.ok_or_else(|| missing("items", "a list of jobs to complete"))?;
        fields.finish()?;
        let items = items.into_iter().enumerate().map(|(index, raw)| {
            let item = Fields::of_raw(raw).and_then(CompleteRequest::of_fields);
            item.map_err(|fault| fault.at("items", index))
        });
        Ok(Self { items: items.collect() })
    }
}

/// The answer to `complete_batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompleteBatchResponse {
    /// One for each item, in order.
    pub items: Vec<Item<SettleResponse>>,
    /// The revision of this answer.
    pub rev: Rev,
}

/// `POST /work/fail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailRequest {
    /// The job.
    pub work_id: JobId,
    /// The token of its grant.
    pub token: Token,
    /// What went wrong, at most 16 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether a further attempt is worth it; yes when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
    /// When: after this, ms, instead of the job's backoff. Never beside `"retry": false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = DELAY_MS_MAX))]
    pub retry_in_ms: Option<u64>,
}

impl FailRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let request = Self {
            work_id: work_id(&mut fields)?,
            token: fields.token()?,
            error: fields.value("error", "a string")?,
            retry: fields.value("retry", "true or false")?,
            retry_in_ms: fields.duration_ms("retry_in_ms", 0..=DELAY_MS_MAX)?,
        };
        fields.finish()?;
        request.checked()
    }

    fn checked(self) -> Result<Self, ApiError> {
        let error_bytes = self.error.as_ref().map_or(0, String::len);
        if error_bytes > ERROR_BYTES_MAX {
            return Err(ApiError::too_large("error", error_bytes, ERROR_BYTES_MAX));
        }
        if self.retry == Some(false) && self.retry_in_ms.is_some() {
            let reason = "cannot stand beside `\"retry\": false`; send one of them";
            return Err(ApiError::invalid("retry_in_ms", reason));
        }
        Ok(self)
    }
}

/// `POST /work/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ReleaseRequest {
    /// The job.
    pub work_id: JobId,
    /// The token of its grant.
    pub token: Token,
    /// Not handed out again before this has passed, ms; at once when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = DELAY_MS_MAX))]
    pub delay_ms: Option<u64>,
}

impl ReleaseRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let request = Self {
            work_id: work_id(&mut fields)?,
            token: fields.token()?,
            delay_ms: fields.duration_ms("delay_ms", 0..=DELAY_MS_MAX)?,
        };
        fields.finish().map(|()| request)
    }
}

/// The answer to `start`, `complete`, `fail`, `release` and `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettleResponse {
    /// What was done.
    pub status: Done,
    /// The job.
    pub work_id: JobId,
    /// After `retrying`: when, ms since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at_ms: Option<u64>,
    /// After `completed`: the jobs of `then`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<AddedItem>,
    /// Whether an earlier call had done it; this one changed nothing. Absent when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// The revision of this answer.
    pub rev: Rev,
}

/// `POST /work/heartbeat`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HeartbeatRequest {
    /// Whose leases they are. `worker_id` is another name of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<WorkerId>,
    /// The leases, at most 1000; with none it only asks whether to drain. The fields of one item may
    /// stand in its place.
    #[schemars(length(max = super::BATCH_ITEMS_MAX))]
    pub items: Vec<Beat>,
}

/// One lease to extend.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Beat {
    /// The job.
    pub work_id: JobId,
    /// The token of its grant.
    pub token: Token,
    /// The lease from now, ms; as granted when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("minimum" = LEASE_MS.start(), "maximum" = LEASE_MS.end()))]
    pub lease_ms: Option<u64>,
    /// How far it is: any JSON, at most 256 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<RawValue>>,
}

impl HeartbeatRequest {
    /// Reads a body: `items`, or the fields of one item beside `node_id`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        fields.alias("node_id", "worker_id")?;
        let node_id = fields.name("node_id", WorkerId::parse)?;
        let Some(items) = fields.items("items")? else {
            return Ok(Self { node_id, items: vec![Beat::of_fields(fields)?] });
        };
        fields.finish()?;
        let items = items.into_iter().enumerate().map(|(index, raw)| {
            let beat = Fields::of_raw(raw).and_then(Beat::of_fields);
            beat.map_err(|fault| fault.at("items", index))
        });
        Ok(Self { node_id, items: items.collect::<Result<_, _>>()? })
    }
}

impl Beat {
    fn of_fields(mut fields: Fields<'_>) -> Result<Self, ApiError> {
        let beat = Self {
            work_id: work_id(&mut fields)?,
            token: fields.token()?,
            lease_ms: fields.duration_ms("lease_ms", LEASE_MS)?,
            progress: json(&mut fields, "progress")?,
        };
        fields.finish().map(|()| beat)
    }
}

/// The answer to `heartbeat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatResponse {
    /// One for each lease, in order.
    pub items: Vec<Beaten>,
    /// Whether the worker should claim nothing more.
    pub drain: bool,
    /// The revision of this answer.
    pub rev: Rev,
}

/// What became of one lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Beaten {
    /// The job.
    pub work_id: JobId,
    /// The token named.
    pub token: Token,
    /// What became of the lease.
    pub status: BeatStatus,
    /// After `extended`: what is left of it, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_in_ms: Option<u64>,
}

/// What a heartbeat did to one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeatStatus {
    /// It holds.
    Extended,
    /// The token is not valid (any more): stop, and write nothing.
    Lost,
    /// The job was cancelled: stop.
    CancelRequested,
}

#[cfg(test)]
mod tests;
