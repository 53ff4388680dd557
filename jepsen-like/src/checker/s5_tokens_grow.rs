//! S5: tokens strictly grow within a Raft group, and none is issued twice.
//!
//! A sweep in real time over all jobs of the group: a claim that was invoked after another had
//! returned gets a larger token. A token belongs to one grant: a second claim may return it only as
//! the repeat of the first (the same worker and request id), and then counts from the *first*
//! invocation of that request, indeterminate or not.
//!
//! Indeterminate claims are left out of the sweep; the tokens they got are in the attempt logs, which
//! must grow by job and be unique over all jobs.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::{Checker, Finding, Promise, request::Request, verdict::Ledger};
use crate::{
    final_read::{FinalRead, JobView},
    history::{Event, Function, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct TokensGrow {
    /// By token: the grant that was first to return it.
    issued: BTreeMap<u64, (Request, Operation)>,
    /// By request: the greatest grant that had returned when it was first invoked.
    floors: BTreeMap<Request, Option<u64>>,
    greatest: Option<u64>,
    ledger: Ledger,
}

impl Checker for TokensGrow {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        if invoke.f == Function::Claim {
            self.floors.entry(Request::of(invoke)).or_insert(self.greatest);
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        let Some((job, token)) = operation.grant() else { return };
        let request = Request::of(&operation.invoke);
        match self.issued.entry(token) {
            Entry::Occupied(known) => {
                let (owner, first) = known.get();
                self.ledger.counts.add("repeated");
                if *owner != request || first.job() != Some(job) {
                    self.ledger.violate(
                        &[
                            &first.invoke,
                            &first.completion,
                            &operation.invoke,
                            &operation.completion,
                        ],
                        format!("token {token} was issued twice"),
                    );
                }
                return;
            }
            Entry::Vacant(place) => {
                place.insert((request.clone(), operation.clone()));
            }
        }
        self.ledger.counts.add("grants");
        if let Some(floor) = self.floors.get(&request).copied().flatten()
            && token <= floor
        {
            let (_, earlier) = &self.issued[&floor];
            self.ledger.violate(
                &[&earlier.completion, &operation.invoke, &operation.completion],
                format!("token {token} was issued after token {floor} had been"),
            );
        }
        self.greatest = self.greatest.max(Some(token));
    }

    fn finish(self: Box<Self>, read: &FinalRead) -> Finding {
        let Self { issued, mut ledger, .. } = *self;
        for node in read.nodes.values() {
            let mut owners: BTreeMap<u64, &str> = issued
                .iter()
                .filter_map(|(token, (_, first))| Some((*token, first.job()?)))
                .collect();
            for job in node.jobs.values() {
                judge_log(job, &mut owners, &mut ledger);
            }
        }
        let untested =
            (issued.len() < 2).then(|| "fewer than two grants were acknowledged".to_owned());
        ledger.close(Promise::S5, untested)
    }
}

fn judge_log<'a>(job: &'a JobView, owners: &mut BTreeMap<u64, &'a str>, ledger: &mut Ledger) {
    let id = job.work_id.as_str();
    for pair in job.attempts.windows(2) {
        let (older, newer) = (pair[0].token, pair[1].token);
        if newer <= older {
            ledger.violate(&[], format!("the log of {id} has token {newer} after {older}"));
        }
    }
    for attempt in &job.attempts {
        let owner = *owners.entry(attempt.token).or_insert(id);
        if owner != id {
            let token = attempt.token;
            ledger.violate(&[], format!("token {token} was issued for {owner} and for {id}"));
        }
    }
}
