//! What a replica is told when it opens.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{Disk, Net, OpenError};

/// How a fresh data directory becomes a member of a cluster (`bootstrap`).
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
    /// Voters in one building, without a lifeline: a leader that is gone or hangs is replaced after its
    /// lease (as long as `election_max_ms`) and their wait, 250 to 300 ms.
    pub const fn lan() -> Self {
        Self { heartbeat_ms: 25, election_min_ms: 100, election_max_ms: 150 }
    }

    /// The same voters with a lifeline ([`Lifeline::lan`]), which replaces a leader long before. The timers
    /// step in where that fails, after 450 to 500 ms: a machine that is busy for less elects nobody. A
    /// leader that lost its quorum knows so after 4 × 250 ms, and not later than in a second.
    pub const fn lan_beside_lifeline() -> Self {
        Self { heartbeat_ms: 50, election_min_ms: 200, election_max_ms: 250 }
    }

    /// Voters up to about 50 ms apart, or machines that pause: a heartbeat's round trip fits into the
    /// least timeout four times. A leader that is gone is replaced after 1.5 to 2 s; a lifeline
    /// ([`Lifeline::wide`]) does it sooner.
    pub const fn wide() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 500, election_max_ms: 1000 }
    }

    /// After so long without an acknowledgement of a quorum, a leader falls silent, ms; the cluster
    /// goes on with another then, or after a heal with it.
    pub(crate) const fn quorum_loss_ms(self) -> u64 {
        // openraft wants twice the greatest election timeout at least; twice that leaves two rounds.
        4 * self.election_max_ms
    }
}

impl Lifeline {
    /// For [`Timing::lan_beside_lifeline`].
    pub const fn lan() -> Self {
        Self { ping_ms: 15, silence_ms: 120 }
    }

    /// For [`Timing::wide`]: a round trip of 100 ms and three times as much jitter fit into the silence.
    pub const fn wide() -> Self {
        Self { ping_ms: 50, silence_ms: 400 }
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

#[cfg(test)]
mod tests {
    use super::*;

    const PRESETS: [Timing; 3] = [Timing::lan(), Timing::lan_beside_lifeline(), Timing::wide()];
    const BESIDE_LIFELINES: [(Timing, Lifeline); 2] =
        [(Timing::lan_beside_lifeline(), Lifeline::lan()), (Timing::wide(), Lifeline::wide())];

    #[test]
    fn every_preset_beats_often_enough_to_keep_its_followers_quiet() {
        for timing in PRESETS {
            assert!(timing.heartbeat_ms * 4 <= timing.election_min_ms, "{timing:?}");
            assert!(timing.election_min_ms < timing.election_max_ms, "{timing:?}");
        }
    }

    // L6: after a heal writes flow within a second. Claim: in one building the timers alone suffice, for a
    // follower (the lease, and its wait) and for a leader that lost its quorum.
    #[test]
    fn in_one_building_the_timers_are_done_within_a_second() {
        for timing in [Timing::lan(), Timing::lan_beside_lifeline()] {
            assert!(2 * timing.election_max_ms < 1_000, "{timing:?}");
            assert!(timing.quorum_loss_ms() <= 1_000, "{timing:?}");
        }
    }

    #[test]
    fn a_lifeline_is_sound_and_faster_than_the_timers_beside_it() {
        for (timing, lifeline) in BESIDE_LIFELINES {
            assert_eq!(lifeline.fault(), None);
            assert!(2 * lifeline.silence_ms < timing.election_max_ms + timing.election_min_ms);
            assert!(lifeline.ping_ms <= timing.heartbeat_ms, "{lifeline:?}");
        }
    }
}
