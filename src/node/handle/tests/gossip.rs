use membership::Profile;
use raft::Bootstrap;

use super::{super::*, cluster::*};
use crate::node::{GossipOptions, Kind, MemberState, NodeOptions};

/// Has a node gossip and find the next one alone; its replica is told of nobody. The members are patient:
/// a machine that is busy makes nobody look dead.
fn by_gossip_alone(options: &mut NodeOptions) {
    let Bootstrap::Expect { seeds, .. } = &mut options.raft.bootstrap else { unreachable!() };
    let me = seeds.iter().position(|seed| *seed == options.raft.advertise).expect("among them");
    let next = seeds[(me + 1) % seeds.len()].clone();
    seeds.clear();
    options.gossip = Some(GossipOptions {
        profile: Profile::Wan,
        keyring: None,
        seeds: vec![next],
        http_address: "127.0.0.1:8770".to_owned(),
        labels: [].into(),
    });
}

fn count(node: &Handle, kind: Kind, state: MemberState) -> usize {
    let members = node.gossip().expect("it gossips").members().into_iter();
    let is_so = |member: &crate::node::Member| {
        member.state == state && member.card.as_ref().is_some_and(|card| card.kind == kind)
    };
    members.filter(is_so).count()
}

// Situation: the replicas know nobody, and each node's gossip one other. Claim: they found one cluster,
// and all know all as voters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_know_nobody_found_one_cluster_by_gossip() {
    let cluster = Cluster::with(3, by_gossip_alone).await;
    for node in cluster.running() {
        assert_eq!(node.status().raft.voters.len(), 3);
        eventually("three voters are alive", async || {
            count(node, Kind::Voter, MemberState::Alive) == 3
        })
        .await;
    }
    cluster.end().await;
}

// Situation: the leader of three is stopped as an operator does it. Claim: it leads no more when the
// others hear that it has left, and it is a voter as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_says_goodbye_after_it_has_handed_over() {
    let mut cluster = Cluster::with(3, by_gossip_alone).await;
    let leader = cluster.leader().await;
    for node in cluster.running() {
        eventually("three voters are alive", async || {
            count(node, Kind::Voter, MemberState::Alive) == 3
        })
        .await;
    }
    let observer = cluster.node((leader + 1) % 3).clone();
    let leaving = cluster.node(leader).status().raft.me;
    let watching = tokio::spawn(async move {
        eventually("it has left", async || count(&observer, Kind::Voter, MemberState::Down) == 1)
            .await;
        observer.status().raft.leader
    });
    cluster.stop(leader).await;
    let led = watching.await.unwrap();
    assert_ne!(led.map(|leader| leader.id), Some(leaving.id), "it had handed over");
    let left = cluster.node((leader + 1) % 3).status().raft;
    assert_eq!(left.voters.len(), 3, "gossip changes no voter");
    cluster.end().await;
}
