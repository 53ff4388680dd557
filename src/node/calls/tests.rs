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

/// Every answer and every rejection once, but for those of [`outcomes_of_operations`].
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
    results.map(outcome).collect()
}

/// Every answer and every rejection that operations alone have.
fn outcomes_of_operations() -> Vec<Outcome> {
    let answers = [
        Answer::Retried { once: Once::First, jobs: vec![id("j")] },
        Answer::QueueSet { once: Once::First, is_new: true },
        Answer::Purged { once: Once::First, count: 3 },
        Answer::QueueDeleted(Once::First),
        Answer::DrainSet(Once::Duplicate),
    ];
    let rejections = [
        Rejection::QueueNotFound { queue: queue("q") },
        Rejection::QueueNotEmpty { queue: queue("q"), unfinished: 3 },
    ];
    let results = answers.into_iter().map(Ok).chain(rejections.into_iter().map(Err));
    results.map(outcome).collect()
}

/// An outcome that is new has to be named here, and belongs into one of the two lists above.
fn outcome(result: Result<Answer, Rejection>) -> Outcome {
    match &result {
        Ok(
            Answer::Added(_)
            | Answer::Claimed(_)
            | Answer::Started(_)
            | Answer::Heartbeat { .. }
            | Answer::Completed { .. }
            | Answer::Retrying { .. }
            | Answer::Failed(_)
            | Answer::Released(_)
            | Answer::Cancelled(_)
            | Answer::Retried { .. }
            | Answer::QueueSet { .. }
            | Answer::Purged { .. }
            | Answer::QueueDeleted(_)
            | Answer::DrainSet(_)
            | Answer::WorkerDown(_),
        )
        | Err(
            Rejection::JobNotFound { .. }
            | Rejection::StaleToken { .. }
            | Rejection::WrongState { .. }
            | Rejection::JobIdConflict { .. }
            | Rejection::RequestIdConflict
            | Rejection::Full { .. }
            | Rejection::Invalid { .. }
            | Rejection::DependencyCycle { .. }
            | Rejection::QueueNotFound { .. }
            | Rejection::QueueNotEmpty { .. }
            | Rejection::StaleSession { .. },
        ) => {}
    }
    Outcome { rev: Rev(7), result }
}

/// Every reason why a change of the voters fails, but for `Unknown`.
fn change_errors() -> Vec<raft::ChangeError> {
    use raft::ChangeError::{
        Behind, InProgress, LabelTaken, LastVoter, NoQuorum, NoSuccessor, NoSuchVoter, NotLeader,
        OtherCluster, StillHeard, Stopped, TooMany, Unknown, Unreachable,
    };
    let [label, address, reason] = ["n4", "h:1", "why"].map(str::to_owned);
    let leader = raft::Peer { id: 5, label: label.clone(), address: address.clone() };
    let errors = vec![
        NotLeader { leader: Some(leader) },
        InProgress { change: "add n5".into() },
        LastVoter { label: label.clone() },
        NoSuchVoter { label: label.clone() },
        LabelTaken { label: label.clone(), address: address.clone() },
        Unreachable { label: label.clone(), address: address.clone(), reason: reason.clone() },
        OtherCluster { address, reason: reason.clone() },
        StillHeard { label: label.clone() },
        NoQuorum { heard: 1, voters: 3 },
        Behind { label, reason },
        TooMany { limit: 15 },
        NoSuccessor,
        Stopped,
    ];
    // One that is new has to be named here, and belongs above.
    for error in &errors {
        match error {
            NotLeader { .. }
            | InProgress { .. }
            | LastVoter { .. }
            | NoSuchVoter { .. }
            | LabelTaken { .. }
            | Unreachable { .. }
            | OtherCluster { .. }
            | StillHeard { .. }
            | NoQuorum { .. }
            | Behind { .. }
            | TooMany { .. }
            | NoSuccessor
            | Unknown
            | Stopped => {}
        }
    }
    errors
}

fn replace() -> raft::Change {
    raft::Change::Replace { label: "n1".into(), address: Some("h:1".into()) }
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
    let add = raft::Change::Add { label: "n4".into(), address: "h:1".into() };
    let remove = raft::Change::Remove { label: "n4".into() };
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
        ("change_voters", Request::ChangeVoters { change: replace(), wait_ms: 5 }),
        ("hand_over", Request::HandOver { to: "n2".into() }),
        ("add_voter", Request::ChangeVoters { change: add, wait_ms: 5 }),
        ("remove_voter", Request::ChangeVoters { change: remove, wait_ms: 5 }),
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
    let phase = raft::ChangePhase::Committing;
    let progress = raft::ChangeProgress { phase, matched: 3, target: 4 };
    let unknown = Err(raft::ChangeError::Unknown);
    let ended = change_errors().into_iter().map(|error| {
        ("voters_not_changed", Response::VotersChanged(raft::ChangeState::Ended(Err(error))))
    });
    let causes = [Cause::Start, Cause::Transfer, Cause::Crash, Cause::Hang, Cause::Unknown];
    let causes = causes.into_iter().map(|cause| (cause.as_str(), Response::Cause(Some(cause))));
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
        ("voters_underway", Response::VotersChanged(raft::ChangeState::Underway(progress))),
        ("voters_unknown", Response::VotersChanged(raft::ChangeState::Ended(unknown.clone()))),
        ("handed_over", Response::HandedOver(unknown.map(drop))),
        ("operated", Response::Submitted(vec![Ok(outcomes_of_operations())])),
        ("not_read", Response::ReadIndex(Err(Refusal::Unknown))),
        ("no_cause", Response::Cause(None)),
        ("down", Response::WorkerDown(Verdict::Down)),
        ("not_down", Response::WorkerDown(Verdict::NotDown)),
    ];
    let responses: Vec<_> = responses.into_iter().chain(causes).chain(ended).collect();
    let encoded: Vec<_> =
        responses.iter().map(|(name, it)| ((*name).to_owned(), it.encode())).collect();
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
