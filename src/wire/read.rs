//! What can be asked of the queue: one job, the totals, what a worker holds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, value::RawValue};

use super::{ApiError, WAIT_MS_MAX, fields::Fields, query, schema::DurationMs};
use crate::queue::{
    AttemptEnd, GroupName, JobId, JobState, QueueName, Rev, Token, WorkType, WorkerId,
};

/// The query of `GET /work/get/{work_id}`. Other reads take `consistency` alone: [`Freshness::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
pub struct ReadQuery {
    /// Answer when the job is terminal, or this has passed, ms, at most 60000.
    #[schemars(with = "Option<DurationMs>", extend("maximum" = WAIT_MS_MAX))]
    pub wait_ms: Option<u64>,
    /// How fresh the answer must be.
    #[schemars(rename = "consistency", default)]
    pub freshness: Freshness,
}

/// `consistency` of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Freshness {
    /// It sees every write acknowledged before it.
    #[default]
    Linearizable,
    /// Whatever the node that is asked has applied.
    Stale,
}

impl Freshness {
    /// Reads the query of a read that takes `consistency` alone.
    pub fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let parameters = query::parameters(query.unwrap_or_default(), query::Kinds::default())?;
        let mut fields = Fields::of_parameters(&parameters)?;
        let freshness = freshness(&mut fields)?;
        fields.finish().map(|()| freshness)
    }

    /// As in the query and in the header `X-Queue-Consistency`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Stale => "stale",
        }
    }
}

impl ReadQuery {
    /// Reads the query of a `get`.
    pub fn parse(query: Option<&str>) -> Result<Self, ApiError> {
        let kinds = query::Kinds { numbers: &["wait_ms"], ..query::Kinds::default() };
        let parameters = query::parameters(query.unwrap_or_default(), kinds)?;
        let mut fields = Fields::of_parameters(&parameters)?;
        let read = Self {
            wait_ms: fields.duration_ms("wait_ms", 0..=WAIT_MS_MAX)?,
            freshness: freshness(&mut fields)?,
        };
        fields.finish().map(|()| read)
    }
}

pub(super) fn freshness(fields: &mut Fields<'_>) -> Result<Freshness, ApiError> {
    let wanted = "\"linearizable\" or \"stale\"";
    match fields.value::<String>("consistency", wanted)?.as_deref() {
        None | Some("linearizable") => Ok(Freshness::Linearizable),
        Some("stale") => Ok(Freshness::Stale),
        Some(_) => Err(ApiError::invalid("consistency", format!("must be {wanted}"))),
    }
}

/// A whole job: the answer to `GET /work/get/{work_id}`, without its `rev`. Of a job that has left
/// after its retention only a tombstone is kept: `work_id`, `state`, and the last `token`; the rest may
/// come from the archive of the node that answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub work_id: JobId,
    /// Where it is in its life.
    pub state: JobState,
    /// Its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// Its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_type: Option<WorkType>,
    /// What the worker gets, as the bytes that were added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// Its priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The attempts that count so far, those lost among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How many it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How many attempts were lost with their lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_lost: Option<u32>,
    /// The last 32 attempts, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// While leased: the valid token. Of a tombstone: the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// While leased: the holder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_id: Option<WorkerId>,
    /// While leased: what is left of the lease, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_expires_in_ms: Option<u64>,
    /// The lease of a claim that asks for none, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// When it was added, ms since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at_ms: Option<u64>,
    /// While scheduled: when it may be handed out, ms since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at_ms: Option<u64>,
    /// While scheduled: how long until then, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_in_ms: Option<u64>,
    /// When it reached its terminal state, ms since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// What came out of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// What went wrong in the last attempt that said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What its holder last said of its progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<RawValue>>,
    /// What it waits, or waited, for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<JobId>,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether this is all that is left of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tombstone: bool,
    /// Whether it has left the queue's state and this is what the node's archive has of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
}

/// One attempt at a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// Its token.
    pub token: Token,
    /// Who held it.
    pub node_id: WorkerId,
    /// When it was granted, ms since the Unix epoch.
    pub claimed_at_ms: u64,
    /// When it ended; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AttemptEnd>,
    /// What its holder said had gone wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The answer to `GET /work/get/{work_id}`: the job's fields and `rev`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct GetResponse {
    /// The job.
    #[serde(flatten)]
    pub job: Job,
    /// The revision of this answer.
    pub rev: Rev,
}

impl<'de> Deserialize<'de> for GetResponse {
    // By hand: `flatten` reads through a buffer that a raw value cannot come out of.
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Revision {
            rev: Rev,
        }
        let raw = Box::<RawValue>::deserialize(source)?;
        let custom = |fault| <D::Error as serde::de::Error>::custom(fault);
        let job = serde_json::from_str(raw.get()).map_err(custom)?;
        let Revision { rev } = serde_json::from_str(raw.get()).map_err(custom)?;
        Ok(Self { job, rev })
    }
}

/// How many jobs are in each state; states without a job are absent.
pub type StateCounts = BTreeMap<JobState, u64>;

/// The answer to `GET /work/status`, from kept counters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct WorkStatus {
    /// All jobs that are kept.
    pub total_items: u64,
    /// By state.
    pub by_status: StateCounts,
    /// By kind.
    pub by_type: BTreeMap<WorkType, u64>,
    /// By queue.
    pub queues: BTreeMap<QueueName, QueueStatus>,
    /// Whether the node that was asked leads.
    pub is_leader: bool,
    /// Who leads; `null` while nobody does.
    pub leader_id: Option<String>,
    /// The revision of this answer.
    pub rev: Rev,
}

/// One queue of `WorkStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct QueueStatus {
    /// By state: `{"pending": 3, …}`, beside the fields below.
    #[serde(flatten)]
    pub by_state: StateCounts,
    /// How long the oldest pending job has waited, ms; `null` when none waits.
    pub oldest_pending_ms: Option<u64>,
    /// Whether claims pass it over.
    pub paused: bool,
}

impl<'de> Deserialize<'de> for QueueStatus {
    // By hand: the states share their object with other fields, and a newer server may have more.
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let fields = BTreeMap::<String, Value>::deserialize(source)?;
        let state = |name: &str| JobState::deserialize(Value::from(name)).ok();
        let by_state = fields
            .iter()
            .filter_map(|(name, count)| Some((state(name)?, count.as_u64()?)))
            .collect();
        let field = |name: &str| fields.get(name);
        Ok(Self {
            by_state,
            oldest_pending_ms: field("oldest_pending_ms").and_then(Value::as_u64),
            paused: field("paused").and_then(Value::as_bool).unwrap_or_default(),
        })
    }
}

/// The answer to `GET /work/for-node/{node_id}`: what a worker holds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ForNodeResponse {
    /// The worker.
    pub node_id: WorkerId,
    /// Its jobs, the oldest lease first; not all of them when that would be too long an answer.
    pub work_items: Vec<Job>,
    /// How many it holds.
    pub count: usize,
    /// The revision of this answer.
    pub rev: Rev,
}

#[cfg(test)]
mod tests;
