//! The part of the bootstrap that talks: greets, proposes, asks, and writes down what follows.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep},
};

use crate::{
    Bootstrap, OpenError, Peer, PeerId,
    bootstrap::{
        message::{Greeting, Message, Reply, Stance},
        promise::{Declined, Fate, Record, Set, Standing},
        reminder::Reminder,
    },
    codec,
    consensus::blocking::Blocking,
    directory::DataDirectory,
    transport::{
        caller::Callers,
        frame::Kind,
        hello::{Channel, Refusal},
        link::Identity,
    },
};

/// Between two rounds of questions; a random half is added so that nodes do not march in step.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an answer may take: a dial, two frames and an fsync.
const ANSWER: Duration = Duration::from_secs(1);
/// For how long a proposer keeps a set that not all have promised themselves to.
const ROUND: Duration = Duration::from_secs(2);
/// For how long a node counts as a candidate after it was last heard.
const HEARD: Duration = Duration::from_secs(2);
/// Nodes and addresses that are remembered; a stranger cannot make it more.
const KNOWN_MAX: usize = 64;

/// One node's part in the bootstrap.
pub(crate) struct Bootstrapper {
    identity: Arc<Identity>,
    directory: Arc<std::sync::Mutex<Option<DataDirectory>>>,
    blocking: Blocking,
    how: Bootstrap,
    record: Mutex<Record>,
    /// Addresses to ask besides those of `how`, learned while running; at most [`KNOWN_MAX`].
    learned: std::sync::Mutex<BTreeSet<String>>,
    heard: std::sync::Mutex<BTreeMap<PeerId, Heard>>,
    /// Whether this run has asked at every address it began with. Before, it makes no new promise: one
    /// of them may lead to a cluster.
    has_greeted: AtomicBool,
    /// Told when a promise could not be written: the disk is not asked a second time.
    failure: watch::Sender<Option<String>>,
}

impl std::fmt::Debug for Bootstrapper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Bootstrapper").finish_non_exhaustive()
    }
}

/// A node that has spoken to us.
struct Heard {
    peer: Peer,
    stance: Stance,
    at: Instant,
}

/// How the bootstrap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// This node is in a cluster, and is the one to initialise it with these voters.
    Founder(Set),
    /// It is in a cluster, or waits to be taken into one.
    Follower,
}

impl Bootstrapper {
    /// Goes on from what the directory says.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(crate) fn new(
        identity: Arc<Identity>,
        mut directory: DataDirectory,
        blocking: Blocking,
        how: Bootstrap,
        failure: watch::Sender<Option<String>>,
    ) -> Result<Self, OpenError> {
        let record = match directory.read_cell(CELL)? {
            Some(bytes) => codec::decode(&bytes).map_err(|error| OpenError::Corrupt {
                file: CELL.into(),
                offset: 0,
                reason: error.to_string(),
            })?,
            None => Record::default(),
        };
        if record.cluster_id() != 0 {
            // A crash may have come between the record and the identity.
            directory.bind_to_cluster(record.cluster_id())?;
        }
        identity.cluster_id.send_replace(record.cluster_id());
        let directory = Arc::new(std::sync::Mutex::new(Some(directory)));
        Ok(Self {
            identity,
            directory,
            blocking,
            how,
            record: Mutex::new(record),
            learned: std::sync::Mutex::default(),
            heard: std::sync::Mutex::default(),
            has_greeted: AtomicBool::new(false),
            failure,
        })
    }

    /// Takes addresses to ask from now on instead of those learned before. They are asked and no more:
    /// who is a candidate, each node says itself.
    pub(crate) fn learn_seeds(&self, seeds: Vec<String>) {
        let seeds = seeds.into_iter().take(KNOWN_MAX).collect();
        *self.learned.lock().expect("no holder of this lock panics") = seeds;
    }

    /// The directory, for its lock: who takes it out lets go of it.
    pub(crate) fn directory(&self) -> Arc<std::sync::Mutex<Option<DataDirectory>>> {
        self.directory.clone()
    }

    /// Takes part until this node is in a cluster or barred from founding one.
    ///
    /// # Errors
    /// When a promise could not be written: this node must not go on.
    pub(crate) async fn run(&self, callers: &Callers, seed: u64) -> io::Result<Ended> {
        if self.how == Bootstrap::Join && self.record.lock().await.cluster_id() == 0 {
            tracing::info!("in no cluster: waits until the leader of one takes it in");
        }
        let mut rng = StdRng::seed_from_u64(seed);
        let mut open_since = Instant::now();
        let mut reminder = Reminder::default();
        loop {
            let standing = self.record.lock().await.standing.clone();
            match standing {
                Standing::Member { founded: Some(set), .. } => return Ok(Ended::Founder(set)),
                Standing::Member { .. } | Standing::Barred => return Ok(Ended::Follower),
                Standing::Promised(set) => {
                    reminder.waits_for(&set);
                    self.ask_fate(callers, &set).await?;
                }
                Standing::Proposing(set) => {
                    self.collect(callers, &set, open_since).await?;
                    self.greet(callers).await?;
                }
                Standing::Free => {
                    self.greet(callers).await?;
                    self.maybe_propose(&mut rng).await?;
                    open_since = Instant::now();
                    if !matches!(self.record.lock().await.standing, Standing::Free) {
                        continue;
                    }
                }
            }
            let pause = PAUSE + PAUSE.mul_f64(rng.random::<f64>() / 2.0);
            sleep(pause).await;
        }
    }

    /// Judges a peer that dialled for Raft or for a call.
    pub(crate) async fn admit(
        &self,
        cluster_id: u64,
        from: &Peer,
        to: PeerId,
        channel: Channel,
    ) -> Result<(), Refusal> {
        // Only a leader's own connections take a fresh node in, and only one that knows its id.
        let is_replication =
            matches!(channel, Channel::Append | Channel::Heartbeat | Channel::Snapshot);
        let is_taken_in = is_replication && to == self.identity.me.id;
        let mut record = self.record.lock().await;
        match record.join(cluster_id, from.id, is_taken_in) {
            Ok(None) => Ok(()),
            Ok(Some(joined)) => self.save(&mut record, joined).await.map_err(|_| Refusal::Fresh),
            Err(0) => Err(Refusal::Fresh),
            Err(ours) => Err(Refusal::ClusterId { ours }),
        }
    }

    /// Answers a message of another node.
    ///
    /// # Errors
    /// When a promise could not be written; nothing was promised then.
    pub(crate) async fn on_message(&self, message: Message) -> io::Result<Reply> {
        match message {
            Message::Greet(greeting) => {
                self.hear(greeting).await?;
                Ok(Reply::Greeting(self.greeting().await))
            }
            Message::Propose(set) => {
                let mut record = self.record.lock().await;
                let is_free = record.standing == Standing::Free;
                let has_looked = self.has_greeted.load(Ordering::Relaxed);
                if !self.is_wanted(&set) || (is_free && !has_looked) {
                    return Ok(Reply::Declined(Declined::Unwanted));
                }
                match record.promise(&set) {
                    Ok(promised) => {
                        self.save(&mut record, promised).await?;
                        Ok(Reply::Promised)
                    }
                    Err(declined) => Ok(Reply::Declined(declined)),
                }
            }
            Message::AskFate { attempt } => Ok(Reply::Fate(self.record.lock().await.fate(attempt))),
        }
    }

    /// Whether this node's own options allow a set: it must be in it, and of one mind about its
    /// size and its labels.
    fn is_wanted(&self, set: &Set) -> bool {
        match &self.how {
            Bootstrap::Alone | Bootstrap::Join => false,
            Bootstrap::Expect { voters, only, .. } => {
                let allowed =
                    |peer: &Peer| only.as_ref().is_none_or(|only| only.contains(&peer.label));
                set.voters.len() == *voters
                    && set.has(set.proposer)
                    && set.voters.contains(&self.identity.me)
                    && set.voters.iter().all(allowed)
            }
        }
    }

    async fn save(&self, record: &mut Record, next: Record) -> io::Result<()> {
        if *record != next {
            tracing::info!(standing = ?next.standing, "bootstrap");
            let (directory, written) = (self.directory.clone(), next.clone());
            let saved = self.blocking.run(move || write(&directory, &written)).await;
            saved.inspect_err(|error| {
                tracing::error!(%error, "a promise could not be written");
                let reason = format!("a promise could not be written: {error}");
                self.failure.send_replace(Some(reason));
            })?;
            *record = next;
            self.identity.cluster_id.send_if_modified(|id| {
                let changed = *id != record.cluster_id();
                *id = record.cluster_id();
                changed
            });
        }
        Ok(())
    }

    async fn greeting(&self) -> Greeting {
        let is_candidate = matches!(self.how, Bootstrap::Expect { .. });
        let stance = match self.record.lock().await.standing {
            Standing::Free if is_candidate => Stance::Free,
            Standing::Free | Standing::Proposing(_) | Standing::Promised(_) | Standing::Barred => {
                Stance::Bound
            }
            Standing::Member { .. } => Stance::InCluster,
        };
        let known = self.heard().values().map(|heard| heard.peer.clone()).collect();
        Greeting { me: self.identity.me.clone(), stance, known }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, BTreeMap<PeerId, Heard>> {
        self.heard.lock().expect("no holder of this lock panics")
    }

    async fn hear(&self, greeting: Greeting) -> io::Result<()> {
        let Greeting { me: peer, stance, known } = greeting;
        if peer.id == self.identity.me.id {
            return Ok(());
        }
        {
            let mut heard = self.heard();
            let at = Instant::now();
            // Known by hearsay: worth a greeting, not yet a candidate.
            for other in known {
                if other.id != self.identity.me.id && heard.len() < KNOWN_MAX {
                    let hearsay = Heard { peer: other.clone(), stance: Stance::Bound, at };
                    heard.entry(other.id).or_insert(hearsay);
                }
            }
            if heard.len() < KNOWN_MAX || heard.contains_key(&peer.id) {
                heard.insert(peer.id, Heard { peer, stance, at });
            }
        }
        if stance == Stance::InCluster {
            let mut record = self.record.lock().await;
            if let Some(barred) = record.bar() {
                self.save(&mut record, barred).await?;
            }
        }
        Ok(())
    }

    /// Exchanges greetings with every seed and every node heard of.
    async fn greet(&self, callers: &Callers) -> io::Result<()> {
        let greeting = Message::Greet(self.greeting().await);
        let targets = self.addresses();
        let asked = targets.iter().map(|target| ask(callers, target, &greeting));
        for reply in join_all(asked).await {
            if let Some(Reply::Greeting(greeting)) = reply {
                self.hear(greeting).await?;
            }
        }
        self.has_greeted.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn addresses(&self) -> Vec<Peer> {
        let Bootstrap::Expect { seeds, .. } = &self.how else { return vec![] };
        let mut addresses: BTreeSet<String> = seeds.iter().cloned().collect();
        addresses.extend(self.learned.lock().expect("no holder of this lock panics").clone());
        addresses.extend(self.heard().values().map(|heard| heard.peer.address.clone()));
        addresses.remove(&self.identity.me.address);
        let unknown = |address| Peer { address, ..Peer::default() };
        addresses.into_iter().map(unknown).collect()
    }

    /// Proposes a set, if there are enough candidates and this node is the least of them.
    async fn maybe_propose(&self, rng: &mut StdRng) -> io::Result<()> {
        let Some(voters) = self.candidates() else { return Ok(()) };
        let mut record = self.record.lock().await;
        let cluster_id = rng.random_range(1..=u64::MAX);
        if let Some(proposing) = record.propose(self.identity.me.id, cluster_id, voters) {
            self.save(&mut record, proposing).await?;
        }
        Ok(())
    }

    /// The least N candidates, if this node is the least of all.
    fn candidates(&self) -> Option<Vec<Peer>> {
        let me = self.identity.me.clone();
        let (voters, only) = match &self.how {
            Bootstrap::Alone => return Some(vec![me]),
            Bootstrap::Join => return None,
            Bootstrap::Expect { voters, only, .. } => (voters, only),
        };
        let now = Instant::now();
        let mut candidates = BTreeMap::from([(me.id, me.clone())]);
        for heard in self.heard().values() {
            let is_allowed = only.as_ref().is_none_or(|only| only.contains(&heard.peer.label));
            if heard.stance == Stance::Free && heard.at + HEARD > now && is_allowed {
                candidates.insert(heard.peer.id, heard.peer.clone());
            }
        }
        let mut labels = BTreeSet::new();
        let candidates: Vec<Peer> = candidates
            .into_values()
            .filter(|peer| labels.insert(peer.label.clone()))
            .take(*voters)
            .collect();
        (candidates.len() == *voters && candidates.first() == Some(&me)).then_some(candidates)
    }

    /// Asks every voter of this node's set for its promise; founds the set when all have given it,
    /// gives it up when one never will or the round is over.
    async fn collect(&self, callers: &Callers, set: &Set, since: Instant) -> io::Result<()> {
        let others = set.voters.iter().filter(|voter| voter.id != set.proposer);
        let message = Message::Propose(set.clone());
        let replies = join_all(others.map(|voter| ask(callers, voter, &message))).await;
        let have_all_promised = replies.iter().all(|reply| *reply == Some(Reply::Promised));
        let has_met_cluster = replies.contains(&Some(Reply::Declined(Declined::InCluster)));
        let is_over = Instant::now() > since + ROUND;
        let mut record = self.record.lock().await;
        // Another task may have moved it on meanwhile, by meeting a cluster.
        if record.standing != Standing::Proposing(set.clone()) {
            return Ok(());
        }
        let next = if have_all_promised {
            record.found()
        } else if has_met_cluster {
            record.bar()
        } else if is_over {
            record.abandon()
        } else {
            None
        };
        match next {
            Some(next) => self.save(&mut record, next).await,
            None => Ok(()),
        }
    }

    /// Asks the proposer that this node is promised to what became of its set.
    async fn ask_fate(&self, callers: &Callers, set: &Set) -> io::Result<()> {
        let Some(proposer) = set.voters.iter().find(|voter| voter.id == set.proposer) else {
            return Ok(());
        };
        let message = Message::AskFate { attempt: set.attempt };
        let fate = match ask(callers, proposer, &message).await {
            Some(Reply::Fate(fate)) => fate,
            _ => Fate::Open,
        };
        let mut record = self.record.lock().await;
        match record.learn(set.proposer, set.attempt, fate) {
            Some(next) => self.save(&mut record, next).await,
            None => Ok(()),
        }
    }
}

/// The name of the cell that holds the [`Record`].
const CELL: &str = "bootstrap";

fn write(directory: &std::sync::Mutex<Option<DataDirectory>>, record: &Record) -> io::Result<()> {
    let mut directory = directory.lock().expect("no holder of this lock panics");
    let directory =
        directory.as_mut().ok_or_else(|| io::Error::other("this replica has stopped"))?;
    directory.write_cell(CELL, &codec::encode(record))?;
    match record.cluster_id() {
        0 => Ok(()),
        cluster_id => directory
            .bind_to_cluster(cluster_id)
            .map_err(|error| io::Error::other(error.to_string())),
    }
}

async fn ask(callers: &Callers, to: &Peer, message: &Message) -> Option<Reply> {
    let body = Bytes::from(codec::encode(message));
    let deadline = Instant::now() + ANSWER;
    let reply = callers.ask(to, Channel::Bootstrap, Kind::Bootstrap, body, deadline).await;
    codec::decode(&reply.ok()?).ok()
}
