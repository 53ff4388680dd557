//! S6: once a newer grant exists, nothing new succeeds under the older token.
//!
//! Of one job: an operation with token t that was invoked after a grant of a token t′ > t had
//! returned must not be `ok`. Allowed is the repeat of what had succeeded: `"duplicate": true`, when
//! the same call under the same token had been invoked before that grant returned and was not
//! refused. A claim that returns an older token as still held is a violation as well.
//!
//! Indeterminate operations prove nothing by themselves. The attempt log does: a completed attempt
//! with another after it took effect under a newer grant, or failed to end the job (a job with an
//! explicit `retry` is left out).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Checker, Finding, Promise, verdict::Ledger};
use crate::{
    final_read::{End, FinalRead, JobView},
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct StaleTokenDead {
    /// By job and token: the first claim that returned that grant.
    grants: BTreeMap<String, BTreeMap<u64, Operation>>,
    /// How many timely calls of a verb, job and token were invoked and not refused (so far).
    timely: BTreeMap<(Function, String, u64), u64>,
    retried: BTreeSet<String>,
    ledger: Ledger,
}

impl Checker for StaleTokenDead {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        let Some(job) = &invoke.job else { return };
        if invoke.f == Function::Retry {
            self.retried.insert(job.clone());
        }
        let Some(token) = invoke.tok else { return };
        if self.newer_grant(job, token, invoke).is_none() {
            *self.timely.entry((invoke.f, job.clone(), token)).or_default() += 1;
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        if let Some((job, token)) = operation.grant() {
            self.on_grant(job, token, operation);
        } else if let (Some(job), Some(token)) = (&operation.invoke.job, operation.invoke.tok) {
            self.on_use(job, token, operation);
        }
    }

    fn finish(self: Box<Self>, read: &FinalRead) -> Finding {
        let Self { retried, mut ledger, .. } = *self;
        for (node, job) in read.jobs().filter(|(_, job)| !retried.contains(&job.work_id)) {
            judge_log(node, job, &mut ledger);
        }
        let counts = &ledger.counts;
        let untested = if counts.get("second_grants") == 0 {
            Some("no job was granted a second time")
        } else if counts.get("stale_refused") + counts.get("stale_repeats") == 0 {
            Some("nothing was tried under a stale token")
        } else {
            None
        };
        ledger.close(Promise::S6, untested.map(str::to_owned))
    }
}

impl StaleTokenDead {
    /// The grant that made `token` stale before `invoke`, if one had returned by then.
    fn newer_grant(&self, job: &str, token: u64, invoke: &Event) -> Option<&Operation> {
        let newer = self.grants.get(job)?.range(token + 1..);
        newer.map(|(_, grant)| grant).find(|grant| grant.completion.i < invoke.i)
    }

    fn on_grant(&mut self, job: &str, token: u64, operation: &Operation) {
        if let Some(newer) = self.newer_grant(job, token, &operation.invoke).cloned() {
            self.ledger.violate(
                &[&newer.completion, &operation.invoke, &operation.completion],
                format!("{job} was handed out under token {token} after a newer grant"),
            );
        }
        let grants = self.grants.entry(job.to_owned()).or_default();
        if !grants.is_empty() && !grants.contains_key(&token) {
            self.ledger.counts.add("second_grants");
        }
        grants.entry(token).or_insert_with(|| operation.clone());
    }

    fn on_use(&mut self, job: &str, token: u64, operation: &Operation) {
        let newer = self.newer_grant(job, token, &operation.invoke).cloned();
        let call = (operation.invoke.f, job.to_owned(), token);
        match (operation.kind(), newer) {
            (Kind::Fail, None) => {
                self.timely.entry(call).and_modify(|count| *count -= 1);
            }
            (Kind::Fail, Some(_)) => self.ledger.counts.add("stale_refused"),
            (Kind::Ok, None) => self.ledger.counts.add("used"),
            (Kind::Ok, Some(newer)) => {
                let had_succeeded = self.timely.get(&call).is_some_and(|count| *count > 0);
                if operation.completion.is_duplicate() && had_succeeded {
                    self.ledger.counts.add("stale_repeats");
                } else {
                    self.ledger.counts.add("stale_accepted");
                    self.ledger.violate(
                        &[&newer.completion, &operation.invoke, &operation.completion],
                        format!("{} of {job} succeeded under stale token {token}", call.0),
                    );
                }
            }
            (Kind::Info | Kind::Invoke, _) => {}
        }
    }
}

fn judge_log(node: &str, job: &JobView, ledger: &mut Ledger) {
    let Some((_, older)) = job.attempts.split_last() else { return };
    if let Some(attempt) = older.iter().find(|attempt| attempt.end == Some(End::Completed)) {
        let (id, token) = (&job.work_id, attempt.token);
        ledger.violate(
            &[],
            format!("{node} has {id} granted again after it was completed under token {token}"),
        );
    }
}
