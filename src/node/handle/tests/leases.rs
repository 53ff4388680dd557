use super::{super::*, cluster::*};
use crate::{
    node::samples::{add, claim, complete, id, new_job},
    queue::{Add, Answer, Delay, JobState, NewJob, Once},
};

fn short(request: &str) -> Claim {
    Claim { lease_ms: Some(150), ..claim("w", request) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_lease_is_granted_again_although_nobody_asks_for_anything() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.node(cluster.followers().await[0]);
    submit(follower, add("a")).await;
    // A worker counts its lease from before it asks.
    let asked_at = Instant::now();
    let first = claim_one(follower, short("r1"), NO_WAIT).await;
    let second = claim_one(follower, short("r2"), PATIENCE).await;
    assert!(asked_at.elapsed() >= Duration::from_millis(150), "not before the lease was over");
    assert_eq!((second.job, second.attempt), (id("a"), 2));
    assert!(second.token > first.token);
    let stale = submit(follower, complete("a", first.token.0)).await;
    assert!(stale.result.is_err(), "the first holder's token is dead");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_job_wakes_a_waiter_when_it_is_due() {
    let cluster = Cluster::of(3).await;
    let delay = Duration::from_millis(250);
    let later = NewJob { delay: Delay::For(250), ..new_job("later") };
    let added_at = Instant::now();
    submit(cluster.node(0), Command::Add(Add { jobs: vec![later] })).await;
    let grant = claim_one(cluster.node(1), claim("w", "r"), PATIENCE).await;
    assert_eq!(grant.job, id("later"));
    assert!(added_at.elapsed() >= delay);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_deadlines_writes_nothing() {
    let cluster = Cluster::of(3).await;
    submit(cluster.node(0), add("a")).await;
    loop {
        let leader = cluster.node(cluster.leader().await);
        let before = leader.status().raft;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let after = leader.status().raft;
        // A busy machine may have had an election, which writes.
        if after.term == before.term {
            assert_eq!(after.last_log_index, before.last_log_index);
            break;
        }
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_survives_a_change_of_leader() {
    let mut cluster = Cluster::of(3).await;
    submit(cluster.node(0), add("a")).await;
    let token = claim_one(cluster.node(0), claim("w", "r"), NO_WAIT).await.token.0;
    let leader = cluster.leader().await;
    cluster.crash(leader).await;
    let node = cluster.node(cluster.leader().await);
    let completed = submit(node, complete("a", token)).await;
    assert!(matches!(completed.result, Ok(Answer::Completed { once: Once::First, .. })));
    assert_eq!(job(node, "a").await.unwrap().state, JobState::Completed);
    cluster.end().await;
}
