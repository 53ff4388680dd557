use super::*;
use crate::{
    queue::{AttemptEnd, JobId, QueueName, Token, WorkerId},
    wire::Applied,
};

fn job() -> JobId {
    JobId::parse("j").unwrap()
}

fn queue() -> QueueName {
    QueueName::parse("q").unwrap()
}

#[test]
fn a_stale_token_tells_who_holds_the_job() {
    let error = rejected(
        Rejection::StaleToken {
            job: job(),
            current_token: Some(Token(7)),
            holder: Some(WorkerId::parse("w").unwrap()),
            state: JobState::Running,
            ended_as: Some(AttemptEnd::WorkerDown),
        },
        Place::Alone,
    );
    let golden = r#"{"error":"Not the valid token of job j: it is held by w under another token.","code":"stale_token","retryable":false,"applied":"no","details":{"current_token":7,"ended_as":"worker_down","holder":"w","state":"running","work_id":"j"}}"#;
    assert_eq!(serde_json::to_string(&error).unwrap(), golden);
}

/// api 1.retention.429
#[test]
fn every_rejection_has_its_row() {
    let cases = [
        (Rejection::JobNotFound { job: job() }, Code::NotFound),
        (Rejection::WrongState { job: job(), state: JobState::Completed }, Code::WrongState),
        (Rejection::JobIdConflict { job: job(), index: 0 }, Code::IdConflict),
        (Rejection::RequestIdConflict, Code::IdConflict),
        (Rejection::Full { reason: "f".into(), retry_after_ms: 1500 }, Code::QueueFull),
        (
            Rejection::Invalid { index: 0, field: "group".into(), reason: "is odd".into() },
            Code::InvalidArgument,
        ),
        (Rejection::DependencyCycle { index: 0, job: job() }, Code::DependencyCycle),
        (Rejection::QueueNotFound { queue: queue() }, Code::NotFound),
        (Rejection::QueueNotEmpty { queue: queue(), unfinished: 2 }, Code::WrongState),
        (Rejection::StaleSession { current: 7, is_down: false }, Code::StaleSession),
        (Rejection::StaleSession { current: 7, is_down: true }, Code::StaleSession),
    ];
    for (rejection, code) in cases {
        let error = rejected(rejection, Place::Alone);
        assert_eq!((error.code, error.applied), (code, Applied::No));
        assert!(error.error.ends_with('.'), "{}", error.error);
    }
}

#[test]
fn a_batchs_rejection_names_the_item() {
    let invalid =
        Rejection::Invalid { index: 3, field: "group".into(), reason: "is not supported".into() };
    let error = rejected(invalid, Place::Batch("items"));
    assert_eq!(error.details["field"], "items[3].group");
    assert_eq!(error.details["index"], 3);
}

#[test]
fn every_reason_for_being_unavailable_has_its_row() {
    let cases = [
        (Reason::NoLeader, Code::NoLeader),
        (Reason::NotReady, Code::NotReady),
        (Reason::ShuttingDown, Code::ShuttingDown),
        (Reason::DiskFull, Code::DiskFull),
        (Reason::Overloaded { retry_after_ms: 1 }, Code::RateLimited),
        (Reason::TooManyWaiters { retry_after_ms: 1 }, Code::TooManyWaiters),
    ];
    for (reason, code) in cases {
        let failure = Failure::from(Unavailable::NotApplied(reason));
        assert_eq!((failure.error.code, failure.error.applied), (code, Applied::No));
        assert!(failure.error.retryable && failure.error.retry_after_ms().is_some());
    }
    let unknown = Failure::from(Unavailable::OutcomeUnknown);
    assert_eq!(
        (unknown.error.code, unknown.error.applied),
        (Code::OutcomeUnknown, Applied::Unknown)
    );
}
