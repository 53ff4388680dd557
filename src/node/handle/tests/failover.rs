use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::task::{JoinHandle, JoinSet};

use super::{super::*, cluster::*};
use crate::{
    node::samples::add,
    queue::{Answer, JobState},
};

/// Clients that add jobs through the given nodes, one after the other each, until they are told to
/// stop.
struct Load {
    goes_on: Arc<AtomicBool>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn on<'a>(nodes: impl Iterator<Item = &'a Handle>) -> Self {
        let goes_on = Arc::new(AtomicBool::new(true));
        let mut clients = JoinSet::new();
        for (number, node) in nodes.enumerate() {
            for client in 0..4 {
                let (node, goes_on) = (node.clone(), Arc::clone(&goes_on));
                clients.spawn(async move {
                    let mut acknowledged = Vec::new();
                    while goes_on.load(Ordering::Relaxed) {
                        let name = format!("n{number}-c{client}-{}", acknowledged.len());
                        let outcome = submit(&node, add(&name)).await;
                        assert!(matches!(outcome.result, Ok(Answer::Added(_))), "{outcome:?}");
                        acknowledged.push(name);
                    }
                    acknowledged
                });
            }
        }
        Self { goes_on, clients }
    }

    /// What was acknowledged. A client that saw an error fails here.
    async fn end(self) -> Vec<String> {
        self.goes_on.store(false, Ordering::Relaxed);
        self.clients.join_all().await.concat()
    }
}

/// The greatest revision advances by that much.
async fn advance(node: &Handle, by: u64) {
    let from = node.status().rev.0;
    eventually("writes go on", async || node.status().rev.0 >= from + by).await;
}

async fn assert_each_exactly_once(node: &Handle, acknowledged: &[String]) {
    let totals = node.read(Consistency::Linearizable, HOLD, State::totals).await.unwrap();
    assert_eq!(totals.value.total, acknowledged.len() as u64);
    let rev = totals.rev.0;
    assert_eq!(rev, acknowledged.len() as u64, "each add raised the revision once");
    for name in acknowledged {
        assert_eq!(job(node, name).await.unwrap().state, JobState::Pending);
    }
}

/// api 1.hold.failover, 1.repeat.by-node
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_the_survivors_see_no_error_when_the_leader_crashes() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let followers = cluster.followers().await;
    let survivors: Vec<Handle> =
        followers.iter().map(|number| cluster.node(*number).clone()).collect();
    let load = Load::on(survivors.iter());
    advance(&survivors[0], 100).await;
    cluster.crash(leader).await;
    advance(&survivors[0], 100).await;
    assert_each_exactly_once(&survivors[0], &load.end().await).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_and_nobody_notices() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let followers = cluster.followers().await;
    let survivors: Vec<Handle> =
        followers.iter().map(|number| cluster.node(*number).clone()).collect();
    let load = Load::on(survivors.iter());
    advance(&survivors[0], 100).await;
    // From now on: a busy machine may have a further election.
    let mut told = JoinSet::new();
    for survivor in survivors.clone() {
        told.spawn(async move {
            eventually("the change has its cause", async || {
                survivor.status().changes.iter().any(|change| change.cause == Cause::Transfer)
            })
            .await;
        });
    }
    cluster.stop(leader).await;
    advance(&survivors[0], 100).await;
    assert_each_exactly_once(&survivors[0], &load.end().await).await;
    told.join_all().await;
    cluster.end().await;
}

// Situation: of five idle voters two are gone, with logs as long as any. Claim: a leader that leaves hands over to
// one that is there, at its first try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_hands_over_to_one_that_is_there() {
    for gone in [[0, 1], [2, 3]] {
        let mut cluster = Cluster::of(5).await;
        let leader = cluster.leader().await;
        let followers = cluster.followers().await;
        submit(cluster.node(leader), add("a")).await;
        for follower in gone.map(|place| followers[place]) {
            cluster.crash(follower).await;
        }
        assert!(cluster.node(leader).hand_over(PATIENCE).await);
        submit(cluster.node(leader), add("b")).await;
        cluster.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_asked_to_hands_over_under_load() {
    let cluster = Cluster::of(3).await;
    let load = Load::on(cluster.running());
    let leader = cluster.leader().await;
    advance(cluster.node(leader), 100).await;
    assert!(cluster.node(leader).hand_over(PATIENCE).await);
    advance(cluster.node(leader), 100).await;
    assert_each_exactly_once(cluster.node(leader), &load.end().await).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_and_a_start_are_told_apart() {
    let mut cluster = Cluster::of(3).await;
    for node in cluster.running() {
        assert_eq!(node.status().changes.last().unwrap().cause, Cause::Start);
    }
    let leader = cluster.leader().await;
    cluster.crash(leader).await;
    let next = cluster.node(cluster.leader().await);
    eventually("the change has its cause", async || {
        next.status().changes.iter().any(|change| change.cause == Cause::Crash)
    })
    .await;
    cluster.end().await;
}

/// api 1.hold.failover
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_held_while_there_is_no_leader_and_go_to_the_next() {
    let mut cluster = Cluster::of(3).await;
    let [survivor, other] = cluster.followers().await[..] else { panic!("two followers") };
    let leader = cluster.leader().await;
    cluster.crash(leader).await;
    cluster.crash(other).await;
    let held: JoinHandle<_> = tokio::spawn({
        let survivor = cluster.node(survivor).clone();
        async move { submit(&survivor, add("held")).await }
    });
    let no_leader = cluster.node(survivor).submit(vec![add("b")], Duration::from_millis(200)).await;
    assert!(no_leader.is_err());
    assert!(!held.is_finished());
    cluster.start(other).await;
    assert!(held.await.unwrap().result.is_ok());
    assert!(job(cluster.node(other), "held").await.is_some());
    cluster.end().await;
}

// Situation: the wall clock of the leader jumps a minute ahead. Claim: it hands over, says why, and
// stays a follower; once its clock is right again, nothing bars it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_whose_wall_clock_is_far_off_does_not_lead() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let off = cluster.node(leader);
    cluster.set_ahead(leader, 60_000);
    eventually("another leads", async || {
        let status = off.status().raft;
        status.leader.is_some_and(|leader| leader.id != status.me.id)
    })
    .await;
    let clock = |node: &Handle| {
        let checks = node.status().checks;
        checks.into_iter().find(|check| check.name == "wall_clock").expect("it is always checked")
    };
    assert!(!clock(off).is_ok, "{:?}", clock(off));
    assert!(clock(off).detail.contains("does not lead"), "{:?}", clock(off));
    assert!(off.status().is_ready, "it takes requests all the same");
    submit(off, add("passed-on")).await;
    cluster.set_ahead(leader, 0);
    eventually("its clock is right", async || clock(off).is_ok).await;
    cluster.end().await;
}
