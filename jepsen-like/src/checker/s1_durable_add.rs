//! S1: an acknowledged add is never lost.
//!
//! `lost` = adds answered `ok` − jobs in the final read of every node, in whatever state. Where in its
//! producer's sequence a lost add stood is counted apart: a lost *middle* is the damning one, because
//! neither a slow start nor a cut tail explains it (`jepsen.nats`). The run must end within the
//! server's retention, or finished jobs leave of their own accord.
//!
//! A `complete` acknowledges the jobs of its `then`, unless it is a duplicate: then those of the first.
//!
//! Indeterminate adds: one that appears is `recovered`, one that does not is fine.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Checker, Finding, Promise, verdict::Ledger};
use crate::{
    final_read::FinalRead,
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct DurableAdd {
    /// By producer, in the order of their acknowledgement.
    acknowledged: BTreeMap<u64, Vec<(String, Operation)>>,
    /// Jobs whose add was invoked and not refused.
    asked: BTreeMap<String, u64>,
    nodes: BTreeSet<String>,
}

impl Checker for DurableAdd {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        self.nodes.insert(invoke.node.clone());
        for (job, _) in invoke.added_jobs() {
            *self.asked.entry(job.to_owned()).or_default() += 1;
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        let is_repeat =
            operation.invoke.f == Function::Complete && operation.completion.is_duplicate();
        for (job, _) in operation.invoke.added_jobs() {
            match operation.kind() {
                Kind::Ok if is_repeat => {}
                Kind::Ok => self
                    .acknowledged
                    .entry(operation.invoke.process)
                    .or_default()
                    .push((job.to_owned(), operation.clone())),
                Kind::Fail => {
                    self.asked.entry(job.to_owned()).and_modify(|count| *count -= 1);
                }
                Kind::Info | Kind::Invoke => {}
            }
        }
    }

    fn finish(self: Box<Self>, read: &FinalRead) -> Finding {
        let mut ledger = Ledger::default();
        for adds in self.acknowledged.values() {
            judge_producer(&mut ledger, read, adds);
        }
        let acknowledged: BTreeSet<&str> =
            self.acknowledged.values().flatten().map(|(job, _)| job.as_str()).collect();
        let present: BTreeSet<&str> = read.jobs().map(|(_, job)| job.work_id.as_str()).collect();
        for (job, open) in &self.asked {
            if *open > 0 && !acknowledged.contains(job.as_str()) {
                let is_recovered = present.contains(job.as_str());
                ledger.counts.add(if is_recovered { "recovered" } else { "never_applied" });
            }
        }
        let untested = read
            .gap(&self.nodes)
            .or_else(|| acknowledged.is_empty().then(|| "no add was acknowledged".to_owned()));
        ledger.close(Promise::S1, untested)
    }
}

/// The node, if any, whose complete read lacks the job.
fn missing_from<'a>(read: &'a FinalRead, job: &str) -> Option<&'a str> {
    read.nodes
        .iter()
        .find(|(_, node)| node.is_complete() && !node.jobs.contains_key(job))
        .map(|(name, _)| name.as_str())
}

fn judge_producer(ledger: &mut Ledger, read: &FinalRead, adds: &[(String, Operation)]) {
    let missing: Vec<Option<&str>> = adds.iter().map(|(job, _)| missing_from(read, job)).collect();
    let first_kept = missing.iter().position(Option::is_none).unwrap_or(adds.len());
    let last_kept = missing.iter().rposition(Option::is_none).unwrap_or(0);
    for (place, ((job, operation), node)) in adds.iter().zip(&missing).enumerate() {
        ledger.counts.add("acknowledged");
        let Some(node) = node else { continue };
        ledger.counts.add("lost");
        ledger.counts.add(match place {
            place if place < first_kept => "lost_prefix",
            place if place > last_kept => "lost_suffix",
            _ => "lost_middle",
        });
        ledger.violate(
            &[&operation.invoke, &operation.completion],
            format!("the add of {job} was acknowledged and the final read of {node} lacks it"),
        );
    }
}
