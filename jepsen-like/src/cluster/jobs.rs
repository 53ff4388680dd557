//! The harness's own jobs: added, looked at, waited for.

use serde_json::{Value, json};

use super::Cluster;
use crate::exit::Failure;

/// So many jobs are added at once.
const BATCH: usize = 100;

impl Cluster {
    /// Adds jobs of these ids; adding them again would change nothing.
    pub(crate) fn add_jobs(&self, queue: &str, ids: &[String]) -> Result<(), Failure> {
        for ids in ids.chunks(BATCH) {
            let items: Vec<Value> = ids
                .iter()
                .map(|id| json!({"work_id": id, "queue": queue, "payload": {}, "max_attempts": 1000}))
                .collect();
            let body = json!({"items": items});
            self.eventually("jobs are added", || {
                let node = self.nodes[0].http;
                let answer = self.control.post(node, "/work/add_batch", &body).ok()?;
                answer.is_ok().then_some(())
            })?;
        }
        Ok(())
    }

    /// The job as a node has it; `null` when it does not say.
    pub(crate) fn job(&self, asked: usize, id: &str) -> Value {
        let path = format!("/work/get/{id}");
        self.control.get(self.nodes[asked].http, &path).unwrap_or_default()
    }

    /// Waits for a job's completion, and gives it.
    pub(crate) fn await_completion(&self, asked: usize, id: &str) -> Result<Value, Failure> {
        self.eventually("a job is completed", || {
            Some(self.job(asked, id)).filter(|job| job["state"] == "completed")
        })
    }

    /// Where there is gossip, waits until every node sees every agent alive.
    pub(crate) fn wait_gossip(&self) -> Result<(), Failure> {
        self.eventually("every node's gossip has all agents alive", || {
            let sees_all = |node: &super::Node| {
                // No such path, or no gossip: leases decide, and that is what will be measured.
                let Some(seen) = self.control.get(node.http, "/peers") else { return true };
                let alive = |name: &str| {
                    seen["peers"].as_array().is_some_and(|peers| {
                        peers.iter().any(|peer| peer["node_id"] == name && peer["state"] == "alive")
                    })
                };
                seen["gossip"] != true || self.agents.iter().all(|agent| alive(&agent.name))
            };
            self.nodes.iter().all(sees_all).then_some(())
        })
    }
}

/// Who holds a job now.
pub(crate) fn holder_of(job: &Value) -> Option<String> {
    let is_held = matches!(job["state"].as_str(), Some("claimed" | "running"));
    let last = job["attempts"].as_array().filter(|_| is_held)?.last()?;
    last["node_id"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_that_of_the_last_attempt_of_a_job_that_is_held() {
        let attempts = json!([{"node_id": "w1", "end": "worker_down"}, {"node_id": "w2"}]);
        let job = |state| json!({"state": state, "attempts": attempts});
        assert_eq!(holder_of(&job("running")).as_deref(), Some("w2"));
        assert_eq!(holder_of(&job("claimed")).as_deref(), Some("w2"));
        assert_eq!(holder_of(&job("pending")), None);
        assert_eq!(holder_of(&Value::Null), None);
    }
}
