//! The load: many clients, each with one call under way at a time (closed loop), through the cycle of a
//! job: add, claim, complete. Ids are repeated never, so a job that two calls complete is one too many.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hyper::Method;
use serde_json::{Value, json};
use tokio::{runtime::Builder, task::LocalSet, time::sleep};

use super::{CALL_LIMIT, PAYLOAD_BYTES, Tally};
use crate::{
    exit::Failure,
    http::{Answer, Connection, NoAnswer, failure_of},
};

/// The beginning of the ids of the jobs; a number follows.
const PREFIX: &str = "load-";
/// A client that could not connect tries again after this.
const PAUSE: Duration = Duration::from_millis(20);

/// The numbers of the jobs of all loads of a run, and which of them are completed.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    next: AtomicU64,
    completed: Mutex<Vec<u64>>,
    completed_twice: AtomicU64,
}

impl Numbers {
    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes that a call completed this job, and was not told that it had been completed before.
    fn on_completed(&self, number: u64) {
        let (word, bit) = (usize::try_from(number / 64).expect("fits"), 1 << (number % 64));
        let mut completed = self.completed.lock().expect("nobody panics under this lock");
        if completed.len() <= word {
            completed.resize(word + 1, 0);
        }
        if completed[word] & bit != 0 {
            self.completed_twice.fetch_add(1, Ordering::Relaxed);
        }
        completed[word] |= bit;
    }

    /// How many jobs were completed.
    pub(crate) fn completed(&self) -> u64 {
        let completed = self.completed.lock().expect("nobody panics under this lock");
        completed.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// How many completions were acknowledged of jobs of which one had been already.
    pub(crate) fn completed_twice(&self) -> u64 {
        self.completed_twice.load(Ordering::Relaxed)
    }
}

/// A running load.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    started: Instant,
    thread: JoinHandle<()>,
}

impl Load {
    /// Starts so many clients, spread over these nodes.
    pub(crate) fn start(
        clients: usize,
        nodes: Vec<SocketAddr>,
        numbers: Arc<Numbers>,
    ) -> Result<Self, Failure> {
        let (is_over, tally) = (Arc::<AtomicBool>::default(), Arc::default());
        let thread = {
            let (is_over, tally) = (Arc::clone(&is_over), Arc::clone(&tally));
            std::thread::Builder::new()
                .name("load".to_owned())
                .spawn(move || run(clients, &nodes, &numbers, &is_over, &tally))
                .map_err(Failure::harness("starting the load"))?
        };
        Ok(Self { is_over, tally, started: Instant::now(), thread })
    }

    /// Calls that succeeded so far, a second.
    pub(crate) fn rate(&self) -> f64 {
        let ok = self.tally.lock().expect("nobody panics under this lock").ok;
        let seconds = self.started.elapsed().as_secs_f64();
        f64::from(u32::try_from(ok).unwrap_or(u32::MAX)) / seconds.max(0.001)
    }

    /// Sends nothing more, waits for the answers, and says what became of all calls.
    pub(crate) fn finish(self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.join());
        let mut tally = self.tally.lock().expect("nobody panics under this lock");
        std::mem::take(&mut tally)
    }
}

fn run(
    clients: usize,
    nodes: &[SocketAddr],
    numbers: &Arc<Numbers>,
    is_over: &Arc<AtomicBool>,
    tally: &Arc<Mutex<Tally>>,
) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    LocalSet::new().block_on(&runtime, async {
        let clients: Vec<_> = (0..clients)
            .map(|index| {
                let mut client = Client {
                    name: format!("load-{index}"),
                    node: nodes[index % nodes.len()],
                    connection: None,
                    numbers: Arc::clone(numbers),
                    tally: Arc::clone(tally),
                };
                let is_over = Arc::clone(is_over);
                tokio::task::spawn_local(async move {
                    while !is_over.load(Ordering::Relaxed) {
                        client.cycle().await;
                    }
                })
            })
            .collect();
        for client in clients {
            drop(client.await);
        }
    });
}

struct Client {
    name: String,
    node: SocketAddr,
    connection: Option<Connection>,
    numbers: Arc<Numbers>,
    tally: Arc<Mutex<Tally>>,
}

impl Client {
    /// Adds a job, claims one and completes it.
    async fn cycle(&mut self) {
        let number = self.numbers.next();
        let payload = "x".repeat(PAYLOAD_BYTES);
        let id = format!("{PREFIX}{number}");
        self.call("/work/add", &json!({"work_id": id, "queue": "load", "payload": payload})).await;
        let claim = json!({
            "node_id": self.name,
            "queues": ["load"],
            "request_id": format!("{}-{number}", self.name),
            "lease_ms": 60_000,
        });
        let Some(claimed) = self.call("/work/claim", &claim).await else { return };
        let work = &claimed["work"];
        let (Some(id), Some(token)) = (work["work_id"].as_str(), work["token"].as_u64()) else {
            return;
        };
        let done = json!({"work_id": id, "token": token, "result": {"n": number}});
        let completed = self.call("/work/complete", &done).await;
        let is_first = completed.is_some_and(|body| body["duplicate"] != Value::Bool(true));
        let number = id.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
        if let Some(number) = number.filter(|_| is_first) {
            self.numbers.on_completed(number);
        }
    }

    /// One call, counted; the JSON of a success.
    async fn call(&mut self, path: &str, body: &Value) -> Option<Value> {
        let result = self.send(path, body).await;
        let failure = failure_of(&result);
        let has_failed = failure.is_some();
        self.tally.lock().expect("nobody panics under this lock").count(failure);
        if matches!(result, Err(NoAnswer::NotConnected)) {
            sleep(PAUSE).await;
        }
        result.ok().filter(|_| !has_failed).map(|answer| answer.json())
    }

    async fn send(&mut self, path: &str, body: &Value) -> Result<Answer, NoAnswer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.node).await?,
        };
        let body = body.to_string().into();
        let answer = connection.call(Method::POST, path, body, CALL_LIMIT).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_two_calls_completed_is_noticed() {
        let numbers = Numbers::default();
        for number in [0, 63, 64, 200] {
            numbers.on_completed(number);
        }
        assert_eq!((numbers.completed(), numbers.completed_twice()), (4, 0));
        numbers.on_completed(64);
        assert_eq!((numbers.completed(), numbers.completed_twice()), (4, 1));
    }

    #[test]
    fn no_number_is_given_twice() {
        let numbers = Numbers::default();
        assert_ne!(numbers.next(), numbers.next());
    }
}
