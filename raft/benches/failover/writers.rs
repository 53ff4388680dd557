//! Whoever writes: one writer at each process all the time, and the load.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use crate::{
    cluster::Cluster,
    node::{DONE, WRITE},
};

const PATIENCE: Duration = Duration::from_mins(1);
/// How often each process is tried by its writer.
const PACE: Duration = Duration::from_millis(1);
const LOAD_BYTES: u32 = 256;

/// Threads that write, and when what they wrote was acknowledged.
pub(crate) struct Writers {
    /// Of the one writer at each process: when it was answered with success.
    acknowledged: Vec<Arc<Mutex<Vec<Instant>>>>,
    pub(crate) is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    /// One writer at each process, and `load` more at whoever leads.
    pub(crate) fn start(cluster: &Cluster, load: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let mut acknowledged = Vec::new();
        for orders in &cluster.orders {
            let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
            acknowledged.push(times.clone());
            let (orders, is_over) = (vec![*orders], is_over.clone());
            threads.push(thread::spawn(move || {
                write(&orders, 8, &is_over, || times.lock().unwrap().push(Instant::now()));
            }));
        }
        for number in 0..load {
            let mut orders = cluster.orders.clone();
            orders.rotate_left(number % 3);
            let is_over = is_over.clone();
            threads.push(thread::spawn(move || write(&orders, LOAD_BYTES, &is_over, || {})));
        }
        Self { acknowledged, is_over, threads }
    }

    /// Waits for the first acknowledgement after `signalled` by any but `leader`.
    pub(crate) fn first_elsewhere(&self, leader: usize, signalled: Instant) -> Instant {
        let until = Instant::now() + PATIENCE;
        loop {
            let others =
                self.acknowledged.iter().enumerate().filter(|(number, _)| *number != leader);
            let first = others
                .filter_map(|(_, times)| {
                    let times = times.lock().unwrap();
                    times.iter().find(|time| **time > signalled).copied()
                })
                .min();
            if let Some(first) = first {
                return first;
            }
            assert!(Instant::now() < until, "nobody took over");
            sleep(PACE);
        }
    }

    /// The last acknowledgement by `leader` before `time`.
    pub(crate) fn last_before(&self, time: Instant, leader: usize) -> Instant {
        let times = self.acknowledged[leader].lock().unwrap();
        *times.iter().rfind(|known| **known <= time).expect("it wrote before")
    }

    /// Waits for the threads.
    pub(crate) fn stop(self) {
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Writes on and on, at the next of these when one does not do it.
fn write(orders: &[SocketAddr], bytes: u32, is_over: &AtomicBool, mut done: impl FnMut()) {
    let mut request = vec![WRITE];
    request.extend(bytes.to_be_bytes());
    request.resize(request.len() + bytes as usize, b'x');
    let mut at = 0;
    let mut stream = None;
    while !is_over.load(Ordering::Relaxed) {
        let written = stream
            .take()
            .map_or_else(|| connect(orders[at % orders.len()]), Some)
            .and_then(|stream| exchange(stream, &request));
        match written {
            Some((same, true)) => {
                stream = Some(same);
                done();
            }
            Some((same, false)) => {
                if orders.len() == 1 {
                    stream = Some(same);
                }
                at += 1;
                sleep(PACE);
            }
            None => {
                at += 1;
                sleep(PACE);
            }
        }
    }
}

fn connect(orders: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&orders, Duration::from_millis(100)).ok()?;
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    Some(stream)
}

/// `None` when there was no answer.
fn exchange(mut stream: TcpStream, request: &[u8]) -> Option<(TcpStream, bool)> {
    stream.write_all(request).ok()?;
    let mut answer = [0];
    stream.read_exact(&mut answer).ok()?;
    Some((stream, answer[0] == DONE))
}
