//! Changes of the voters.

use std::time::Duration;

use raft::{Bootstrap, Change, ChangeError, ChangePhase, ChangeState, Changed, Role, Timing};
use tokio::time::{Instant, timeout};

use crate::{
    cluster::{Node, PATIENCE, converged, eventually, free_port, leader, three, three_with, write},
    switchboard::Link,
    wired::Wired,
};

/// A node that waits to be taken in.
async fn waiting(label: &str) -> Node {
    let mut node = Node::new(label);
    node.options.bootstrap = Bootstrap::Join;
    node.start().await;
    node
}

fn add(node: &Node) -> Change {
    let Node { options, .. } = node;
    Change::Add { label: options.label.clone(), address: options.advertise.clone() }
}

fn remove(label: &str) -> Change {
    Change::Remove { label: label.to_owned() }
}

fn replace(label: &str, with: &Node) -> Change {
    Change::Replace { label: label.to_owned(), address: Some(with.options.advertise.clone()) }
}

/// Has one node make a change, to its end.
async fn change_at(node: &Node, change: &Change) -> Result<Changed, ChangeError> {
    let mut state = node.replica().change_voters(change.clone())?;
    let is_over = |state: &ChangeState| matches!(state, ChangeState::Ended(_));
    let ended =
        timeout(PATIENCE * 2, state.wait_for(is_over)).await.expect("not in time: a change");
    match ended.expect("it ends before it is dropped").clone() {
        ChangeState::Ended(ended) => ended,
        ChangeState::Underway(_) => unreachable!("waited for"),
    }
}

/// Has whoever leads make a change, as often as the leader changes.
async fn change(nodes: &[Node], change: &Change) -> Result<Changed, ChangeError> {
    loop {
        let at = leader(nodes).await;
        match change_at(&nodes[at], change).await {
            Err(ChangeError::NotLeader { .. }) => {}
            ended => return ended,
        }
    }
}

fn voters(node: &Node) -> Vec<String> {
    let mut labels: Vec<String> =
        node.status().voters.into_iter().map(|voter| voter.label).collect();
    labels.sort();
    labels
}

async fn all_have(nodes: &[Node], expected: &[&str]) {
    eventually("everybody knows the voters", || {
        let running = nodes.iter().filter(|node| node.is_running());
        running
            .into_iter()
            .all(|node| voters(node) == expected && node.status().learners.is_empty())
    })
    .await;
}

const MADE: Result<Changed, ChangeError> = Ok(Changed { is_duplicate: false });
const MADE_BEFORE: Result<Changed, ChangeError> = Ok(Changed { is_duplicate: true });

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_node_becomes_a_voter_that_has_everything() {
    let mut nodes = three().await;
    write(&nodes, "before").await;
    let newcomer = waiting("n3").await;
    assert_eq!(newcomer.status().role, Role::Fresh);
    let added = add(&newcomer);
    nodes.push(newcomer);
    assert_eq!(change(&nodes[..3], &added).await, MADE);
    all_have(&nodes, &["n0", "n1", "n2", "n3"]).await;
    let written = write(&nodes, "after").await;
    converged(&nodes, written.index).await;
    assert_eq!(nodes[3].register().writes, 2);
    assert_eq!(change(&nodes, &added).await, MADE_BEFORE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_follower_learns_it_and_stands_in_no_election() {
    let mut nodes = three().await;
    let out = (leader(&nodes).await + 1) % 3;
    let label = nodes[out].options.label.clone();
    assert_eq!(change(&nodes, &remove(&label)).await, MADE);
    assert_eq!(change(&nodes, &remove(&label)).await, MADE_BEFORE);
    let mut removed = nodes.remove(out);
    let labels: Vec<String> = nodes.iter().map(|node| node.options.label.clone()).collect();
    all_have(&nodes, &labels.iter().map(String::as_str).collect::<Vec<_>>()).await;
    eventually("it knows", || removed.status().role == Role::Learner).await;
    let term = nodes[0].status().term;
    removed.stop().await;
    removed.start().await;
    let written = write(&nodes, "without it").await;
    converged(&nodes, written.index).await;
    assert_eq!(removed.status().role, Role::Learner);
    assert_eq!(nodes[0].status().term, term);
}

// Situation: the leader itself is to go; nobody's timer would elect another for ten minutes, and nobody
// listens for its silence. Claim: it names its successor before anything is changed, and that one leads,
// takes writes and removes it at once.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_removed_hands_over_first() {
    let least = Duration::from_mins(10);
    let mut wired = Wired::start(3, |options| {
        options.timing =
            Timing { heartbeat_ms: 50, election_min_ms: 600_000, election_max_ms: 900_000 };
    })
    .await;
    let old = wired.leader().await;
    let label = wired.nodes[old].options.label.clone();
    let written = write(&wired.nodes, "x").await;
    converged(&wired.nodes, written.index).await;
    let (term, began) = (wired.nodes[old].status().term, Instant::now());
    let successor = match change_at(&wired.nodes[old], &remove(&label)).await {
        Err(ChangeError::NotLeader { leader: Some(leader) }) => leader.label,
        ended => panic!("{ended:?}"),
    };
    assert_ne!(successor, label);
    all_have(&wired.nodes, &["n0", "n1", "n2"]).await;
    let new = wired.leader().await;
    assert_eq!(wired.nodes[new].options.label, successor);
    assert_eq!(wired.nodes[new].status().term, term + 1, "one transfer, and no election besides");
    let meanwhile = write(&wired.nodes, "y").await;
    assert_eq!(change_at(&wired.nodes[new], &remove(&label)).await, MADE);
    let removed = wired.nodes.remove(old);
    let after = write(&wired.nodes, "z").await;
    assert_eq!((meanwhile.writes, after.writes), (written.writes + 1, written.writes + 2));
    assert!(wired.nodes.iter().all(|node| node.status().term == term + 1));
    assert!(began.elapsed() < least, "no timer elected it: {:?}", began.elapsed());
    assert!(!voters(&wired.nodes[0]).contains(&removed.options.label));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_voter_is_replaced_by_a_fresh_directory_and_a_live_one_is_not() {
    let mut nodes = three().await;
    let dead = (leader(&nodes).await + 1) % 3;
    let label = nodes[dead].options.label.clone();
    let fresh = waiting(&label).await;
    let as_if_new = add(&fresh);
    let refused = change(&nodes, &as_if_new).await;
    assert!(matches!(refused, Err(ChangeError::LabelTaken { .. })), "{refused:?}");
    let refused = change(&nodes, &replace(&label, &fresh)).await;
    assert_eq!(refused, Err(ChangeError::StillHeard { label: label.clone() }));
    let old = nodes[dead].peer();
    nodes[dead].stop().await;
    assert_eq!(change(&nodes, &replace(&label, &fresh)).await, MADE);
    nodes[dead] = fresh;
    let written = write(&nodes, "x").await;
    converged(&nodes, written.index).await;
    all_have(&nodes, &["n0", "n1", "n2"]).await;
    assert_ne!(nodes[dead].peer().id, old.id);
    assert_eq!(change(&nodes, &replace(&label, &nodes[dead])).await, MADE_BEFORE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_voter_stays() {
    let mut node = Node::new("alone");
    node.start().await;
    let nodes = [node];
    let refused = change(&nodes, &remove("alone")).await;
    assert_eq!(refused, Err(ChangeError::LastVoter { label: "alone".to_owned() }));
    write(&nodes, "x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_that_nobody_finds_changes_nothing() {
    let nodes = three().await;
    let nowhere = format!("127.0.0.1:{}", free_port());
    let missing = Change::Add { label: "n9".to_owned(), address: nowhere };
    let refused = change(&nodes, &missing).await;
    assert!(matches!(refused, Err(ChangeError::Unreachable { .. })), "{refused:?}");
    let other = waiting("other").await;
    let misnamed = Change::Add { label: "n9".to_owned(), address: other.options.advertise.clone() };
    let refused = change(&nodes, &misnamed).await;
    assert!(matches!(refused, Err(ChangeError::Unreachable { .. })), "{refused:?}");
    let mut stranger = Node::new("stranger");
    stranger.start().await;
    eventually("it is in a cluster", || stranger.status().cluster_id != 0).await;
    let refused = change(&nodes, &add(&stranger)).await;
    assert!(matches!(refused, Err(ChangeError::OtherCluster { .. })), "{refused:?}");
    all_have(&nodes, &["n0", "n1", "n2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_would_leave_no_quorum_is_refused() {
    let mut nodes = three().await;
    let at = leader(&nodes).await;
    let (dead, alive) = ((at + 1) % 3, (at + 2) % 3);
    nodes[dead].stop().await;
    let label = nodes[alive].options.label.clone();
    let refused = change(&nodes, &remove(&label)).await;
    assert_eq!(refused, Err(ChangeError::NoQuorum { heard: 1, voters: 2 }));
    let label = nodes[dead].options.label.clone();
    assert_eq!(change(&nodes, &remove(&label)).await, MADE);
    write(&nodes, "x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_voter_that_was_not_told_disturbs_nobody_when_it_returns() {
    let mut nodes = three().await;
    let out = (leader(&nodes).await + 1) % 3;
    let label = nodes[out].options.label.clone();
    nodes[out].stop().await;
    assert_eq!(change(&nodes, &remove(&label)).await, MADE);
    let mut removed = nodes.remove(out);
    let (at, term) = (leader(&nodes).await, nodes[0].status().term);
    removed.start().await;
    // Far longer than its election timeout.
    for value in 0..20 {
        write(&nodes, &value.to_string()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((leader(&nodes).await, nodes[0].status().term), (at, term));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_to_the_voter_that_is_named() {
    let nodes = three().await;
    write(&nodes, "x").await;
    let old = leader(&nodes).await;
    let wanted = (old + 1) % 3;
    let label = nodes[wanted].options.label.clone();
    let replica = nodes[old].replica();
    eventually("it has all that is committed", || {
        nodes[wanted].status().applied_index >= nodes[old].status().commit_index
    })
    .await;
    replica.hand_over_to(&label, Duration::from_secs(5)).await.unwrap();
    assert_eq!(leader(&nodes).await, wanted);
    let refused = nodes[wanted].replica().hand_over_to("nobody", Duration::ZERO).await;
    assert_eq!(refused, Err(ChangeError::NoSuchVoter { label: "nobody".to_owned() }));
}

// Situation: a leader appends the joint configuration of a removal, all have it, and the leader is cut
// off before it hears so. Claim: whoever leads next finishes the change without being asked.
#[tokio::test(start_paused = true)]
async fn a_joint_configuration_that_a_leader_left_is_finished_by_the_next() {
    let wired = Wired::start(5, |_| {}).await;
    let at = wired.leader().await;
    let followers: Vec<usize> = (0..5).filter(|node| *node != at).collect();
    let out = followers[3];
    let label = wired.nodes[out].options.label.clone();
    let last = |node: usize| wired.nodes[node].status().last_log_index;
    let before = last(at);
    converged(&wired.nodes, before).await;
    let mut change_there = wired.nodes[at].replica().change_voters(remove(&label)).unwrap();
    let is_committing = |state: &ChangeState| match state {
        ChangeState::Underway(progress) => progress.phase == ChangePhase::Committing,
        ChangeState::Ended(_) => false,
    };
    change_there.wait_for(is_committing).await.unwrap();
    for follower in &followers {
        wired.set(*follower, at, Link::Held);
    }
    eventually("all have it", || followers.iter().all(|node| last(*node) > before)).await;
    assert_eq!(voters(&wired.nodes[at]).len(), 5, "it is not through");
    wired.set_all(at, Link::Refused);
    let rest: Vec<&str> =
        (0..5).filter(|node| *node != out).map(|node| &*wired.nodes[node].options.label).collect();
    eventually("the change is finished", || {
        followers[..3].iter().all(|node| voters(&wired.nodes[*node]) == rest)
    })
    .await;
    wired.set_all(at, Link::Up);
    assert!(change(&wired.nodes, &remove(&label)).await.is_ok());
    let staying: Vec<_> = (0..5).filter(|node| *node != out).collect();
    eventually("nobody learns from the voters any more", || {
        staying.iter().all(|node| wired.nodes[*node].status().learners.is_empty())
    })
    .await;
}

// Situation: a leader appends the joint configuration of a replacement, and is cut off before it hears
// that the others have it. The next one finishes it, and does not know that the dead one is to go.
// Claim: asked again, it goes; asked once more, nothing is left to do.
#[tokio::test(start_paused = true)]
async fn a_replacement_that_a_leader_left_is_finished_when_it_is_asked_for_again() {
    let mut wired = Wired::start(5, |_| {}).await;
    let at = wired.leader().await;
    let followers: Vec<usize> = (0..5).filter(|node| *node != at).collect();
    let dead = followers[3];
    let label = wired.nodes[dead].options.label.clone();
    let last = |wired: &Wired, node: usize| wired.nodes[node].status().last_log_index;
    converged(&wired.nodes, last(&wired, at)).await;
    wired.set_all(dead, Link::Refused);
    let fresh = wired.waiting(&label).await;
    let replace = replace(&label, &wired.nodes[fresh]);
    let mut change_there = wired.nodes[at].replica().change_voters(replace.clone()).unwrap();
    let is_committing = |state: &ChangeState| match state {
        ChangeState::Underway(progress) => progress.phase == ChangePhase::Committing,
        ChangeState::Ended(ended) => panic!("{ended:?}"),
    };
    change_there.wait_for(is_committing).await.unwrap();
    let before = last(&wired, at);
    let alive = [followers[0], followers[1], followers[2], fresh];
    for other in alive {
        wired.set(other, at, Link::Held);
    }
    eventually("all have it", || alive.iter().all(|node| last(&wired, *node) > before)).await;
    wired.set_all(at, Link::Refused);
    let learners = |node: usize| wired.nodes[node].status().learners;
    eventually("the change of the voters is finished", || {
        followers[..3].iter().all(|node| learners(*node).len() == 1)
    })
    .await;
    // The replaced directory is gone for good.
    let old = wired.nodes[dead].peer();
    assert_eq!(learners(followers[0]), [old]);
    wired.set_all(at, Link::Up);
    wired.set_all(dead, Link::Refused);
    let staying: Vec<_> = (0..6).filter(|node| *node != dead).collect();
    let made = async {
        loop {
            let leads = |node: &&usize| wired.nodes[**node].status().role == Role::Leader;
            let Some(leader) = staying.iter().find(leads) else {
                // The pace of looking.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            match change_at(&wired.nodes[*leader], &replace).await {
                Err(ChangeError::NotLeader { .. }) => {}
                ended => break (ended, change_at(&wired.nodes[*leader], &replace).await),
            }
        }
    };
    assert_eq!(timeout(PATIENCE, made).await.expect("one leads"), (MADE, MADE_BEFORE));
    eventually("nobody replicates to the dead one any more", || {
        staying.iter().all(|node| learners(*node).is_empty())
    })
    .await;
}

// Situation: a voter that is being replaced comes back while its successor catches up. Claim: it stays,
// and the newcomer is let go.
#[tokio::test(start_paused = true)]
async fn a_voter_that_comes_back_while_it_is_being_replaced_stays() {
    let mut wired = Wired::start(3, |_| {}).await;
    let at = wired.leader().await;
    let away = (at + 1) % 3;
    let label = wired.nodes[away].options.label.clone();
    wired.set_all(away, Link::Cut);
    let fresh = wired.waiting(&label).await;
    let replace = replace(&label, &wired.nodes[fresh]);
    let mut state = wired.nodes[at].replica().change_voters(replace).unwrap();
    let catches_up = |state: &ChangeState| match state {
        ChangeState::Underway(progress) => progress.phase == ChangePhase::CatchingUp,
        ChangeState::Ended(ended) => panic!("{ended:?}"),
    };
    state.wait_for(catches_up).await.unwrap();
    wired.set_all(fresh, Link::Held);
    wired.set_all(away, Link::Up);
    let index = write(&wired.nodes[..3], "it is back").await.index;
    converged(&wired.nodes[..3], index).await;
    wired.set_all(fresh, Link::Up);
    let is_over = |state: &ChangeState| matches!(state, ChangeState::Ended(_));
    let ended = timeout(PATIENCE, state.wait_for(is_over)).await.unwrap().unwrap().clone();
    assert_eq!(ended, ChangeState::Ended(Err(ChangeError::StillHeard { label })));
    all_have(&wired.nodes[..3], &["n0", "n1", "n2"]).await;
}

// Situation: no log reaches back to the beginning any more. Claim: a newcomer is caught up by a
// snapshot, and is a voter that has everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_behind_every_log_becomes_a_voter_by_a_snapshot() {
    let mut nodes = three_with(|options| options.kept_entries = 10).await;
    for number in 0..100 {
        write(&nodes, &format!("{number}")).await;
    }
    for node in &nodes {
        assert!(node.replica().snapshot().await.unwrap() >= 90);
    }
    let newcomer = waiting("n3").await;
    let added = add(&newcomer);
    nodes.push(newcomer);
    assert_eq!(change(&nodes[..3], &added).await, MADE);
    assert!(nodes[3].status().snapshot_index >= 90);
    let written = write(&nodes, "after").await;
    converged(&nodes, written.index).await;
    assert_eq!(nodes[3].register().writes, 101);
}
