//! S8: a lease is not taken before its time, less 200 ppm and 100 ms, by the worker's own clock.
//!
//! A lease of D counts from the invocation of its claim, or of the last heartbeat that was answered `ok`:
//! it was granted then or later. That it was gone at some time shows in an answer: its job was granted under
//! a newer token, or a call under its own token was refused. It is too early when that answer came sooner
//! than D allows, and the attempt log says that the lease *ran out*: what its holder gave up, what was called
//! off, and whom gossip declared down is not a lease taken.
//!
//! An indeterminate heartbeat is no renewal: it may have come to nothing. A repeated claim counts from the
//! first invocation of its request, which may be the one that was granted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Checker, Finding, Promise, request::Request, verdict::Ledger};
use crate::{
    bounds::{ms, not_before},
    final_read::{End, FinalRead},
    history::{Event, Function, Kind, Operation},
};

/// See the module.
#[derive(Debug, Default)]
pub struct LeaseNotEarly {
    /// The first invocation of each claim.
    claims: BTreeMap<Request, Arc<Event>>,
    leases: BTreeMap<(String, u64), Lease>,
    ledger: Ledger,
}

/// What is known of one lease.
#[derive(Debug)]
struct Lease {
    granted_ms: u64,
    /// What it counts from, and the time, ns, before which it cannot have run out since.
    from: Arc<Event>,
    not_before: u64,
    /// The first answer that shows it gone.
    gone: Option<Arc<Event>>,
}

impl Checker for LeaseNotEarly {
    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        if invoke.f == Function::Claim {
            self.claims.entry(Request::of(invoke)).or_insert_with(|| Arc::clone(invoke));
        }
    }

    fn on_completion(&mut self, operation: &Operation) {
        if let Some((job, token)) = operation.grant() {
            self.on_grant(job, token, operation);
        } else if let (Some(job), Some(token)) = (&operation.invoke.job, operation.invoke.tok)
            && let Some(lease) = self.leases.get_mut(&(job.clone(), token))
        {
            lease.on_use(operation, &mut self.ledger);
        }
    }

    fn finish(self: Box<Self>, read: &FinalRead) -> Finding {
        let Self { leases, mut ledger, .. } = *self;
        let ran_out: BTreeSet<(&str, u64)> = read
            .jobs()
            .flat_map(|(_, job)| {
                let expired = job.attempts.iter().filter(|log| log.end == Some(End::Expired));
                expired.map(|log| (job.work_id.as_str(), log.token))
            })
            .collect();
        for ((job, token), lease) in &leases {
            if ran_out.contains(&(job.as_str(), *token)) {
                lease.judge(job, *token, &mut ledger);
            }
        }
        let is_tested = ledger.counts.get("ran_out") > 0;
        let untested = (!is_tested).then(|| "no lease was seen to run out".to_owned());
        ledger.close(Promise::S8, untested)
    }
}

impl LeaseNotEarly {
    fn on_grant(&mut self, job: &str, token: u64, operation: &Operation) {
        let (invoke, completion) = (&operation.invoke, &operation.completion);
        let older = (job.to_owned(), 0)..(job.to_owned(), token);
        for (_, lease) in self.leases.range_mut(older) {
            lease.gone.get_or_insert_with(|| Arc::clone(completion));
        }
        let granted = completion.res.get("lease_ms").or_else(|| invoke.args.get("lease_ms"));
        let Some(granted_ms) = granted.and_then(Value::as_u64) else { return };
        let from = Arc::clone(self.claims.get(&Request::of(invoke)).unwrap_or(invoke));
        self.leases.entry((job.to_owned(), token)).or_insert_with(|| Lease {
            granted_ms,
            not_before: not_before(from.t, granted_ms),
            from,
            gone: None,
        });
    }
}

impl Lease {
    fn on_use(&mut self, operation: &Operation, ledger: &mut Ledger) {
        let invoke = &operation.invoke;
        match (invoke.f, operation.kind()) {
            (Function::Heartbeat, Kind::Ok) => {
                let asked = invoke.args.get("lease_ms").and_then(Value::as_u64);
                let until = not_before(invoke.t, asked.unwrap_or(self.granted_ms));
                // It never shortens.
                if until > self.not_before {
                    (self.from, self.not_before) = (Arc::clone(invoke), until);
                    ledger.counts.add("renewed");
                }
            }
            (_, Kind::Fail) if is_gone(&operation.completion) => {
                self.gone.get_or_insert_with(|| Arc::clone(&operation.completion));
            }
            _ => {}
        }
    }

    fn judge(&self, job: &str, token: u64, ledger: &mut Ledger) {
        let Some(gone) = &self.gone else { return };
        ledger.counts.add("ran_out");
        if gone.t < self.not_before {
            let (after, least) =
                (gone.t.saturating_sub(self.from.t), self.not_before - self.from.t);
            ledger.violate(
                &[&self.from, gone],
                format!(
                    "the lease of {job} under token {token} had run out {} ms after it was asked for; \
                     it had {} ms at least",
                    ms(after),
                    ms(least)
                ),
            );
        }
    }
}

/// Whether a refusal says that the lease is no more.
fn is_gone(completion: &Event) -> bool {
    let kind = completion.err.as_ref().map(|failure| failure.kind.as_str());
    matches!(kind, Some("lost" | "lease_lost" | "stale_token"))
}
