//! S10: attempts are counted exactly; never above `max_attempts`; never before the backoff.
//!
//! In the attempt log of each job the numbers go up by one from attempt to attempt, and stay where a
//! release came between, which does not count. A grant that was answered is in the log under its token and
//! its number. A grant in the log was answered to somebody, or is one of the indeterminate claims of the
//! worker that it names: of all the logs together no worker has more such grants than such claims. No number
//! is above the job's `max_attempts`, and after a `fail` with `retry_in_ms` no grant is answered sooner than
//! that, less 200 ppm and 100 ms, after it was invoked.
//!
//! A job that was put back by a `retry` counts anew, so it is left out; so is what a full log has forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Checker, Finding, Promise, verdict::Ledger, wait::Wait};
use crate::{
    final_read::{Attempt, End, FinalRead, JobView},
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct AttemptsExact {
    /// By job and token: the first answer with that grant.
    grants: BTreeMap<(String, u64), Operation>,
    /// What claims were answered with, grants and what was held no more.
    answered: BTreeSet<u64>,
    /// By worker: its claims that have no answer (yet), or an indeterminate one.
    unanswered: BTreeMap<String, u64>,
    /// By job: the greatest `max_attempts` of its adds; none where an add names none.
    most: BTreeMap<String, Option<u64>>,
    /// By job and token: the backoff that its holder asked for.
    backoffs: BTreeMap<(String, u64), Wait>,
    retried: BTreeSet<String>,
    ledger: Ledger,
}

impl Checker for AttemptsExact {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        for (id, content) in invoke.added_jobs() {
            let asked = content.get("max_attempts").and_then(Value::as_u64);
            let most = self.most.entry(id.to_owned()).or_insert(asked);
            *most = most.zip(asked).map(|(one, other)| one.max(other));
        }
        match (invoke.f, &invoke.job, invoke.tok) {
            (Function::Claim, ..) => *self.unanswered.entry(worker_of(invoke)).or_default() += 1,
            (Function::Retry, Some(id), _) => {
                self.retried.insert(id.clone());
            }
            (Function::Fail, Some(id), Some(token)) => {
                // A `fail` that names no time leaves it to the job's own backoff.
                let asked = invoke.args.get("retry_in_ms").and_then(Value::as_u64).unwrap_or(0);
                let wait = self.backoffs.entry((id.clone(), token));
                wait.or_insert_with(|| Wait::new(invoke, asked)).ask_again(asked);
            }
            _ => {}
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        let (invoke, kind) = (&operation.invoke, operation.kind());
        match invoke.f {
            Function::Claim => {
                if kind != Kind::Info {
                    let unanswered = self.unanswered.entry(worker_of(invoke)).or_default();
                    *unanswered = unanswered.saturating_sub(1);
                }
                self.answered.extend(operation.completion.tok);
                if let Some((job, token)) = operation.grant() {
                    let known = self.grants.entry((job.to_owned(), token));
                    known.or_insert_with(|| operation.clone());
                }
            }
            Function::Fail => {
                let key = invoke.job.clone().zip(invoke.tok);
                if let Some(wait) = key.and_then(|key| self.backoffs.get_mut(&key)) {
                    wait.on_completion(kind);
                }
            }
            _ => {}
        }
    }

    fn finish(mut self: Box<Self>, read: &FinalRead) -> Finding {
        self.judge_backoffs();
        let retried = std::mem::take(&mut self.retried);
        let mut has_second = false;
        for (node, read) in &read.nodes {
            // Who was granted what nobody was answered with.
            let mut unexplained: BTreeMap<&str, u64> = BTreeMap::new();
            for job in read.jobs.values().filter(|job| !retried.contains(&job.work_id)) {
                has_second |= job.attempts.len() > 1;
                self.judge_log(node, job);
                let silent = job.attempts.iter().filter(|log| !self.answered.contains(&log.token));
                silent.for_each(|log| *unexplained.entry(&log.node_id).or_default() += 1);
            }
            for (worker, count) in unexplained {
                let claims = self.unanswered.get(worker).copied().unwrap_or(0);
                if count > claims {
                    let sentence = format!(
                        "{node} has {count} grants of {worker} that it was not answered with; \
                         {claims} of its claims are indeterminate"
                    );
                    self.ledger.violate(&[], sentence);
                }
            }
        }
        let untested = (!has_second).then(|| "no job had a second attempt".to_owned());
        self.ledger.close(Promise::S10, untested)
    }
}

impl AttemptsExact {
    fn judge_backoffs(&mut self) {
        for ((job, token), wait) in &self.backoffs {
            let newer = (job.clone(), token + 1)..=(job.clone(), u64::MAX);
            let next = self.grants.range(newer).next().filter(|_| !self.retried.contains(job));
            let Some((_, grant)) = next else { continue };
            if wait.judge(job, &grant.completion, &mut self.ledger) {
                self.ledger.counts.add("backed_off");
            }
        }
    }

    fn judge_log(&mut self, node: &str, job: &JobView) {
        let id = &job.work_id;
        if let Some(first) =
            job.attempts.first().filter(|log| log.attempt != 1 && !job.is_truncated())
        {
            let number = first.attempt;
            self.ledger.violate(&[], format!("{node} has {id} begin with attempt {number}"));
        }
        for pair in job.attempts.windows(2) {
            if pair[1].attempt != number_after(&pair[0]) {
                let (older, newer) = (pair[0].attempt, pair[1].attempt);
                let sentence = format!("{node} has attempt {newer} of {id} after attempt {older}");
                self.ledger.violate(&[], sentence);
            }
        }
        if let Some(most) = self.most.get(id).copied().flatten()
            && let Some(over) = job.attempts.iter().find(|log| u64::from(log.attempt) > most)
        {
            let number = over.attempt;
            let sentence = format!("{node} has attempt {number} of {id}, which may have {most}");
            self.ledger.violate(&[], sentence);
        }
        self.judge_grants(node, job);
    }

    /// Each grant that was answered is in the log.
    fn judge_grants(&mut self, node: &str, job: &JobView) {
        let id = &job.work_id;
        let of_job = (id.clone(), 0)..=(id.clone(), u64::MAX);
        for ((_, token), grant) in self.grants.range(of_job) {
            self.ledger.counts.add("grants");
            let numbered = grant.completion.res.get("attempt").and_then(Value::as_u64);
            let log = job.attempts.iter().find(|log| log.token == *token);
            let wrong = match log {
                None if job.is_truncated() => continue,
                None => format!("{node} has no attempt of {id} under token {token}"),
                Some(log) if numbered.is_none_or(|number| number == u64::from(log.attempt)) => {
                    continue;
                }
                Some(log) => {
                    let number = log.attempt;
                    format!("{node} has the grant of {id} under token {token} as attempt {number}")
                }
            };
            self.ledger.violate(&[&grant.invoke, &grant.completion], wrong);
        }
    }
}

/// The number of the attempt that follows.
fn number_after(log: &Attempt) -> u32 {
    if log.end == Some(End::Released) { log.attempt } else { log.attempt + 1 }
}

fn worker_of(invoke: &Event) -> String {
    invoke.args.get("node_id").and_then(Value::as_str).unwrap_or_default().to_owned()
}
