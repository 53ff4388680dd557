//! Commands for the tests of this room.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use crate::queue::{
    Action, Add, Beat, Cancel, Claim, ClockMs, Command, Complete, Delay, Entry, Fail, GroupName,
    Heartbeat, Holding, JobId, JobState, NewJob, OnDependencyFailure, Operation, Patch, Payload,
    QueueName, Release, RequestId, Retry, RetryJobs, SetQueue, Stamp, Token, WallMs, WorkType,
    WorkerDown, WorkerId,
};

pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn id(name: &str) -> JobId {
    JobId::parse(name).unwrap()
}

pub(super) fn queue(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

pub(super) fn work_type(name: &str) -> WorkType {
    WorkType::parse(name).unwrap()
}

pub(super) fn new_job(name: &str) -> NewJob {
    NewJob::plain(id(name))
}

pub(super) fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

pub(super) fn add(name: &str) -> Command {
    Command::Add(Add { jobs: vec![new_job(name)] })
}

pub(super) fn claim(worker: &str, request: &str) -> Claim {
    Claim {
        worker: self::worker(worker),
        session: None,
        queues: Vec::new(),
        work_types: Vec::new(),
        max: 1,
        lease_ms: None,
        request_id: RequestId::parse(request).unwrap(),
        labels: BTreeMap::new(),
    }
}

pub(super) fn holding(name: &str, token: u64) -> Holding {
    Holding { job: id(name), token: Token(token) }
}

pub(super) fn heartbeat(name: &str, token: u64) -> Command {
    let beat = Beat { holding: holding(name, token), lease_ms: None, progress: None };
    Command::Heartbeat(Heartbeat { worker: None, items: vec![beat] })
}

pub(super) fn complete(name: &str, token: u64) -> Command {
    Command::Complete(Complete { holding: holding(name, token), result: None, then: Vec::new() })
}

pub(super) fn entry(clock: u64, commands: Vec<Command>) -> Entry {
    Entry { stamp: Stamp { clock: ClockMs(clock), wall: WallMs(1_700_000_000_000) }, commands }
}

/// A command's name, and that of what it does. A command that is new has to be named here, and belongs into
/// [`one_of_each`].
fn name(command: &Command) -> &'static str {
    match command {
        Command::Add(_) => "add",
        Command::Claim(_) => "claim",
        Command::Start(_) => "start",
        Command::Heartbeat(_) => "heartbeat",
        Command::Complete(_) => "complete",
        Command::Fail(_) => "fail",
        Command::Release(_) => "release",
        Command::Cancel(_) => "cancel",
        Command::WorkerDown(_) => "worker_down",
        Command::Operate(operation) => match operation.action {
            Action::RetryJob(_) => "retry_job",
            Action::RetryJobs(_) => "retry_jobs",
            Action::SetQueue(_) => "set_queue",
            Action::PauseQueue { .. } => "pause_queue",
            Action::PurgeQueue(_) => "purge_queue",
            Action::DeleteQueue(_) => "delete_queue",
            Action::DrainWorker { .. } => "drain_worker",
        },
    }
}

/// Every action of an operation once.
fn actions() -> Vec<Action> {
    let retry = RetryJobs { queue: queue("q"), state: JobState::Failed, limit: 100 };
    let set = SetQueue {
        is_paused: Some(false),
        max_jobs: Patch::Set(10),
        max_bytes: Patch::Clear,
        default_lease_ms: Patch::Set(20),
        max_attempts: Patch::Set(30),
        max_leased: Patch::Set(40),
        ..SetQueue::unchanged(queue("q"))
    };
    vec![
        Action::RetryJob(id("j")),
        Action::RetryJobs(retry),
        Action::SetQueue(set),
        Action::PauseQueue { queue: queue("q"), is_paused: true },
        Action::PurgeQueue(queue("q")),
        Action::DeleteQueue(queue("q")),
        Action::DrainWorker { worker: worker("w"), is_draining: true },
    ]
}

/// Every command once, with every field that a command has.
pub(super) fn one_of_each() -> Vec<(&'static str, Command)> {
    let full = NewJob {
        payload: Payload { bytes: Bytes::from_static(b"[1]"), content_type: "text/x".into() },
        delay: Delay::Until(WallMs(77)),
        lease_ms: Some(5_000),
        max_attempts: Some(9),
        expires_in_ms: Some(60_000),
        depends_on: vec![id("before")],
        on_dependency_failure: OnDependencyFailure::Run,
        group: Some(GroupName::parse("g").unwrap()),
        tags: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        ..new_job("full")
    };
    let claim = Claim {
        session: Some(7),
        queues: vec![queue("q")],
        work_types: vec![work_type("t")],
        max: 3,
        lease_ms: Some(1_000),
        labels: BTreeMap::from([("gpu".to_owned(), "1".to_owned())]),
        ..claim("w", "r")
    };
    let beat = Beat {
        holding: holding("j", 4),
        lease_ms: Some(2_000),
        progress: Some(Bytes::from_static(b"0.5")),
    };
    let heartbeat = Heartbeat { worker: Some(worker("w")), items: vec![beat] };
    let result = Some(Bytes::from_static(b"{\"ok\":1}"));
    let complete = Complete { holding: holding("j", 4), result, then: vec![new_job("next")] };
    let fail =
        Fail { holding: holding("j", 4), error: Some("boom".into()), retry: Retry::After(250) };
    let commands = [
        Command::Add(Add { jobs: vec![full, new_job("plain")] }),
        Command::Claim(claim),
        Command::Start(holding("j", 4)),
        Command::Heartbeat(heartbeat),
        Command::Complete(complete),
        Command::Fail(fail),
        Command::Release(Release { holding: holding("j", 4), delay_ms: 10 }),
        Command::Cancel(Cancel { job: id("j") }),
        Command::WorkerDown(WorkerDown { worker: worker("w"), session: 7 }),
    ];
    let operate =
        |action| Command::Operate(Operation { request_id: RequestId::parse("r").unwrap(), action });
    let commands = commands.into_iter().chain(actions().into_iter().map(operate));
    commands.map(|command| (name(&command), command)).collect()
}
