//! Gossip on behalf of a node: what it says of its replica, and what it tells it.

use std::collections::BTreeMap;

use raft::{Replica, Role};

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

    fn addresses(&self) -> Vec<String> {
        let status = self.replica.status();
        let status = status.borrow();
        let peers = status.voters.iter().chain(&status.learners);
        peers.filter(|peer| peer.id != status.me.id).map(|peer| peer.address.clone()).collect()
    }

    /// Only the leader's silence is worth a word to Raft, and it is one witness among others there.
    fn on_suspect(&self, name: &str) {
        let leads = |status: &raft::Status| {
            status
                .leader
                .as_ref()
                .is_some_and(|leader| leader.label == name && leader.id != status.me.id)
        };
        if leads(&self.replica.status().borrow()) {
            self.replica.witness(name);
        }
    }

    /// They are asked, over the peers' own connections, whether they are candidates or in a cluster; that
    /// they are said to be nodes decides nothing.
    fn on_nodes(&self, addresses: Vec<String>) {
        self.replica.learn_seeds(addresses);
    }
}

/// What a node is: what Raft's configuration says of it.
fn kind(status: &raft::Status) -> Kind {
    if status.role == Role::Fresh {
        Kind::Fresh
    } else if status.voters.iter().any(|voter| voter.id == status.me.id) {
        Kind::Voter
    } else {
        Kind::Learner
    }
}

#[cfg(test)]
mod tests {
    use raft::{Peer, Status};

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
}
