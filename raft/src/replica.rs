//! One replica of a state machine, and everything that a caller may ask of it.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{Disk, LogIndex, Net, StateMachine, net::BoxFuture};

/// A replica's Raft id: a fresh random number bound to its data directory, never reused.
pub type PeerId = u64;

/// A replica as the configuration knows it.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Peer {
    /// The Raft id.
    pub id: PeerId,
    /// The name that people use (`node_id`).
    pub label: String,
    /// Where its peers reach it: `host:port`.
    pub address: String,
}

/// How a fresh data directory becomes a member of a cluster (guarantees §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// A cluster of this one voter, at once.
    Alone,
    /// Finds `voters` fresh nodes through the addresses in `seeds` (its own may be among them), has
    /// all of them promise themselves to one set, and the least of them initialises that set.
    Expect {
        /// How many voters the set has, this one included.
        voters: usize,
        /// `host:port` of nodes to ask.
        seeds: Vec<String>,
        /// When given, only nodes with these labels may be in the set.
        only: Option<BTreeSet<String>>,
    },
}

/// The timers of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A leader's heartbeat, ms.
    pub heartbeat_ms: u64,
    /// The least election timeout, ms.
    pub election_min_ms: u64,
    /// The greatest election timeout, ms; also how long a voter stands by a silent leader.
    pub election_max_ms: u64,
}

/// What a replica is told when it opens.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's name; peers of another name are refused.
    pub cluster: String,
    /// This replica's label (`node_id`).
    pub label: String,
    /// Its directory; created when absent, bound to one id for ever.
    pub data_dir: PathBuf,
    /// Where it listens for peers.
    pub listen: SocketAddr,
    /// What it tells peers to dial: `host:port`.
    pub advertise: String,
    /// What a fresh directory does; a directory that is not fresh goes on as what it is.
    pub bootstrap: Bootstrap,
    /// The timers.
    pub timing: Timing,
    /// A log segment's size, bytes.
    pub segment_bytes: u64,
    /// A snapshot is due when the log since the last one has outgrown this and that snapshot.
    pub snapshot_log_bytes: u64,
    /// How many entries stay in the log behind a snapshot, for followers that lag.
    pub kept_entries: u64,
}

/// What a replica stands on: simulation brings its own.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The network.
    pub net: Arc<dyn Net>,
    /// Seeds every random choice of this replica, its fresh id included.
    pub seed: u64,
}

/// Answers what peers ask through [`Replica::call`].
pub trait CallHandler: Send + Sync + 'static {
    /// Answers one request of `from`. The transport drops the future when the caller's deadline
    /// (at most `remaining` from now) has passed.
    fn on_call(
        &self,
        from: PeerId,
        request: Bytes,
        remaining: Duration,
    ) -> BoxFuture<'static, Bytes>;
}

/// What a replica does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// In no cluster yet: its bootstrap is under way.
    #[default]
    Fresh,
    /// Replicates without a vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads its term.
    Leader,
}

/// A replica's standing, as of the last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// The cluster's minted id, 0 before bootstrap.
    pub cluster_id: u64,
    /// This replica.
    pub me: Peer,
    /// What it does.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// The leader it knows of; `None` while there is none.
    pub leader: Option<Peer>,
    /// The voters of the effective configuration, by id.
    pub voters: Vec<Peer>,
    /// The learners of the effective configuration, by id.
    pub learners: Vec<Peer>,
    /// The last index in its log.
    pub last_log_index: LogIndex,
    /// The last index it knows committed.
    pub commit_index: LogIndex,
    /// The last index its machine has applied.
    pub applied_index: LogIndex,
    /// The last index in its newest snapshot.
    pub snapshot_index: LogIndex,
    /// Why it stopped for good, if it did.
    pub failure: Option<String>,
}

/// Why an entry got no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead. Certainly never proposed.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<Peer>,
    },
    /// It was proposed and the answer was lost: it may be applied, now or later.
    #[error("the entry was proposed and its outcome is unknown")]
    Unknown,
    /// The replica has stopped. Certainly never proposed.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a read barrier was not reached. Nothing was changed; try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This replica does not lead.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, as far as is known.
        leader: Option<Peer>,
    },
    /// No quorum confirmed this leader in time.
    #[error("no quorum answered in time")]
    NoQuorum,
    /// The replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a call to a peer got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection to the peer, or none in time: the request was certainly not delivered.
    #[error("the peer could not be reached")]
    Unreachable,
    /// The request was sent and the answer was lost: it may have been carried out.
    #[error("the connection was lost before the answer came")]
    Lost,
}

/// Why a replica did not open. Nothing was written, unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory belongs to another cluster, node or group.
    #[error("data directory {dir}: {reason}")]
    WrongDirectory {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        reason: String,
    },
    /// Another process holds the directory.
    #[error("data directory {dir} is in use by another process")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// A file holds what was never written to it.
    #[error("{file} is corrupt at byte {offset}: {reason}")]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The address cannot be bound.
    #[error("cannot listen for peers on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The disk failed.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An option is out of range.
    #[error("{0}")]
    Options(String),
}

/// A cheap handle on one running replica; clones share it.
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    _machine: std::marker::PhantomData<S>,
}

impl<S: StateMachine> Clone for Replica<S> {
    fn clone(&self) -> Self {
        Self { _machine: std::marker::PhantomData }
    }
}

/// The calls of a replica. Bodies follow with the log and the transport.
impl<S: StateMachine> Replica<S> {
    /// Opens the directory, recovers, listens, and starts to take part. Runs on the caller's runtime,
    /// which should be the replica's own: a blocked thread there is an election.
    pub async fn open(
        options: Options,
        environment: Environment,
        machine: S,
        calls: Arc<dyn CallHandler>,
    ) -> Result<Self, OpenError> {
        let _ = (options, environment, machine, calls);
        std::future::pending().await
    }

    /// Proposes one entry and waits until it is durable on a majority and applied here.
    pub async fn propose(&self, entry: Bytes) -> Result<S::Outcome, ProposeError> {
        let _ = entry;
        std::future::pending().await
    }

    /// ReadIndex (Raft §6.4): an index such that a machine that has applied it shows every write
    /// acknowledged before this call. Only a leader that a quorum confirms answers. Does not wait for
    /// this replica to apply it: see [`Replica::wait_applied`].
    pub async fn read_index(&self) -> Result<LogIndex, ReadError> {
        std::future::pending().await
    }

    /// Waits until this replica has applied `index`. The caller sets the deadline.
    pub async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadError> {
        let _ = index;
        std::future::pending().await
    }

    /// Looks at this replica's machine, between two entries. Keep it short: `apply` waits.
    pub fn look<T>(&self, view: impl FnOnce(&S) -> T) -> T {
        let _ = view;
        unreachable!("written with the replica")
    }

    /// Asks a peer something, by its label or its id; its [`CallHandler`] answers within `timeout`.
    pub async fn call(
        &self,
        peer: &Peer,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let _ = (peer, request, timeout);
        std::future::pending().await
    }

    /// The standing, and every change of it.
    pub fn status(&self) -> watch::Receiver<Status> {
        unreachable!("written with the replica")
    }

    /// Hands leadership to the caught-up voter with the longest log and waits (up to `timeout`) until
    /// it leads. `false` when this replica does not lead or nobody took over in time.
    pub async fn hand_over(&self, timeout: Duration) -> bool {
        let _ = timeout;
        false
    }

    /// Writes a snapshot now and purges the log behind it, as far as [`Options::kept_entries`] lets.
    /// Returns the snapshot's last index.
    pub async fn snapshot(&self) -> Result<LogIndex, ReadError> {
        std::future::pending().await
    }

    /// Stops: no proposal is taken after this, the log is synced, the port is free when it returns.
    pub async fn stop(&self) {}
}
