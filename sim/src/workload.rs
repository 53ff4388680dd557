//! What the clients of one host do: producers add, repeat and cancel; workers claim and then finish,
//! fail, give back, oversleep or vanish; an operator (`operate.rs`) gets in the way of both. Everything
//! is drawn from the host's seed.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use jepsen_like::history::{Failure, Function};
use quorate::{
    node::{Consistency, Handle, Unavailable, View},
    queue::{
        Action, Add, Answer, Backoff, Beat, BeatStatus, Cancel, Claim, Claimed, Command, Complete,
        Delay, Fail, Found, Heartbeat, Holding, JobId, NewJob, OnDependencyFailure, Once,
        Operation, Outcome, Payload, QueueName, Rejection, Release, RequestId, Retry, State, Token,
        WorkType, WorkerId,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::{sync::watch, time};

use crate::{
    host::Phase,
    recorder::{Call, Ending, Process, Recorder},
    view::job_view,
};

mod operate;

pub use operate::OPERATIONS;

/// What is counted of reads.
pub const READS: &str = "reads";

/// The queue whose jobs are in the checked history.
const QUEUE: &str = "default";
/// The queue whose jobs are not ([`is_checked`]).
const AGAIN: &str = "again";

/// How long a node may hold a request.
const HOLD: Duration = Duration::from_millis(1_500);
/// When a client gives up; later than a node does, so that most unknowns are the node's own.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How often a client repeats a call whose outcome is unknown.
const REPEATS: usize = 3;
/// How many workers a host has.
const WORKERS: u64 = 3;
/// How many attempts a job has.
const ATTEMPTS: u32 = 6;

/// Whether the history knows of a job of this queue. A retry in bulk puts back jobs that nobody names,
/// and their completions begin anew: S4 and S6 would have to know which, also when the answer is lost.
/// So it has a queue of its own. (S4 and S6 leave out a job that was put back by its name.)
pub fn is_checked(queue: &QueueName) -> bool {
    queue.as_str() != AGAIN
}

/// One client of one host.
struct Client {
    handle: Handle,
    recorder: Recorder,
    process: Process,
    rng: StdRng,
    phase: watch::Receiver<Phase>,
    name: String,
    made: u64,
}

/// Runs the clients of a host while the phase is [`Phase::Run`]. `life` counts the host's starts, so
/// that no name is used twice.
pub async fn run(
    host: &str,
    life: u64,
    handle: Handle,
    recorder: Recorder,
    seed: u64,
    phase: watch::Receiver<Phase>,
) {
    let client = |number: u64| Client {
        handle: handle.clone(),
        recorder: recorder.clone(),
        process: recorder.process(host),
        rng: StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(number)),
        phase: phase.clone(),
        name: format!("{host}.{life}.{number}"),
        made: 0,
    };
    let mut tasks = vec![tokio::task::spawn_local(client(0).produce())];
    for number in 1..=WORKERS {
        tasks.push(tokio::task::spawn_local(client(number).work()));
    }
    let workers = (1..=WORKERS).map(|number| client(number).worker()).collect();
    tasks.push(tokio::task::spawn_local(client(WORKERS + 1).operate(workers)));
    for task in tasks {
        task.await.expect("a client ends by itself");
    }
}

/// Adds one job, and repeats that until it is acknowledged: writes flow.
pub async fn write_once(host: &str, life: u64, phase: Phase, handle: &Handle, recorder: &Recorder) {
    let name_of = format!("{host}.{life}.{phase:?}");
    let (_, phase) = watch::channel(Phase::Read);
    let mut client = Client {
        handle: handle.clone(),
        recorder: recorder.clone(),
        process: recorder.process(host),
        rng: StdRng::seed_from_u64(life),
        phase,
        name: name_of,
        made: 0,
    };
    let job = name(&client.name, JobId::parse);
    while !matches!(client.add(&job, 1).await, Ending::Ok { .. }) {
        time::sleep(Duration::from_millis(20)).await;
    }
}

impl Client {
    async fn produce(mut self) {
        let mut recent: Vec<(JobId, u64)> = Vec::new();
        while self.pause(20, 250).await {
            let old = (!recent.is_empty()).then(|| self.rng.random_range(0..recent.len()));
            match (self.rng.random_range(0..20), old) {
                (6, Some(old)) => {
                    let job = recent[old].0.clone();
                    self.retry(&job).await;
                }
                (0..=3, Some(old)) => {
                    let (job, content) = recent[old].clone();
                    self.add(&job, content).await;
                }
                (7 | 8, Some(old)) => {
                    let job = recent[old].0.clone();
                    self.get(&job).await;
                }
                (4, Some(old)) => {
                    let (job, content) = recent[old].clone();
                    self.add(&job, content + 1_000_000).await;
                }
                (5, Some(old)) => {
                    let job = recent[old].0.clone();
                    self.cancel(&job).await;
                }
                _ => {
                    self.made += 1;
                    let job = name(&format!("{}.{}", self.name, self.made), JobId::parse);
                    let content = self.rng.random_range(0..1_000);
                    recent.push((job.clone(), content));
                    if recent.len() > 20 {
                        recent.remove(0);
                    }
                    self.add(&job, content).await;
                }
            }
        }
    }

    async fn work(mut self) {
        while self.pause(5, 80).await {
            if let Some((job, token, lease)) = self.claim().await {
                self.settle(&Holding { job, token }, lease).await;
            }
        }
    }

    /// Ends, or does not end, what was claimed.
    async fn settle(&mut self, holding: &Holding, lease: Duration) {
        match self.rng.random_range(0..20) {
            0..=8 => self.complete(holding).await,
            9 | 10 => {
                self.complete(holding).await;
                self.complete(holding).await;
            }
            11 | 12 => self.fail(holding).await,
            13 => self.release(holding).await,
            14 => {
                self.start(holding).await;
                self.heartbeat(holding).await;
                self.complete(holding).await;
            }
            15 => {
                self.fail(holding).await;
                self.oversleep(lease).await;
                self.fail(holding).await;
            }
            16 | 17 => {
                self.oversleep(lease).await;
                self.heartbeat(holding).await;
                self.complete(holding).await;
            }
            18 => {
                self.oversleep(lease).await;
                self.release(holding).await;
            }
            _ => {}
        }
    }

    /// Sleeps for a while; whether to go on.
    async fn pause(&mut self, least_ms: u64, most_ms: u64) -> bool {
        let pause = Duration::from_millis(self.rng.random_range(least_ms..most_ms));
        time::sleep(pause).await;
        *self.phase.borrow() == Phase::Run
    }

    /// Long enough that another worker has most likely been granted the job.
    async fn oversleep(&mut self, lease: Duration) {
        time::sleep(lease * self.rng.random_range(2..5)).await;
    }

    async fn add(&mut self, job: &JobId, content: u64) -> Ending {
        let args = content_of(content);
        let call = Call { job: Some(job.to_string()), args, ..Call::default() };
        let command = Command::Add(Add { jobs: vec![new_job(QUEUE, job.clone(), content)] });
        self.ask(Function::Add, call, command).await
    }

    /// Reads a job. A read that finds none, or that nobody answers, saw nothing.
    async fn get(&mut self, job: &JobId) {
        let call = Call { job: Some(job.to_string()), ..Call::default() };
        let (handle, id) = (self.handle.clone(), job.clone());
        let asked = async move {
            let view = move |state: &State| state.job(&id);
            let read = handle.read(Consistency::Linearizable, HOLD, view);
            match time::timeout(PATIENCE, read).await {
                Ok(Ok(View { value: Some(Found::Job(job)), rev })) => {
                    let res = serde_json::to_value(job_view(&job)).expect("a job is plain data");
                    Ending::Ok { rev: rev.0, grant: None, res }
                }
                Ok(Ok(_)) => Ending::Fail(failure("not_found", true)),
                Ok(Err(_)) | Err(_) => Ending::Fail(failure("not_read", true)),
            }
        };
        if let Ending::Ok { .. } = self.process.run(Function::Get, call, asked).await {
            self.recorder.count(READS);
        }
    }

    async fn cancel(&mut self, job: &JobId) {
        let call = Call { job: Some(job.to_string()), ..Call::default() };
        self.ask(Function::Cancel, call, Command::Cancel(Cancel { job: job.clone() })).await;
    }

    /// The name under which it claims.
    fn worker(&self) -> WorkerId {
        name(&self.name, WorkerId::parse)
    }

    async fn retry(&mut self, job: &JobId) {
        let call = Call { job: Some(job.to_string()), ..Call::default() };
        let command = self.operation(Action::RetryJob(job.clone()));
        self.ask(Function::Retry, call, command).await;
    }

    /// An operation under an id of its own.
    fn operation(&mut self, action: Action) -> Command {
        self.made += 1;
        let request_id = name(&format!("{}.{}", self.name, self.made), RequestId::parse);
        Command::Operate(Operation { request_id, action })
    }

    async fn start(&mut self, holding: &Holding) {
        self.ask(Function::Start, held(holding), Command::Start(holding.clone())).await;
    }

    async fn complete(&mut self, holding: &Holding) {
        let result = json!({"by": self.name, "draw": self.rng.random::<u32>()});
        let mut then = Vec::new();
        if self.rng.random_range(0..10) == 0 {
            self.made += 1;
            let job = name(&format!("{}.then.{}", self.name, self.made), JobId::parse);
            then.push(new_job(QUEUE, job, self.made));
        }
        let added: Vec<Value> = then
            .iter()
            .map(|job| {
                let mut added = content_of(self.made);
                added["work_id"] = job.id.as_str().into();
                added
            })
            .collect();
        let call = Call { args: json!({"result": result, "then": added}), ..held(holding) };
        let result = Some(Bytes::from(result.to_string()));
        let command = Command::Complete(Complete { holding: holding.clone(), result, then });
        self.ask(Function::Complete, call, command).await;
    }

    async fn fail(&mut self, holding: &Holding) {
        let retry_in_ms = self.rng.random_range(0..600);
        let retry = Retry::After(retry_in_ms);
        let command = Command::Fail(Fail { holding: holding.clone(), error: None, retry });
        let call = Call { args: json!({"retry_in_ms": retry_in_ms}), ..held(holding) };
        self.ask(Function::Fail, call, command).await;
    }

    async fn release(&mut self, holding: &Holding) {
        let delay_ms = self.rng.random_range(0..400);
        let command = Command::Release(Release { holding: holding.clone(), delay_ms });
        let call = Call { args: json!({"delay_ms": delay_ms}), ..held(holding) };
        self.ask(Function::Release, call, command).await;
    }

    async fn heartbeat(&mut self, holding: &Holding) {
        let beat = Beat { holding: holding.clone(), lease_ms: None, progress: None };
        let command = Command::Heartbeat(Heartbeat { worker: None, items: vec![beat] });
        self.ask(Function::Heartbeat, held(holding), command).await;
    }

    /// Asks, and asks again under the same identity while the outcome is unknown. How it ended at last.
    async fn ask(&mut self, f: Function, call: Call, command: Command) -> Ending {
        let mut last = Ending::Info(failure("never_asked", false));
        for _ in 0..=REPEATS {
            let handle = self.handle.clone();
            let command = command.clone();
            let asked = async move {
                let answer = time::timeout(PATIENCE, handle.submit(vec![command], HOLD)).await;
                ending(answer.map(|answer| answer.map(single)))
            };
            last = self.process.run(f, call.clone(), asked).await;
            if !matches!(last, Ending::Info(_)) {
                break;
            }
        }
        last
    }

    /// Claims one job; repeats under the same request id while the outcome is unknown.
    async fn claim(&mut self) -> Option<(JobId, Token, Duration)> {
        self.made += 1;
        let lease_ms = self.rng.random_range(200..900);
        let request = format!("r{}", self.made);
        let claim = Claim {
            worker: self.worker(),
            session: None,
            queues: vec![name(QUEUE, QueueName::parse)],
            work_types: Vec::new(),
            max: 1,
            lease_ms: Some(lease_ms),
            request_id: name(&request, RequestId::parse),
            labels: BTreeMap::new(),
        };
        let wait = Duration::from_millis(self.rng.random_range(0..300));
        let args = json!({"node_id": self.name, "lease_ms": lease_ms});
        let call = Call { req: Some(request), args, ..Call::default() };
        for _ in 0..=REPEATS {
            let (handle, claim) = (self.handle.clone(), claim.clone());
            let asked = async move {
                ending(time::timeout(PATIENCE, handle.claim_named(claim, wait, HOLD)).await)
            };
            match self.process.run(Function::Claim, call.clone(), asked).await {
                Ending::Ok { grant, res, .. } => {
                    let is_held = res.get("lost").is_none();
                    let (job, token) = grant.filter(|_| is_held)?;
                    let lease = Duration::from_millis(lease_ms);
                    return Some((name(&job, JobId::parse), Token(token), lease));
                }
                Ending::Fail(_) => return None,
                Ending::Info(_) => {}
            }
        }
        None
    }
}

fn held(holding: &Holding) -> Call {
    Call { job: Some(holding.job.to_string()), tok: Some(holding.token.0), ..Call::default() }
}

/// Parses a name that this module made.
fn name<T, E: std::fmt::Debug>(text: &str, parse: fn(&str) -> Result<T, E>) -> T {
    parse(text).expect("the workload makes valid names")
}

/// How long a job waits, ms: it follows from its content, so that a repeated add says the same.
fn delay_ms(content: u64) -> u64 {
    if content.is_multiple_of(5) { 200 + content % 400 } else { 0 }
}

/// What a job is added with, as on the wire.
fn content_of(content: u64) -> Value {
    json!({
        "payload": {"n": content},
        "delay_ms": delay_ms(content),
        "max_attempts": ATTEMPTS,
    })
}

/// The same, as a command has it.
fn new_job(queue: &str, id: JobId, content: u64) -> NewJob {
    NewJob {
        id,
        queue: name(queue, QueueName::parse),
        work_type: name("default", WorkType::parse),
        payload: Payload {
            bytes: Bytes::from(json!({"n": content}).to_string()),
            content_type: "application/json".into(),
        },
        priority: 50,
        delay: match delay_ms(content) {
            0 => Delay::None,
            delay_ms => Delay::For(delay_ms),
        },
        lease_ms: None,
        max_attempts: Some(ATTEMPTS),
        backoff: Backoff::default(),
        expires_in_ms: None,
        depends_on: Vec::new(),
        on_dependency_failure: OnDependencyFailure::default(),
        group: None,
        tags: BTreeMap::new(),
    }
}

fn single(mut outcomes: Vec<Outcome>) -> Outcome {
    outcomes.pop().expect("one command has one outcome")
}

/// As `jepsen_like::classify`, for a call in the same process.
fn ending(answer: Result<Result<Outcome, Unavailable>, time::error::Elapsed>) -> Ending {
    match answer {
        Err(_) => Ending::Info(failure("timeout", true)),
        Ok(Err(Unavailable::OutcomeUnknown)) => Ending::Info(failure("outcome_unknown", true)),
        Ok(Err(Unavailable::NotApplied(reason))) => {
            Ending::Fail(failure(&format!("{reason:?}"), false))
        }
        Ok(Ok(Outcome { result: Err(rejection), .. })) => {
            Ending::Fail(failure(code(&rejection), true))
        }
        Ok(Ok(Outcome { rev, result: Ok(answer) })) => answered(rev.0, answer),
    }
}

fn failure(kind: &str, sent: bool) -> Failure {
    Failure { kind: kind.to_owned(), sent }
}

fn answered(rev: u64, answer: Answer) -> Ending {
    let ok = |res: Value| Ending::Ok { rev, grant: None, res };
    let once = |once: Once| ok(json!({"duplicate": once == Once::Duplicate}));
    match answer {
        Answer::Added(added) => once(added[0].once),
        Answer::Claimed(claimed) => match claimed.into_iter().next() {
            None => ok(Value::Null),
            Some(Claimed::Granted(grant)) => {
                let payload: Value = serde_json::from_slice(&grant.payload.bytes)
                    .unwrap_or_else(|_| json!("not the JSON that was put in"));
                let res = json!({"attempt": grant.attempt, "payload": payload});
                Ending::Ok { rev, grant: Some((grant.job.to_string(), grant.token.0)), res }
            }
            Some(Claimed::Lost { job, token, .. }) => {
                let res = json!({"lost": true});
                Ending::Ok { rev, grant: Some((job.to_string(), token.0)), res }
            }
        },
        Answer::Heartbeat { items, .. } => match items.first().map(|beaten| beaten.status) {
            Some(BeatStatus::Extended { .. }) => ok(json!({"status": "extended"})),
            _ => Ending::Fail(failure("lost", true)),
        },
        Answer::Started(first)
        | Answer::Completed { once: first, .. }
        | Answer::Retrying { once: first, .. }
        | Answer::Failed(first)
        | Answer::Released(first)
        | Answer::Cancelled(first)
        | Answer::Retried { once: first, .. }
        | Answer::QueueSet { once: first, .. }
        | Answer::Purged { once: first, .. }
        | Answer::QueueDeleted(first)
        | Answer::DrainSet(first)
        | Answer::WorkerDown(first) => once(first),
    }
}

fn code(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::JobNotFound { .. } | Rejection::QueueNotFound { .. } => "not_found",
        Rejection::StaleToken { .. } => "stale_token",
        Rejection::StaleSession { .. } => "stale_session",
        Rejection::WrongState { .. } => "wrong_state",
        Rejection::JobIdConflict { .. } | Rejection::RequestIdConflict => "id_conflict",
        Rejection::Full { .. } => "queue_full",
        Rejection::QueueNotEmpty { .. } => "queue_not_empty",
        Rejection::Invalid { .. } => "invalid_argument",
        Rejection::DependencyCycle { .. } => "dependency_cycle",
    }
}
