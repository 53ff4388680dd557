//! What a replica is told when it opens.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{Disk, Net, OpenError};

/// How a fresh data directory becomes a member of a cluster (guarantees §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// A cluster of this one voter, at once.
    Alone,
    /// Founds none and is in no set: waits until the leader of a cluster takes it in.
    Join,
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

/// How voters listen to each other beside Raft (see `DESIGN.md`, "The lifeline").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifeline {
    /// How often each other voter is asked for a sign of life, ms.
    pub ping_ms: u64,
    /// A peer from which nothing has come for this long counts as silent, ms.
    pub silence_ms: u64,
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
    /// Makes a failover faster than the timers; `None` leaves it to them. It counts only between
    /// voters that all have it.
    pub lifeline: Option<Lifeline>,
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

impl Timing {
    /// Voters in one data centre: a dead leader is replaced after about a quarter of a second.
    pub fn lan() -> Self {
        Self { heartbeat_ms: 25, election_min_ms: 100, election_max_ms: 150 }
    }

    /// Voters further apart, or machines that pause.
    pub fn wide() -> Self {
        Self { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 }
    }
}

impl Lifeline {
    /// For [`Timing::lan`].
    pub fn lan() -> Self {
        Self { ping_ms: 15, silence_ms: 120 }
    }

    /// For [`Timing::wide`]: a round trip and its jitter must fit into the silence.
    pub fn wide() -> Self {
        Self { ping_ms: 25, silence_ms: 200 }
    }

    fn fault(self) -> Option<String> {
        let Self { ping_ms, silence_ms } = self;
        let is_sound = ping_ms > 0 && silence_ms >= 2 * ping_ms && silence_ms <= SILENCE_MS_MAX;
        (!is_sound).then(|| {
            format!(
                "a lifeline's silence, {silence_ms} ms, must be two pings ({ping_ms} ms) at least \
                 and {SILENCE_MS_MAX} ms at most"
            )
        })
    }
}

impl Options {
    /// Judges what a type cannot.
    ///
    /// # Errors
    /// [`OpenError::Options`] with the first fault.
    pub(crate) fn validate(&self) -> Result<(), OpenError> {
        let Timing { heartbeat_ms, election_min_ms, election_max_ms } = self.timing;
        let fault = if self.cluster.is_empty() || self.cluster.len() > 255 {
            Some("the cluster's name must have 1 to 255 bytes".to_owned())
        } else if self.label.is_empty() || self.label.len() > 255 {
            Some("the label must have 1 to 255 bytes".to_owned())
        } else if self.advertise.is_empty() || self.advertise.len() > 255 {
            Some("the advertised address must have 1 to 255 bytes".to_owned())
        } else if heartbeat_ms == 0
            || heartbeat_ms >= election_min_ms
            || election_min_ms >= election_max_ms
        {
            Some(format!(
                "the timers must rise: 0 < heartbeat {heartbeat_ms} ms < least election timeout \
                 {election_min_ms} ms < greatest election timeout {election_max_ms} ms"
            ))
        } else {
            self.lifeline.and_then(Lifeline::fault).or_else(|| self.bootstrap.fault())
        };
        fault.map_or(Ok(()), |fault| Err(OpenError::Options(fault)))
    }
}

impl Bootstrap {
    fn fault(&self) -> Option<String> {
        let Self::Expect { voters, only, .. } = self else { return None };
        let only = only.as_ref().map_or(usize::MAX, BTreeSet::len);
        if !(1..=VOTERS_MAX).contains(voters) {
            Some(format!("a cluster has 1 to {VOTERS_MAX} voters, not {voters}"))
        } else if only < *voters {
            Some(format!("{only} labels are not enough for {voters} voters"))
        } else {
            None
        }
    }
}

/// Timers are long done by then.
const SILENCE_MS_MAX: u64 = 60_000;
/// More voters make every write slower and nothing safer.
pub(crate) const VOTERS_MAX: usize = 15;
