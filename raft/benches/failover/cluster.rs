//! Three processes and what is done to them.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::node::SAY;

/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is done to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Kill,
    Stop,
}

/// One process; it can be started again.
struct Process {
    arguments: Vec<String>,
    child: Child,
}

impl Process {
    fn start(arguments: Vec<String>) -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).arg("node").args(&arguments).spawn().unwrap();
        Self { arguments, child }
    }
}

/// Three processes, and the ports where they take orders.
pub(crate) struct Cluster {
    processes: Vec<Process>,
    pub(crate) orders: Vec<SocketAddr>,
    _directories: TempDir,
}

/// What one process says: its term, the leader's number, what it has applied, and when and why it
/// last stood because of a suspicion.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    term: u64,
    leader: Option<usize>,
    applied: u64,
    stood_in: u64,
    cause: String,
}

impl Cluster {
    /// Starts three fresh processes.
    pub(crate) fn start(has_lifeline: bool) -> Self {
        let directories = tempfile::tempdir().unwrap();
        let ports = free_ports();
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let seed = address(ports[0]).to_string();
        let arguments = |number: usize| {
            let directory = directories.path().join(number.to_string());
            vec![
                number.to_string(),
                directory.display().to_string(),
                address(ports[number]).to_string(),
                address(ports[number + 3]).to_string(),
                seed.clone(),
                has_lifeline.to_string(),
            ]
        };
        let processes = (0..3).map(|number| Process::start(arguments(number))).collect();
        let orders = ports[3..].iter().map(|port| address(*port)).collect();
        Self { processes, orders, _directories: directories }
    }

    /// Waits until all name one leader and have applied the same; who leads, and in which term.
    pub(crate) fn settled(&self) -> (usize, u64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let said: Vec<_> = self.orders.iter().filter_map(|orders| say(*orders)).collect();
            let first = said.first().cloned();
            let agrees = |said: &Said| {
                first.as_ref().is_some_and(|first| {
                    (first.term, first.leader) == (said.term, said.leader)
                        && first.applied.abs_diff(said.applied) < 10_000
                })
            };
            if let Some(Said { term, leader: Some(leader), .. }) = first
                && said.len() == 3
                && said.iter().all(agrees)
            {
                return (leader, term);
            }
            assert!(Instant::now() < until, "no settled leader in time: {said:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Why the newest leader was elected, as those say that can.
    pub(crate) fn cause(&self) -> String {
        let said: Vec<_> = self.orders.iter().filter_map(|orders| say(*orders)).collect();
        let newest = said.iter().map(|said| said.term).max().unwrap_or(0);
        let stood = said.into_iter().find(|said| said.stood_in == newest);
        stood.map_or_else(|| "timer".to_owned(), |said| said.cause)
    }

    pub(crate) fn signal(&mut self, number: usize, signal: Signal) {
        let child = &mut self.processes[number].child;
        match signal {
            Signal::Kill => child.kill().unwrap(),
            Signal::Stop => kill("-STOP", child.id()),
        }
    }

    /// Brings back what a signal has done.
    pub(crate) fn repair(&mut self, number: usize, signal: Signal) {
        let process = &mut self.processes[number];
        match signal {
            Signal::Stop => kill("-CONT", process.child.id()),
            Signal::Kill => {
                process.child.wait().unwrap();
                *process = Process::start(process.arguments.clone());
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for Process { child, .. } in &mut self.processes {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn kill(signal: &str, id: u32) {
    let sent = Command::new("kill").args([signal, &id.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Below the range from which outgoing connections take theirs.
fn free_ports() -> Vec<u16> {
    let start = u16::try_from(std::process::id() % 1_000).unwrap() * 16;
    let ports = (0..20_000).map(|offset| 12_000 + (start + offset) % 20_000);
    ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).take(6).collect()
}

fn say(orders: SocketAddr) -> Option<Said> {
    let limit = Duration::from_millis(300);
    let mut stream = TcpStream::connect_timeout(&orders, limit).ok()?;
    stream.set_read_timeout(Some(limit)).unwrap();
    stream.write_all(&[SAY]).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut text = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut text).ok()?;
    let text = String::from_utf8(text).unwrap();
    let mut words = text.splitn(5, ' ');
    let mut word = || words.next().unwrap().to_owned();
    Some(Said {
        term: word().parse().unwrap(),
        leader: word().parse().ok(),
        applied: word().parse().unwrap(),
        stood_in: word().parse().unwrap(),
        cause: word(),
    })
}
