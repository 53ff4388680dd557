//! `claim` and `claim_batch`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;

use super::{
    ApiError, CLAIM_NAMES_MAX, Done, LEASE_MS, TAGS_MAX, WAIT_MS_MAX,
    fields::{Fields, missing},
    jobs::lease,
    query,
    schema::DurationMs,
};
use crate::queue::{
    InvalidName, JobId, JobState, QueueName, RequestId, Rev, Token, WorkType, WorkerId,
};

/// The parameters of a claim's query that are more than a string.
const KINDS: query::Kinds = query::Kinds {
    lists: &["queues", "work_types", "capabilities"],
    repeated: &[],
    numbers: &["session", "lease_ms", "timeout_seconds", "wait_ms", "max", "max_items"],
};

/// `POST /work/claim` and `POST /work/claim_batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClaimRequest {
    /// The worker. `worker_id` is another name of it.
    pub node_id: WorkerId,
    /// An agent's incarnation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Served strictly in this order, at most 100; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CLAIM_NAMES_MAX))]
    pub queues: Vec<QueueName>,
    /// Any of these, at most 100; none: all. `capabilities` is another name of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CLAIM_NAMES_MAX))]
    pub work_types: Vec<WorkType>,
    /// The lease, ms, 100–43200000; each job's own when absent. `timeout_seconds` is another name of
    /// it, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("minimum" = LEASE_MS.start(), "maximum" = LEASE_MS.end()))]
    pub lease_ms: Option<u64>,
    /// How long to wait for work, ms, at most 60000; not at all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = WAIT_MS_MAX))]
    pub wait_ms: Option<u64>,
    /// Makes the claim safe to repeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// What the worker says of itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Of `claim_batch` alone: how many jobs at the most, 1–1000; 10. `max_items` is another name of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<u32>,
}

/// Which of the two calls a claim is: only a batch has `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimKind {
    /// `POST /work/claim`.
    One,
    /// `POST /work/claim_batch`.
    Batch,
}

impl ClaimRequest {
    /// A claim by this worker that asks for nothing in particular.
    pub fn new(node_id: WorkerId) -> Self {
        Self {
            node_id,
            session: None,
            queues: Vec::new(),
            work_types: Vec::new(),
            lease_ms: None,
            wait_ms: None,
            request_id: None,
            labels: BTreeMap::new(),
            max: None,
        }
    }

    /// Reads a body, which may be empty, and query parameters of the same names (lists
    /// comma-separated or repeated). A field given in both is refused.
    pub fn parse(kind: ClaimKind, body: &[u8], query: Option<&str>) -> Result<Self, ApiError> {
        let parameters = query::parameters(query.unwrap_or_default(), KINDS)?;
        let mut fields = match body.trim_ascii() {
            [] if !parameters.is_empty() => Fields::none(),
            _ => Fields::of_body(body)?,
        };
        for (name, value) in &parameters {
            fields.insert(name, value)?;
        }
        Self::of_fields(kind, fields)
    }

    fn of_fields(kind: ClaimKind, mut fields: Fields<'_>) -> Result<Self, ApiError> {
        fields.alias("node_id", "worker_id")?;
        fields.alias("work_types", "capabilities")?;
        let node_id = fields.name("node_id", WorkerId::parse)?;
        let request = Self {
            node_id: node_id.ok_or_else(|| missing("node_id", "the worker's name"))?,
            session: fields.integer("session", 0..=u64::MAX)?,
            queues: listed(&mut fields, "queues", QueueName::parse)?,
            work_types: listed(&mut fields, "work_types", WorkType::parse)?,
            lease_ms: lease(&mut fields)?,
            wait_ms: fields.duration_ms("wait_ms", 0..=WAIT_MS_MAX)?,
            request_id: fields.name("request_id", RequestId::parse)?,
            labels: fields.strings("labels", TAGS_MAX)?,
            max: if kind == ClaimKind::Batch { max(&mut fields)? } else { None },
        };
        fields.finish().map(|()| request)
    }
}

/// A claim that waits stands in line for every pair of a queue and a kind, so both are few.
fn listed<T>(
    fields: &mut Fields<'_>,
    name: &str,
    parse: fn(&str) -> Result<T, InvalidName>,
) -> Result<Vec<T>, ApiError> {
    let names = fields.names(name, parse)?;
    if names.len() > CLAIM_NAMES_MAX {
        let reason = format!("must have at most {CLAIM_NAMES_MAX} entries");
        return Err(ApiError::invalid(name, reason));
    }
    Ok(names)
}

fn max(fields: &mut Fields<'_>) -> Result<Option<u32>, ApiError> {
    fields.alias("max", "max_items")?;
    let max = fields.integer("max", 1..=1000)?;
    Ok(max.map(|max| max.try_into().expect("the range was checked")))
}

/// The answer to `claim`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ClaimResponse {
    /// `claimed` or `no_work_available`.
    pub status: Done,
    /// The job; `null` when there was none.
    pub work: Option<Work>,
    /// The revision of this answer.
    pub rev: Rev,
}

/// The answer to `claim_batch`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ClaimBatchResponse {
    /// `claimed` or `no_work_available`.
    pub status: Done,
    /// How many items there are.
    pub count: usize,
    /// The jobs, in the order of their grants.
    pub items: Vec<Work>,
    /// The revision of this answer.
    pub rev: Rev,
}

/// One job of a claim's answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Work {
    /// Held now.
    Granted(Box<GrantedWork>),
    /// In a repeated claim: no longer held under that token.
    Lost(LostWork),
}

impl<'de> Deserialize<'de> for Work {
    // By hand: serde's untagged enums read through a buffer that a raw value cannot come out of.
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Probe {
            #[serde(default)]
            lost: bool,
        }
        let raw = Box::<RawValue>::deserialize(source)?;
        let work = match serde_json::from_str(raw.get()) {
            Ok(Probe { lost: true }) => serde_json::from_str(raw.get()).map(Self::Lost),
            Ok(Probe { lost: false }) => serde_json::from_str(raw.get()).map(Self::Granted),
            Err(fault) => Err(fault),
        };
        work.map_err(D::Error::custom)
    }
}

/// A lease, as its worker gets it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct GrantedWork {
    /// The job.
    pub work_id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub work_type: WorkType,
    /// What to do, as the bytes that were added.
    pub payload: Box<RawValue>,
    /// Its priority.
    pub priority: u8,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many it has.
    pub max_attempts: u32,
    /// The fencing token: every call on the job carries it, and so should every write downstream.
    pub token: Token,
    /// The lease granted, ms.
    pub lease_ms: u64,
    /// What is left of it, ms.
    pub lease_expires_in_ms: u64,
    /// When the job was added, ms since the Unix epoch.
    pub added_at_ms: u64,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A job of a repeated claim that is no longer held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostWork {
    /// The job.
    pub work_id: JobId,
    /// The token that it was held under.
    pub token: Token,
    /// `true`, always.
    pub lost: bool,
    /// What became of the job.
    pub state: JobState,
}

#[cfg(test)]
mod tests;
