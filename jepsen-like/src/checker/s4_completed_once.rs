//! S4: a job is recorded as completed at most once.
//!
//! Of one job: at most one token has a `complete` answered `ok`; the attempt logs show at most one
//! completed attempt, under that token; and the stored result is what the completion that did it had
//! given. An explicit `retry` opens the job again, so a job with one is left out and counted.
//!
//! Indeterminate completes may be the winner: the attempt log decides. A winner that nobody asked for
//! is a violation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Checker, Finding, Promise, verdict::Ledger};
use crate::{
    final_read::{FinalRead, JobView},
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct CompletedOnce {
    jobs: BTreeMap<String, Completions>,
    retried: BTreeSet<String>,
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct Completions {
    /// By token and invocation: what was asked and not refused (so far).
    asked: BTreeMap<u64, BTreeMap<u64, Value>>,
    /// The first acknowledged, by token.
    acknowledged: BTreeMap<u64, Operation>,
    /// The acknowledged one that was not a duplicate.
    first: Option<Operation>,
}

impl Checker for CompletedOnce {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        match (invoke.f, &invoke.job, invoke.tok) {
            // One without a job retries in bulk: which jobs, is not recorded.
            (Function::Retry, Some(job), _) => {
                self.retried.insert(job.clone());
            }
            (Function::Complete, Some(job), Some(token)) => {
                let asked = &mut self.jobs.entry(job.clone()).or_default().asked;
                asked.entry(token).or_default().insert(invoke.i, result_of(invoke));
            }
            _ => {}
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        if operation.invoke.f != Function::Complete {
            return;
        }
        let (Some(job), Some(token)) = (&operation.invoke.job, operation.invoke.tok) else {
            return;
        };
        let completions = self.jobs.entry(job.clone()).or_default();
        match operation.kind() {
            Kind::Fail => {
                completions.asked.entry(token).or_default().remove(&operation.invoke.i);
            }
            Kind::Ok => {
                completions.acknowledged.entry(token).or_insert_with(|| operation.clone());
                if operation.completion.is_duplicate() {
                    self.ledger.counts.add("repeated");
                } else {
                    self.ledger.counts.add("completed");
                    completions.first.get_or_insert_with(|| operation.clone());
                }
            }
            Kind::Info | Kind::Invoke => {}
        }
    }

    fn finish(self: Box<Self>, read: &FinalRead) -> Finding {
        let Self { mut jobs, retried, mut ledger } = *self;
        for job in &retried {
            ledger.counts.add("retried");
            jobs.remove(job);
        }
        for (job, completions) in &jobs {
            completions.judge_tokens(job, &mut ledger);
        }
        let nobody = Completions::default();
        for (node, job) in read.jobs().filter(|(_, job)| !retried.contains(&job.work_id)) {
            let completions = jobs.get(&job.work_id).unwrap_or(&nobody);
            completions.judge_log(node, job, &mut ledger);
        }
        let is_tested = jobs.values().any(|completions| !completions.acknowledged.is_empty());
        let untested = (!is_tested).then(|| "no complete was acknowledged".to_owned());
        ledger.close(Promise::S4, untested)
    }
}

impl Completions {
    fn judge_tokens(&self, job: &str, ledger: &mut Ledger) {
        let mut acknowledged = self.acknowledged.iter();
        if let (Some((one, a)), Some((other, b))) = (acknowledged.next(), acknowledged.next()) {
            ledger.counts.add("completed_twice");
            ledger.violate(
                &[&a.invoke, &a.completion, &b.invoke, &b.completion],
                format!("{job} was completed under token {one} and under token {other}"),
            );
        }
    }

    fn judge_log(&self, node: &str, job: &JobView, ledger: &mut Ledger) {
        let id = &job.work_id;
        let winners: Vec<u64> = job.completed().map(|attempt| attempt.token).collect();
        if winners.len() > 1 {
            ledger.counts.add("completed_twice");
            ledger.violate(&[], format!("the log of {id} on {node} has two completed attempts"));
        }
        for winner in &winners {
            if self.asked.get(winner).is_none_or(BTreeMap::is_empty) {
                ledger.violate(
                    &[],
                    format!("{node} has {id} completed under token {winner}, and nobody asked"),
                );
            }
        }
        for (token, operation) in &self.acknowledged {
            if !winners.contains(token) {
                ledger.counts.add("completion_lost");
                ledger.violate(
                    &[&operation.invoke, &operation.completion],
                    format!(
                        "{id} was completed under token {token}, and the log on {node} lacks it"
                    ),
                );
            }
        }
        if let [winner] = winners[..] {
            if !self.acknowledged.contains_key(&winner) {
                ledger.counts.add("completed_by_an_unknown");
            }
            self.judge_result(node, job, winner, ledger);
        }
    }

    fn judge_result(&self, node: &str, job: &JobView, winner: u64, ledger: &mut Ledger) {
        let stored = job.result.as_ref().unwrap_or(&Value::Null);
        let first = self.first.as_ref().filter(|first| first.invoke.tok == Some(winner));
        let is_explained = match first {
            Some(first) => result_of(&first.invoke) == *stored,
            None => self
                .asked
                .get(&winner)
                .is_some_and(|asked| asked.values().any(|result| result == stored)),
        };
        if !is_explained {
            let events = first.map(|first| [&first.invoke, &first.completion]);
            ledger.violate(
                events.as_ref().map_or(&[], |events| events.as_slice()),
                format!(
                    "{node} keeps a result of {} that its completion had not given",
                    job.work_id
                ),
            );
        }
    }
}

fn result_of(invoke: &Event) -> Value {
    invoke.args.get("result").cloned().unwrap_or(Value::Null)
}
