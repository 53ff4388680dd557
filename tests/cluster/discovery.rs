//! Fresh nodes become one cluster, whatever the order of their starts and however little each is told.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Caller, Cluster, Reply};

/// Nodes that each are told to join the nodes of these numbers; three of them are to be voters.
fn fresh(joins: &[&[usize]]) -> Cluster {
    Cluster::fresh(Path::new(env!("CARGO_BIN_EXE_queue")), &[], &[], joins)
}

fn get(cluster: &Cluster, index: usize, path: &str) -> Option<Value> {
    let address = cluster.voters[index].http.clone();
    match Caller::to(&[address]).call("GET", path, None) {
        Reply::Answer { status: 200, body } => Some(body),
        _ => None,
    }
}

/// The voters that a node names, if it is in a cluster.
fn voters(cluster: &Cluster, index: usize) -> BTreeSet<String> {
    let status = get(cluster, index, "/status").unwrap_or_default();
    let voters = status["voters"].as_array().into_iter().flatten();
    voters.filter_map(|label| label.as_str().map(str::to_owned)).collect()
}

/// Waits until three of the nodes are one cluster, and shows that it is one: what is added through one
/// is read through each. Returns which they are.
fn one_cluster(cluster: &Cluster) -> Vec<usize> {
    let members = cluster.eventually("three nodes are voters of one set", || {
        let sets: Vec<_> = (0..cluster.voters.len()).map(|index| voters(cluster, index)).collect();
        let members: Vec<usize> = (0..sets.len()).filter(|index| sets[*index].len() == 3).collect();
        let labels: BTreeSet<_> =
            members.iter().map(|index| cluster.voters[*index].label.clone()).collect();
        let are_one = members.iter().all(|index| sets[*index] == labels);
        (members.len() == 3 && are_one).then_some(members)
    });
    let addresses = members.iter().map(|index| cluster.voters[*index].http.clone());
    let addresses: Vec<String> = addresses.collect();
    let job = json!({"work_id": "first", "payload": 1});
    let (status, _) = Caller::to(&addresses).insist("POST", "/work/add", Some(&job));
    assert!(status == 201 || status == 200, "{status}");
    for address in addresses {
        let (status, found) = Caller::to(&[address]).insist("GET", "/work/get/first", None);
        assert_eq!((status, &found["work_id"]), (200, &json!("first")));
    }
    members
}

/// Waits until a node's gossip knows this many members alive.
fn knows_alive(cluster: &Cluster, index: usize, count: usize) {
    cluster.eventually(&format!("{index} knows {count} members alive"), || {
        let peers = get(cluster, index, "/peers")?;
        let alive = peers["peers"].as_array()?.iter().filter(|peer| peer["state"] == "alive");
        (alive.count() == count).then_some(())
    });
}

/// api 4.serve.cluster
#[test]
fn nodes_that_start_together_with_one_address_each_found_one_cluster() {
    // A chain: the first joins the second, that the third, and the third itself alone.
    let mut cluster = fresh(&[&[1], &[2], &[2]]);
    for index in 0..3 {
        cluster.start(index);
    }
    one_cluster(&cluster);
    for index in 0..3 {
        knows_alive(&cluster, index, 3);
    }
}

#[test]
fn nodes_that_start_one_after_another_found_one_cluster() {
    // Whoever starts first joins whoever starts last: nobody is there yet.
    let mut cluster = fresh(&[&[2], &[0], &[1]]);
    cluster.start(0);
    knows_alive(&cluster, 0, 1);
    cluster.start(1);
    knows_alive(&cluster, 0, 2);
    cluster.start(2);
    one_cluster(&cluster);
}

#[test]
fn a_node_that_is_killed_in_between_is_founded_once() {
    let mut cluster = fresh(&[&[1], &[2], &[0]]);
    cluster.start(0);
    cluster.start(1);
    knows_alive(&cluster, 0, 2);
    cluster.kill(1);
    cluster.start(2);
    cluster.start(1);
    cluster.kill(0);
    cluster.start(0);
    one_cluster(&cluster);
}

#[test]
fn of_four_candidates_three_found_one_cluster_and_the_fourth_joins_gossip_alone() {
    let mut cluster = fresh(&[&[1], &[2], &[3], &[0]]);
    for index in 0..4 {
        cluster.start(index);
    }
    let members = one_cluster(&cluster);
    let spare = (0..4).find(|index| !members.contains(index)).expect("one of four is not");
    knows_alive(&cluster, members[0], 4);
    let role = |index| get(&cluster, index, "/status").map(|status| status["role"].clone());
    assert_eq!(role(spare), Some(json!("fresh")));
    cluster.eventually("the fourth is shown as fresh", || {
        let peers = get(&cluster, members[0], "/peers")?;
        let label = cluster.voters[spare].label.as_str();
        let is_it = |peer: &&Value| peer["node_id"] == label && peer["kind"] == "fresh";
        peers["peers"].as_array()?.iter().find(is_it).map(|_| ())
    });
}

/// Situation: a cluster runs, and three fresh nodes that want to be one are told of each other, and one of
/// them of the cluster. Claim: they found nothing.
#[test]
fn nodes_that_hear_of_a_cluster_by_gossip_found_none() {
    let mut cluster = fresh(&[&[0, 1, 2], &[0], &[0], &[1], &[3], &[4]]);
    for index in 0..3 {
        cluster.start(index);
    }
    one_cluster(&cluster);
    for index in 3..6 {
        cluster.start(index);
    }
    for index in 0..6 {
        knows_alive(&cluster, index, 6);
    }
    // Founding takes a second when nothing forbids it.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        for index in 3..6 {
            assert_eq!(voters(&cluster, index), BTreeSet::new());
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}
