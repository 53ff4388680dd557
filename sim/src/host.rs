//! One host: a real node, its clients, and the final read.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use jepsen_like::final_read::{JobLine, ReadEnd};
use quorate::{
    node::{
        Consistency, Environment, FileSystem, Handle, Limits, NoArchive, Node, NodeOptions,
        OpenError, RaftRuntime,
    },
    queue::{self, Filter, State},
};
use raft::{Bootstrap, Lifeline, Timing, disk::MemoryDisk};
use tokio::sync::watch;

use crate::{
    clock::SimClock, net::SimNet, recorder::Recorder, schedule::Place, view::job_view, workload,
};

/// The peers' port, on every host.
const PEER_PORT: u16 = 8771;
/// Small, so that segments are closed and removed, and snapshots written and sent.
const SEGMENT_BYTES: u64 = 64 << 10;
const SNAPSHOT_LOG_BYTES: u64 = 64 << 10;
const KEPT_ENTRIES: u64 = 10;
/// How long the final read may wait for a leader.
const READ_HOLD: Duration = Duration::from_secs(20);

/// What the clients of all hosts are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Work.
    Run,
    /// Invoke nothing more, but write once: a majority works, and the others do not.
    Core,
    /// Write once more, in the new term.
    Barrier,
    /// Read everything, now that nobody writes any more.
    Read,
}

/// Which hosts have done what a phase asked of them.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<BTreeSet<(Phase, Place)>>>);

impl Progress {
    fn note(&self, phase: Phase, place: Place) {
        self.0.lock().expect("nothing panics in here").insert((phase, place));
    }

    /// Those of these hosts that have not.
    pub fn missing(&self, phase: Phase, of: &[Place]) -> Vec<Place> {
        let done = self.0.lock().expect("nothing panics in here");
        of.iter().copied().filter(|place| !done.contains(&(phase, *place))).collect()
    }
}

/// What a host is made of; it is the same at every start.
#[derive(Clone)]
pub struct Body {
    /// Its place among them.
    pub place: Place,
    /// The names of all hosts.
    pub peers: &'static [&'static str],
    /// Whether it pings the others.
    pub has_lifeline: bool,
    /// Its name.
    pub name: &'static str,
    /// Its network.
    pub net: SimNet,
    /// Its disk, which outlives it.
    pub disk: Arc<MemoryDisk>,
    /// Its clocks.
    pub clock: SimClock,
    /// What its choices follow from.
    pub seed: u64,
    /// How often it was started.
    pub lives: Arc<AtomicU64>,
    /// Where it says that its disk failed before the node was open.
    pub has_exited: Arc<AtomicBool>,
    /// Where it shows its node.
    pub handle: Arc<Mutex<Option<Handle>>>,
    /// Where its clients record.
    pub recorder: Recorder,
    /// What its clients are to do.
    pub phase: watch::Receiver<Phase>,
    /// Where it says what it has done.
    pub progress: Progress,
}

impl Body {
    /// Starts the node and lets its clients work until the power is cut.
    pub async fn live(mut self) -> turmoil::Result {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let seed = self.seed.wrapping_add(life.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let handle = match self.open(seed).await {
            Ok(handle) => handle,
            Err(OpenError::Raft(error @ raft::OpenError::Io { .. })) => {
                let now = turmoil::sim_elapsed().unwrap_or_default();
                self.recorder.note(now, &format!("{} does not start: {error}", self.name));
                self.has_exited.store(true, Ordering::Relaxed);
                return std::future::pending().await;
            }
            // A disk that only lost what was not synced must not look corrupt.
            Err(error) => return Err(error.into()),
        };
        *self.handle.lock().expect("nobody panics with a handle") = Some(handle.clone());
        let (recorder, phase) = (self.recorder.clone(), self.phase.clone());
        workload::run(self.name, life, handle.clone(), recorder, seed, phase).await;
        for phase in [Phase::Core, Phase::Barrier] {
            self.phase.wait_for(|now| *now >= phase).await?;
            workload::write_once(self.name, life, phase, &handle, &self.recorder).await;
            self.progress.note(phase, self.place);
        }
        self.phase.wait_for(|phase| *phase == Phase::Read).await?;
        self.read(&handle).await?;
        self.progress.note(Phase::Read, self.place);
        std::future::pending().await
    }
}

impl Body {
    /// Reads every job of the state, page by page, and puts them into the history.
    async fn read(&self, handle: &Handle) -> turmoil::Result {
        let view = handle.read(Consistency::Linearizable, READ_HOLD, all_jobs).await?;
        let checked: Vec<_> =
            view.value.into_iter().filter(|job| workload::is_checked(&job.queue)).collect();
        let jobs = checked.len() as u64;
        for job in checked {
            self.recorder.final_job(JobLine { node: self.name.to_owned(), job: job_view(&job) });
        }
        self.recorder.final_end(ReadEnd { node: self.name.to_owned(), rev: view.rev.0, jobs });
        Ok(())
    }
}

fn all_jobs(state: &State) -> Vec<queue::JobView> {
    let mut jobs = Vec::new();
    let mut after = None;
    loop {
        let page = state.list(&Filter::default(), after, 1_000);
        jobs.extend(page.items);
        after = page.next;
        if after.is_none() {
            return jobs;
        }
    }
}

impl Body {
    async fn open(&self, seed: u64) -> Result<Handle, OpenError> {
        let options = NodeOptions {
            raft: raft::Options {
                cluster: "sim".to_owned(),
                label: self.name.to_owned(),
                data_dir: PathBuf::from("/").join(self.name),
                listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PEER_PORT)),
                advertise: peer(self.name),
                bootstrap: Bootstrap::Expect {
                    voters: self.peers.len(),
                    seeds: self.peers.iter().map(|host| peer(host)).collect(),
                    only: None,
                },
                timing: Timing { heartbeat_ms: 30, election_min_ms: 150, election_max_ms: 300 },
                lifeline: self.has_lifeline.then(Lifeline::lan),
                segment_bytes: SEGMENT_BYTES,
                snapshot_log_bytes: SNAPSHOT_LOG_BYTES,
                kept_entries: KEPT_ENTRIES,
            },
            limits: Limits::default(),
            // A simulated disk has no size.
            disk_reserve_bytes: 0,
            gossip: None,
        };
        let disk = Arc::clone(&self.disk);
        let environment = Environment {
            raft: raft::Environment { disk, net: Arc::new(self.net.clone()), seed },
            clock: Arc::new(self.clock.clone()),
            space: Arc::new(FileSystem),
            archive: Arc::new(NoArchive),
        };
        Node::open(options, environment, RaftRuntime::Current).await
    }
}

fn peer(host: &str) -> String {
    format!("{host}:{PEER_PORT}")
}
