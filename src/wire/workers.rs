//! Workers, as far as the queue remembers them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Done;
use crate::queue::{Rev, WorkerId};

/// A worker that was granted jobs lately, or drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Worker {
    /// Its name.
    pub node_id: WorkerId,
    /// What it said of itself in its last claim that was granted something.
    pub labels: BTreeMap<String, String>,
    /// Its newest incarnation, if it is an agent.
    pub session: Option<u64>,
    /// Whether that one was declared down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
    /// Whether it is told to claim no more.
    pub draining: bool,
    /// How many jobs it holds.
    pub held: usize,
    /// Its last grant, heartbeat or drain, ms since the Unix epoch, to 10 s.
    pub last_seen_at_ms: u64,
    /// How long ago that was, ms.
    pub last_seen_ms_ago: u64,
}

/// The answer to `GET /workers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkersResponse {
    /// By name.
    pub workers: Vec<Worker>,
    /// How many these are.
    pub count: usize,
    /// Go on after this name; `null` at the end.
    #[serde(default)]
    pub next: Option<WorkerId>,
    /// The revision of this answer.
    pub rev: Rev,
}

/// The answer to `GET /workers/{node_id}`: the worker's fields and `rev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerResponse {
    /// The worker.
    #[serde(flatten)]
    pub worker: Worker,
    /// The revision of this answer.
    pub rev: Rev,
}

/// The answer to `drain` and `resume` of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerOperated {
    /// `draining` or `resumed`.
    pub status: Done,
    /// The worker.
    pub node_id: WorkerId,
    /// Whether an earlier call had done it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// The revision of this answer.
    pub rev: Rev,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_comes_back_from_its_answer() {
        let golden = r#"{"node_id":"w","labels":{"gpu":"a100"},"session":null,"draining":true,"held":2,"last_seen_at_ms":5,"last_seen_ms_ago":1,"rev":9}"#;
        let read: WorkerResponse = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), golden);
    }
}
