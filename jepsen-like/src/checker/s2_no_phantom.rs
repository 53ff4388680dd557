//! S2: nothing comes out that was not put in.
//!
//! Every job seen by a claim, a get or the final read must go back to an add that had been *invoked*
//! before (of `then` in a `complete` too) and was not refused, with the same payload; every stored
//! result to a `complete` of that job that was not refused. An add that was answered "certainly not
//! applied" is no origin: if it appears, that answer was the lie.
//!
//! Indeterminate adds and completes are legal origins.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Checker, Finding, Promise, verdict::Ledger};
use crate::{
    final_read::{FinalRead, JobView},
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct NoPhantom {
    /// By job: what was asked, keyed by the invocation, and not refused (so far).
    adds: BTreeMap<String, BTreeMap<u64, Option<Value>>>,
    completes: BTreeMap<String, BTreeMap<u64, Value>>,
    /// By job: each distinct payload seen, with its first sight.
    seen: BTreeMap<String, Vec<(Option<Value>, Operation)>>,
    ledger: Ledger,
}

impl Checker for NoPhantom {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        for (job, content) in invoke.added_jobs() {
            let payload = content.get("payload").cloned();
            self.adds.entry(job.to_owned()).or_default().insert(invoke.i, payload);
        }
        if let (Function::Complete, Some(job)) = (invoke.f, &invoke.job) {
            let result = result_of(invoke);
            self.completes.entry(job.clone()).or_default().insert(invoke.i, result);
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        match operation.kind() {
            Kind::Ok => self.on_sight(operation),
            Kind::Fail => self.on_refusal(&operation.invoke),
            Kind::Info | Kind::Invoke => {}
        }
    }

    fn finish(mut self: Box<Self>, read: &FinalRead) -> Finding {
        let seen = std::mem::take(&mut self.seen);
        // Again, now that it is known which adds were refused.
        for (job, sights) in &seen {
            for (payload, operation) in sights {
                self.judge_sight(job, payload.as_ref(), operation);
            }
        }
        for (node, job) in read.jobs() {
            self.judge_final(node, job);
        }
        let untested =
            (seen.is_empty() && read.jobs().next().is_none()).then(|| "no job was seen".to_owned());
        self.ledger.close(Promise::S2, untested)
    }
}

impl NoPhantom {
    fn on_sight(&mut self, operation: &Operation) {
        let is_sight = operation.grant().is_some() || operation.invoke.f == Function::Get;
        let (true, Some(job)) = (is_sight, operation.job()) else { return };
        let payload = operation.completion.res.get("payload").cloned();
        if !self.has_origin(job, payload.as_ref()) {
            self.judge_sight(job, payload.as_ref(), operation);
            return;
        }
        let sights = self.seen.entry(job.to_owned()).or_default();
        if sights.iter().all(|(known, _)| *known != payload) {
            sights.push((payload, operation.clone()));
        }
    }

    fn on_refusal(&mut self, invoke: &Event) {
        for (job, _) in invoke.added_jobs() {
            self.adds.entry(job.to_owned()).or_default().remove(&invoke.i);
        }
        if let (Function::Complete, Some(job)) = (invoke.f, &invoke.job) {
            self.completes.entry(job.clone()).or_default().remove(&invoke.i);
        }
    }

    /// Whether an add explains the job. A side that names no payload explains any.
    fn has_origin(&self, job: &str, payload: Option<&Value>) -> bool {
        self.adds.get(job).into_iter().flat_map(BTreeMap::values).any(|added| {
            match (added, payload) {
                (Some(added), Some(seen)) => added == seen,
                _ => true,
            }
        })
    }

    fn judge_sight(&mut self, job: &str, payload: Option<&Value>, operation: &Operation) {
        self.ledger.counts.add("seen");
        if !self.has_origin(job, payload) {
            self.ledger.counts.add("phantom");
            self.ledger.violate(
                &[&operation.invoke, &operation.completion],
                format!("{job} came out with a content that no accepted add had put in"),
            );
        }
    }

    fn judge_final(&mut self, node: &str, job: &JobView) {
        self.ledger.counts.add("read");
        if !self.has_origin(&job.work_id, job.payload.as_ref()) {
            self.ledger.counts.add("phantom");
            let id = &job.work_id;
            self.ledger.violate(
                &[],
                format!("the final read of {node} has {id}, which no accepted add had put in"),
            );
        }
        let Some(result) = job.result.as_ref().filter(|result| !result.is_null()) else { return };
        let mut completes = self.completes.get(&job.work_id).into_iter().flat_map(BTreeMap::values);
        if !completes.any(|completed| completed == result) {
            self.ledger.counts.add("phantom_result");
            let id = &job.work_id;
            self.ledger.violate(
                &[],
                format!("the final read of {node} has a result of {id} that no complete had given"),
            );
        }
    }
}

fn result_of(invoke: &Event) -> Value {
    invoke.args.get("result").cloned().unwrap_or(Value::Null)
}
