//! The nodes, and what the tests ask of them.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use raft::{Bootstrap, Options, Role, Timing};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::super::*;
use crate::{
    node::{Clock, Environment, Limits, MachineClock, NodeOptions, RaftRuntime, samples::id},
    queue::{Answer, Claimed, Found, Grant, JobView},
};

/// How long anything may take in these tests before they fail. The machine may be busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// A hold that no test lives to see the end of.
pub(super) const HOLD: Duration = PATIENCE;
/// For claims that do not wait for a job.
pub(super) const NO_WAIT: Duration = Duration::ZERO;

/// A port that nobody listens on, below the range from which outgoing connections take theirs.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 997).unwrap() * 16;
    loop {
        let port = 12_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `condition` holds.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let polled = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, polled).await.is_ok(), "not in time: {what}");
}

/// The machine's clocks, the wall clock of which a test can set forward.
#[derive(Debug)]
struct FastClock {
    machine: MachineClock,
    ahead_ms: AtomicU64,
}

impl Clock for FastClock {
    fn monotonic_ms(&self) -> u64 {
        self.machine.monotonic_ms()
    }

    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }
}

/// Some nodes of one cluster.
pub(super) struct Cluster {
    options: Vec<NodeOptions>,
    nodes: Vec<Option<Handle>>,
    clocks: Vec<Arc<FastClock>>,
    _directories: Vec<TempDir>,
}

impl Cluster {
    /// That many voters, with a leader.
    pub(super) async fn of(voters: usize) -> Self {
        Self::with(voters, |_| ()).await
    }

    /// As [`Cluster::of`], with other options.
    pub(super) async fn with(voters: usize, change: impl Fn(&mut NodeOptions)) -> Self {
        let directories: Vec<_> = (0..voters).map(|_| tempfile::tempdir().unwrap()).collect();
        let addresses: Vec<_> =
            (0..voters).map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))).collect();
        let bootstrap = if voters == 1 {
            Bootstrap::Alone
        } else {
            let seeds = addresses.iter().map(ToString::to_string).collect();
            Bootstrap::Expect { voters, seeds, only: None }
        };
        let options: Vec<_> = addresses
            .iter()
            .zip(&directories)
            .enumerate()
            .map(|(number, (address, directory))| {
                let label = format!("n{number}");
                let raft = options(*address, directory.path(), &label, bootstrap.clone());
                let mut options = NodeOptions {
                    raft,
                    limits: Limits::default(),
                    disk_reserve_bytes: 0,
                    gossip: None,
                };
                change(&mut options);
                options
            })
            .collect();
        let nodes = vec![None; voters];
        let clock =
            |_| Arc::new(FastClock { machine: MachineClock::start(), ahead_ms: AtomicU64::new(0) });
        let clocks = (0..voters).map(clock).collect();
        let mut cluster = Self { options, nodes, clocks, _directories: directories };
        for number in 0..voters {
            cluster.start(number).await;
        }
        cluster.ready().await;
        cluster
    }

    /// Opens a node, again if it ran before.
    pub(super) async fn start(&mut self, number: usize) {
        let options = self.options[number].clone();
        let environment =
            Environment { clock: self.clocks[number].clone(), ..Environment::of_machine() };
        let opened = Node::open(options, environment, RaftRuntime::Current).await;
        self.nodes[number] = Some(opened.unwrap());
    }

    /// Waits until every running node is ready.
    pub(super) async fn ready(&self) {
        for node in self.running() {
            eventually("a node is ready", async || {
                node.status().checks.iter().all(|check| check.is_ok)
            })
            .await;
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Handle> {
        self.nodes.iter().flatten()
    }

    pub(super) fn node(&self, number: usize) -> &Handle {
        self.nodes[number].as_ref().expect("it runs")
    }

    /// The leader's number; waits for one.
    pub(super) async fn leader(&self) -> usize {
        let leads = |node: &Option<Handle>| {
            node.as_ref().is_some_and(|node| node.status().raft.role == Role::Leader)
        };
        eventually("there is a leader", async || self.nodes.iter().any(leads)).await;
        self.nodes.iter().position(leads).expect("it leads")
    }

    /// The numbers of the nodes that do not lead.
    pub(super) async fn followers(&self) -> Vec<usize> {
        let leader = self.leader().await;
        (0..self.nodes.len()).filter(|it| *it != leader && self.nodes[*it].is_some()).collect()
    }

    /// Stops a node as an operator does.
    pub(super) async fn stop(&mut self, number: usize) {
        self.nodes[number].take().expect("it runs").stop().await;
    }

    /// Ends a node without a farewell, as far as that is possible within one process.
    pub(super) async fn crash(&mut self, number: usize) {
        self.nodes[number].take().expect("it runs").node().shut().await;
    }

    /// Sets the wall clock of a node ahead of the machine's, ms.
    pub(super) fn set_ahead(&self, number: usize, ahead_ms: u64) {
        self.clocks[number].ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Ends every node.
    pub(super) async fn end(mut self) {
        for node in &mut self.nodes {
            if let Some(node) = node.take() {
                node.node().shut().await;
            }
        }
    }
}

/// Carries out one command.
pub(super) async fn submit(node: &Handle, command: Command) -> Outcome {
    let outcomes = node.submit(vec![command], HOLD).await.unwrap();
    let [outcome] = &outcomes[..] else { panic!("one outcome a command: {outcomes:?}") };
    outcome.clone()
}

/// What was granted, if anything.
pub(super) fn grant_of(outcome: &Outcome) -> Option<Grant> {
    let Ok(Answer::Claimed(jobs)) = &outcome.result else { panic!("{outcome:?}") };
    jobs.first().map(|job| match job {
        Claimed::Granted(grant) => grant.clone(),
        Claimed::Lost { .. } => panic!("{outcome:?}"),
    })
}

/// Claims and gets one job.
pub(super) async fn claim_one(node: &Handle, claim: Claim, wait: Duration) -> Grant {
    let outcome = node.claim(claim, wait, HOLD).await.unwrap();
    grant_of(&outcome).expect("there is a job")
}

/// A job, by a linearizable read.
pub(super) async fn job(node: &Handle, name: &str) -> Option<JobView> {
    let name = id(name);
    let read = node.read(Consistency::Linearizable, HOLD, |state| state.job(&name)).await;
    match read.unwrap().value {
        Some(Found::Job(job)) => Some(*job),
        Some(Found::Tombstone(_)) => panic!("no test lives that long"),
        None => None,
    }
}

/// One voter whose Raft runs on threads of its own.
pub(super) async fn alone_on_own_threads(directory: &Path) -> Handle {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let raft = options(address, directory, "alone", Bootstrap::Alone);
    let options =
        NodeOptions { raft, limits: Limits::default(), disk_reserve_bytes: 0, gossip: None };
    let opened = Node::open(options, Environment::of_machine(), RaftRuntime::Own).await;
    opened.unwrap()
}

fn options(address: SocketAddr, directory: &Path, label: &str, bootstrap: Bootstrap) -> Options {
    Options {
        cluster: "test".to_owned(),
        label: label.to_owned(),
        data_dir: directory.to_owned(),
        listen: address,
        advertise: address.to_string(),
        bootstrap,
        timing: Timing { heartbeat_ms: 30, election_min_ms: 150, election_max_ms: 300 },
        lifeline: None,
        segment_bytes: 1 << 20,
        snapshot_log_bytes: 64 << 20,
        kept_entries: 1_000_000,
    }
}

/// How many claims stand in line at a node.
pub(super) fn parked(node: &Handle) -> usize {
    node.node().bells.waiters().parked()
}
