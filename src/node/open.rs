//! Opening a node: which part stands on which, and on what they all stand.

use std::{
    fmt,
    future::Future,
    io,
    sync::{Arc, Mutex},
};

use raft::Replica;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, watch},
};

use ulid::Ulid;

use super::{
    Archive, Clock, FileSystem, Gossip, GossipOptions, Handle, Limits, MachineClock, NoArchive,
    Space,
    admission::Admission,
    archive::ArchiveReads,
    clock::ClusterClock,
    desk::Desk,
    events::{self, Events},
    expiry, forward,
    gather::Pump,
    gossip::ReplicaSubject,
    leaders::Leaders,
    machine::{Bells, Machine},
    parked::{self, Tickets, Visitors},
    proposer,
    reads::{self, Reads},
    routing::{self, Standing},
    space::{self, Room},
    wall_clock::{self, WallClock},
    worker_down::{self, Signs},
};

/// The threads of Raft's own runtime: one for the replica, one for what it must not wait for.
const RAFT_THREADS: usize = 2;

/// What a node is told when it opens.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The replica's options.
    pub raft: raft::Options,
    /// How much may wait here.
    pub limits: Limits,
    /// While this node leads and its disk has less than this free, adds are refused, bytes; 0: never,
    /// and nobody looks.
    pub disk_reserve_bytes: u64,
    /// How it gossips; `None`: it does not.
    pub gossip: Option<GossipOptions>,
}

/// What a node stands on: simulation brings its own.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Disk, network, and the seed of every random choice.
    pub raft: raft::Environment,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Who knows how much room the disk has.
    pub space: Arc<dyn Space>,
    /// Who keeps finished jobs once they have left the replicated state.
    pub archive: Arc<dyn Archive>,
}

impl Environment {
    /// The machine that the process runs on, with a random seed of its own.
    pub fn of_machine() -> Self {
        let seed = u64::try_from(Ulid::generate().random() & u128::from(u64::MAX));
        Self {
            raft: raft::Environment {
                disk: Arc::new(raft::disk::OsDisk),
                net: Arc::new(raft::OsNet),
                seed: seed.expect("the mask leaves 64 bits"),
            },
            clock: Arc::new(MachineClock::start()),
            space: Arc::new(FileSystem),
            archive: Arc::new(NoArchive),
        }
    }
}

/// Where Raft runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftRuntime {
    /// On threads of its own, so that no load on the rest can starve its heartbeats.
    Own,
    /// On the caller's runtime: for simulation, where there is only one.
    Current,
}

/// Why a node did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The replica did not open.
    #[error(transparent)]
    Raft(#[from] raft::OpenError),
    /// The operating system gave no threads. Nothing was written.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
    /// Gossip did not begin.
    #[error("cannot gossip: {0}")]
    Gossip(#[from] membership::OpenError),
}

/// How far a node is on its way out; it never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It is not on its way out.
    Running,
    /// It hands its leadership over, and serves as before.
    Leaving,
    /// It serves, and nobody waits here for work or for a job's end any more.
    Draining,
    /// It takes nothing new and finishes what it has.
    Stopping,
    /// Nothing runs any more.
    Stopped,
}

/// A running node: what its [`Handle`]s share.
pub struct Node {
    pub(super) replica: Replica<Machine>,
    pub(super) bells: Arc<Bells>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cluster_clock: ClusterClock,
    pub(super) limits: Limits,
    pub(super) admission: Arc<Admission>,
    pub(super) room: Room,
    pub(super) archive: ArchiveReads,
    pub(super) proposer: Pump,
    pub(super) forwarder: Pump,
    pub(super) reads: Reads,
    pub(super) tickets: Arc<Tickets>,
    pub(super) visitors: Arc<Visitors>,
    /// The one place of a backup.
    pub(super) backups: Arc<Semaphore>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) leaders: Mutex<Leaders>,
    pub(super) has_caught_up: watch::Sender<bool>,
    pub(super) wall_clock: watch::Sender<WallClock>,
    pub(super) signs: Signs,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) started_ms: u64,
    /// The runtime of everything but Raft.
    pub(super) runtime: tokio::runtime::Handle,
    raft_threads: OwnThreads,
    pub(super) gossip: Option<Gossip>,
    rng: Mutex<StdRng>,
}

impl Node {
    /// Opens the data directory and starts to take part; requests are held until there is a leader.
    /// Everything but Raft runs on the caller's runtime.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub async fn open(
        options: NodeOptions,
        environment: Environment,
        raft_runtime: RaftRuntime,
    ) -> Result<Handle, OpenError> {
        let Environment { raft: stands_on, clock, space, archive } = environment;
        let room = Room::new(space, &options.raft.data_dir, options.disk_reserve_bytes);
        let mut rng = StdRng::seed_from_u64(stands_on.seed);
        let events = Events::new(options.limits, rng.next_u64(), Arc::clone(&clock));
        let bells = Arc::new(Bells::new(Arc::clone(&archive), events));
        let desk = Arc::new(Desk::default());
        let raft_threads = OwnThreads::start(raft_runtime, "raft", RAFT_THREADS)?;
        let machine = Machine::new(Arc::clone(&bells));
        let calls = Arc::clone(&desk);
        let member = options.gossip.as_ref().map(|gossip| gossip.member(&options.raft));
        let opening = Replica::open(options.raft, stands_on, machine, calls);
        let replica = raft_threads.run(opening).await?;
        let gossip = match options.gossip.zip(member) {
            None => None,
            Some((options, member)) => {
                let subject = Arc::new(ReplicaSubject::new(replica.clone(), options));
                let (seed, clock) = (rng.next_u64(), Arc::clone(&clock));
                let opened = Gossip::open(member, subject, clock, seed, raft_runtime).await;
                if opened.is_err() {
                    replica.stop().await;
                }
                Some(opened?)
            }
        };
        let node = Arc::new(Self {
            replica,
            bells,
            cluster_clock: ClusterClock::new(Arc::clone(&clock)),
            limits: options.limits,
            admission: Admission::new(options.limits),
            room,
            archive: ArchiveReads::of(archive),
            proposer: Pump::default(),
            forwarder: Pump::default(),
            reads: Reads::default(),
            visitors: Arc::default(),
            backups: Arc::new(Semaphore::new(1)),
            standing: watch::Sender::default(),
            leaders: Mutex::default(),
            has_caught_up: watch::Sender::new(false),
            wall_clock: watch::Sender::default(),
            signs: Signs::default(),
            phase: watch::Sender::new(Phase::Running),
            started_ms: clock.monotonic_ms(),
            clock,
            runtime: tokio::runtime::Handle::current(),
            raft_threads,
            gossip,
            tickets: Tickets::starting_at(rng.next_u64()),
            rng: Mutex::new(rng),
        });
        desk.open(&node);
        node.start_tasks();
        Ok(Handle::new(node))
    }

    fn start_tasks(self: &Arc<Self>) {
        self.spawn(routing::follow(Arc::clone(self)));
        self.spawn_until_stopped(proposer::run(Arc::clone(self)));
        self.spawn_until_stopped(forward::run(Arc::clone(self)));
        self.spawn_until_stopped(reads::run(Arc::clone(self)));
        self.spawn_until_stopped(expiry::run(Arc::clone(self)));
        self.spawn_until_stopped(space::watch(Arc::clone(self)));
        self.spawn_until_stopped(parked::watch_leader(Arc::clone(self)));
        self.spawn_until_stopped(wall_clock::watch(Arc::clone(self)));
        if let Some(gossip) = &self.gossip {
            self.spawn_until_stopped(worker_down::watch(Arc::clone(self), gossip.clone()));
            self.spawn_until_stopped(events::follow(Arc::clone(self), gossip.clone()));
        }
    }

    /// Runs a task beside the caller.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    fn spawn_until_stopped(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut phase = self.phase.subscribe();
        self.spawn(async move {
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
                () = task => {}
            }
        });
    }

    /// Whether new requests are taken.
    pub(super) fn takes_requests(&self) -> bool {
        *self.phase.borrow() < Phase::Stopping
    }

    /// Whether requests may wait here for something to happen.
    pub(super) fn lets_wait(&self) -> bool {
        *self.phase.borrow() < Phase::Draining
    }

    /// Returns when this node is about to stop and nobody is to wait here any more.
    pub(super) async fn stopping(&self) {
        let mut phase = self.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
    }

    /// Goes on to a later phase; returns the one before, `None` when it was there already.
    pub(super) fn advance(&self, to: Phase) -> Option<Phase> {
        let mut before = None;
        self.phase.send_if_modified(|phase| {
            if *phase < to {
                before = Some(std::mem::replace(phase, to));
            }
            before.is_some()
        });
        before
    }

    /// Looks at this replica's machine.
    pub(super) fn look<T>(&self, view: impl FnOnce(&Machine) -> T) -> T {
        self.replica.look(view)
    }

    /// The random part of a fresh id.
    pub(super) fn random(&self) -> u128 {
        let mut rng = self.rng.lock().expect("nothing panics while the rng is locked");
        u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
    }

    /// Ends everything at once.
    pub(super) async fn shut(&self) {
        self.phase.send_replace(Phase::Stopped);
        self.proposer.close();
        self.forwarder.close();
        if let Some(gossip) = &self.gossip {
            gossip.stop().await;
        }
        self.replica.stop().await;
        self.raft_threads.end();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("standing", &*self.standing.borrow()).finish_non_exhaustive()
    }
}

/// A runtime of its own, if there is one. Ends without blocking, wherever it is dropped.
#[derive(Debug)]
pub(super) struct OwnThreads(Mutex<Option<Runtime>>);

impl OwnThreads {
    pub(super) fn start(
        choice: RaftRuntime,
        name: &str,
        threads: usize,
    ) -> Result<Self, OpenError> {
        let runtime = match choice {
            RaftRuntime::Current => None,
            RaftRuntime::Own => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(threads).thread_name(name).enable_all();
                Some(builder.build().map_err(OpenError::Threads)?)
            }
        };
        Ok(Self(Mutex::new(runtime)))
    }

    /// Runs a task there, else here.
    pub(super) async fn run<F>(&self, task: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let spawned = self.lock().as_ref().map(Runtime::handle).cloned();
        match spawned {
            None => task.await,
            Some(runtime) => match runtime.spawn(task).await {
                Ok(output) => output,
                Err(failed) => std::panic::resume_unwind(failed.into_panic()),
            },
        }
    }

    pub(super) fn end(&self) {
        if let Some(runtime) = self.lock().take() {
            runtime.shutdown_background();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Runtime>> {
        self.0.lock().expect("nothing panics while the runtime is locked")
    }
}

impl Drop for OwnThreads {
    fn drop(&mut self) {
        self.end();
    }
}
