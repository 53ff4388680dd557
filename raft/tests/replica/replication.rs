//! Writes, reads, and who may answer them.

use std::time::Duration;

use bytes::Bytes;
use raft::{ProposeError, ReadError, Role};

use crate::cluster::{Node, converged, leader, three, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_voter_answers_its_own_writes_and_reads() {
    let mut node = Node::new("alone");
    node.start().await;
    let nodes = [node];
    let written = write(&nodes, "one").await;
    let index = nodes[0].replica().read_index().await.unwrap();
    assert!(index >= written.index);
    nodes[0].replica().wait_applied(index).await.unwrap();
    assert_eq!(nodes[0].register().value, "one");
    let [mut node] = nodes;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_reaches_every_voter() {
    let nodes = three().await;
    let written = write(&nodes, "everywhere").await;
    converged(&nodes, written.index).await;
    for node in &nodes {
        assert_eq!(node.register().value, "everywhere");
        assert_eq!(node.status().voters.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_refuses_writes_and_reads_and_names_the_leader() {
    let nodes = three().await;
    let leader = leader(&nodes).await;
    let follower = &nodes[(leader + 1) % 3];
    let known = Some(nodes[leader].peer());
    let refused = follower.replica().propose(Bytes::from_static(b"x")).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: known.clone() }));
    let refused = follower.replica().read_index().await;
    assert_eq!(refused, Err(ReadError::NotLeader { leader: known }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_from_many_callers_are_all_applied_in_one_order() {
    let nodes = three().await;
    let at = leader(&nodes).await;
    let writes = (0..500).map(|number| {
        let replica = nodes[at].replica().clone();
        tokio::spawn(
            async move { replica.propose(format!("{number}").into()).await.unwrap().index },
        )
    });
    let mut indexes = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        indexes.push(write.await.unwrap());
    }
    indexes.sort_unstable();
    indexes.dedup();
    assert_eq!(indexes.len(), 500);
    converged(&nodes, *indexes.last().unwrap()).await;
    assert_eq!(nodes[0].register().writes, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut nodes = three().await;
    let before = write(&nodes, "before").await;
    let old = leader(&nodes).await;
    nodes[old].stop().await;
    let new = leader(&nodes).await;
    assert_ne!(new, old);
    let after = write(&nodes, "after").await;
    assert!(after.index > before.index && after.writes == before.writes + 1);
    nodes[old].start().await;
    converged(&nodes, after.index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_confirms_no_read() {
    let mut nodes = three().await;
    let at = leader(&nodes).await;
    for other in (0..3).filter(|other| *other != at) {
        nodes[other].stop().await;
    }
    let replica = nodes[at].replica().clone();
    let read = tokio::time::timeout(Duration::from_secs(5), replica.read_index()).await.unwrap();
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_voters_restart_from_their_disks() {
    let mut nodes = three().await;
    let written = write(&nodes, "kept").await;
    converged(&nodes, written.index).await;
    let ids: Vec<_> = nodes.iter().map(Node::peer).collect();
    for node in &mut nodes {
        node.stop().await;
    }
    for node in &mut nodes {
        node.start().await;
    }
    leader(&nodes).await;
    converged(&nodes, written.index).await;
    for (node, peer) in nodes.iter().zip(ids) {
        assert_eq!(node.peer(), peer, "an id is bound to its directory");
        assert_eq!(node.register().value, "kept");
    }
    let next = write(&nodes, "next").await;
    assert_eq!(next.writes, written.writes + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_to_a_caught_up_voter() {
    let nodes = three().await;
    write(&nodes, "x").await;
    let old = leader(&nodes).await;
    assert!(nodes[old].replica().hand_over(Duration::from_secs(5)).await);
    let new = leader(&nodes).await;
    assert_ne!(new, old);
    assert_eq!(nodes[old].status().role, Role::Follower);
    assert!(!nodes[old].replica().hand_over(Duration::from_secs(1)).await, "it does not lead");
    write(&nodes, "y").await;
}
