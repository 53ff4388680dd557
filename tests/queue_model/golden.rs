//! The bytes of a snapshot, held against those that released versions wrote.

use bincode::Options;
use bytes::Bytes;
use quorate::queue::{
    Action, Add, Beat, Cancel, Claim, ClockMs, Command, Complete, Delay, Entry, Fail, GroupName,
    Heartbeat, Holding, JobId, Limits, NewJob, Operation, Patch, QueueName, Record, RequestId,
    Retry, SetQueue, Stamp, State, Token, WallMs, WorkType, WorkerDown, WorkerId,
};
use xxhash_rust::xxh3::xxh3_64;

fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

fn job(name: &str) -> NewJob {
    NewJob {
        queue: QueueName::parse("queue").unwrap(),
        work_type: WorkType::parse("type").unwrap(),
        tags: [("tag".to_owned(), "value".to_owned())].into(),
        ..NewJob::plain(id(name))
    }
}

fn claim(number: u32) -> Command {
    Command::Claim(Claim {
        worker: WorkerId::parse("worker").unwrap(),
        session: Some(7),
        queues: Vec::new(),
        work_types: Vec::new(),
        max: 1,
        lease_ms: None,
        request_id: RequestId::parse(&format!("request-{number}")).unwrap(),
        labels: std::collections::BTreeMap::default(),
    })
}

fn operate(number: u32, action: Action) -> Command {
    let request_id = RequestId::parse(&format!("operation-{number}")).unwrap();
    Command::Operate(Operation { request_id, action })
}

/// A state with a job in every phase, one behind every optional field, a tombstone, a queue with every
/// setting, one with a purge that is not cleared, a worker with a live session and one whose session is
/// down, and operations.
fn full_state() -> State {
    let limits = Limits { retention_ms: 100, steps_max: 2, ..Limits::default() };
    let mut state = State::with_limits(limits);
    let mut apply = |clock: u64, commands: Vec<Command>| {
        let stamp = Stamp { clock: ClockMs(clock), wall: WallMs(1_000_000 + clock) };
        let applied = state.apply(&Entry { stamp, commands });
        for outcome in applied.outcomes {
            outcome.result.expect("every command of the history is in order");
        }
    };
    let add = |jobs| Command::Add(Add { jobs });
    let holding = |name: &str, token| Holding { job: id(name), token: Token(token) };
    apply(1, vec![add(vec![job("buried")]), Command::Cancel(Cancel { job: id("buried") })]);
    apply(200, vec![add(vec![job("failed")]), claim(1)]); // revisions 3 and 4
    let failed = holding("failed", 4);
    apply(
        201,
        vec![Command::Fail(Fail {
            holding: failed,
            error: Some("no".into()),
            retry: Retry::Never,
        })],
    );
    apply(202, vec![add(vec![job("completed")]), claim(2)]); // 6 and 7
    let then = vec![NewJob { group: Some(GroupName::parse("group").unwrap()), ..job("running") }];
    let (completed, result) = (holding("completed", 7), Some(Bytes::from_static(b"[1]")));
    apply(203, vec![Command::Complete(Complete { holding: completed, result, then }), claim(3)]); // 10
    let progress = Some(Bytes::from_static(b"0.5"));
    let items = vec![Beat { holding: holding("running", 10), lease_ms: None, progress }];
    apply(204, vec![Command::Heartbeat(Heartbeat { worker: None, items })]);
    let more = vec![
        NewJob { delay: Delay::For(1_000), ..job("delayed") },
        NewJob { delay: Delay::Until(WallMs(2_000_000)), ..job("timed") },
        NewJob { depends_on: vec![id("delayed")], ..job("blocked") },
        NewJob { expires_in_ms: Some(5_000), ..job("pending") },
    ];
    apply(205, vec![add(more)]);
    let limited = QueueName::parse("limited").unwrap();
    let settings = SetQueue {
        queue: limited.clone(),
        is_paused: Some(false),
        max_jobs: Patch::Set(10),
        max_bytes: Patch::Set(1_000),
        default_lease_ms: Patch::Set(5_000),
        max_attempts: Patch::Set(4),
        max_leased: Patch::Set(3),
        rate_per_second: Patch::Set(2),
    };
    let held = NewJob { queue: limited.clone(), priority: 100, ..job("held") };
    let drain =
        Action::DrainWorker { worker: WorkerId::parse("drained").unwrap(), is_draining: true };
    apply(
        206,
        vec![
            operate(1, Action::SetQueue(settings)),
            add(vec![held]),
            claim(4),
            operate(2, Action::PauseQueue { queue: limited, is_paused: true }),
            operate(3, drain),
            Command::WorkerDown(WorkerDown {
                worker: WorkerId::parse("down").unwrap(),
                session: 9,
            }),
        ],
    );
    let purged = QueueName::parse("purged").unwrap();
    let in_purged = |name| NewJob { queue: purged.clone(), ..job(name) };
    apply(207, vec![add(["one", "two", "three", "four"].map(in_purged).into())]);
    // Two are cleared at once, the third is put back, and the fourth waits.
    let purge = operate(4, Action::PurgeQueue(purged));
    apply(208, vec![purge, operate(5, Action::RetryJob(id("three")))]);
    assert!(state.deadlines().is_behind);
    state
}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding()
}

#[test]
fn bytes_of_a_snapshot_are_those_of_its_version() {
    let state = full_state();
    let records: Vec<Record> = state.freeze().records().collect();
    let encoded: Vec<Vec<u8>> =
        records.iter().map(|record| options().serialize(record).unwrap()).collect();
    let all = encoded.concat();
    // A change of either number is a change of the format: it needs a new SNAPSHOT_VERSION.
    assert_eq!((all.len(), xxh3_64(&all)), (3821, 8_037_693_259_064_118_183));

    let decoded = encoded.iter().map(|bytes| options().deserialize::<Record>(bytes));
    assert_eq!(State::restore(decoded).unwrap(), state);
}
