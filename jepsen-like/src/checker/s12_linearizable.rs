//! S12: every operation and read on a job is linearizable; revisions respect real time.
//!
//! Two checks. An answer's `rev` is not below that of any answer that had come before its operation was
//! invoked, whatever job each is about. And the operations on each job can be put in an order that real time
//! allows and in which each answer is right ([`crate::linear`]), with no regard to revisions.
//!
//! An indeterminate operation may stand anywhere after its invocation, or nowhere. A job that more orders
//! would have to be tried for than there is time is left out and counted, and so is one that an add five
//! minutes later may have made anew, or of which a completion was repeated that a `retry` may have undone, or whose
//! attempt log is missing or full.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Checker, Finding, Promise, request::Request, verdict::Ledger};
use crate::{
    bounds::may_make_anew,
    final_read::FinalRead,
    history::{Event, Function, Kind, Operation},
    linear::{Call, Known, Order, calls, search},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Linearizable {
    latest: Option<Latest>,
    /// By process: its open operation, and what was the latest before it.
    open: BTreeMap<u64, (Arc<Event>, Option<Latest>)>,
    /// The first invocation of each claim.
    claims: BTreeMap<Request, Arc<Event>>,
    jobs: BTreeMap<String, Vec<Known>>,
    /// Left out.
    unclear: BTreeSet<String>,
    ledger: Ledger,
}

/// The greatest revision that was answered, and its answer.
type Latest = (u64, Arc<Event>);

impl Checker for Linearizable {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        self.open.insert(invoke.process, (Arc::clone(invoke), self.latest.clone()));
        if invoke.f == Function::Claim {
            self.claims.entry(Request::of(invoke)).or_insert_with(|| Arc::clone(invoke));
        }
        for (job, _) in invoke.added_jobs() {
            let first = self.jobs.get(job).and_then(|known| known.first());
            if first.is_some_and(|first| may_make_anew(invoke.t, first.invoke.t)) {
                self.unclear.insert(job.to_owned());
            }
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        let completion = &operation.completion;
        let before = self.open.remove(&completion.process).and_then(|(_, before)| before);
        if let (Kind::Ok, Some(rev)) = (completion.kind, completion.rev) {
            self.judge_rev(operation, rev, before);
        }
        let answer = (completion.kind != Kind::Info).then(|| Arc::clone(completion));
        self.know(&operation.invoke, answer, operation.job());
    }

    fn finish(mut self: Box<Self>, read: &FinalRead) -> Finding {
        for (_, (invoke, _)) in std::mem::take(&mut self.open) {
            let job = invoke.job.clone();
            self.know(&invoke, None, job.as_deref());
        }
        let Self { jobs, unclear, mut ledger, .. } = *self;
        for (job, known) in jobs.iter().filter(|(job, _)| !unclear.contains(*job)) {
            // Of several nodes' reads that agree one is enough; that they agree is S13's.
            let log = read.nodes.values().find_map(|node| node.jobs.get(job));
            // What the log does not tell may have happened.
            match log.filter(|log| !log.is_truncated()) {
                Some(log) => judge(job, known, &calls(job, known, log), &mut ledger),
                None => ledger.counts.add("jobs_left_out"),
            }
        }
        let untested = if ledger.counts.get("jobs_with_overlap") == 0 {
            Some("no two operations on one job overlapped".to_owned())
        } else {
            None
        };
        ledger.close(Promise::S12, untested)
    }
}

impl Linearizable {
    fn judge_rev(&mut self, operation: &Operation, rev: u64, before: Option<Latest>) {
        let completion = &operation.completion;
        self.ledger.counts.add("revisions");
        if let Some((earlier, answer)) = before.filter(|(earlier, _)| *earlier > rev) {
            let sentence = format!(
                "revision {rev} was answered to what was asked after revision {earlier} was"
            );
            self.ledger.violate(&[&answer, &operation.invoke, completion], sentence);
        }
        if self.latest.as_ref().is_none_or(|(latest, _)| *latest < rev) {
            self.latest = Some((rev, Arc::clone(completion)));
        }
    }

    /// Keeps an operation with the jobs that it is about.
    fn know(&mut self, invoke: &Arc<Event>, answer: Option<Arc<Event>>, job: Option<&str>) {
        let first = match invoke.f {
            Function::Claim => self.claims.get(&Request::of(invoke)).unwrap_or(invoke),
            _ => invoke,
        };
        let known = Known { invoke: Arc::clone(invoke), answer, first: Arc::clone(first) };
        let then = match invoke.f {
            Function::Complete => invoke.added_jobs(),
            _ => vec![],
        };
        for (job, _) in then {
            self.jobs.entry(job.to_owned()).or_default().push(known.clone());
        }
        if let Some(job) = job {
            self.jobs.entry(job.to_owned()).or_default().push(known);
        }
    }
}

fn judge(job: &str, known: &[Known], calls: &[(Call, Option<usize>)], ledger: &mut Ledger) {
    let is_retried = known.iter().any(|known| known.invoke.f == Function::Retry);
    let is_repeated = known.iter().any(|known| {
        let answer = known.answer.as_ref();
        known.invoke.f == Function::Complete && answer.is_some_and(|answer| answer.is_duplicate())
    });
    // What had been completed once, and is repeated after a retry, answers as it did.
    if is_retried && is_repeated {
        ledger.counts.add("jobs_left_out");
        return;
    }
    let only: Vec<_> = calls.iter().map(|(call, _)| *call).collect();
    let overlaps = calls.iter().filter(|(_, whose)| whose.is_some()).any(|(one, _)| {
        let lasts_beyond = |other: &Call| one.answered.is_none_or(|end| end > other.invoked);
        only.iter().any(|other| one.invoked < other.invoked && lasts_beyond(other))
    });
    match search(&only) {
        Order::Found if overlaps => ledger.counts.add("jobs_with_overlap"),
        Order::Found => ledger.counts.add("jobs"),
        Order::Unknown => ledger.counts.add("jobs_too_hard"),
        Order::None { blocked } => {
            let events = calls[blocked].1.map(|place| &known[place]).map(|known| {
                let answer = known.answer.as_ref().unwrap_or(&known.invoke);
                [&known.invoke, answer]
            });
            ledger.violate(
                events.as_ref().map_or(&[], |events| events.as_slice()),
                format!("there is no order in which every answer about {job} is right"),
            );
        }
    }
}
