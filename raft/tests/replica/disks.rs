//! Disks without threads, disks that lose power, disks that fail.

use std::{sync::Arc, time::Duration};

use raft::{
    ProposeError,
    directory::{DataDirectory, Identity},
    disk::{HangingDisk, Loss, MemoryDisk},
};
use tokio::time::{Instant, timeout};

use crate::cluster::{Node, PATIENCE, converged, eventually, fresh, leader, write};

/// Three voters, each on a disk in memory.
async fn three_in_memory(loss: Loss) -> (Vec<Node>, Vec<Arc<MemoryDisk>>) {
    let mut nodes = fresh(3, 3, 3);
    let mut disks = Vec::new();
    for (seed, node) in (1..).zip(&mut nodes) {
        let disk = Arc::new(MemoryDisk::new(loss, seed));
        node.disk = disk.clone();
        disks.push(disk);
        node.options.kept_entries = 10;
        node.start().await;
    }
    leader(&nodes).await;
    (nodes, disks)
}

// One thread and a disk that wants no other: what simulation needs.
#[tokio::test(flavor = "current_thread")]
async fn three_voters_run_on_one_thread() {
    let (nodes, _disks) = three_in_memory(Loss::Lose).await;
    let mut last = 0;
    for number in 0..50 {
        last = write(&nodes, &format!("{number}")).await.index;
    }
    converged(&nodes, last).await;
    let at = leader(&nodes).await;
    assert!(nodes[at].replica().snapshot().await.unwrap() >= last);
}

#[tokio::test(flavor = "current_thread")]
async fn a_power_cut_of_all_voters_loses_nothing_acknowledged() {
    for loss in [Loss::Lose, Loss::Keep, Loss::Tear] {
        let (mut nodes, disks) = three_in_memory(loss).await;
        let mut acknowledged = 0;
        for round in 1..=4 {
            for number in 0..10 {
                acknowledged = write(&nodes, &format!("{round}.{number}")).await.writes;
            }
            if round % 2 == 0 {
                let at = leader(&nodes).await;
                nodes[at].replica().snapshot().await.unwrap();
            }
            // The power goes first; what the processes do at their end reaches no disk.
            for disk in &disks {
                disk.crash(round);
            }
            for node in &mut nodes {
                node.stop().await;
            }
            for node in &mut nodes {
                node.start().await;
            }
            let next = write(&nodes, "next").await;
            assert!(next.writes > acknowledged, "{loss:?}: {} of {acknowledged}", next.writes);
            converged(&nodes, next.index).await;
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_failed_sync_stops_the_replica_and_the_others_go_on() {
    let (nodes, disks) = three_in_memory(Loss::Lose).await;
    write(&nodes, "before").await;
    let at = leader(&nodes).await;
    disks[at].fail_sync_after(0);
    let replica = nodes[at].replica();
    let failed = timeout(PATIENCE, replica.propose("lost?".into())).await.unwrap();
    assert!(
        matches!(failed, Ok(_) | Err(ProposeError::Unknown | ProposeError::NotLeader { .. })),
        "{failed:?}"
    );
    eventually("a failure", || nodes[at].status().failure.is_some()).await;
    let refused = timeout(Duration::from_secs(5), replica.propose("x".into())).await.unwrap();
    assert_eq!(refused, Err(ProposeError::Stopped));
    let others: Vec<Node> =
        nodes.into_iter().filter(|node| node.status().failure.is_none()).collect();
    assert_eq!(others.len(), 2);
    write(&others, "after").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_failed_sync_of_a_promise_stops_the_replica() {
    let mut nodes = fresh(2, 2, 2);
    // The one with the lesser id proposes; the other one promises, and its disk fails.
    for (peer_id, node) in (1..).zip(&mut nodes) {
        let disk = Arc::new(MemoryDisk::new(Loss::Lose, peer_id));
        node.disk = disk.clone();
        let (cluster, label) = (node.options.cluster.clone(), node.options.label.clone());
        let identity = Identity { peer_id, cluster, cluster_id: 0, group_id: 0, label };
        drop(DataDirectory::open(disk.clone(), &node.options.data_dir, identity).unwrap());
        if peer_id == 2 {
            node.start().await;
            disk.fail_sync_after(0);
        }
    }
    nodes[0].start().await;
    eventually("a failure", || nodes[1].status().failure.is_some()).await;
}

/// Three voters, each on a disk that can be made to hang.
async fn three_on_hanging_disks() -> (Vec<Node>, Vec<HangingDisk>) {
    let mut nodes = fresh(3, 3, 3);
    let mut disks = Vec::new();
    for node in &mut nodes {
        let disk = HangingDisk::default();
        node.disk = Arc::new(disk.clone());
        node.start().await;
        disks.push(disk);
    }
    leader(&nodes).await;
    (nodes, disks)
}

// Situation: the leader sends all the while, and a follower's disk does not let it answer. Claims: the
// follower goes on naming that leader, for longer than a silent one is named; and it catches up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_is_slow_goes_on_naming_its_leader() {
    let (nodes, disks) = three_on_hanging_disks().await;
    let before = write(&nodes, "before").await;
    converged(&nodes, before.index).await;
    let at = leader(&nodes).await;
    let follower = (at + 1) % 3;
    let term = nodes[follower].status().term;
    disks[follower].set_hanging(true);
    let during = nodes[at].replica().propose("during".into()).await;
    let silent = Duration::from_millis(2 * nodes[follower].options.timing.election_max_ms);
    let until = Instant::now() + silent * 3 / 2;
    let mut is_named = true;
    while is_named && Instant::now() < until {
        let status = nodes[follower].status();
        is_named = status.leader.is_some() || status.term != term;
        // Nothing must happen until then: the pace of looking.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    disks[follower].set_hanging(false);
    assert!(is_named, "{:?}", nodes[follower].status());
    assert!(during.is_ok() || nodes[at].status().term != term, "{during:?}");
    let after = write(&nodes, "after").await;
    converged(&nodes, after.index).await;
}

// Situation: a disk hangs for so long that the leader gives up its connections to that follower and
// makes new ones, again and again. Claim: once the disk is back, the newest is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_disk_hung_through_many_connections_catches_up() {
    let (nodes, disks) = three_on_hanging_disks().await;
    let before = write(&nodes, "before").await;
    converged(&nodes, before.index).await;
    let at = leader(&nodes).await;
    let (follower, stall) = ((at + 1) % 3, 4 * nodes[at].options.timing.election_max_ms);
    disks[follower].set_hanging(true);
    let until = Instant::now() + Duration::from_millis(3 * stall);
    let mut last = timeout(PATIENCE, nodes[at].replica().propose("during".into())).await;
    while Instant::now() < until {
        // The hang is to last for three stalls: the pace of writing meanwhile.
        tokio::time::sleep(Duration::from_millis(50)).await;
        last = timeout(PATIENCE, nodes[at].replica().propose("during".into())).await;
    }
    disks[follower].set_hanging(false);
    assert!(last.is_ok(), "the two others go on");
    let after = write(&nodes, "after").await;
    converged(&nodes, after.index).await;
}
