//! Nodes in this process, over loopback TCP and temporary directories.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use raft::{
    Bootstrap, CallHandler, Disk, Environment, Net, OpenError, Options, OsNet, Peer, PeerId,
    ProposeError, Replica, Role, Status, Timing, disk::OsDisk, net::BoxFuture,
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::register::{Register, Written};

/// How long anything may take in these tests before they fail. The machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A port that nobody listens on, below the range from which outgoing connections take theirs.
pub(crate) fn free_port() -> u16 {
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
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let polled = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, polled).await.is_ok(), "not in time: {what}");
}

/// Answers with what it was asked, or with its caller's id, or never.
#[derive(Debug)]
pub(crate) struct Echo {
    /// How many futures of [`Echo`] are alive.
    pub(crate) alive: Arc<AtomicU64>,
}

struct Alive(Arc<AtomicU64>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl CallHandler for Echo {
    fn on_call(
        &self,
        from: PeerId,
        request: Bytes,
        _remaining: Duration,
    ) -> BoxFuture<'static, Bytes> {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(self.alive.clone());
        Box::pin(async move {
            let _alive = alive;
            match &request[..] {
                b"who am I" => from.to_le_bytes().to_vec().into(),
                b"never" => std::future::pending().await,
                _ => request,
            }
        })
    }
}

/// One node: its options and directory outlive its runs.
pub(crate) struct Node {
    pub(crate) options: Options,
    pub(crate) calls: Arc<AtomicU64>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) net: Arc<dyn Net>,
    _directory: TempDir,
    replica: Option<Replica<Register>>,
}

impl Node {
    /// A node that has never run, in a directory of its own, on a port of its own.
    pub(crate) fn new(label: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let options = Options {
            cluster: "test".to_owned(),
            label: label.to_owned(),
            data_dir: directory.path().to_owned(),
            listen: address,
            advertise: address.to_string(),
            bootstrap: Bootstrap::Alone,
            timing: Timing { heartbeat_ms: 30, election_min_ms: 150, election_max_ms: 300 },
            lifeline: None,
            segment_bytes: 1 << 20,
            snapshot_log_bytes: 64 << 20,
            kept_entries: 1_000_000,
        };
        let (disk, net) = (Arc::new(OsDisk), Arc::new(OsNet));
        Self { options, calls: Arc::default(), disk, net, _directory: directory, replica: None }
    }

    /// Opens its replica.
    pub(crate) async fn try_start(&mut self) -> Result<(), OpenError> {
        static SEED: AtomicU64 = AtomicU64::new(1);
        let seed = SEED.fetch_add(1, Ordering::Relaxed) << 32 | u64::from(std::process::id());
        let environment = Environment { disk: self.disk.clone(), net: self.net.clone(), seed };
        let calls = Arc::new(Echo { alive: self.calls.clone() });
        let opened = Replica::open(self.options.clone(), environment, Register::default(), calls);
        self.replica = Some(opened.await?);
        Ok(())
    }

    pub(crate) async fn start(&mut self) {
        self.try_start().await.unwrap();
    }

    pub(crate) async fn stop(&mut self) {
        self.replica.take().expect("it runs").stop().await;
    }

    pub(crate) fn replica(&self) -> &Replica<Register> {
        self.replica.as_ref().expect("it runs")
    }

    pub(crate) fn is_running(&self) -> bool {
        self.replica.is_some()
    }

    pub(crate) fn status(&self) -> Status {
        self.replica().status().borrow().clone()
    }

    pub(crate) fn peer(&self) -> Peer {
        self.status().me
    }

    pub(crate) fn register(&self) -> Register {
        self.replica().look(Clone::clone)
    }
}

/// Fresh nodes that expect `voters` of themselves; each has the first `seeds` as seeds.
pub(crate) fn fresh(count: usize, voters: usize, seeds: usize) -> Vec<Node> {
    let mut nodes: Vec<Node> = (0..count).map(|number| Node::new(&format!("n{number}"))).collect();
    let seeds: Vec<String> =
        nodes.iter().take(seeds).map(|node| node.options.advertise.clone()).collect();
    for node in &mut nodes {
        node.options.bootstrap = Bootstrap::Expect { voters, seeds: seeds.clone(), only: None };
    }
    nodes
}

/// Three voters that have a leader.
pub(crate) async fn three() -> Vec<Node> {
    three_with(|_| {}).await
}

/// Three voters with other options.
pub(crate) async fn three_with(change: impl Fn(&mut Options)) -> Vec<Node> {
    let mut nodes = fresh(3, 3, 1);
    for node in &mut nodes {
        change(&mut node.options);
        node.start().await;
    }
    leader(&nodes).await;
    nodes
}

/// Waits until the running nodes agree on a leader among them, and returns its place.
pub(crate) async fn leader(nodes: &[Node]) -> usize {
    let mut found = None;
    eventually("one leader that all running nodes know", || {
        let running: Vec<_> = nodes.iter().filter(|node| node.is_running()).collect();
        let known: BTreeSet<_> = running.iter().map(|node| node.status().leader).collect();
        found = nodes.iter().position(|node| {
            node.is_running() && node.status().role == Role::Leader && {
                let me = Some(node.peer());
                known.len() == 1 && known.contains(&me)
            }
        });
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Writes through whoever leads, trying again until it is certain.
pub(crate) async fn write(nodes: &[Node], value: &str) -> Written {
    let written = async {
        loop {
            let leader = leader(nodes).await;
            match nodes[leader].replica().propose(Bytes::copy_from_slice(value.as_bytes())).await {
                Ok(written) => return written,
                Err(ProposeError::NotLeader { .. } | ProposeError::Unknown) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, written).await.expect("not in time: a write")
}

/// Waits until all running nodes have applied `index`, and their registers are equal.
pub(crate) async fn converged(nodes: &[Node], index: u64) {
    let running: Vec<_> = nodes.iter().filter(|node| node.is_running()).collect();
    for node in &running {
        let applied = timeout(PATIENCE, node.replica().wait_applied(index)).await;
        applied.expect("not in time: applied").unwrap();
    }
    eventually("equal registers", || {
        let registers: Vec<_> = running.iter().map(|node| node.register()).collect();
        registers.windows(2).all(|pair| pair[0] == pair[1])
    })
    .await;
}
