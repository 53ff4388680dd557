use super::*;
use crate::{
    node::{
        codec::tests::assert_golden,
        samples::{self, id, queue, work_type},
    },
    queue::{
        Added, Answer, AttemptEnd, BeatStatus, Beaten, Claimed, ClockMs, Grant, JobState, Once,
        Payload, Rejection, Rev, Token, WallMs, WorkerId,
    },
};

fn grant() -> Grant {
    Grant {
        job: id("j"),
        queue: queue("q"),
        work_type: work_type("t"),
        payload: Payload { bytes: Bytes::from_static(b"{}"), content_type: "a/b".into() },
        priority: 50,
        attempt: 1,
        max_attempts: 3,
        token: Token(4),
        lease_ms: 30_000,
        lease_expires_in_ms: 29_000,
        deadline: ClockMs(31_000),
        added_at: WallMs(1),
        tags: [("k".to_owned(), "v".to_owned())].into(),
    }
}

/// Every answer and every rejection once.
fn outcomes() -> Vec<Outcome> {
    let added = Added {
        id: id("j"),
        queue: queue("q"),
        work_type: work_type("t"),
        priority: 50,
        state: JobState::Pending,
        once: Once::First,
    };
    let lost = Claimed::Lost { job: id("j"), token: Token(4), state: JobState::Expired };
    let beats = [
        BeatStatus::Extended { lease_expires_in_ms: 5 },
        BeatStatus::Lost,
        BeatStatus::CancelRequested,
    ];
    let beaten = beats.map(|status| Beaten { job: id("j"), token: Token(4), status });
    let answers = [
        Answer::Added(vec![added.clone()]),
        Answer::Claimed(vec![Claimed::Granted(grant()), lost]),
        Answer::Started(Once::First),
        Answer::Heartbeat { items: beaten.into(), drain: true },
        Answer::Completed { once: Once::Duplicate, then: vec![added] },
        Answer::Retrying { once: Once::First, run_at: WallMs(9) },
        Answer::Failed(Once::First),
        Answer::Released(Once::First),
        Answer::Cancelled(Once::First),
        Answer::WorkerDown(Once::First),
    ];
    let stale = Rejection::StaleToken {
        job: id("j"),
        current_token: Some(Token(5)),
        holder: Some(WorkerId::parse("w").unwrap()),
        state: JobState::Running,
        ended_as: Some(AttemptEnd::Released),
    };
    let rejections = [
        Rejection::JobNotFound { job: id("j") },
        stale,
        Rejection::WrongState { job: id("j"), state: JobState::Completed },
        Rejection::JobIdConflict { job: id("j"), index: 2 },
        Rejection::RequestIdConflict,
        Rejection::Full { reason: "full".into(), retry_after_ms: 6 },
        Rejection::Invalid { index: 1, field: "priority".into(), reason: "bad".into() },
        Rejection::DependencyCycle { index: 1, job: id("j") },
        Rejection::StaleSession { current: 8, is_down: true },
    ];
    let results = answers.into_iter().map(Ok).chain(rejections.into_iter().map(Err));
    results.map(|result| Outcome { rev: Rev(7), result }).collect()
}

/// api 1.hold.deadline.carried
#[test]
fn requests_keep_the_bytes_of_their_format() {
    let submitted = Submitted { commands: vec![Bytes::from_static(b"xy")], remaining_ms: 5_000 };
    let claiming = Claiming {
        claim: samples::claim("w", "r"),
        wait_ms: 1,
        remaining_ms: 2,
        ticket: 3,
        may_come_again: false,
    };
    let requests = [
        ("submit", Request::Submit(vec![submitted])),
        ("claim", Request::Claim(claiming)),
        ("settle", Request::Settle { ticket: 3, outcome: Err(Refusal::Unknown) }),
        ("forget", Request::Forget { ticket: 3 }),
        ("read_index", Request::ReadIndex),
        ("resigning", Request::Resigning { term: 8 }),
        ("ping", Request::Ping),
        ("wall_clock", Request::WallClock),
        ("cause", Request::Cause { term: 8 }),
        ("worker_down", Request::WorkerDown { worker: WorkerId::parse("w").unwrap(), session: 9 }),
    ];
    let encoded = requests.each_ref().map(|(name, it)| ((*name).to_owned(), it.encode()));
    assert_golden("calls/golden_requests.txt", &encoded);
    for ((_, request), (_, bytes)) in requests.into_iter().zip(&encoded) {
        assert_eq!(Request::decode(bytes), Ok(request));
    }
}

#[test]
fn responses_keep_the_bytes_of_their_format() {
    let refusals = [
        Refusal::NotProposed,
        Refusal::Overloaded { retry_after_ms: 1 },
        Refusal::TooManyWaiters { retry_after_ms: 2 },
        Refusal::Unknown,
        Refusal::DiskFull,
    ];
    let submitted = std::iter::once(Ok(outcomes())).chain(refusals.map(Err)).collect();
    let claimed = Outcome { rev: Rev(7), result: Ok(Answer::Claimed(Vec::new())) };
    let responses = [
        ("submitted", Response::Submitted(submitted)),
        ("claimed", Response::Claimed(Ok(claimed))),
        ("parked", Response::Parked),
        ("settled", Response::Settled { is_wanted: true }),
        ("forgotten", Response::Forgotten),
        ("read_index", Response::ReadIndex(Ok(12))),
        ("noted", Response::Noted),
        ("pong", Response::Pong),
        ("declined", Response::Declined),
        ("wall_clock", Response::WallClock { wall_ms: 9 }),
        ("cause", Response::Cause(Some(Cause::Partition))),
        ("worker_down", Response::WorkerDown(Verdict::Asked)),
    ];
    let encoded = responses.each_ref().map(|(name, it)| ((*name).to_owned(), it.encode()));
    assert_golden("calls/golden_responses.txt", &encoded);
    for ((_, response), (_, bytes)) in responses.into_iter().zip(&encoded) {
        assert_eq!(Response::decode(bytes), Ok(response));
    }
}

/// api 1.token.group.sent
#[test]
fn a_call_for_another_group_is_refused() {
    let mut bytes = Request::Ping.encode().to_vec();
    bytes[2] = 1;
    assert!(matches!(Request::decode(&bytes), Err(CodecError::Malformed(_))));
}
