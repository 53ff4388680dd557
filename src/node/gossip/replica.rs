//! Gossip on behalf of a node: what it says of its replica, and what it tells it.

use std::collections::BTreeMap;

use raft::{Peer, Replica, Role, Status};

use super::{Card, GossipOptions, Kind, subject::Subject};
use crate::node::machine::Machine;

/// A node's replica, as gossip needs it.
pub(in crate::node) struct ReplicaSubject {
    replica: Replica<Machine>,
    http_address: String,
    labels: BTreeMap<String, String>,
}

impl ReplicaSubject {
    pub(in crate::node) fn new(replica: Replica<Machine>, options: GossipOptions) -> Self {
        let GossipOptions { http_address, labels, .. } = options;
        Self { replica, http_address, labels }
    }
}

impl Subject for ReplicaSubject {
    fn card(&self) -> Card {
        let status = self.replica.status();
        let status = status.borrow();
        Card {
            kind: kind(&status),
            session: 0,
            cluster_id: status.cluster_id,
            raft_id: status.me.id,
            raft_address: status.me.address.clone(),
            http_address: self.http_address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: self.labels.clone(),
        }
    }

    fn kind_of(&self, name: &str, said: Option<&Card>) -> Option<Kind> {
        configured(&self.replica.status().borrow(), name, said.map(|card| card.raft_id))
    }

    fn addresses(&self) -> Vec<String> {
        let status = self.replica.status();
        let status = status.borrow();
        let peers = status.voters.iter().chain(&status.learners);
        peers.filter(|peer| peer.id != status.me.id).map(|peer| peer.address.clone()).collect()
    }

    /// Only the leader's silence is worth a word to Raft, and it is one witness among others there.
    fn on_suspect(&self, name: &str) {
        if leads_another(&self.replica.status().borrow(), name) {
            self.replica.witness(name);
        }
    }

    /// They are asked, over the peers' own connections, whether they are candidates or in a cluster; that
    /// they are said to be nodes decides nothing.
    fn on_nodes(&self, addresses: Vec<String>) {
        self.replica.learn_seeds(addresses);
    }
}

/// Whether the leader that this replica knows has that name, and is another replica.
fn leads_another(status: &Status, name: &str) -> bool {
    let leader = status.leader.as_ref();
    leader.is_some_and(|leader| leader.label == name && leader.id != status.me.id)
}

/// What a node is: what Raft's configuration says of it.
fn kind(status: &Status) -> Kind {
    if status.role == Role::Fresh {
        Kind::Fresh
    } else if status.voters.iter().any(|voter| voter.id == status.me.id) {
        Kind::Voter
    } else {
        Kind::Learner
    }
}

/// What the configuration says that a member of this name is, if it is in there. Who says that it has
/// another Raft id than the one that stands there is not: it has an empty directory, or is no node.
fn configured(status: &Status, name: &str, raft_id: Option<u64>) -> Option<Kind> {
    let is_it = |peer: &Peer| peer.label == name && raft_id.is_none_or(|said| said == peer.id);
    if status.voters.iter().any(is_it) {
        Some(Kind::Voter)
    } else {
        status.learners.iter().any(is_it).then_some(Kind::Learner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64) -> Peer {
        Peer { id, ..Peer::default() }
    }

    #[test]
    fn a_node_is_what_the_configuration_says_of_it() {
        let status = |role, voters: &[u64]| Status {
            role,
            me: peer(1),
            voters: voters.iter().copied().map(peer).collect(),
            ..Status::default()
        };
        assert_eq!(kind(&status(Role::Fresh, &[])), Kind::Fresh);
        assert_eq!(kind(&status(Role::Leader, &[2, 1])), Kind::Voter);
        assert_eq!(kind(&status(Role::Follower, &[1])), Kind::Voter);
        assert_eq!(kind(&status(Role::Learner, &[2, 3])), Kind::Learner);
        assert_eq!(kind(&status(Role::Follower, &[2, 3])), Kind::Learner, "it was removed");
    }

    #[test]
    fn only_the_leader_that_another_replica_is_is_worth_a_word_to_raft() {
        let labelled = |id: u64, label: &str| Peer { label: label.to_owned(), ..peer(id) };
        let led_by = |leader| Status {
            me: labelled(1, "n1"),
            voters: vec![labelled(1, "n1"), labelled(2, "n2"), labelled(3, "n3")],
            leader,
            ..Status::default()
        };
        let led = led_by(Some(labelled(2, "n2")));
        assert!(leads_another(&led, "n2"));
        assert!(!leads_another(&led, "n3"), "a follower");
        assert!(!leads_another(&led, "w1"), "an agent");
        assert!(!leads_another(&led_by(None), "n2"), "nobody is known to lead");
        assert!(!leads_another(&led_by(Some(labelled(1, "n1"))), "n1"), "it leads itself");
        // A fresh directory of the leader's label, that is to replace it.
        let replaced = Status { me: labelled(9, "n2"), ..led };
        assert!(leads_another(&replaced, "n2"), "its label is no proof that it is the same");
    }

    #[test]
    fn the_configuration_knows_what_is_in_it_whatever_that_says_of_itself() {
        let labelled = |id: u64, label: &str| Peer { label: label.to_owned(), ..peer(id) };
        let status = Status {
            voters: vec![labelled(1, "n1"), labelled(2, "n2")],
            learners: vec![labelled(3, "n3")],
            ..Status::default()
        };
        assert_eq!(configured(&status, "n2", Some(2)), Some(Kind::Voter));
        assert_eq!(configured(&status, "n2", None), Some(Kind::Voter), "it has said nothing yet");
        assert_eq!(configured(&status, "n3", Some(3)), Some(Kind::Learner));
        assert_eq!(configured(&status, "n2", Some(9)), None, "an empty directory, the same label");
        assert_eq!(configured(&status, "n2", Some(0)), None, "an agent of that name");
        assert_eq!(configured(&status, "n4", Some(4)), None, "it is not in there");
        assert_eq!(configured(&Status::default(), "n1", Some(1)), None, "nothing is founded yet");
    }
}
