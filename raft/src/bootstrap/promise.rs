//! The durable part of the bootstrap, as a pure state machine. [`Record`] is what a node has
//! written down; each method gives the record to write *before* anybody is answered.

use serde::{Deserialize, Serialize};

use crate::{Peer, PeerId};

/// A set of voters that one node proposes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Set {
    /// Who proposes it and would initialise it.
    pub(crate) proposer: PeerId,
    /// Its number among this proposer's sets. A later number says that the earlier were abandoned.
    pub(crate) attempt: u64,
    /// The id that the cluster would have.
    pub(crate) cluster_id: u64,
    /// The voters, by id, the proposer among them.
    pub(crate) voters: Vec<Peer>,
}

impl Set {
    pub(crate) fn has(&self, id: PeerId) -> bool {
        self.voters.iter().any(|voter| voter.id == id)
    }
}

/// What a node has promised, or is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// Bound to nobody.
    Free,
    /// Bound to the set that it proposes itself.
    Proposing(Set),
    /// Bound to the set of another, until that one says that it has abandoned it.
    Promised(Set),
    /// It has met a cluster of its name that it is not in: it will never found another. It can
    /// still be taken in.
    Barred,
    /// In a cluster. `founded` is the set that it proposed, if it is the one that initialises the
    /// cluster (twice does no harm). It stays, so that [`Record::fate`] can tell for ever.
    Member { cluster_id: u64, founded: Option<Set> },
}

/// What a node has written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The number of the next set that it proposes. Never goes back.
    pub(crate) next_attempt: u64,
    /// What it is bound to.
    pub(crate) standing: Standing,
}

impl Default for Record {
    fn default() -> Self {
        Self { next_attempt: 1, standing: Standing::Free }
    }
}

/// Why a node does not promise itself to a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Declined {
    /// It is bound to another set.
    Bound,
    /// It is in a cluster.
    InCluster,
    /// It has met a cluster.
    Barred,
    /// Its own options do not allow this set, or it has not yet looked for a cluster.
    Unwanted,
}

/// What a proposer says of one of its sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    /// It is still collecting promises.
    Open,
    /// It was certainly never initialised and never will be.
    Abandoned,
    /// All promised: it is a cluster.
    Founded,
}

impl Record {
    /// The id of the cluster it is in, or 0.
    pub(crate) fn cluster_id(&self) -> u64 {
        match &self.standing {
            Standing::Member { cluster_id, .. } => *cluster_id,
            _ => 0,
        }
    }

    /// Binds this node to a set of its own. `None` when it is not free.
    pub(crate) fn propose(&self, me: PeerId, cluster_id: u64, voters: Vec<Peer>) -> Option<Self> {
        if self.standing != Standing::Free {
            return None;
        }
        let attempt = self.next_attempt;
        let set = Set { proposer: me, attempt, cluster_id, voters };
        Some(Self { next_attempt: attempt + 1, standing: Standing::Proposing(set) })
    }

    /// Frees this node from its own set, which from then on is abandoned for ever. `None` when
    /// there is none, or when it was founded.
    pub(crate) fn abandon(&self) -> Option<Self> {
        matches!(self.standing, Standing::Proposing(_)).then(|| self.with(Standing::Free))
    }

    /// Founds the set that this node proposes, once all its voters have promised themselves to it.
    pub(crate) fn found(&self) -> Option<Self> {
        let Standing::Proposing(set) = &self.standing else { return None };
        let founded = Some(set.clone());
        Some(self.with(Standing::Member { cluster_id: set.cluster_id, founded }))
    }

    /// Promises this node to the set of another.
    ///
    /// # Errors
    /// When it may not; the record is unchanged then.
    pub(crate) fn promise(&self, set: &Set) -> Result<Self, Declined> {
        match &self.standing {
            Standing::Free => Ok(self.with(Standing::Promised(set.clone()))),
            Standing::Promised(promised) if promised == set => Ok(self.clone()),
            Standing::Promised(_) | Standing::Proposing(_) => Err(Declined::Bound),
            Standing::Barred => Err(Declined::Barred),
            Standing::Member { .. } => Err(Declined::InCluster),
        }
    }

    /// Takes note of what the proposer said of the set that this node is promised to. `None` when
    /// that changes nothing.
    pub(crate) fn learn(&self, proposer: PeerId, attempt: u64, fate: Fate) -> Option<Self> {
        let Standing::Promised(set) = &self.standing else { return None };
        if (set.proposer, set.attempt) != (proposer, attempt) {
            return None;
        }
        match fate {
            Fate::Open => None,
            Fate::Abandoned => Some(self.with(Standing::Free)),
            Fate::Founded => {
                let cluster_id = set.cluster_id;
                Some(self.with(Standing::Member { cluster_id, founded: None }))
            }
        }
    }

    /// What became of this node's own set number `attempt`.
    pub(crate) fn fate(&self, attempt: u64) -> Fate {
        match &self.standing {
            Standing::Proposing(set) if set.attempt == attempt => Fate::Open,
            Standing::Member { founded: Some(set), .. } if set.attempt == attempt => Fate::Founded,
            // Either an earlier set, or one that this node never proposed.
            _ => Fate::Abandoned,
        }
    }

    /// Takes note of a cluster that this node is not in. `None` when that changes nothing: a
    /// promise to another stays, since only its proposer knows what became of it.
    pub(crate) fn bar(&self) -> Option<Self> {
        match self.standing {
            Standing::Free | Standing::Proposing(_) => Some(self.with(Standing::Barred)),
            _ => None,
        }
    }

    /// Makes this node a member of the cluster of a peer that dialled it for Raft. `Ok(None)` when
    /// it is that already.
    ///
    /// # Errors
    /// When it is bound elsewhere; with the cluster it is in, or 0.
    pub(crate) fn join(
        &self,
        cluster_id: u64,
        from: PeerId,
        is_taken_in: bool,
    ) -> Result<Option<Self>, u64> {
        let is_welcome = cluster_id != 0
            && match &self.standing {
                Standing::Member { cluster_id: ours, .. } if *ours == cluster_id => {
                    return Ok(None);
                }
                Standing::Member { cluster_id: ours, .. } => return Err(*ours),
                Standing::Promised(set) => set.cluster_id == cluster_id && set.has(from),
                Standing::Free | Standing::Barred => is_taken_in,
                Standing::Proposing(_) => false,
            };
        if !is_welcome {
            return Err(0);
        }
        Ok(Some(self.with(Standing::Member { cluster_id, founded: None })))
    }

    fn with(&self, standing: Standing) -> Self {
        Self { next_attempt: self.next_attempt, standing }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    fn peer(id: PeerId) -> Peer {
        Peer { id, label: format!("node-{id}"), address: format!("10.0.0.{id}:7000") }
    }

    fn proposing(id: PeerId, members: &[PeerId]) -> (Record, Set) {
        let voters = members.iter().map(|id| peer(*id)).collect();
        let record = Record::default().propose(id, id * 100, voters).unwrap();
        let Standing::Proposing(set) = &record.standing else { unreachable!() };
        (record.clone(), set.clone())
    }

    #[test]
    fn a_promised_node_declines_every_other_set() {
        let (_, first) = proposing(1, &[1, 2, 3]);
        let (_, second) = proposing(4, &[2, 3, 4]);
        let promised = Record::default().promise(&first).unwrap();
        assert_eq!(promised.promise(&second), Err(Declined::Bound));
        assert_eq!(promised.promise(&first), Ok(promised.clone()), "asking again changes nothing");
    }

    #[test]
    fn only_the_proposers_own_word_on_that_very_set_releases_a_promise() {
        let (_, set) = proposing(1, &[1, 2, 3]);
        let promised = Record::default().promise(&set).unwrap();
        assert_eq!(promised.learn(4, set.attempt, Fate::Abandoned), None);
        assert_eq!(promised.learn(1, set.attempt + 1, Fate::Abandoned), None);
        assert_eq!(promised.learn(1, set.attempt, Fate::Open), None);
        let released = promised.learn(1, set.attempt, Fate::Abandoned).unwrap();
        assert_eq!(released.standing, Standing::Free);
    }

    #[test]
    fn an_abandoned_set_can_never_be_founded() {
        let (record, set) = proposing(1, &[1, 2, 3]);
        let free = record.abandon().unwrap();
        assert_eq!(free.fate(set.attempt), Fate::Abandoned);
        assert_eq!(free.found(), None);
        let again = free.propose(1, 101, set.voters.clone()).unwrap();
        assert_eq!(again.fate(set.attempt), Fate::Abandoned, "numbers are not used twice");
    }

    #[test]
    fn a_founded_set_is_never_called_abandoned() {
        let (record, set) = proposing(1, &[1, 2, 3]);
        assert_eq!(record.fate(set.attempt), Fate::Open);
        let founded = record.found().unwrap();
        assert_eq!(founded.fate(set.attempt), Fate::Founded);
        assert_eq!(founded.abandon(), None);
        assert_eq!(founded.bar(), None);
    }

    #[test]
    fn a_node_that_met_a_cluster_founds_none_but_can_be_taken_in() {
        let barred = Record::default().bar().unwrap();
        assert_eq!(barred.propose(1, 7, vec![peer(1)]), None);
        let (_, set) = proposing(2, &[1, 2, 3]);
        assert_eq!(barred.promise(&set), Err(Declined::Barred));
        assert_eq!(barred.join(9, 2, false), Err(0));
        assert_eq!(barred.join(9, 2, true).unwrap().unwrap().cluster_id(), 9);
    }

    #[test]
    fn a_promised_node_joins_only_the_cluster_it_promised_itself_to() {
        let (_, set) = proposing(1, &[1, 2, 3]);
        let promised = Record::default().promise(&set).unwrap();
        assert_eq!(promised.join(9, 1, true), Err(0), "another cluster");
        assert_eq!(promised.join(set.cluster_id, 4, true), Err(0), "a node outside the set");
        let member = promised.join(set.cluster_id, 3, false).unwrap().unwrap();
        assert_eq!(member.cluster_id(), set.cluster_id);
        assert_eq!(member.join(9, 3, true), Err(set.cluster_id));
    }

    /// One node of the model: what it has on disk, and which promises to its present set it has
    /// heard. A crash loses the latter.
    #[derive(Default)]
    struct Modelled {
        record: Record,
        promised: BTreeSet<PeerId>,
    }

    /// A message that may be delivered any number of times, at any time, or never.
    #[derive(Clone)]
    enum Sent {
        Propose { to: PeerId, set: Set },
        Promised { from: PeerId, set: Set },
        Fate { to: PeerId, of: PeerId, attempt: u64, fate: Fate },
    }

    // Whatever is lost, repeated, late or restarted, and whoever proposes whatever: no node is a
    // founder twice.
    #[test]
    fn founded_sets_are_disjoint_in_every_random_history() {
        let mut founded_sets = 0;
        for seed in 0..400 {
            let mut rng = StdRng::seed_from_u64(seed);
            let count = rng.random_range(3..=7);
            let mut nodes: BTreeMap<PeerId, Modelled> =
                (1..=count).map(|id| (id, Modelled::default())).collect();
            let mut wire = Vec::new();
            for _ in 0..400 {
                step(&mut rng, &mut nodes, &mut wire);
            }
            let mut founders = BTreeSet::new();
            for node in nodes.values() {
                if let Standing::Member { founded: Some(set), .. } = &node.record.standing {
                    founded_sets += 1;
                    for voter in &set.voters {
                        assert!(founders.insert(voter.id), "seed {seed}: {} twice", voter.id);
                    }
                }
            }
        }
        assert!(founded_sets > 100, "{founded_sets} sets are too few to prove anything");
    }

    fn step(rng: &mut StdRng, nodes: &mut BTreeMap<PeerId, Modelled>, wire: &mut Vec<Sent>) {
        let id = rng.random_range(1..=nodes.len() as u64);
        let others: Vec<PeerId> = nodes.keys().copied().filter(|other| *other != id).collect();
        let node = nodes.get_mut(&id).unwrap();
        match rng.random_range(0..9) {
            0 => {
                let picked = others.iter().copied().filter(|_| rng.random::<bool>()).take(2);
                let voters: Vec<Peer> = picked.chain([id]).map(peer).collect();
                if let Some(next) = (voters.len() == 3)
                    .then(|| node.record.propose(id, rng.random(), voters))
                    .flatten()
                {
                    *node = Modelled { record: next, promised: BTreeSet::from([id]) };
                }
            }
            1 => {
                let Standing::Proposing(set) = &node.record.standing else { return };
                let to = set.voters.iter().map(|voter| voter.id);
                wire.extend(to.map(|to| Sent::Propose { to, set: set.clone() }));
            }
            2 => node.record = node.record.abandon().unwrap_or(node.record.clone()),
            3 => node.promised.clear(),
            4 => {
                let Standing::Promised(set) = &node.record.standing else { return };
                let (of, attempt) = (set.proposer, set.attempt);
                let fate = nodes[&of].record.fate(attempt);
                wire.push(Sent::Fate { to: id, of, attempt, fate });
            }
            _ => deliver(rng, nodes, wire),
        }
    }

    fn deliver(rng: &mut StdRng, nodes: &mut BTreeMap<PeerId, Modelled>, wire: &mut Vec<Sent>) {
        if wire.is_empty() {
            return;
        }
        match wire[rng.random_range(0..wire.len())].clone() {
            Sent::Propose { to, set } => {
                let node = nodes.get_mut(&to).unwrap();
                if let Ok(next) = node.record.promise(&set) {
                    node.record = next;
                    wire.push(Sent::Promised { from: to, set });
                }
            }
            Sent::Promised { from, set } => {
                let node = nodes.get_mut(&set.proposer).unwrap();
                if node.record.standing == Standing::Proposing(set.clone()) {
                    node.promised.extend([from, set.proposer]);
                    if set.voters.iter().all(|voter| node.promised.contains(&voter.id)) {
                        node.record = node.record.found().unwrap();
                    }
                }
            }
            Sent::Fate { to, of, attempt, fate } => {
                let node = nodes.get_mut(&to).unwrap();
                if let Some(next) = node.record.learn(of, attempt, fate) {
                    node.record = next;
                }
            }
        }
    }
}
