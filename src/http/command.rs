//! From requests to the queue's commands: defaults and identities are filled in here, once.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    queue::{
        Backoff, Beat, Claim, Complete, Delay, Fail, Filter, Heartbeat, Holding, JobId,
        NAME_DEFAULT, NewJob, PRIORITY_DEFAULT, Patch, Payload, QueueName, Release, RequestId,
        Retry, RetryJobs, SetQueue, WallMs, WorkType,
    },
    wire,
};

/// How many jobs `claim_batch` grants at the most, unless it asks.
const BATCH_MAX: u32 = 10;
static JSON: LazyLock<Arc<str>> = LazyLock::new(|| "application/json".into());
const IS_A_NAME: &str = "the constant and the fresh id are names";

/// A job as the queue knows it, under this id.
pub(super) fn new_job(id: JobId, job: wire::AddRequest) -> NewJob {
    NewJob {
        id,
        queue: job.queue.unwrap_or_else(|| QueueName::parse(NAME_DEFAULT).expect(IS_A_NAME)),
        work_type: job.work_type.unwrap_or_else(|| WorkType::parse(NAME_DEFAULT).expect(IS_A_NAME)),
        payload: payload(job.payload),
        priority: job.priority.unwrap_or(PRIORITY_DEFAULT),
        delay: delay(job.delay_ms, job.run_at_ms),
        lease_ms: job.lease_ms,
        max_attempts: job.max_attempts,
        backoff: job.backoff.map_or_else(Backoff::default, backoff),
        expires_in_ms: job.expires_in_ms,
        depends_on: job.depends_on,
        on_dependency_failure: job.on_dependency_failure.unwrap_or_default(),
        group: job.group,
        tags: job.tags,
    }
}

fn payload(json: Option<Box<RawValue>>) -> Payload {
    let bytes = json.map_or_else(|| Bytes::from_static(b"{}"), json_bytes);
    Payload { bytes, content_type: Arc::clone(&JSON) }
}

fn json_bytes(json: Box<RawValue>) -> Bytes {
    Box::<str>::from(json).into_boxed_bytes().into()
}

fn delay(delay_ms: Option<u64>, run_at_ms: Option<u64>) -> Delay {
    match (delay_ms, run_at_ms) {
        (_, Some(run_at_ms)) => Delay::Until(WallMs(run_at_ms)),
        (None | Some(0), None) => Delay::None,
        (Some(delay_ms), None) => Delay::For(delay_ms),
    }
}

fn backoff(backoff: wire::Backoff) -> Backoff {
    Backoff {
        initial_ms: backoff.initial_ms,
        factor_thousandths: thousandths(backoff.factor),
        max_ms: backoff.max_ms,
        jitter_thousandths: thousandths(backoff.jitter),
    }
}

/// Floats end here: the queue counts in thousandths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the wire holds factors and jitters to 0–1000, so this is at most a million"
)]
fn thousandths(number: f64) -> u32 {
    (number * 1000.0).round() as u32
}

pub(super) fn claim(
    claim: wire::ClaimRequest,
    kind: wire::ClaimKind,
    request_id: RequestId,
) -> Claim {
    let max = match kind {
        wire::ClaimKind::One => 1,
        wire::ClaimKind::Batch => claim.max.unwrap_or(BATCH_MAX),
    };
    Claim {
        worker: claim.node_id,
        session: claim.session,
        queues: claim.queues,
        work_types: claim.work_types,
        max,
        lease_ms: claim.lease_ms,
        request_id,
        labels: claim.labels,
    }
}

pub(super) fn heartbeat(heartbeat: wire::HeartbeatRequest) -> Heartbeat {
    let items = heartbeat.items.into_iter().map(|beat| Beat {
        holding: Holding { job: beat.work_id, token: beat.token },
        lease_ms: beat.lease_ms,
        progress: beat.progress.map(json_bytes),
    });
    Heartbeat { worker: heartbeat.node_id, items: items.collect() }
}

pub(super) fn complete(complete: wire::CompleteRequest, fresh_id: impl Fn() -> JobId) -> Complete {
    let then = complete.then.into_iter().map(|mut job| {
        let id = job.work_id.take().unwrap_or_else(&fresh_id);
        new_job(id, job)
    });
    Complete {
        holding: Holding { job: complete.work_id, token: complete.token },
        result: complete.result.map(json_bytes),
        then: then.collect(),
    }
}

pub(super) fn fail(fail: wire::FailRequest) -> Fail {
    let retry = match (fail.retry, fail.retry_in_ms) {
        (Some(false), _) => Retry::Never,
        (_, Some(retry_in_ms)) => Retry::After(retry_in_ms),
        (_, None) => Retry::Backoff,
    };
    Fail {
        holding: Holding { job: fail.work_id, token: fail.token },
        error: fail.error.map(Arc::from),
        retry,
    }
}

pub(super) fn release(release: wire::ReleaseRequest) -> Release {
    Release {
        holding: Holding { job: release.work_id, token: release.token },
        delay_ms: release.delay_ms.unwrap_or(0),
    }
}

pub(super) fn set_queue(queue: QueueName, set: &wire::SetQueueRequest) -> SetQueue {
    SetQueue {
        queue,
        is_paused: match set.paused {
            Patch::Keep => None,
            Patch::Clear => Some(false),
            Patch::Set(is_paused) => Some(is_paused),
        },
        max_jobs: set.max_jobs,
        max_bytes: set.max_bytes,
        default_lease_ms: set.default_lease_ms,
        max_attempts: set.max_attempts,
        max_leased: set.max_leased,
        rate_per_second: set.rate_per_second,
    }
}

pub(super) fn retry_jobs(jobs: wire::RetriedJobs) -> RetryJobs {
    RetryJobs { queue: jobs.queue, state: jobs.state, limit: jobs.limit }
}

pub(super) fn filter(list: wire::ListQuery) -> Filter {
    Filter { queue: list.queue, states: list.states, work_type: list.work_type, tags: list.tags }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(body: &str) -> NewJob {
        let request = wire::AddRequest::parse(body.as_bytes()).unwrap();
        new_job(JobId::parse("j").unwrap(), request)
    }

    #[test]
    fn what_is_not_said_has_the_tables_default() {
        let job = job("{}");
        assert_eq!((job.queue.as_str(), job.work_type.as_str()), ("default", "default"));
        assert_eq!((job.priority, job.delay, job.backoff), (50, Delay::None, Backoff::default()));
        assert_eq!(&job.payload.bytes[..], b"{}");
        assert_eq!(&*job.payload.content_type, "application/json");
    }

    #[test]
    fn what_is_said_arrives() {
        let job =
            job(r#"{"payload":[1, 2],"delay_ms":"1s","backoff":{"factor":1.5,"jitter":0.333}}"#);
        assert_eq!((job.id.as_str(), job.delay), ("j", Delay::For(1000)));
        assert_eq!(&job.payload.bytes[..], b"[1, 2]");
        let thousandths = (job.backoff.factor_thousandths, job.backoff.jitter_thousandths);
        assert_eq!(thousandths, (1500, 333));
    }

    #[test]
    fn a_queue_whose_pause_is_cleared_is_let_on() {
        let set = |body: &str| {
            let request = wire::SetQueueRequest::parse(body.as_bytes()).unwrap();
            set_queue(QueueName::parse("q").unwrap(), &request)
        };
        let paused = |body| set(body).is_paused;
        assert_eq!((paused("{}"), paused(r#"{"paused":null}"#)), (None, Some(false)));
        assert_eq!(paused(r#"{"paused":true}"#), Some(true));
        let one = set(r#"{"max_jobs":7,"max_leased":null}"#);
        assert_eq!((one.max_jobs, one.max_leased), (Patch::Set(7), Patch::Clear));
    }

    #[test]
    fn fail_says_when_to_try_again() {
        let retry = |body: &str| fail(wire::FailRequest::parse(body.as_bytes()).unwrap()).retry;
        assert_eq!(retry(r#"{"work_id":"j","token":1}"#), Retry::Backoff);
        assert_eq!(retry(r#"{"work_id":"j","token":1,"retry_in_ms":5}"#), Retry::After(5));
        assert_eq!(retry(r#"{"work_id":"j","token":1,"retry":false}"#), Retry::Never);
    }
}
