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

#[cfg(test)]
mod tests {
    use raft::Peer;

    use super::*;

    fn standing(id: PeerId, role: Role, term: u64, applied_index: u64) -> Status {
        let me = Peer { id, ..Peer::default() };
        let raft = raft::Status { me, role, term, applied_index, ..raft::Status::default() };
        Status { raft, ..Status::default() }
    }

    #[test]
    fn two_leaders_of_one_term_are_seen_and_of_two_terms_are_not() {
        let mut oracle = Oracle::default();
        let leader = |id, term| standing(id, Role::Leader, term, 0);
        assert_eq!(oracle.on_status(0, 1, &leader(11, 3), Disk::Works), Ok(()));
        assert_eq!(oracle.on_status(1, 1, &leader(12, 4), Disk::Works), Ok(()));
        assert!(oracle.on_status(2, 1, &leader(13, 4), Disk::Works).is_err());
    }

    #[test]
    fn a_term_that_was_stored_does_not_go_back_at_a_restart() {
        let mut oracle = Oracle::default();
        let follower = |term| standing(11, Role::Follower, term, 0);
        oracle.on_status(0, 1, &follower(3), Disk::Works).unwrap();
        // Shown after the power was cut: never stored, and never told.
        oracle.on_status(0, 1, &follower(4), Disk::Dead).unwrap();
        assert_eq!(oracle.on_status(0, 2, &follower(3), Disk::Works), Ok(()));
        assert!(oracle.on_status(0, 3, &follower(2), Disk::Works).is_err());
    }

    #[test]
    fn what_is_applied_goes_back_only_at_a_restart() {
        let mut oracle = Oracle::default();
        let follower = |applied| standing(11, Role::Follower, 1, applied);
        oracle.on_status(0, 1, &follower(9), Disk::Works).unwrap();
        assert_eq!(oracle.on_status(0, 2, &follower(5), Disk::Works), Ok(()));
        assert!(oracle.on_status(0, 2, &follower(4), Disk::Works).is_err());
    }

    #[test]
    fn replicas_that_differ_at_one_index_are_seen() {
        let mut oracle = Oracle::default();
        assert_eq!(oracle.on_hash(0, 7, 1), Ok(()));
        assert_eq!(oracle.on_hash(1, 8, 2), Ok(()));
        assert_eq!(oracle.on_hash(1, 7, 1), Ok(()));
        assert!(oracle.on_hash(2, 8, 3).is_err());
        assert_eq!(oracle.agreed, 1);
    }
}
