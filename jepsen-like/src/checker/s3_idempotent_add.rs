//! S3: adding again under the same id gives the same job, once.
//!
//! Of one id: every `ok` names that id; at most one says that it created the job; none is accepted
//! with other content than another; the final read has it once. Creating it a second time is legal
//! only when the tombstone may be gone, 5 minutes after the job's end at the earliest.
//!
//! When no `ok` says that it created the job, nothing is wrong: an indeterminate add did, or the node
//! repeated a call by itself, as every node may, and the answer is that of the repeat. Counted.

use std::{collections::BTreeMap, sync::Arc};

use super::{Checker, Finding, Promise, verdict::Ledger};
use crate::{
    bounds::may_make_anew,
    final_read::FinalRead,
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct IdempotentAdd {
    keys: BTreeMap<String, Key>,
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct Key {
    accepted: u64,
    created: Option<Operation>,
    first_accepted: Option<Operation>,
}

impl Checker for IdempotentAdd {
    fn on_invoke(&mut self, _invoke: &Arc<Event>) {}

    fn on_completion(&mut self, operation: &Operation) {
        // What each job of `then` in a `complete` was answered is not recorded.
        let (Function::Add, Some(job)) = (operation.invoke.f, &operation.invoke.job) else {
            return;
        };
        match operation.kind() {
            Kind::Ok => {
                let key = self.keys.entry(job.clone()).or_default();
                key.on_accepted(job, operation, &mut self.ledger);
            }
            Kind::Fail => {
                let kind = operation.completion.err.as_ref().map(|error| error.kind.as_str());
                if kind == Some("id_conflict") {
                    self.ledger.counts.add("conflicts_refused");
                }
            }
            Kind::Info | Kind::Invoke => {}
        }
    }

    fn finish(self: Box<Self>, read: &FinalRead) -> Finding {
        let Self { keys, mut ledger } = *self;
        for _ in keys.values().filter(|key| key.created.is_none()) {
            ledger.counts.add("created_unseen");
        }
        for (node, read) in &read.nodes {
            for job in &read.repeated {
                ledger.violate(&[], format!("the final read of {node} has {job} more than once"));
            }
        }
        let is_tested = keys.values().any(|key| key.accepted >= 2)
            || ledger.counts.get("conflicts_refused") > 0;
        let untested = (!is_tested).then(|| "no job was added again".to_owned());
        ledger.close(Promise::S3, untested)
    }
}

impl Key {
    fn on_accepted(&mut self, job: &str, operation: &Operation, ledger: &mut Ledger) {
        self.accepted += 1;
        if operation.job() != Some(job) {
            ledger.violate(
                &[&operation.invoke, &operation.completion],
                format!("the add of {job} was answered with another job"),
            );
        }
        match &self.first_accepted {
            Some(first) if first.invoke.args != operation.invoke.args => ledger.violate(
                &[&first.invoke, &first.completion, &operation.invoke, &operation.completion],
                format!("{job} was accepted with two contents"),
            ),
            Some(_) => {}
            None => self.first_accepted = Some(operation.clone()),
        }
        if operation.completion.is_duplicate() {
            ledger.counts.add("deduplicated");
        } else {
            self.on_created(job, operation, ledger);
        }
    }

    fn on_created(&mut self, job: &str, operation: &Operation, ledger: &mut Ledger) {
        ledger.counts.add("created");
        // The job cannot have ended before its add was sent.
        let may_be_new = |first: &&Operation| may_make_anew(operation.completion.t, first.invoke.t);
        let is_twice = self.created.as_ref().filter(|first| !may_be_new(first));
        if let Some(first) = is_twice {
            ledger.violate(
                &[&first.invoke, &first.completion, &operation.invoke, &operation.completion],
                format!("{job} was created twice"),
            );
        }
        self.created = Some(operation.clone());
    }
}
