//! What gossip is told when it begins.

use std::{collections::BTreeMap, net::SocketAddr};

use membership::{Keyring, Profile};

/// How a node gossips. Name, cluster and addresses are those of its replica: the port is of the same
/// number, UDP.
#[derive(Debug, Clone)]
pub struct GossipOptions {
    /// The timers, the same for every member.
    pub profile: Profile,
    /// The keys that seal the datagrams; without them whoever reaches the port can declare members down.
    pub keyring: Option<Keyring>,
    /// `host:port` of members to find the others through; its own may be among them.
    pub seeds: Vec<String>,
    /// Where it serves clients, `host:port`, for others to know.
    pub http_address: String,
    /// What is said of it besides.
    pub labels: BTreeMap<String, String>,
}

impl GossipOptions {
    /// The member that a node with such a replica is.
    pub(in crate::node) fn member(&self, raft: &raft::Options) -> MemberOptions {
        MemberOptions {
            name: raft.label.clone(),
            cluster: raft.cluster.clone(),
            listen: raft.listen,
            advertise: raft.advertise.clone(),
            profile: self.profile,
            keyring: self.keyring.clone(),
            seeds: self.seeds.clone(),
        }
    }
}

/// How any member gossips.
#[derive(Debug, Clone)]
pub struct MemberOptions {
    /// Its name.
    pub name: String,
    /// The cluster's.
    pub cluster: String,
    /// Where it receives; port 0: any.
    pub listen: SocketAddr,
    /// What it tells the others to send to, `host:port`. A name is looked up until it leads somewhere.
    pub advertise: String,
    /// As in [`GossipOptions`].
    pub profile: Profile,
    /// As in [`GossipOptions`].
    pub keyring: Option<Keyring>,
    /// As in [`GossipOptions`].
    pub seeds: Vec<String>,
}
