//! Nodes that are cut off without a reset: nothing fails, nothing answers.

use std::{sync::Arc, time::Duration};

use raft::{ProposeError, ReadError, Role};
use tokio::time::{Instant, timeout};

use crate::{
    cluster::{Node, PATIENCE, converged, eventually, fresh, leader, write},
    cut_net::CutNet,
};

async fn three_with_cables() -> (Vec<Node>, Vec<CutNet>) {
    let mut nodes = fresh(3, 3, 3);
    let mut cables = Vec::new();
    for node in &mut nodes {
        let cable = CutNet::default();
        node.net = Arc::new(cable.clone());
        node.start().await;
        cables.push(cable);
    }
    leader(&nodes).await;
    (nodes, cables)
}

/// api 1.ack.majority
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_replaced_and_what_it_took_alone_is_unknown() {
    let (mut nodes, cables) = three_with_cables().await;
    write(&nodes, "before").await;
    let at = leader(&nodes).await;
    cables[at].set_cut(true);
    let old = nodes.swap_remove(at);
    // Proposed within the lease, so it is taken; whether it survives nobody can tell here.
    let alone = {
        let replica = old.replica().clone();
        tokio::spawn(async move { replica.propose("alone".into()).await })
    };
    let new = leader(&nodes).await;
    let after = write(&nodes, "after").await;
    // The old leader confirms no read, and refuses further writes once its lease is over.
    let read = old.replica().read_index().await;
    assert!(matches!(read, Err(ReadError::NoQuorum | ReadError::NotLeader { .. })), "{read:?}");
    let refused = timeout(PATIENCE, async {
        loop {
            match timeout(Duration::from_millis(50), old.replica().propose("late".into())).await {
                Ok(Err(ProposeError::NotLeader { leader: None })) => return,
                Ok(Ok(_)) => panic!("a leader without a quorum acknowledged a write"),
                _ => {}
            }
        }
    });
    refused.await.unwrap();
    assert_ne!(nodes[new].peer(), old.peer());
    let healed = Instant::now();
    cables[at].set_cut(false);
    nodes.push(old);
    let later = write(&nodes, "healed").await;
    let took = healed.elapsed();
    assert!(took < Duration::from_secs(5), "writes flow only {took:?} after the heal");
    assert!(later.index > after.index);
    converged(&nodes, later.index).await;
    let alone = timeout(PATIENCE, alone).await.unwrap().unwrap();
    assert_eq!(alone, Err(ProposeError::Unknown), "its place in the log was taken by another's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_cut_off_does_not_depose_the_leader() {
    let (nodes, cables) = three_with_cables().await;
    write(&nodes, "before").await;
    let at = leader(&nodes).await;
    let term = nodes[at].status().term;
    let other = (at + 1) % 3;
    cables[other].set_cut(true);
    // The cut lasts so long; it stands for election again and again meanwhile, as far as pre-votes go.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let written = nodes[at].replica().propose("during".into()).await.unwrap();
    cables[other].set_cut(false);
    converged(&nodes, written.index).await;
    assert_eq!(nodes[at].status().term, term, "the term has not risen");
    assert_eq!(leader(&nodes).await, at);
}

// Situation: first one follower, then the leader too is cut off; nobody can be elected. Claim: nobody goes
// on naming a leader, neither the follower that is left nor the leader itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_is_named_by_nobody() {
    let (nodes, cables) = three_with_cables().await;
    write(&nodes, "before").await;
    let at = leader(&nodes).await;
    let (lost, left) = ((at + 1) % 3, (at + 2) % 3);
    cables[lost].set_cut(true);
    cables[at].set_cut(true);
    for node in [at, lost, left] {
        eventually("no leader is named", || nodes[node].status().leader.is_none()).await;
    }
    cables[at].set_cut(false);
    cables[lost].set_cut(false);
    for node in &nodes {
        eventually("a leader is named again", || node.status().leader.is_some()).await;
    }
}

// Situation: nobody writes. Claim: the leader stays known to all; silence of clients is not its silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_leader_stays_known() {
    let (nodes, _cables) = three_with_cables().await;
    let written = write(&nodes, "before").await;
    converged(&nodes, written.index).await;
    let term = nodes[0].status().term;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        for node in &nodes {
            let status = node.status();
            assert!(status.leader.is_some() || status.term != term, "{status:?}");
        }
        // Nothing must happen for three seconds: the pace of looking.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_that_the_successor_does_not_heed_is_undone() {
    let (nodes, cables) = three_with_cables().await;
    let (at, term) = loop {
        let written = write(&nodes, "before").await;
        converged(&nodes, written.index).await;
        let at = leader(&nodes).await;
        let term = nodes[at].status().term;
        // One of the two hangs; half of the time it is the one that is chosen.
        let hangs = (at + 1) % 3;
        cables[hangs].set_cut(true);
        if !nodes[at].replica().hand_over(Duration::from_millis(60)).await {
            break (at, term);
        }
        cables[hangs].set_cut(false);
    };
    let leads_again = || {
        let status = nodes[at].status();
        status.role == Role::Leader && status.term > term
    };
    eventually("the old leader leads again, in a new term", leads_again).await;
    let replica = nodes[at].replica();
    let writes = async { while replica.propose("after".into()).await.is_err() {} };
    timeout(PATIENCE, writes).await.unwrap();
    for cable in &cables {
        cable.set_cut(false);
    }
    let later = write(&nodes, "healed").await;
    converged(&nodes, later.index).await;
}
