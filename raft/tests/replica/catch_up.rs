//! Snapshots: of oneself at a restart, and of the leader when the log no longer reaches back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use raft::ProposeError;

use crate::{
    cluster::{Node, converged, eventually, leader, three_with, write},
    cut_net::CutNet,
    register::{BOMB, POISON},
};

/// Has every running node write a snapshot and purge its log, so that whoever leads then can bring a
/// late follower up only by a snapshot; up to where at least.
async fn purged(nodes: &[Node]) -> u64 {
    let mut least = u64::MAX;
    for node in nodes.iter().filter(|node| node.is_running()) {
        least = least.min(node.replica().snapshot().await.unwrap());
    }
    least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_behind_the_purged_log_catches_up_by_snapshot_while_writes_flow() {
    let mut nodes = three_with(|options| options.kept_entries = 10).await;
    write(&nodes, "begin").await;
    let at = leader(&nodes).await;
    let late = (at + 1) % 3;
    nodes[late].stop().await;
    for number in 0..200 {
        write(&nodes, &format!("{number}")).await;
    }
    let taken = purged(&nodes).await;
    assert!(taken >= 200);
    let goes_on = Arc::new(AtomicBool::new(true));
    let writer = {
        let (replica, goes_on) = (nodes[at].replica().clone(), goes_on.clone());
        tokio::spawn(async move {
            let mut last = 0;
            while goes_on.load(Ordering::SeqCst) {
                // Large enough that the snapshot takes several pieces.
                match replica.propose(vec![b'x'; 300_000].into()).await {
                    Ok(written) => last = written.index,
                    Err(ProposeError::NotLeader { .. } | ProposeError::Unknown) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            last
        })
    };
    nodes[late].start().await;
    eventually("a snapshot on the follower", || nodes[late].status().snapshot_index >= taken).await;
    goes_on.store(false, Ordering::SeqCst);
    let last = writer.await.unwrap();
    converged(&nodes, last).await;
    // What was received is as good as what was written: a restart begins from it.
    nodes[late].stop().await;
    nodes[late].start().await;
    converged(&nodes, last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_arrives_although_its_connection_breaks_again_and_again() {
    let mut nodes = three_with(|options| options.kept_entries = 1).await;
    let at = leader(&nodes).await;
    let late = (at + 1) % 3;
    nodes[late].stop().await;
    let large = write(&nodes, &"x".repeat(8 << 20)).await;
    write(&nodes, "behind").await;
    // Eight pieces.
    write(&nodes, &"y".repeat(8 << 20)).await;
    let taken = purged(&nodes).await;
    assert!(taken > large.index);
    let cable = CutNet::default();
    nodes[late].net = Arc::new(cable.clone());
    nodes[late].start().await;
    let mut polls = 0_u32;
    eventually("a snapshot on the follower", || {
        // After about 5, 10, 20, 40 … ms: often while the pieces flow, and in the end long enough.
        polls += 1;
        if polls.is_power_of_two() {
            cable.reset();
        }
        nodes[late].status().snapshot_index >= taken
    })
    .await;
    converged(&nodes, taken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_from_the_snapshot_and_the_log_behind_it() {
    let mut node = Node::new("alone");
    node.options.kept_entries = 5;
    node.start().await;
    let mut nodes = [node];
    for number in 0..50 {
        write(&nodes, &format!("{number}")).await;
    }
    let taken = nodes[0].replica().snapshot().await.unwrap();
    let last = write(&nodes, "behind").await;
    nodes[0].stop().await;
    nodes[0].start().await;
    leader(&nodes).await;
    converged(&nodes, last.index).await;
    assert_eq!(nodes[0].register().writes, 51);
    assert_eq!(nodes[0].register().value, "behind");
    assert!(nodes[0].status().snapshot_index >= taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_written_when_the_log_has_grown_enough() {
    let mut node = Node::new("alone");
    node.options.snapshot_log_bytes = 100_000;
    node.start().await;
    let nodes = [node];
    for _ in 0..20 {
        let replica = nodes[leader(&nodes).await].replica();
        replica.propose(vec![1; 10_000].into()).await.unwrap();
    }
    eventually("a snapshot", || nodes[0].status().snapshot_index > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_the_machine_does_not_understand_stops_the_replica() {
    let mut node = Node::new("alone");
    node.start().await;
    let nodes = [node];
    write(&nodes, "good").await;
    let replica = nodes[0].replica();
    let poisoned = replica.propose(Bytes::from_static(POISON)).await;
    assert_eq!(poisoned, Err(ProposeError::Unknown));
    eventually("a failure", || nodes[0].status().failure.is_some()).await;
    assert!(nodes[0].status().failure.unwrap().contains("poison"));
    let refused = tokio::time::timeout(Duration::from_secs(5), replica.propose("x".into())).await;
    assert_eq!(refused.unwrap(), Err(ProposeError::Stopped));
}

// Claim: it is told at once, although nothing is committed after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_panics_stops_the_replica() {
    let mut node = Node::new("alone");
    node.start().await;
    let nodes = [node];
    write(&nodes, "good").await;
    let exploded = nodes[0].replica().propose(Bytes::from_static(BOMB)).await;
    assert_eq!(exploded, Err(ProposeError::Unknown));
    eventually("a failure", || nodes[0].status().failure.is_some()).await;
    assert!(nodes[0].status().failure.unwrap().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_beyond_the_limit_is_refused_before_it_is_proposed() {
    let mut node = Node::new("alone");
    node.start().await;
    let nodes = [node];
    write(&nodes, "good").await;
    let (bytes, limit) = (raft::ENTRY_BYTES_MAX + 1, raft::ENTRY_BYTES_MAX);
    let refused = nodes[0].replica().propose(vec![0; bytes].into()).await;
    assert_eq!(refused, Err(ProposeError::TooLarge { bytes, limit }));
    let largest = nodes[0].replica().propose(vec![0; limit].into()).await;
    assert!(largest.is_ok(), "{largest:?}");
}
