//! What must hold inside the replicas after every step, whatever the clients see (guarantees S16, S17).

use std::collections::BTreeMap;

use quorate::node::Status;
use raft::{PeerId, Role};

use crate::schedule::{HOSTS, Place};

/// What has been seen of the replicas so far.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Who led each term.
    leaders: BTreeMap<u64, PeerId>,
    /// The hash chain at each applied index, and the first host that had it.
    hashes: BTreeMap<u64, (u128, Place)>,
    last: [Last; HOSTS.len()],
    /// How many applied indexes two replicas or more have agreed on.
    pub agreed: u64,
    /// The newest snapshot of any replica.
    pub snapshot_index: u64,
    /// How often a replica's state was replaced by a leader's snapshot.
    pub snapshots_installed: u64,
}

/// Whether what a host writes is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// It is, once synced.
    Works,
    /// The power is off, and the host does not know it yet.
    Dead,
}

/// The standing of one replica as it was last seen.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    life: u64,
    /// Whatever the replica showed.
    term: u64,
    commit: u64,
    applied: u64,
    snapshot: u64,
    /// The term it showed while its disk worked: it survives a crash. A term beyond it was never on the
    /// disk, and so was never told to anyone.
    stored_term: u64,
}

impl Oracle {
    /// Takes a replica's standing. `life` counts the starts of its host, which loses its memory in
    /// between; `disk` says whether its disk works as far as is known.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn on_status(
        &mut self,
        place: Place,
        life: u64,
        status: &Status,
        disk: Disk,
    ) -> Result<(), String> {
        let raft = &status.raft;
        let host = HOSTS[place];
        if raft.me.id == 0 {
            return Ok(());
        }
        let last = &mut self.last[place];
        if last.life != life {
            let stored_term = last.stored_term;
            *last = Last { life, term: stored_term, stored_term, ..Last::default() };
        }
        for (name, before, after) in [
            ("term", last.term, raft.term),
            ("commit index", last.commit, raft.commit_index),
            ("applied index", last.applied, raft.applied_index),
        ] {
            if after < before {
                return Err(format!("the {name} of {host} went back from {before} to {after}"));
            }
        }
        // Its own snapshot never goes beyond what it had applied.
        let is_installed = last.applied > 0 && raft.snapshot_index > last.applied;
        self.snapshots_installed += u64::from(is_installed && raft.snapshot_index > last.snapshot);
        last.snapshot = raft.snapshot_index;
        (last.term, last.commit, last.applied) = (raft.term, raft.commit_index, raft.applied_index);
        if disk == Disk::Works && raft.failure.is_none() {
            last.stored_term = raft.term;
        }
        self.snapshot_index = self.snapshot_index.max(raft.snapshot_index);
        self.check_leader(raft)
    }

    fn check_leader(&mut self, raft: &raft::Status) -> Result<(), String> {
        if raft.role != Role::Leader {
            return Ok(());
        }
        let known = *self.leaders.entry(raft.term).or_insert(raft.me.id);
        if known == raft.me.id {
            Ok(())
        } else {
            Err(format!("term {} has two leaders: {known} and {}", raft.term, raft.me.id))
        }
    }

    /// Takes a replica's hash chain at an index that it has applied.
    ///
    /// # Errors
    /// Two replicas differ at one index.
    pub fn on_hash(&mut self, place: Place, index: u64, hash: u128) -> Result<(), String> {
        let (known, first) = *self.hashes.entry(index).or_insert((hash, place));
        if known != hash {
            let (one, other) = (HOSTS[first], HOSTS[place]);
            return Err(format!("{one} and {other} differ at applied index {index}"));
        }
        self.agreed += u64::from(first != place);
        Ok(())
    }

    /// How many terms have had a leader.
    pub fn terms_led(&self) -> usize {
        self.leaders.len()
    }
}
