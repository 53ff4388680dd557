//! S13: each job ends in exactly one terminal state, and stays there until an explicit retry.
//!
//! No two nodes' final reads show a job in two terminal states, and one that has ended has no attempt under
//! way. A job whose `complete` or `cancel` was answered is in that state in every read, and a grant of it that
//! was asked for after that answer is a violation.
//!
//! An indeterminate end may have come or not: the reads decide, and must agree. A job that was put back by a
//! `retry`, or may have been made anew by an add five minutes later, is left out of what follows from an
//! answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Checker, Finding, Promise, verdict::Ledger};
use crate::{
    bounds::may_make_anew,
    final_read::{FinalRead, JobView},
    history::{Event, Function, Kind, Operation},
};

const TERMINAL: [&str; 4] = ["completed", "failed", "cancelled", "expired"];

/// See the module.
#[derive(Debug, Default)]
pub struct OneEnd {
    /// By job: the first answer that it has ended, and the state that it says.
    ended: BTreeMap<String, (Operation, &'static str)>,
    /// Put back, or made again.
    reopened: BTreeSet<String>,
    ledger: Ledger,
}

impl Checker for OneEnd {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        if invoke.f == Function::Retry {
            self.reopened.extend(invoke.job.clone());
        }
        for (job, _) in invoke.added_jobs() {
            let ended = self.ended.get(job);
            if ended.is_some_and(|(end, _)| may_make_anew(invoke.t, end.invoke.t)) {
                self.reopened.insert(job.to_owned());
            }
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        if let Some((job, _)) = operation.grant() {
            self.on_grant(job, operation);
            return;
        }
        let (Kind::Ok, Some(job)) = (operation.kind(), &operation.invoke.job) else { return };
        match operation.invoke.f {
            Function::Complete => self.on_end(job, operation, "completed"),
            Function::Cancel => self.on_end(job, operation, "cancelled"),
            _ => {}
        }
    }

    fn finish(self: Box<Self>, read: &FinalRead) -> Finding {
        let Self { ended, reopened, mut ledger } = *self;
        let mut states: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
        for (node, job) in read.jobs() {
            if is_over(job) {
                let known = *states.entry(&job.work_id).or_insert((node, &job.state));
                judge_end(known, (node, job), &mut ledger);
            }
            let Some((operation, state)) = ended.get(&job.work_id) else { continue };
            if job.state != *state && !reopened.contains(&job.work_id) {
                let (id, other) = (&job.work_id, &job.state);
                ledger.violate(
                    &[&operation.invoke, &operation.completion],
                    format!("{id} was {state}, and {node} has it {other}"),
                );
            }
        }
        let untested = states.is_empty().then(|| "no job has ended".to_owned());
        ledger.close(Promise::S13, untested)
    }
}

impl OneEnd {
    fn on_end(&mut self, job: &str, operation: &Operation, state: &'static str) {
        self.ledger.counts.add(state);
        self.ended.entry(job.to_owned()).or_insert_with(|| (operation.clone(), state));
    }

    fn on_grant(&mut self, job: &str, operation: &Operation) {
        let Some((end, state)) = self.ended.get(job) else { return };
        if end.completion.i < operation.invoke.i && !self.reopened.contains(job) {
            self.ledger.violate(
                &[&end.completion, &operation.invoke, &operation.completion],
                format!("{job} was handed out after it was {state}"),
            );
        }
    }
}

/// Judges a job that has ended on `node`, and as `first` has it.
fn judge_end(first: (&str, &str), (node, job): (&str, &JobView), ledger: &mut Ledger) {
    let (id, state) = (&job.work_id, &job.state);
    if job.attempts.iter().any(|attempt| attempt.end.is_none()) {
        ledger.violate(&[], format!("{node} has {id} {state} and an attempt under way"));
    }
    if first.1 != state {
        let (one, other) = first;
        ledger.violate(&[], format!("{one} has {id} {other} and {node} has it {state}"));
    }
}

fn is_over(job: &JobView) -> bool {
    TERMINAL.contains(&job.state.as_str())
}
