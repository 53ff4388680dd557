//! S9: a delayed job is not handed out early, less 200 ppm and 100 ms.
//!
//! A delay of D counts from the invocation of the add, or of the `complete` whose `then` it was, or of the
//! `release` that asked for it: it began then or later. No grant of the job may be answered before D has
//! passed; of a release, none under a newer token.
//!
//! Of several adds of one job any may be the one that made it, an indeterminate one too: the job has the
//! least delay of all that were not refused, from the earliest invocation. A job that was put back by a
//! `retry` is due at once, and left out. `run_at_ms` is a time of the cluster's wall clock, which no client
//! knows: such a job is left out too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    Checker, Finding, Promise,
    verdict::Ledger,
    wait::{Wait, judge},
};
use crate::{
    final_read::FinalRead,
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct DelayNotEarly {
    jobs: BTreeMap<String, Job>,
    retried: BTreeSet<String>,
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct Job {
    /// By invocation: the adds of it that were not refused (so far), and the delay of each, ms.
    adds: BTreeMap<u64, (Arc<Event>, u64)>,
    has_run_at: bool,
    /// By token.
    releases: BTreeMap<u64, Wait>,
    /// By token: the first answer with that grant.
    grants: BTreeMap<u64, Arc<Event>>,
}

impl Checker for DelayNotEarly {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        for (id, content) in invoke.added_jobs() {
            let job = self.jobs.entry(id.to_owned()).or_default();
            job.has_run_at |= content.get("run_at_ms").is_some();
            job.adds.insert(invoke.i, (Arc::clone(invoke), delay_of(content)));
        }
        match (invoke.f, &invoke.job, invoke.tok) {
            (Function::Retry, Some(id), _) => {
                self.retried.insert(id.clone());
            }
            (Function::Release, Some(id), Some(token)) => {
                let delay = delay_of(&invoke.args);
                let releases = &mut self.jobs.entry(id.clone()).or_default().releases;
                let wait = releases.entry(token).or_insert_with(|| Wait::new(invoke, delay));
                wait.ask_again(delay);
            }
            _ => {}
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        let (invoke, kind) = (&operation.invoke, operation.kind());
        if let Some((id, token)) = operation.grant() {
            let grants = &mut self.jobs.entry(id.to_owned()).or_default().grants;
            grants.entry(token).or_insert_with(|| Arc::clone(&operation.completion));
            return;
        }
        if kind == Kind::Fail {
            for (id, _) in invoke.added_jobs() {
                if let Some(job) = self.jobs.get_mut(id) {
                    job.adds.remove(&invoke.i);
                }
            }
        }
        if let (Function::Release, Some(id), Some(token)) = (invoke.f, &invoke.job, invoke.tok)
            && let Some(job) = self.jobs.get_mut(id)
            && let Some(wait) = job.releases.get_mut(&token)
        {
            wait.on_completion(kind);
        }
    }

    fn finish(self: Box<Self>, _: &FinalRead) -> Finding {
        let Self { jobs, retried, mut ledger } = *self;
        for (id, job) in jobs.iter().filter(|(id, _)| !retried.contains(*id)) {
            job.judge_add(id, &mut ledger);
            job.judge_releases(id, &mut ledger);
        }
        let is_tested = ledger.counts.get("delayed") > 0;
        let untested = (!is_tested).then(|| "no delayed job was handed out".to_owned());
        ledger.close(Promise::S9, untested)
    }
}

impl Job {
    fn judge_add(&self, id: &str, ledger: &mut Ledger) {
        let least = self.adds.values().map(|(_, delay)| *delay).min().unwrap_or(0);
        let first = self.adds.values().next();
        let (Some((add, _)), Some(grant)) = (first, self.grants.values().next()) else { return };
        if least > 0 && !self.has_run_at {
            ledger.counts.add("delayed");
            judge(id, add, least, grant, ledger);
        }
    }

    fn judge_releases(&self, id: &str, ledger: &mut Ledger) {
        for (token, release) in &self.releases {
            let next = self.grants.range(token + 1..).next();
            if next.is_some_and(|(_, grant)| release.judge(id, grant, ledger)) {
                ledger.counts.add("delayed");
            }
        }
    }
}

fn delay_of(content: &Value) -> u64 {
    content.get("delay_ms").and_then(Value::as_u64).unwrap_or(0)
}
