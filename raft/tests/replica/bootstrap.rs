//! Fresh nodes become exactly one cluster, whatever the order and timing of their starts.
//!
//! The sleeps are the scenario: the stagger between two starts, or the time in which something that
//! must not happen had several rounds to happen in. No test waits for an event by sleeping.

use std::{collections::BTreeSet, time::Duration};

use raft::{Bootstrap, Role};
use tokio::time::sleep;

use crate::cluster::{Node, eventually, fresh, leader, write};

/// Waits until `voters` of the nodes are one cluster, and checks that the others are in none.
async fn one_cluster(nodes: &[Node], voters: usize) {
    eventually("a cluster", || {
        let members = nodes.iter().filter(|node| node.status().voters.len() == voters).count();
        members == voters
    })
    .await;
    let members: Vec<_> =
        nodes.iter().map(Node::status).filter(|status| status.cluster_id != 0).collect();
    let clusters: BTreeSet<_> = members.iter().map(|status| status.cluster_id).collect();
    assert_eq!((members.len(), clusters.len()), (voters, 1));
    let ids: BTreeSet<_> = members.iter().map(|status| status.me.id).collect();
    for member in &members {
        assert_eq!(member.voters.iter().map(|voter| voter.id).collect::<BTreeSet<_>>(), ids);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_found_one_cluster() {
    let mut nodes = fresh(3, 3, 3);
    futures_util::future::join_all(nodes.iter_mut().map(Node::start)).await;
    one_cluster(&nodes, 3).await;
    write(&nodes, "x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_one_after_another_found_one_cluster() {
    let mut nodes = fresh(3, 3, 3);
    for node in &mut nodes {
        node.start().await;
        // The situation: each has asked in vain several times before the next is there.
        sleep(Duration::from_millis(400)).await;
    }
    one_cluster(&nodes, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_wait_for_a_seed_that_is_late() {
    // The only seed is the last to start: nobody can find anybody before.
    let mut nodes = fresh(3, 3, 1);
    nodes[1].start().await;
    nodes[2].start().await;
    // Nothing must happen: they ask for several rounds.
    sleep(Duration::from_millis(700)).await;
    assert_eq!(nodes[1].status().role, Role::Fresh);
    assert_eq!(nodes[2].status().cluster_id, 0);
    nodes[0].start().await;
    one_cluster(&nodes, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_restarts_in_between_is_still_founded_once() {
    let mut nodes = fresh(3, 3, 3);
    // Two starts: whatever they have promised to each other is on disk.
    nodes[0].start().await;
    nodes[1].start().await;
    for round in 0..4 {
        // The situation: it is stopped at another moment of its bootstrap each time.
        sleep(Duration::from_millis(60 * round)).await;
        nodes[0].stop().await;
        nodes[0].start().await;
    }
    nodes[2].start().await;
    nodes[1].stop().await;
    nodes[1].start().await;
    one_cluster(&nodes, 3).await;
    write(&nodes, "x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_four_candidates_three_found_one_cluster_and_the_fourth_none() {
    let mut nodes = fresh(4, 3, 4);
    futures_util::future::join_all(nodes.iter_mut().map(Node::start)).await;
    one_cluster(&nodes, 3).await;
    // The fourth stays out, also after a restart.
    let spare = nodes.iter().position(|node| node.status().cluster_id == 0).unwrap();
    nodes[spare].stop().await;
    nodes[spare].start().await;
    // Nothing must happen: it asks for several rounds.
    sleep(Duration::from_millis(500)).await;
    assert_eq!(nodes[spare].status().role, Role::Fresh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_named_labels_are_founders() {
    let mut nodes = fresh(4, 3, 4);
    for node in &mut nodes {
        let Bootstrap::Expect { only, .. } = &mut node.options.bootstrap else { unreachable!() };
        *only = Some(["n1", "n2", "n3"].map(str::to_owned).into());
    }
    futures_util::future::join_all(nodes.iter_mut().map(Node::start)).await;
    one_cluster(&nodes, 3).await;
    assert_eq!(nodes[0].status().cluster_id, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_expect_different_sizes_found_nothing_together() {
    let mut nodes = fresh(2, 2, 2);
    let Bootstrap::Expect { voters, .. } = &mut nodes[1].options.bootstrap else { unreachable!() };
    *voters = 3;
    nodes[0].start().await;
    nodes[1].start().await;
    // Nothing must happen: they meet, and propose for several rounds.
    sleep(Duration::from_millis(800)).await;
    assert_eq!((nodes[0].status().cluster_id, nodes[1].status().cluster_id), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_seeds_find_each_other_by_what_they_learn_while_running() {
    let mut nodes = fresh(3, 3, 0);
    futures_util::future::join_all(nodes.iter_mut().map(Node::start)).await;
    // Nothing must happen: nobody knows of anybody.
    sleep(Duration::from_millis(300)).await;
    assert!(nodes.iter().all(|node| node.status().role == Role::Fresh));
    // The first learns of the second, and the second of the third: a chain is enough.
    for (place, next) in [(0, 1), (1, 2)] {
        let seed = nodes[next].options.advertise.clone();
        nodes[place].replica().learn_seeds(vec!["127.0.0.1:1".to_owned(), seed]);
    }
    one_cluster(&nodes, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_learns_of_a_cluster_founds_none() {
    let mut members = fresh(3, 3, 3);
    futures_util::future::join_all(members.iter_mut().map(Node::start)).await;
    one_cluster(&members, 3).await;
    // Three more that know of each other alone would found another.
    let mut others = fresh(3, 3, 1);
    let seed = members[1].options.advertise.clone();
    others[1].start().await;
    others[1].replica().learn_seeds(vec![seed]);
    // Barred nodes show no change; one that was not would found a cluster with the other two.
    sleep(Duration::from_millis(500)).await;
    others[0].start().await;
    others[2].start().await;
    // Nothing must happen: three that knew of each other alone would have founded in a fifth of that.
    sleep(Duration::from_millis(1500)).await;
    assert!(others.iter().all(|node| node.status().role == Role::Fresh));
}

// Situation: only the first of three fresh nodes is told of the cluster, and the others of it alone.
// Claim: it makes them no promise before it has asked there, so they found nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_looks_for_a_cluster_before_it_promises_anything() {
    let mut members = fresh(3, 3, 3);
    futures_util::future::join_all(members.iter_mut().map(Node::start)).await;
    one_cluster(&members, 3).await;
    for _ in 0..4 {
        let mut others = fresh(3, 3, 1);
        let Bootstrap::Expect { seeds, .. } = &mut others[0].options.bootstrap else {
            unreachable!()
        };
        *seeds = vec![members[0].options.advertise.clone()];
        futures_util::future::join_all(others.iter_mut().map(Node::start)).await;
        // Nothing must happen: without the first one's look they would have founded by now.
        sleep(Duration::from_millis(600)).await;
        assert!(others.iter().all(|node| node.status().role == Role::Fresh));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_only_joins_is_in_no_set_and_in_nobodys_way() {
    let mut nodes = fresh(4, 3, 4);
    nodes[0].options.bootstrap = Bootstrap::Join;
    futures_util::future::join_all(nodes.iter_mut().map(Node::start)).await;
    one_cluster(&nodes, 3).await;
    assert_eq!(nodes[0].status().role, Role::Fresh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founded_cluster_restarts_as_itself() {
    let mut nodes = fresh(3, 3, 3);
    futures_util::future::join_all(nodes.iter_mut().map(Node::start)).await;
    one_cluster(&nodes, 3).await;
    leader(&nodes).await;
    let founded = nodes[0].status().cluster_id;
    for node in &mut nodes {
        node.stop().await;
    }
    futures_util::future::join_all(nodes.iter_mut().map(Node::start)).await;
    leader(&nodes).await;
    assert!(nodes.iter().all(|node| node.status().cluster_id == founded));
}
