//! S15: after an acknowledged cancel no later claim returns the job.
//!
//! A claim that was invoked after a `cancel` of a job had been answered must not return it, unless a `retry`
//! may have put the job back meanwhile, or an add five minutes later may have made it anew. (Pause and purge
//! are of a queue, and not in the history.)
//!
//! An indeterminate cancel forbids nothing, and an indeterminate retry allows everything from then on.

use std::{collections::BTreeMap, sync::Arc};

use super::{Checker, Finding, Promise, verdict::Ledger};
use crate::{
    bounds::may_make_anew,
    final_read::FinalRead,
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct CancelHolds {
    /// By job: the cancel that was answered.
    cancelled: BTreeMap<String, Operation>,
    /// By job: the retries that have no answer (yet), or an indeterminate one.
    retries: BTreeMap<String, u64>,
    claims_since: bool,
    ledger: Ledger,
}

impl Checker for CancelHolds {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        if let (Function::Retry, Some(job)) = (invoke.f, &invoke.job) {
            self.cancelled.remove(job);
            *self.retries.entry(job.clone()).or_default() += 1;
        }
        for (job, _) in invoke.added_jobs() {
            let cancel = self.cancelled.get(job);
            if cancel.is_some_and(|cancel| may_make_anew(invoke.t, cancel.invoke.t)) {
                self.cancelled.remove(job);
            }
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        if let Some((job, _)) = operation.grant() {
            self.on_grant(job, operation);
            return;
        }
        let Some(job) = &operation.invoke.job else { return };
        match (operation.invoke.f, operation.kind()) {
            (Function::Cancel, Kind::Ok) if self.retries.get(job).is_none_or(|open| *open == 0) => {
                self.ledger.counts.add("cancelled");
                self.cancelled.insert(job.clone(), operation.clone());
            }
            (Function::Retry, Kind::Ok | Kind::Fail) => {
                let open = self.retries.entry(job.clone()).or_default();
                *open = open.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn finish(self: Box<Self>, _: &FinalRead) -> Finding {
        let untested =
            (!self.claims_since).then(|| "nothing was claimed after a cancel".to_owned());
        self.ledger.close(Promise::S15, untested)
    }
}

impl CancelHolds {
    fn on_grant(&mut self, job: &str, operation: &Operation) {
        self.claims_since |= !self.cancelled.is_empty();
        let Some(cancel) = self.cancelled.get(job) else { return };
        if cancel.completion.i < operation.invoke.i {
            self.ledger.violate(
                &[&cancel.completion, &operation.invoke, &operation.completion],
                format!("{job} was handed out after it had been cancelled"),
            );
        }
    }
}
