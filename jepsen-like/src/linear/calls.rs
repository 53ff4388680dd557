//! From a history to the calls on one job.
//!
//! What is not in the history, and may have happened to the job all the same, is put in as an indeterminate
//! call from the very beginning: a grant that is in the attempt log and was answered to nobody, and the end
//! of a cancelled job, which a purge of its queue may be as well. A lease that the log says ended otherwise
//! than by its time (its worker was declared down, or had hung up) may end at any time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use super::job::{Call, Did};
use crate::{
    bounds::not_before,
    final_read::{End, JobView},
    history::{Event, Function, Kind},
};

/// One operation on the job, as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) invoke: Arc<Event>,
    /// Its end; none when it has none, or nobody knows it.
    pub(crate) answer: Option<Arc<Event>>,
    /// Of a claim: the first invocation of its request. Otherwise the invocation.
    pub(crate) first: Arc<Event>,
}

/// The calls on `job`, in no order, and whose each is (`None`: nobody's).
pub(crate) fn calls(job: &str, known: &[Known], log: &JobView) -> Vec<(Call, Option<usize>)> {
    let leases = Leases::of(known, log);
    let told = known.iter().enumerate().filter_map(|(place, known)| {
        let did = did(job, known, &leases)?;
        let answered = known.answer.as_ref().filter(|answer| !is_doubtful(answer));
        let call = Call {
            did,
            invoked: known.invoke.i,
            answered: answered.map(|answer| answer.i),
            until: answered.map_or(u64::MAX, |answer| answer.t),
        };
        Some((call, Some(place)))
    });
    let untold = untold(known, log)
        .into_iter()
        .map(|did| (Call { did, invoked: 0, answered: None, until: u64::MAX }, None));
    told.chain(untold).collect()
}

/// By token: how long its lease is, ms, where it ends by its time or its holder's word alone.
struct Leases(BTreeMap<u64, u64>);

impl Leases {
    fn of(known: &[Known], log: &JobView) -> Self {
        let released: BTreeSet<u64> = known
            .iter()
            .filter(|known| known.invoke.f == Function::Release)
            .filter_map(|known| known.invoke.tok)
            .collect();
        let ends_in_time = |token: u64| {
            let log = log.attempts.iter().find(|log| log.token == token);
            log.is_some_and(|log| match log.end {
                Some(End::WorkerDown | End::Cancelled) => false,
                Some(End::Released) => released.contains(&token),
                Some(End::Expired | End::Completed | End::Failed) | None => true,
            })
        };
        let granted = known.iter().filter_map(|known| {
            let token = grant_of(known)?;
            let answer = known.answer.as_ref()?;
            let lease = answer.res.get("lease_ms").or_else(|| known.invoke.args.get("lease_ms"));
            Some((token, lease.and_then(Value::as_u64)?))
        });
        Self(granted.filter(|(token, _)| ends_in_time(*token)).collect())
    }

    /// When the lease under a token cannot have run out before, ns, if it was asked for at `t`.
    fn not_before(&self, token: u64, t: u64, asked: Option<u64>) -> u64 {
        let lease = self.0.get(&token);
        lease.map_or(0, |granted| not_before(t, asked.unwrap_or(*granted)))
    }
}

/// The token of a claim that was granted the job.
fn grant_of(known: &Known) -> Option<u64> {
    let answer = known.answer.as_ref()?;
    let is_grant =
        known.invoke.f == Function::Claim && answer.kind == Kind::Ok && !answer.is_lost();
    answer.tok.filter(|_| is_grant)
}

/// What an operation did to the job, or would have; `None`: nothing that can be told.
fn did(job: &str, known: &Known, leases: &Leases) -> Option<Did> {
    let (invoke, answer) = (&known.invoke, known.answer.as_deref());
    if invoke.f == Function::Claim {
        let token = grant_of(known)?;
        return Some(Did::Claim {
            token,
            not_before: leases.not_before(token, known.first.t, None),
        });
    }
    if invoke.job.as_deref() != Some(job) {
        // One of the jobs that a completion adds.
        let is_refused = answer.is_some_and(|answer| answer.kind == Kind::Fail);
        return (!is_refused).then_some(Did::CreateOrFind);
    }
    match answer {
        Some(answer) if answer.kind == Kind::Fail => {
            let kind = answer.err.as_ref().map(|failure| failure.kind.as_str());
            let is_stale = matches!(kind, Some("stale_token" | "lost" | "lease_lost"));
            is_stale.then_some(())?;
            Some(Did::FindStale { token: invoke.tok? })
        }
        Some(answer) if answer.is_duplicate() => found(invoke),
        Some(answer) if invoke.f == Function::Get => seen(&answer.res),
        Some(_) if matches!(invoke.f, Function::Start | Function::Heartbeat) => {
            let token = invoke.tok?;
            let asked = invoke.args.get("lease_ms").and_then(Value::as_u64);
            let is_beat = invoke.f == Function::Heartbeat;
            let until = if is_beat { leases.not_before(token, invoke.t, asked) } else { 0 };
            Some(Did::Hold { token, not_before: until })
        }
        Some(_) | None => would_do(invoke),
    }
}

/// Whether an answer leaves open what this operation did: it, or its repeat by the node, or one before it.
/// It is as good as indeterminate then.
fn is_doubtful(answer: &Event) -> bool {
    let is_doubtful = matches!(answer.f, Function::Fail | Function::Release | Function::Retry);
    is_doubtful && answer.is_duplicate()
}

/// What an operation does that is no repeat.
fn would_do(invoke: &Event) -> Option<Did> {
    Some(match invoke.f {
        Function::Add => Did::Create,
        Function::Complete => Did::Complete { token: invoke.tok? },
        Function::Fail | Function::Release => Did::Free { token: invoke.tok? },
        Function::Cancel => Did::Cancel,
        Function::Retry => Did::Retry,
        // That a lease was extended, perhaps, is no reason for it to last; and reads do nothing.
        Function::Start
        | Function::Heartbeat
        | Function::Claim
        | Function::Get
        | Function::List
        | Function::Status => return None,
    })
}

/// What a repeat says of the job. A node repeats a call by itself, as a client does: then this may be the
/// only answer that there is.
fn found(invoke: &Event) -> Option<Did> {
    Some(match invoke.f {
        Function::Add => Did::CreateOrFind,
        Function::Complete => Did::CompleteOrFind { token: invoke.tok? },
        Function::Cancel => Did::CancelOrFind,
        _ => return would_do(invoke),
    })
}

/// What a read says of the job.
fn seen(job: &Value) -> Option<Did> {
    let token = || job["attempts"].as_array()?.last()?["token"].as_u64();
    Some(match job["state"].as_str()? {
        "claimed" | "running" => Did::Hold { token: token()?, not_before: 0 },
        "completed" => Did::FindCompleted { token: token()? },
        "cancelled" => Did::FindCancelled,
        "pending" | "scheduled" | "blocked" | "failed" | "expired" => Did::FindFree,
        _ => return None,
    })
}

/// What may have happened to the job besides.
fn untold(known: &[Known], job: &JobView) -> Vec<Did> {
    let answered: BTreeSet<u64> = known.iter().filter_map(grant_of).collect();
    let silent = job.attempts.iter().filter(|log| !answered.contains(&log.token));
    let mut untold: Vec<Did> =
        silent.map(|log| Did::Claim { token: log.token, not_before: 0 }).collect();
    let is_cut_off = job.attempts.iter().any(|log| log.end == Some(End::Cancelled));
    let retries = known.iter().filter(|known| known.invoke.f == Function::Retry).count();
    // A retry may have put back what a purge had cancelled.
    if is_cut_off || job.state == "cancelled" || retries > 0 {
        untold.extend(std::iter::repeat_n(Did::Cancel, retries + 1));
    }
    untold
}
