//! The writer: one add every few milliseconds, sent when it is due whether or not the ones before are
//! answered (open loop), so that a stall is as long in its record as it was.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hyper::Method;
use serde_json::json;
use tokio::{runtime::Builder, task::LocalSet, time::sleep_until};

use super::{CALL_LIMIT, PAYLOAD_BYTES};
use crate::{
    exit::Failure,
    http::{Connection, NoAnswer, failure_of},
    measure::Write,
};

/// Connections that are open before the first write; more are opened when so many calls are under way.
const CONNECTIONS: usize = 64;
/// The most writes under way at once: 20 s of them, more than a node holds a request for.
const UNDER_WAY_MAX: usize = 4096;
/// What a write is counted under that was not sent because too many were under way.
const NOT_SENT: &str = "not sent: too many under way";

/// A running writer.
pub(crate) struct Writer {
    is_over: Arc<AtomicBool>,
    writes: Arc<Mutex<Vec<Write>>>,
    thread: JoinHandle<()>,
}

/// What a writer is to do.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    /// What all times are since.
    pub(crate) epoch: Instant,
    /// The node that it talks to.
    pub(crate) node: SocketAddr,
    /// Between two writes.
    pub(crate) every: Duration,
    /// The beginning of the ids of its jobs, unlike any other writer's.
    pub(crate) prefix: String,
}

impl Writer {
    /// Starts it; when this returns its connections are open and its first write is due.
    pub(crate) fn start(
        epoch: Instant,
        node: SocketAddr,
        every: Duration,
        prefix: String,
    ) -> Result<Self, Failure> {
        let orders = Orders { epoch, node, every, prefix };
        let (is_over, writes) = (Arc::<AtomicBool>::default(), Arc::default());
        let (connected, is_connected) = mpsc::channel();
        let thread = {
            let (is_over, writes) = (Arc::clone(&is_over), Arc::clone(&writes));
            std::thread::Builder::new()
                .name("writer".to_owned())
                .spawn(move || run(&orders, &is_over, &writes, &connected))
                .map_err(Failure::harness("starting the writer"))?
        };
        match is_connected.recv() {
            Ok(true) => Ok(Self { is_over, writes, thread }),
            Ok(false) | Err(_) => {
                Err(Failure::Cluster(format!("the writer cannot connect to {node}")))
            }
        }
    }

    /// Whether this holds of the writes so far.
    pub(crate) fn have(&self, holds: impl FnOnce(&[Write]) -> bool) -> bool {
        holds(&self.writes.lock().expect("the writer does not panic under this lock"))
    }

    /// Sends nothing more, waits for the answers, and gives all writes.
    pub(crate) fn finish(self) -> Vec<Write> {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.join());
        let mut writes = self.writes.lock().expect("the writer does not panic under this lock");
        std::mem::take(&mut writes)
    }
}

fn run(
    orders: &Orders,
    is_over: &AtomicBool,
    writes: &Arc<Mutex<Vec<Write>>>,
    connected: &mpsc::Sender<bool>,
) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
    LocalSet::new().block_on(&runtime, async {
        let mut idle = VecDeque::new();
        for _ in 0..CONNECTIONS {
            if let Ok(connection) = Connection::open(orders.node).await {
                idle.push_back(connection);
            }
        }
        let _ = connected.send(idle.len() == CONNECTIONS);
        write_on_time(orders, is_over, writes, idle).await;
    });
}

/// What the writes of one writer share.
struct Shared {
    idle: RefCell<VecDeque<Connection>>,
    under_way: Cell<usize>,
}

async fn write_on_time(
    orders: &Orders,
    is_over: &AtomicBool,
    writes: &Arc<Mutex<Vec<Write>>>,
    idle: VecDeque<Connection>,
) {
    let shared = Rc::new(Shared { idle: RefCell::new(idle), under_way: Cell::new(0) });
    let start = Instant::now();
    for number in 0_u32.. {
        let due = start + orders.every * number;
        sleep_until(due.into()).await;
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let (intended, sent) = (due - orders.epoch, orders.epoch.elapsed());
        if shared.under_way.get() >= UNDER_WAY_MAX {
            let failure = Some(NOT_SENT.to_owned());
            push(writes, Write { intended, sent, ended: sent, failure });
            continue;
        }
        shared.under_way.set(shared.under_way.get() + 1);
        let (orders, shared, writes) = (orders.clone(), Rc::clone(&shared), Arc::clone(writes));
        tokio::task::spawn_local(async move {
            let failure = write(&orders, &shared.idle, number).await;
            let ended = orders.epoch.elapsed();
            push(&writes, Write { intended, sent, ended, failure });
            shared.under_way.set(shared.under_way.get() - 1);
        });
    }
    while shared.under_way.get() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One add on the connection that has been idle the longest, so that none ever is for long.
async fn write(
    orders: &Orders,
    idle: &RefCell<VecDeque<Connection>>,
    number: u32,
) -> Option<String> {
    let body = json!({
        "work_id": format!("{}-{number}", orders.prefix),
        "queue": "failover",
        "payload": "x".repeat(PAYLOAD_BYTES),
    });
    let kept = idle.borrow_mut().pop_front();
    let mut connection = match kept {
        Some(connection) => connection,
        None => match Connection::open(orders.node).await {
            Ok(connection) => connection,
            Err(error) => return failure_of(&Err(error)),
        },
    };
    let body = body.to_string().into();
    let result = connection.call(Method::POST, "/work/add", body, CALL_LIMIT).await;
    match result {
        Err(NoAnswer::Lost | NoAnswer::TimedOut | NoAnswer::NotConnected) => {}
        Ok(_) => idle.borrow_mut().push_back(connection),
    }
    failure_of(&result)
}

fn push(writes: &Mutex<Vec<Write>>, write: Write) {
    writes.lock().expect("nobody panics under this lock").push(write);
}
