//! How a replica comes up: the disk first, then who it is, then openraft, then the open door.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::{
    CallHandler, Disk, Environment, Listener, LogIndex, Net, OpenError, Options, Peer, PeerId,
    StateMachine, Stood,
    bootstrap::Bootstrapper,
    change::{self, Changer, Changes},
    consensus::{
        Raft,
        blocking::Blocking,
        config,
        log_store::{LOG_CACHE_BYTES, LogStore},
        machine_store::MachineStore,
        network::Network,
    },
    directory::{self, DataDirectory},
    lifeline::{self, Lifelines},
    log::{Log, LogOptions, Recovered},
    replica::{Inner, ROOM_KIB, Running},
    snapshots::SnapshotStore,
    tasks,
    transport::{
        append_server::Lanes,
        caller::Callers,
        heard::Heard,
        link::{Dialer, Identity},
        server::{self, Server},
        snapshot_server::SnapshotIntake,
    },
};

/// The Raft group of this replica; there is one as yet, and the formats have room for more.
const GROUP: u64 = 0;

/// Opens a replica; see [`crate::Replica::open`]. Nothing runs when it fails.
pub(crate) async fn open<S: StateMachine>(
    options: Options,
    environment: Environment,
    machine: S,
    calls: Arc<dyn CallHandler>,
) -> Result<Inner<S>, OpenError> {
    options.validate()?;
    let Environment { disk, net, seed } = environment;
    let address = options.listen;
    let listener = net.listen(address).await;
    let listener = listener.map_err(|source| OpenError::Listen { address, source })?;
    let mut rng = StdRng::seed_from_u64(seed);
    let blocking = Blocking::on(&*disk);
    let stored = Stored::open(&options, disk, blocking, rng.random_range(1..=PeerId::MAX)).await?;
    let Stored { directory, log, recovered, snapshots } = stored;

    let identity = Arc::new(identity(&options, directory.identity().peer_id));
    let network = network(&options, net, identity.clone(), blocking);
    let (callers, dialer) = (network.callers.clone(), network.dialer.clone());
    let polls = network.polls.clone();
    let how = options.bootstrap.clone();
    let (failure, failed) = watch::channel(None);
    let bootstrapper =
        Bootstrapper::new(identity.clone(), directory, blocking, how, failure.clone())?;

    let log_store = LogStore::new(log.clone(), &recovered, blocking);
    let log_store = log_store.map_err(|source| cannot("read the log", source))?;
    let opened_in = log_store.voted_term();
    let machine = MachineStore::new(machine, snapshots.clone(), blocking, failure.clone());
    let tail = last_index(&recovered);
    let config = config(&options)?;
    let raft = Raft::new(identity.me.id, config, network, log_store, machine.clone()).await;
    let raft = raft.map_err(|fatal| cannot("recover", std::io::Error::other(fatal.to_string())))?;

    // A snapshot that was installed may reach beyond a log that was not purged yet.
    let recovery = tasks::Recovery::up_to(tail.max(*machine.applied().borrow()));
    let bootstrapper = Arc::new(bootstrapper);
    let heard = Arc::new(Heard::new());
    let stood = watch::Sender::new(None);
    let lifelines = options.lifeline.map(|lifeline| {
        Lifelines::start(lifeline::Parts {
            options: lifeline,
            raft: raft.clone(),
            dialer: dialer.clone(),
            polls,
            opened_in,
            timing: options.timing,
            last_heard: heard.latest(),
            stood: stood.clone(),
            blocking,
        })
    });
    let lifelines =
        lifelines.transpose().map_err(|source| cannot("start the lifeline's thread", source))?;
    let parts = Parts {
        identity,
        raft,
        callers,
        dialer,
        bootstrapper,
        log,
        recovery,
        snapshots,
        failure,
        failed,
        lifelines,
        heard,
        stood,
    };
    Ok(parts.start(&options, blocking, listener, machine, calls, &mut rng))
}

/// What was opened and does not run yet.
struct Parts<S: StateMachine> {
    identity: Arc<Identity>,
    raft: Raft<S>,
    callers: Arc<Callers>,
    dialer: Arc<Dialer>,
    bootstrapper: Arc<Bootstrapper>,
    log: Log,
    recovery: tasks::Recovery,
    snapshots: SnapshotStore,
    /// Why this replica cannot go on.
    failure: watch::Sender<Option<String>>,
    failed: watch::Receiver<Option<String>>,
    lifelines: Option<(Arc<Lifelines<S>>, JoinHandle<()>)>,
    /// Who last sent an append or a heartbeat, and when it came.
    heard: Arc<Heard>,
    /// When this replica last stood because of a suspicion. Held so that it stays open.
    stood: watch::Sender<Option<Stood>>,
}

impl<S: StateMachine> Parts<S> {
    fn start(
        self,
        options: &Options,
        blocking: Blocking,
        listener: Box<dyn Listener>,
        machine: MachineStore<S>,
        calls: Arc<dyn CallHandler>,
        rng: &mut StdRng,
    ) -> Inner<S> {
        let Self { identity, raft, callers, bootstrapper, log, recovery, snapshots, .. } = self;
        let (dialer, changes) = (self.dialer, Changes::default());
        let (failure, failed) = (self.failure, self.failed);
        let me = identity.me.clone();
        let directory = bootstrapper.directory();
        let (stop, stops) = watch::channel(());
        let (heard, stood) = (self.heard, self.stood.subscribe());
        let (lifelines, listening) = self.lifelines.unzip();
        let limit = Duration::from_millis(2 * options.timing.election_max_ms);
        let silence = tasks::Silence::new(heard.latest(), limit, stall(options));
        let (status, observer) =
            tasks::observe(&raft, identity.clone(), recovery, silence, stood, failed);
        let server = Server {
            identity,
            raft: raft.clone(),
            bootstrapper: bootstrapper.clone(),
            calls,
            snapshots: SnapshotIntake::new(
                raft.clone(),
                snapshots.clone(),
                blocking,
                failure.clone(),
            ),
            lanes: Lanes::default(),
            lifelines: lifelines.clone(),
            heard: heard.clone(),
            said_refused: Mutex::default(),
        };
        let server = server::listen(Arc::new(server), listener, stops);
        let seed = rng.random();
        let due = options.snapshot_log_bytes;
        let mut tasks = vec![
            observer,
            tasks::bootstrap(bootstrapper.clone(), raft.clone(), callers.clone(), seed, failure),
            tasks::snapshot_when_due(raft.clone(), log.clone(), snapshots, status.clone(), due),
        ];
        let finisher = Changer { raft: raft.clone(), me: me.clone(), dialer: dialer.clone() };
        tasks.push(change::finish_interrupted(finisher, changes.clone()));
        tasks.extend(listening);
        let applied = machine.applied();
        let room = Arc::new(Semaphore::new(ROOM_KIB));
        let running = Mutex::new(Some(Running { server, stop, tasks }));
        Inner {
            me,
            raft,
            machine,
            callers,
            dialer,
            changes,
            lifelines,
            heard,
            status,
            applied,
            log,
            room,
            bootstrapper,
            directory,
            blocking,
            seeds: AtomicU64::new(rng.random()),
            running,
        }
    }
}

/// The last index that the log held or had purged.
fn last_index(recovered: &Recovered) -> LogIndex {
    let last = recovered.last.as_ref().map(|entry| entry.index);
    last.or(recovered.purged.as_ref().map(|(index, _)| *index)).unwrap_or(0)
}

fn identity(options: &Options, id: PeerId) -> Identity {
    Identity {
        cluster: options.cluster.clone(),
        group: GROUP,
        me: Peer { id, label: options.label.clone(), address: options.advertise.clone() },
        cluster_id: watch::Sender::new(0),
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
    let dialer = Arc::new(Dialer { net, identity, deadline });
    let callers = Arc::new(Callers::new(dialer.clone()));
    Network { dialer, callers, stall: stall(options), blocking, polls: Arc::default() }
}

/// After so long without an answer to its appends, a peer counts as gone.
fn stall(options: &Options) -> Duration {
    Duration::from_millis(4 * options.timing.election_max_ms).max(Duration::from_millis(500))
}

fn cannot(action: &str, source: std::io::Error) -> OpenError {
    OpenError::Io { action: action.to_owned(), source }
}
