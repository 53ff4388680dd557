//! All lifelines of one voter.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use openraft::async_runtime::WatchReceiver;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    Lifeline, Peer, PeerId, StateMachine, Stood, Timing,
    consensus::{Raft, blocking::Blocking, in_scope, types::StoredMembership},
    lifeline::{
        ears::Ears,
        home::Home,
        line::{self, Ask},
        polls::Polls,
        suspicion::{Standing, Watcher},
    },
    transport::{heard::Sign, link::Dialer},
};

/// Questions that may wait for one line.
const ASKS_MAX: usize = 4;

/// All lifelines of one voter, and what they are for.
pub(crate) struct Lifelines<S: StateMachine> {
    pub(super) me: PeerId,
    pub(super) raft: Raft<S>,
    pub(super) dialer: Arc<Dialer>,
    /// The term of the vote with which this run began.
    pub(super) opened_in: u64,
    pub(super) home: Home,
    /// Counts pings.
    pub(super) ticks: watch::Sender<u64>,
    /// Told when a doubt may have arisen between two ticks.
    pub(super) wake: Notify,
    /// Whether this replica is not to lead: then it suspects nobody.
    is_aside: AtomicBool,
    /// Told when a voter that should rather not stand asks about a leader that is doubted here, too.
    pub(super) summons: Notify,
    ears: Mutex<Ears>,
    askers: Mutex<BTreeMap<PeerId, mpsc::Sender<Ask>>>,
}

/// What lifelines are made of.
pub(crate) struct Parts<S: StateMachine> {
    pub(crate) options: Lifeline,
    pub(crate) raft: Raft<S>,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) polls: Arc<Polls>,
    /// The term of the vote with which this run began.
    pub(crate) opened_in: u64,
    pub(crate) timing: Timing,
    /// Who last sent an append or a heartbeat, and when it came.
    pub(crate) last_heard: watch::Receiver<Sign>,
    /// Where it is told when this voter stood for election.
    pub(crate) stood: watch::Sender<Option<Stood>>,
    pub(crate) blocking: Blocking,
}

impl<S: StateMachine> Lifelines<S> {
    /// Starts to listen to the other voters. The task ends when it is aborted, or by
    /// [`Lifelines::stop`].
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(parts: Parts<S>) -> io::Result<(Arc<Self>, JoinHandle<()>)> {
        let Parts { options, raft, dialer, polls, opened_in, .. } = parts;
        let lifelines = Arc::new(Self {
            me: dialer.identity.me.id,
            raft,
            dialer,
            opened_in,
            home: Home::of(parts.blocking)?,
            ticks: watch::Sender::new(0),
            wake: Notify::new(),
            is_aside: AtomicBool::new(false),
            summons: Notify::new(),
            ears: Mutex::new(Ears::new(options, parts.last_heard)),
            askers: Mutex::default(),
        });
        let watcher = Watcher::new(lifelines.clone(), polls, parts.timing, parts.stood);
        let period = Duration::from_millis(options.ping_ms);
        let running = lifelines.clone().run(watcher, period);
        let task = lifelines.home.spawn(running);
        Ok((lifelines, task))
    }

    /// Ends all that runs on a thread of its own.
    pub(crate) async fn stop(&self) {
        self.home.stop().await;
    }

    /// Whether this replica is not to lead.
    pub(crate) fn set_aside(&self, is_aside: bool) {
        self.is_aside.store(is_aside, Ordering::Relaxed);
    }

    pub(super) fn is_aside(&self) -> bool {
        self.is_aside.load(Ordering::Relaxed)
    }

    /// Another detector of this node doubts the voter of this label.
    pub(crate) fn witness(&self, label: &str) {
        let id = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let membership = metrics.membership_config.membership();
            let is_named =
                |id: &PeerId| membership.get_node(id).is_some_and(|peer| peer.label == label);
            // A learner may have the label of the voter that it replaces, or was replaced by.
            membership.voter_ids().find(is_named)
        };
        if let Some(id) = id {
            self.ears().on_witness(id);
        }
    }

    /// The other voters that answer pings at present.
    pub(crate) fn heard(&self) -> BTreeSet<PeerId> {
        self.ears().heard()
    }

    async fn run(self: Arc<Self>, watcher: Watcher<S>, period: Duration) {
        let mut tasks = JoinSet::new();
        tasks.spawn(in_scope(watcher.watch()));
        let mut lines = BTreeMap::new();
        let mut known = None;
        let mut ticks = interval(period);
        // A pause of this process counts for one tick, see `Ears`.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let membership = self.raft.metrics().borrow_watched().membership_config.clone();
            if known.as_ref() != Some(&membership) {
                self.redraw(&mut tasks, &mut lines, self.others(&membership));
                known = Some(membership);
            }
            self.ears().on_tick();
            self.ticks.send_modify(|tick| *tick += 1);
        }
    }

    /// The other voters, if this is one.
    fn others(&self, membership: &StoredMembership) -> BTreeSet<Peer> {
        let membership = membership.membership();
        let voters: BTreeSet<PeerId> = membership.voter_ids().collect();
        if !voters.contains(&self.me) {
            return BTreeSet::new();
        }
        let others = voters.iter().filter(|id| **id != self.me);
        others.filter_map(|id| membership.get_node(id)).cloned().collect()
    }

    /// Keeps a line to each of these peers, and no other.
    fn redraw(
        self: &Arc<Self>,
        tasks: &mut JoinSet<()>,
        lines: &mut BTreeMap<Peer, AbortHandle>,
        peers: BTreeSet<Peer>,
    ) {
        self.ears().listen_to(&peers.iter().map(|peer| peer.id).collect());
        let mut askers = self.askers.lock().expect("no holder of this lock panics");
        lines.retain(|peer, line| {
            let stays = peers.contains(peer);
            if !stays {
                line.abort();
                askers.remove(&peer.id);
            }
            stays
        });
        for peer in peers {
            if let Entry::Vacant(place) = lines.entry(peer) {
                let (asker, asks) = mpsc::channel(ASKS_MAX);
                askers.insert(place.key().id, asker);
                let line = in_scope(line::keep(self.clone(), place.key().clone(), asks));
                place.insert(tasks.spawn(line));
            }
        }
        while tasks.try_join_next().is_some() {}
    }

    /// What Raft says of itself once all that it was given is in its log; `None` when not in time.
    pub(super) async fn standing(&self, patience: Duration) -> Option<Standing> {
        let standing = self.raft.with_raft_state(|state| Standing {
            vote: *state.vote_ref(),
            last_log_id: state.log_ids.last().copied(),
        });
        timeout(patience, standing).await.ok()?.ok()
    }

    /// Where to ask a voter.
    pub(super) fn asker(&self, id: PeerId) -> Option<mpsc::Sender<Ask>> {
        self.askers.lock().expect("no holder of this lock panics").get(&id).cloned()
    }

    /// Tries whether the machine of a silent peer still takes connections: that of a process that
    /// hangs does, one that is cut off does not.
    pub(super) fn probe(self: &Arc<Self>, peer: &Peer) {
        let (lifelines, peer) = (self.clone(), peer.clone());
        let probe = async move {
            let connect = lifelines.dialer.net.connect(&peer.address);
            if let Ok(Ok(_)) = timeout(lifelines.dialer.deadline, connect).await {
                lifelines.ears().on_connected(peer.id);
            }
        };
        drop(self.home.spawn(probe));
    }

    pub(super) fn ears(&self) -> MutexGuard<'_, Ears> {
        self.ears.lock().expect("no holder of this lock panics")
    }
}
