//! One replica of a state machine, and everything that a caller may ask of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use openraft::{
    ReadPolicy,
    errors::{ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError},
    raft::responder::ProgressResponder,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    CallError, CallHandler, Disk, Environment, LogIndex, Net, OpenError, Options, Peer, PeerId,
    ProposeError, ReadError, StateMachine, Status,
    bootstrap::Bootstrapper,
    codec,
    consensus::{
        Raft,
        blocking::Blocking,
        config,
        log_store::{LOG_CACHE_BYTES, LogStore},
        machine_store::MachineStore,
        network::Network,
        seeded,
        types::{Command, TypeConfig},
    },
    directory::{self, DataDirectory},
    log::{BACKLOG_BYTES_MAX, Log, LogOptions, Recovered},
    snapshots::SnapshotStore,
    tasks,
    transport::{
        caller::{Callers, call_body},
        frame::Kind,
        hello::Channel,
        link::{Dialer, Identity},
        server::{self, Server},
        snapshot_server::SnapshotIntake,
    },
};

/// The largest entry that can be proposed, bytes: with its header it must fit one frame.
pub const ENTRY_BYTES_MAX: usize = 15 << 20;
const _: () = assert!((ENTRY_BYTES_MAX as u64) < codec::LIMIT_BYTES - (64 << 10));

/// How many KiB of entries may be on their way at a time. They wait in the log for its disk, whose
/// backlog has a bound beyond which the disk counts as failed.
const ROOM_KIB: usize = 64 << 10;
const _: () = assert!((ROOM_KIB as u64) * 1024 * 2 < BACKLOG_BYTES_MAX);

/// The Raft group of this replica; there is one as yet, and the formats have room for more.
const GROUP: u64 = 0;

/// A cheap handle on one running replica; clones share it. It runs until [`Replica::stop`].
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    inner: Arc<Inner<S>>,
}

struct Inner<S: StateMachine> {
    me: Peer,
    raft: Raft<S>,
    machine: MachineStore<S>,
    callers: Arc<Callers>,
    status: watch::Receiver<Status>,
    applied: watch::Receiver<LogIndex>,
    log: Log,
    /// Room for entries that are proposed and not answered, KiB. Further proposals wait.
    room: Semaphore,
    /// Held for its lock.
    directory: Arc<Mutex<Option<DataDirectory>>>,
    blocking: Blocking,
    /// The next caller's seed: a caller's task carries none of its own (simulation).
    seeds: AtomicU64,
    /// Taken by the first [`Replica::stop`].
    running: Mutex<Option<Running>>,
}

/// What runs besides openraft.
struct Running {
    server: JoinHandle<()>,
    /// Dropped, it ends the server.
    stop: watch::Sender<()>,
    /// Aborted.
    tasks: Vec<JoinHandle<()>>,
}

impl<S: StateMachine> std::fmt::Debug for Inner<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inner").field("me", &self.me).finish_non_exhaustive()
    }
}

impl<S: StateMachine> Clone for Replica<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// The calls of a replica.
impl<S: StateMachine> Replica<S> {
    /// Opens the directory, recovers, listens, and starts to take part; the bootstrap of a fresh
    /// directory goes on after this has returned (see [`Status::role`]). Runs on the caller's
    /// runtime, which should be the replica's own: a blocked thread there is an election.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is left running.
    pub async fn open(
        options: Options,
        environment: Environment,
        machine: S,
        calls: Arc<dyn CallHandler>,
    ) -> Result<Self, OpenError> {
        let seed = environment.seed;
        seeded(seed, Self::open_here(options, environment, machine, calls)).await
    }

    /// Proposes one entry and waits until it is durable on a majority and applied here. Sets no
    /// deadline: who drops the future knows as much as [`ProposeError::Unknown`] says.
    ///
    /// # Errors
    /// See [`ProposeError`]; each variant says whether the entry may yet be applied.
    pub async fn propose(&self, entry: Bytes) -> Result<S::Outcome, ProposeError> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: entry.len(), limit: ENTRY_BYTES_MAX });
        }
        // openraft's queue counts entries, and a few large ones would be too many.
        let weight = u32::try_from(entry.len() / 1024 + 1).expect("the limit is far below");
        let room = self.inner.room.acquire_many(weight).await.map_err(|_| ProposeError::Stopped)?;
        let (responder, answer) = ProgressResponder::complete_only();
        let sent = self.inner.raft.client_write_ff(Command(entry), Some(responder)).await;
        // openraft's queue was closed: the entry never got into it.
        sent.map_err(|_| ProposeError::Stopped)?;
        // From here on openraft answers, or dies with the entry in an unknown place.
        let answered = answer.await;
        drop(room);
        match answered.map_err(|_| ProposeError::Unknown)? {
            Ok(response) => {
                let outcome = response.data.take();
                Ok(outcome.expect("apply answers a proposed entry with the machine's outcome"))
            }
            // Judged before the entry was appended to any log (openraft, `write_entries`).
            Err(ClientWriteError::ForwardToLeader(forward)) => {
                Err(ProposeError::NotLeader { leader: known_leader(forward) })
            }
            // A new leader's log displaced it here; it may live on elsewhere and be committed yet.
            Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// `ReadIndex` (Raft §6.4): an index such that a machine that has applied it shows every write
    /// acknowledged before this call. Only a leader that a quorum confirms answers. Does not wait
    /// for this replica to apply it: see [`Replica::wait_applied`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_index(&self) -> Result<LogIndex, ReadError> {
        // Never by the leader's lease: a fast failover elects a successor within it.
        let linearizer = self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match self.in_scope(linearizer).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ReadError::NotLeader { leader: known_leader(forward) })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ReadError::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
        }
    }

    /// Waits until this replica has applied `index`. The caller sets the deadline.
    ///
    /// # Errors
    /// [`ReadError::Stopped`].
    pub async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadError> {
        let mut applied = self.inner.applied.clone();
        let mut status = self.inner.status.clone();
        tokio::select! { biased;
            reached = applied.wait_for(|applied| *applied >= index) => {
                reached.map(drop).map_err(|_| ReadError::Stopped)
            }
            _ = status.wait_for(|status| status.failure.is_some()) => Err(ReadError::Stopped),
        }
    }

    /// Looks at this replica's machine, between two entries. Keep it short: `apply` waits.
    pub fn look<T>(&self, view: impl FnOnce(&S) -> T) -> T {
        self.inner.machine.look(view)
    }

    /// Asks a peer something; its [`CallHandler`] answers within `timeout`. A peer whose id is 0 is
    /// known by its label and its address alone.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        peer: &Peer,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        if request.len() > ENTRY_BYTES_MAX {
            return Err(CallError::Unreachable);
        }
        let body = call_body(request, timeout);
        let deadline = Instant::now() + timeout;
        let asking = self.inner.callers.ask(peer, Channel::Calls, Kind::Call, body, deadline);
        self.in_scope(asking).await
    }

    /// The standing, and every change of it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// Hands leadership to the caught-up voter with the longest log and waits (up to `timeout`)
    /// until it leads. `false` when this replica does not lead or nobody took over in time; this
    /// replica has then tried to be elected again.
    pub async fn hand_over(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.in_scope(tasks::hand_over(&self.inner.raft, self.inner.me.id, deadline)).await
    }

    /// Writes a snapshot now and purges the log behind it, as far as [`Options::kept_entries`] lets.
    /// Returns the snapshot's last index.
    ///
    /// # Errors
    /// [`ReadError::Stopped`]; [`ReadError::NoQuorum`] when nothing was applied yet.
    pub async fn snapshot(&self) -> Result<LogIndex, ReadError> {
        self.in_scope(tasks::snapshot(&self.inner.raft)).await
    }

    /// Stops: no proposal is taken after this, the log is synced, the port is free when it returns.
    pub async fn stop(&self) {
        let running = self.inner.running.lock().expect("held for this only").take();
        let Some(Running { server, stop, tasks }) = running else { return };
        drop(stop);
        self.inner.room.close();
        self.inner.callers.close();
        for task in tasks {
            task.abort();
            // Aborted or ended: either way it holds nothing any more.
            let _ = task.await;
        }
        if let Err(error) = server.await {
            tracing::error!(%error, "the listener ended badly");
        }
        if let Err(error) = self.in_scope(self.inner.raft.shutdown()).await {
            tracing::error!(%error, "openraft ended badly");
        }
        let log = self.inner.log.clone();
        if let Err(error) = self.inner.blocking.run(move || log.close()).await {
            tracing::error!(%error, "the log was not closed cleanly");
        }
        // Last, so that whoever gets the lock finds all in its place.
        *self.inner.directory.lock().expect("held for moments only") = None;
    }
}

impl<S: StateMachine> Replica<S> {
    /// Runs a call of openraft, or one that starts a task of ours, in a caller's task.
    async fn in_scope<F: Future>(&self, call: F) -> F::Output {
        seeded(self.inner.seeds.fetch_add(1, Ordering::Relaxed), call).await
    }

    async fn open_here(
        options: Options,
        environment: Environment,
        machine: S,
        calls: Arc<dyn CallHandler>,
    ) -> Result<Self, OpenError> {
        options.validate()?;
        let config = config(&options)?;
        let address = options.listen;
        let listener = environment.net.listen(address).await;
        let listener = listener.map_err(|source| OpenError::Listen { address, source })?;
        let mut rng = StdRng::seed_from_u64(environment.seed);
        let blocking = Blocking::on(&*environment.disk);
        let fresh_id = rng.random_range(1..=PeerId::MAX);
        let stored = Stored::open(&options, environment.disk, blocking, fresh_id).await?;
        let Stored { directory, log, recovered, snapshots } = stored;

        let me = Peer {
            id: directory.identity().peer_id,
            label: options.label.clone(),
            address: options.advertise.clone(),
        };
        let identity = Arc::new(Identity {
            cluster: options.cluster.clone(),
            group: GROUP,
            me: me.clone(),
            cluster_id: watch::Sender::new(0),
        });
        let network = network(&options, environment.net, identity.clone(), blocking);
        let callers = network.callers.clone();
        let how = options.bootstrap.clone();
        let bootstrapper = Bootstrapper::new(identity.clone(), directory, blocking, how)?;
        let bootstrapper = Arc::new(bootstrapper);
        let directory = bootstrapper.directory();

        let log_store = LogStore::new(log.clone(), &recovered, blocking);
        let log_store = log_store.map_err(|source| cannot("read the log", source))?;
        let machine = MachineStore::new(machine, snapshots.clone(), blocking);
        let raft = Raft::new(me.id, config, network, log_store, machine.clone()).await;
        let raft =
            raft.map_err(|fatal| cannot("recover", std::io::Error::other(fatal.to_string())))?;

        let (stop, stops) = watch::channel(());
        let (failure, failed) = watch::channel(None);
        let (status, observer) = tasks::observe(raft.clone(), identity.clone(), failed);
        let server = Arc::new(Server {
            identity,
            raft: raft.clone(),
            bootstrapper: bootstrapper.clone(),
            calls,
            snapshots: SnapshotIntake::new(raft.clone(), snapshots.clone(), blocking),
        });
        let seed = rng.random();
        let seeds = AtomicU64::new(rng.random());
        let due = options.snapshot_log_bytes;
        let tasks = vec![
            observer,
            tasks::bootstrap(bootstrapper, raft.clone(), callers.clone(), seed, failure),
            tasks::snapshot_when_due(raft.clone(), log.clone(), snapshots, status.clone(), due),
        ];
        let running = Running { server: server::listen(server, listener, stops), stop, tasks };
        let applied = machine.applied();
        let running = Mutex::new(Some(running));
        let inner = Inner {
            me,
            raft,
            machine,
            callers,
            status,
            applied,
            log,
            room: Semaphore::new(ROOM_KIB),
            directory,
            blocking,
            seeds,
            running,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// What the directory holds.
struct Stored {
    directory: DataDirectory,
    log: Log,
    recovered: Recovered,
    snapshots: SnapshotStore,
}

impl Stored {
    async fn open(
        options: &Options,
        disk: Arc<dyn Disk>,
        blocking: Blocking,
        fresh_id: PeerId,
    ) -> Result<Self, OpenError> {
        let path = options.data_dir.clone();
        let expected = directory::Identity {
            peer_id: fresh_id,
            cluster: options.cluster.clone(),
            cluster_id: 0,
            group_id: GROUP,
            label: options.label.clone(),
        };
        let segment_bytes = options.segment_bytes;
        let log_options = LogOptions { segment_bytes, cache_bytes: LOG_CACHE_BYTES };
        let open = move || {
            let directory = DataDirectory::open(disk.clone(), &path, expected)?;
            let snapshots = SnapshotStore::open(disk.clone(), &directory.snapshots_dir())?;
            let (log, recovered) = Log::open(disk, &directory.log_dir(), log_options)?;
            Ok(Self { directory, log, recovered, snapshots })
        };
        let opened = blocking.run(move || Ok(open())).await;
        opened.map_err(|source| cannot("open the data directory", source))?
    }
}

fn network(
    options: &Options,
    net: Arc<dyn Net>,
    identity: Arc<Identity>,
    blocking: Blocking,
) -> Network {
    let election = Duration::from_millis(options.timing.election_max_ms);
    // Twice the time after which a peer counts as silent: a partition that has healed must not be
    // waited out by a connection, or a connect, whose packets TCP repeats ever more seldom.
    let deadline = (2 * election).max(Duration::from_millis(250));
    let stall = (4 * election).max(Duration::from_millis(500));
    let dialer = Arc::new(Dialer { net, identity, deadline });
    let callers = Arc::new(Callers::new(dialer.clone()));
    Network { dialer, callers, stall, blocking }
}

fn cannot(action: &str, source: std::io::Error) -> OpenError {
    OpenError::Io { action: action.to_owned(), source }
}

/// Whom openraft names, if it leads: one that leadership is being handed to does not yet.
fn known_leader(forward: ForwardToLeader<TypeConfig>) -> Option<Peer> {
    match forward.reason {
        ForwardReason::NotLeader => forward.leader_node,
        ForwardReason::LeadershipTransfer | ForwardReason::LeaseExpired => None,
    }
}
