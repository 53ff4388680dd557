//! From the queue's answers to the wire: one function a shape.

pub(super) mod look;

use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    queue::{
        self, Added, Answer, BeatStatus, Claimed, Grant, JobId, Once, Payload, QueueName, Rev,
        WorkerId,
    },
    wire::{
        self, AddResponse, AddedItem, Done, GrantedWork, HeartbeatResponse, LostWork,
        QueueOperated, SettleResponse, Work, WorkerOperated,
    },
};

const OWN_ANSWER: &str = "a command gets the answer of its own kind";

pub(super) fn is_duplicate(once: Once) -> bool {
    once == Once::Duplicate
}

/// The jobs of an `add`.
pub(super) fn added(answer: Answer) -> Vec<Added> {
    match answer {
        Answer::Added(added) => added,
        _ => unreachable!("{OWN_ANSWER}"),
    }
}

pub(super) fn add_response(job: Added, rev: Rev) -> AddResponse {
    AddResponse {
        status: Done::Added,
        work_id: job.id,
        queue: job.queue,
        work_type: job.work_type,
        priority: job.priority,
        state: job.state,
        duplicate: is_duplicate(job.once),
        rev,
    }
}

pub(super) fn added_item(job: Added) -> AddedItem {
    AddedItem { work_id: job.id, duplicate: is_duplicate(job.once) }
}

/// The jobs of a claim; empty when nothing was ready.
pub(super) fn claimed(answer: Answer) -> Vec<Claimed> {
    match answer {
        Answer::Claimed(claimed) => claimed,
        _ => unreachable!("{OWN_ANSWER}"),
    }
}

pub(super) fn work(claimed: Claimed) -> Work {
    match claimed {
        Claimed::Granted(grant) => Work::Granted(Box::new(granted(grant))),
        Claimed::Lost { job, token, state } => {
            Work::Lost(LostWork { work_id: job, token, lost: true, state })
        }
    }
}

fn granted(grant: Grant) -> GrantedWork {
    GrantedWork {
        work_id: grant.job,
        queue: grant.queue,
        work_type: grant.work_type,
        payload: payload(&grant.payload),
        priority: grant.priority,
        attempt: grant.attempt,
        max_attempts: grant.max_attempts,
        token: grant.token,
        lease_ms: grant.lease_ms,
        lease_expires_in_ms: grant.lease_expires_in_ms,
        added_at_ms: grant.added_at.0,
        tags: grant.tags,
    }
}

pub(super) fn payload(payload: &Payload) -> Box<RawValue> {
    json(&payload.bytes)
}

/// Bytes as the JSON that they are. What came in another way than this API and is no JSON is shown
/// as a string.
pub(super) fn json(bytes: &Bytes) -> Box<RawValue> {
    let text = String::from_utf8_lossy(bytes);
    match RawValue::from_string(text.clone().into_owned()) {
        Ok(json) => json,
        Err(_) => to_raw_value(&text).expect("a string is JSON"),
    }
}

/// The answer to `start`, `complete`, `fail`, `release` and `cancel`.
pub(super) fn settled(work_id: JobId, answer: Answer, rev: Rev) -> SettleResponse {
    let (status, once) = match &answer {
        Answer::Started(once) => (Done::Started, *once),
        Answer::Completed { once, .. } => (Done::Completed, *once),
        Answer::Retrying { once, .. } => (Done::Retrying, *once),
        Answer::Failed(once) => (Done::Failed, *once),
        Answer::Released(once) => (Done::Released, *once),
        Answer::Cancelled(once) => (Done::Cancelled, *once),
        _ => unreachable!("{OWN_ANSWER}"),
    };
    let (run_at_ms, then) = match answer {
        Answer::Retrying { run_at, .. } => (Some(run_at.0), Vec::new()),
        Answer::Completed { then, .. } => (None, then.into_iter().map(added_item).collect()),
        _ => (None, Vec::new()),
    };
    SettleResponse { status, work_id, run_at_ms, then, duplicate: is_duplicate(once), rev }
}

pub(super) fn heartbeat(answer: Answer, rev: Rev) -> HeartbeatResponse {
    match answer {
        Answer::Heartbeat { items, drain } => {
            HeartbeatResponse { items: items.into_iter().map(beaten).collect(), drain, rev }
        }
        _ => unreachable!("{OWN_ANSWER}"),
    }
}

fn beaten(beaten: queue::Beaten) -> wire::Beaten {
    let (status, lease_expires_in_ms) = match beaten.status {
        BeatStatus::Extended { lease_expires_in_ms } => {
            (wire::BeatStatus::Extended, Some(lease_expires_in_ms))
        }
        BeatStatus::Lost => (wire::BeatStatus::Lost, None),
        BeatStatus::CancelRequested => (wire::BeatStatus::CancelRequested, None),
    };
    wire::Beaten { work_id: beaten.job, token: beaten.token, status, lease_expires_in_ms }
}

/// Whether a `PUT`, `pause` or `resume` did it, and whether it made the queue.
pub(super) fn queue_set(answer: &Answer) -> (Once, bool) {
    match *answer {
        Answer::QueueSet { once, is_new } => (once, is_new),
        _ => unreachable!("{OWN_ANSWER}"),
    }
}

/// The answer to an operation on a queue that does not show the queue.
pub(super) fn queue_operated(
    status: Done,
    queue: QueueName,
    answer: &Answer,
    rev: Rev,
) -> QueueOperated {
    let (count, once) = match *answer {
        Answer::QueueSet { once, .. } | Answer::QueueDeleted(once) => (None, once),
        Answer::Purged { once, count } => (Some(count), once),
        _ => unreachable!("{OWN_ANSWER}"),
    };
    QueueOperated { status, queue, count, duplicate: is_duplicate(once), rev }
}

/// The answer to `drain` and `resume` of a worker.
pub(super) fn worker_operated(
    status: Done,
    node_id: WorkerId,
    answer: &Answer,
    rev: Rev,
) -> WorkerOperated {
    match *answer {
        Answer::DrainSet(once) => {
            WorkerOperated { status, node_id, duplicate: is_duplicate(once), rev }
        }
        _ => unreachable!("{OWN_ANSWER}"),
    }
}

/// The jobs of a retry.
pub(super) fn retried(answer: Answer) -> (Once, Vec<JobId>) {
    match answer {
        Answer::Retried { once, jobs } => (once, jobs),
        _ => unreachable!("{OWN_ANSWER}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_out_as_the_bytes_that_came_in() {
        for text in [r#"{ "a" : 1.0e2 }"#, "null", r#""\u00e9""#] {
            assert_eq!(json(&Bytes::copy_from_slice(text.as_bytes())).get(), text);
        }
        assert_eq!(json(&Bytes::from_static(b"a \xff")).get(), "\"a \u{fffd}\"");
    }

    #[test]
    fn a_duplicate_completion_says_so_beside_the_jobs_of_then() {
        let job = JobId::parse("j").unwrap();
        let answer = Answer::Completed { once: Once::Duplicate, then: Vec::new() };
        let json = serde_json::to_string(&settled(job, answer, Rev(9))).unwrap();
        assert_eq!(json, r#"{"status":"completed","work_id":"j","duplicate":true,"rev":9}"#);
    }
}
