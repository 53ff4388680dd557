//! What the clients do: producers add, repeat, read, call off and put back; workers claim, and then finish,
//! fail, give back, oversleep or vanish. Each speaks to one node until that does not answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::Method;
use jepsen_like::{
    classify::{Class, Outcome, Sent, classify},
    history::{Event, Failure, Function, Kind},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::recorder::Recorder;
use crate::{
    chance::Chance,
    http::{Answer, Connection, NoAnswer},
};

/// Longer than a node holds a request.
const CALL_LIMIT: Duration = Duration::from_secs(8);
/// How often a call is repeated whose outcome is unknown.
const REPEATS: usize = 3;
/// Before an address is tried again that took no connection.
const PAUSE: Duration = Duration::from_millis(20);
/// How many jobs a producer remembers.
const RECENT: usize = 20;
const QUEUE: &str = "chaos";
const MAX_ATTEMPTS: u32 = 6;

/// Where the nodes are, and what they are called.
pub(super) type Nodes = Arc<[(String, SocketAddr)]>;

/// One client.
pub(super) struct Client {
    recorder: Arc<Recorder>,
    nodes: Nodes,
    /// The node that it speaks to.
    at: usize,
    connection: Option<Connection>,
    process: u64,
    chance: Chance,
    /// Unlike any other client's.
    name: String,
    made: u64,
    is_over: Arc<AtomicBool>,
    /// Between two operations, on average.
    pause: Duration,
}

/// One call, as it is sent and as it is recorded.
#[derive(Debug, Clone)]
struct Call {
    f: Function,
    job: Option<String>,
    tok: Option<u64>,
    req: Option<String>,
    args: Value,
    method: Method,
    path: String,
    body: Value,
}

/// How it ended.
enum Ending {
    Ok(Value),
    Fail,
    Info,
}

impl Client {
    pub(super) fn new(
        recorder: &Arc<Recorder>,
        nodes: &Nodes,
        number: usize,
        seed: u64,
        is_over: &Arc<AtomicBool>,
        pause: Duration,
    ) -> Self {
        Self {
            recorder: Arc::clone(recorder),
            nodes: Arc::clone(nodes),
            at: number % nodes.len(),
            connection: None,
            process: recorder.process(),
            chance: Chance::of(seed.wrapping_mul(1_000_003).wrapping_add(number as u64)),
            name: format!("c{number}"),
            made: 0,
            is_over: Arc::clone(is_over),
            pause,
        }
    }

    pub(super) async fn produce(mut self) {
        let mut recent: Vec<(String, u64)> = vec![];
        while self.rest().await {
            let old = (!recent.is_empty()).then(|| self.chance.one_of(&recent).clone());
            match (self.chance.below(20), old) {
                (0..=2, Some((job, content))) => drop(self.ask(&add(&job, content)).await),
                (3, Some((job, content))) => drop(self.ask(&add(&job, content + 1_000_000)).await),
                (4, Some((job, _))) => self.about(Function::Cancel, &job).await,
                (5, Some((job, _))) => self.about(Function::Retry, &job).await,
                (6..=8, Some((job, _))) => self.about(Function::Get, &job).await,
                _ => {
                    let (job, content) = (self.fresh(), self.chance.below(1_000));
                    if recent.len() == RECENT {
                        recent.remove(0);
                    }
                    recent.push((job.clone(), content));
                    drop(self.ask(&add(&job, content)).await);
                }
            }
        }
    }

    pub(super) async fn work(mut self) {
        while self.rest().await {
            let Some((job, token, lease)) = self.claim().await else { continue };
            match self.chance.below(20) {
                0..=9 => self.complete(&job, token).await,
                10 => {
                    self.complete(&job, token).await;
                    self.complete(&job, token).await;
                }
                11 | 12 => self.held(Function::Fail, &job, token).await,
                13 => self.held(Function::Release, &job, token).await,
                14 => {
                    self.held(Function::Start, &job, token).await;
                    self.held(Function::Heartbeat, &job, token).await;
                    self.complete(&job, token).await;
                }
                15..=17 => {
                    let times = u32::try_from(self.chance.below(3)).expect("few") + 2;
                    sleep(lease * times).await;
                    self.held(Function::Heartbeat, &job, token).await;
                    self.complete(&job, token).await;
                }
                _ => {}
            }
        }
    }

    /// Adds one job through this node and no other, and again until it is acknowledged; whether that came in
    /// time.
    pub(super) async fn write_through(mut self, node: usize, limit: Duration) -> bool {
        let begun = Instant::now();
        let call = add(&format!("{}-barrier", self.name), 1);
        while begun.elapsed() < limit {
            (self.at, self.connection) = (node, None);
            if matches!(self.attempt(&call).await, Ending::Ok(_)) {
                return true;
            }
            sleep(PAUSE).await;
        }
        false
    }

    /// Waits until its next operation is due; whether there is to be one.
    async fn rest(&mut self) -> bool {
        let share = u32::try_from(self.chance.below(200)).expect("small");
        sleep(self.pause * share / 100).await;
        !self.is_over.load(Ordering::Relaxed)
    }

    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    async fn about(&mut self, f: Function, job: &str) {
        let call = match f {
            Function::Get => Call {
                method: Method::GET,
                ..post(f, &format!("/work/get/{job}"), Some(job), None, Value::Null)
            },
            Function::Cancel => post(f, "/work/cancel", Some(job), None, json!({"work_id": job})),
            _ => {
                let request = self.fresh();
                let body = json!({"work_id": job, "request_id": request});
                post(f, "/work/retry", Some(job), None, body)
            }
        };
        self.ask(&call).await;
    }

    async fn claim(&mut self) -> Option<(String, u64, Duration)> {
        let (request, lease_ms) = (self.fresh(), 200 + self.chance.below(700));
        let args = json!({"node_id": self.name, "lease_ms": lease_ms});
        let body = json!({
            "node_id": self.name,
            "queues": [QUEUE],
            "lease_ms": lease_ms,
            "wait_ms": self.chance.below(300),
            "request_id": request,
        });
        let call = post(Function::Claim, "/work/claim", None, None, body);
        let Ending::Ok(work) = self.ask(&Call { args, req: Some(request), ..call }).await else {
            return None;
        };
        if work["lost"] == true {
            return None;
        }
        let job = work["work_id"].as_str()?.to_owned();
        Some((job, work["token"].as_u64()?, Duration::from_millis(lease_ms)))
    }

    async fn complete(&mut self, job: &str, token: u64) {
        let result = json!({"by": self.name, "draw": self.chance.below(1 << 32)});
        let body = json!({"work_id": job, "token": token, "result": result});
        let call = post(Function::Complete, "/work/complete", Some(job), Some(token), body);
        self.ask(&Call { args: json!({"result": result}), ..call }).await;
    }

    /// A call of the holder of a job.
    async fn held(&mut self, f: Function, job: &str, token: u64) {
        let args = match f {
            Function::Fail => json!({"retry_in_ms": self.chance.below(600)}),
            Function::Release => json!({"delay_ms": self.chance.below(400)}),
            _ => json!({}),
        };
        let mut body = args.clone();
        (body["work_id"], body["token"]) = (job.into(), token.into());
        if f == Function::Heartbeat {
            body["node_id"] = self.name.as_str().into();
        }
        let call = post(f, &format!("/work/{f}"), Some(job), Some(token), body);
        self.ask(&Call { args, ..call }).await;
    }

    /// Asks, and again under the same identity while nobody knows what came of it.
    async fn ask(&mut self, call: &Call) -> Ending {
        for _ in 0..=REPEATS {
            match self.attempt(call).await {
                Ending::Info => {}
                ending => return ending,
            }
        }
        Ending::Info
    }

    /// One try, recorded.
    async fn attempt(&mut self, call: &Call) -> Ending {
        let invoke = self.event(call, Kind::Invoke);
        let begun = Instant::now();
        self.recorder.record(Event { args: call.args.clone(), ..invoke.clone() });
        let result = self.send(call).await;
        let (kind, err, body) = judged(call.f, result);
        let mut event = Event { kind, err, ..invoke };
        let res = if call.f == Function::Claim { body["work"].clone() } else { body.clone() };
        if kind == Kind::Ok {
            event.rev = body["rev"].as_u64();
            if call.f == Function::Claim {
                event.job = res["work_id"].as_str().map(str::to_owned);
                event.tok = res["token"].as_u64();
            }
            event.res.clone_from(&res);
        }
        self.recorder.record(event);
        self.recorder.count(call.f, kind, begun.elapsed());
        match kind {
            Kind::Ok => Ending::Ok(res),
            Kind::Fail => Ending::Fail,
            Kind::Info | Kind::Invoke => {
                self.process = self.recorder.process();
                Ending::Info
            }
        }
    }

    fn event(&self, call: &Call, kind: Kind) -> Event {
        Event {
            i: 0,
            t: 0,
            process: self.process,
            node: self.nodes[self.at].0.clone(),
            kind,
            f: call.f,
            req: call.req.clone(),
            q: None,
            job: call.job.clone(),
            tok: call.tok,
            rev: None,
            args: Value::Null,
            res: Value::Null,
            err: None,
        }
    }

    /// Sends it on its connection, or a new one; leaves a node that does not answer for the next.
    async fn send(&mut self, call: &Call) -> Result<Answer, NoAnswer> {
        let result = self.send_here(call).await;
        match &result {
            Ok(answer) if answer.status < 500 => {}
            Ok(_) => self.at = (self.at + 1) % self.nodes.len(),
            Err(error) => {
                self.connection = None;
                self.at = (self.at + 1) % self.nodes.len();
                if *error == NoAnswer::NotConnected {
                    sleep(PAUSE).await;
                }
            }
        }
        result
    }

    async fn send_here(&mut self, call: &Call) -> Result<Answer, NoAnswer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.nodes[self.at].1).await?,
        };
        let body = if call.body.is_null() { Bytes::new() } else { call.body.to_string().into() };
        let answer = connection.call(call.method.clone(), &call.path, body, CALL_LIMIT).await?;
        if answer.status < 500 {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

/// What a job is added with follows from its content, so that a repeat says the same.
fn add(job: &str, content: u64) -> Call {
    let delay_ms = if content.is_multiple_of(5) { 200 + content % 400 } else { 0 };
    let args = json!({
        "payload": {"n": content},
        "delay_ms": delay_ms,
        "max_attempts": MAX_ATTEMPTS,
    });
    let mut body = args.clone();
    (body["work_id"], body["queue"]) = (job.into(), QUEUE.into());
    Call { args, ..post(Function::Add, "/work/add", Some(job), None, body) }
}

fn post(f: Function, path: &str, job: Option<&str>, tok: Option<u64>, body: Value) -> Call {
    Call {
        f,
        job: job.map(str::to_owned),
        tok,
        req: None,
        args: Value::Null,
        method: Method::POST,
        path: path.to_owned(),
        body,
    }
}

/// What the history is to say of an outcome, and the body of a success.
fn judged(f: Function, result: Result<Answer, NoAnswer>) -> (Kind, Option<Failure>, Value) {
    let outcome = match result {
        Ok(answer) => {
            let body = serde_json::from_slice(&answer.body).ok();
            Outcome::Answered { status: answer.status, body }
        }
        Err(NoAnswer::NotConnected) => Outcome::NotConnected,
        Err(NoAnswer::Lost) => Outcome::Closed(Sent::Perhaps),
        Err(NoAnswer::TimedOut) => Outcome::TimedOut(Sent::Perhaps),
    };
    let body = match &outcome {
        Outcome::Answered { body: Some(body), .. } => body.clone(),
        _ => Value::Null,
    };
    match classify(f, &outcome) {
        Class::Completed(Kind::Ok, _) if f == Function::Heartbeat && !is_extended(&body) => {
            let failure = Failure { kind: "lost".to_owned(), sent: true };
            (Kind::Fail, Some(failure), Value::Null)
        }
        Class::Completed(kind, failure) => (kind, failure, body),
        Class::Dropped => {
            let failure = Failure { kind: "not_read".to_owned(), sent: true };
            (Kind::Fail, Some(failure), Value::Null)
        }
    }
}

/// Whether a heartbeat of one lease was told that it goes on.
fn is_extended(body: &Value) -> bool {
    body["items"][0]["status"] == "extended"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &Value) -> Answer {
        Answer { status, body: body.to_string().into() }
    }

    #[test]
    fn a_heartbeat_that_was_told_that_its_lease_is_lost_has_failed() {
        let beat = |status: &str| {
            let body = json!({"items": [{"work_id": "a", "token": 3, "status": status}], "rev": 4});
            judged(Function::Heartbeat, Ok(answer(200, &body))).0
        };
        assert_eq!(beat("extended"), Kind::Ok);
        assert_eq!(beat("lost"), Kind::Fail);
        assert_eq!(beat("cancel_requested"), Kind::Fail);
    }

    #[test]
    fn what_nobody_answered_is_unknown_and_a_read_of_it_nothing() {
        assert_eq!(judged(Function::Add, Err(NoAnswer::TimedOut)).0, Kind::Info);
        assert_eq!(judged(Function::Add, Err(NoAnswer::NotConnected)).0, Kind::Fail);
        assert_eq!(judged(Function::Get, Err(NoAnswer::Lost)).0, Kind::Fail);
    }
}
