//! The final read: every job's attempt log, from every node, after heal and quiescence.
//!
//! ```text
//! {"type":"final_job","node":"n1","job":{"work_id":"j-1","state":"completed","attempts":[…]}}
//! {"type":"final_end","node":"n1","rev":900,"jobs":1}
//! ```
//!
//! The job is what `GET /work/get` answered; fields that no checker reads are skipped. A read without
//! its end, or whose end counts other than its jobs, is not complete, and absence from it proves
//! nothing. It resolves nearly every `info`: what had been unknown is in the log or is not.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The server keeps this many attempts of a job.
pub const ATTEMPTS_KEPT: usize = 32;

/// One job in a node's final read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobLine {
    /// The node that answered.
    pub node: String,
    /// What it answered.
    pub job: JobView,
}

/// The end of a node's final read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadEnd {
    /// The node that answered.
    pub node: String,
    /// The revision of the read.
    pub rev: u64,
    /// How many jobs it had.
    pub jobs: u64,
}

/// A job as `GET /work/get` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub work_id: String,
    /// Its state.
    pub state: String,
    /// What a worker gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// What came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The last [`ATTEMPTS_KEPT`], oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
}

/// One grant of a job and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// The fencing token of the grant.
    pub token: u64,
    /// Who held it.
    pub node_id: String,
    /// When, by the leader's wall clock, ms.
    pub claimed_at_ms: u64,
    /// When it ended, by the leader's wall clock, ms; none while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<u64>,
    /// How it ended; none while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What the holder said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// By `complete`.
    Completed,
    /// By `fail`.
    Failed,
    /// By `release`.
    Released,
    /// The lease ran out.
    Expired,
    /// The worker was declared down.
    WorkerDown,
    /// The job was cancelled under it.
    Cancelled,
}

impl JobView {
    /// Whether older attempts may be missing from the log, so that absence from it proves nothing.
    pub fn is_truncated(&self) -> bool {
        self.attempts.len() >= ATTEMPTS_KEPT
    }

    /// The attempts that ended as completed.
    pub fn completed(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(|attempt| attempt.end == Some(End::Completed))
    }
}

/// What one node answered.
#[derive(Debug, Clone, Default)]
pub struct NodeRead {
    /// Its jobs by id.
    pub jobs: BTreeMap<String, JobView>,
    /// Ids that it listed more than once.
    pub repeated: BTreeSet<String>,
    lines: u64,
    end: Option<ReadEnd>,
}

impl NodeRead {
    /// Whether the read reached its end with every job.
    pub fn is_complete(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.jobs == self.lines)
    }
}

/// What all nodes answered.
#[derive(Debug, Clone, Default)]
pub struct FinalRead {
    /// By node.
    pub nodes: BTreeMap<String, NodeRead>,
}

impl FinalRead {
    /// Takes one job.
    pub fn on_job(&mut self, line: JobLine) {
        let node = self.nodes.entry(line.node).or_default();
        node.lines += 1;
        let id = line.job.work_id.clone();
        if node.jobs.insert(id.clone(), line.job).is_some() {
            node.repeated.insert(id);
        }
    }

    /// Takes the end of a node's read.
    pub fn on_end(&mut self, end: ReadEnd) {
        let node = self.nodes.entry(end.node.clone()).or_default();
        node.end = Some(end);
    }

    /// Every job that any node answered with, and the node.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &JobView)> {
        self.nodes
            .iter()
            .flat_map(|(node, read)| read.jobs.values().map(move |job| (node.as_str(), job)))
    }

    /// Why absence from this read proves nothing, if so: it is empty, or not complete, or one of
    /// `nodes` is not in it.
    pub fn gap<'a>(&self, nodes: impl IntoIterator<Item = &'a String>) -> Option<String> {
        if self.nodes.is_empty() {
            return Some("there is no final read".into());
        }
        if let Some((node, _)) = self.nodes.iter().find(|(_, read)| !read.is_complete()) {
            return Some(format!("the final read of {node} is not complete"));
        }
        let missing = nodes.into_iter().find(|node| !self.nodes.contains_key(*node))?;
        Some(format!("{missing} was used and has no final read"))
    }
}
