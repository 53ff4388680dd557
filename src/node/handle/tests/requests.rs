use std::path::Path;

use tokio::{task::JoinSet, time::timeout};

use super::{super::*, cluster::*};
use crate::{
    node::samples::{self, add, claim, complete, heartbeat, id},
    queue::{Answer, JobState, Once, Release},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_works_through_a_follower() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.node(cluster.followers().await[0]);
    let added = submit(follower, add("a")).await;
    assert!(matches!(&added.result, Ok(Answer::Added(jobs)) if jobs[0].once == Once::First));
    let grant = claim_one(follower, claim("w", "r1"), NO_WAIT).await;
    let token = grant.token.0;
    assert!(token > added.rev.0);
    let started = submit(follower, Command::Start(samples::holding("a", token))).await;
    assert_eq!(started.result, Ok(Answer::Started(Once::First)));
    let beaten = submit(follower, heartbeat("a", token)).await;
    assert!(matches!(beaten.result, Ok(Answer::Heartbeat { .. })));
    let completed = submit(follower, complete("a", token)).await;
    assert!(matches!(completed.result, Ok(Answer::Completed { once: Once::First, .. })));
    assert_eq!(job(follower, "a").await.unwrap().state, JobState::Completed);
    let nothing = follower.claim(claim("w", "r2"), NO_WAIT, HOLD).await.unwrap();
    assert_eq!(nothing, Outcome { rev: completed.rev, result: Ok(Answer::Claimed(vec![])) });
    follower.ended(&id("a"), HOLD).await.unwrap();
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_nobody_repeats_is_never_told_of_lost_jobs() {
    let cluster = Cluster::of(1).await;
    let node = cluster.node(0);
    submit(node, add("a")).await;
    // As after a retry of the node's own that raced the giving back of what the first try got.
    let token = claim_one(node, claim("w", "r"), NO_WAIT).await.token;
    let holding = samples::holding("a", token.0);
    submit(node, Command::Release(Release { holding, delay_ms: 0 })).await;
    let again = claim_one(node, claim("w", "r"), NO_WAIT).await;
    assert_eq!(again.job, id("a"));
    assert!(again.token > token);
    submit(node, complete("a", again.token.0)).await;
    let nothing = node.claim(claim("w", "r"), NO_WAIT, HOLD).await.unwrap();
    assert_eq!(grant_of(&nothing), None);
    let told = node.claim_named(claim("w", "r"), NO_WAIT, HOLD).await.unwrap();
    assert!(matches!(&told.result, Ok(Answer::Claimed(jobs)) if jobs.len() == 1), "{told:?}");
    cluster.end().await;
}

/// api 1.ack.applied, 1.read.linearizable
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_at_a_follower_sees_a_write_just_acknowledged_elsewhere() {
    let cluster = Cluster::of(3).await;
    let followers = cluster.followers().await;
    let (writer, reader) = (cluster.node(followers[0]), cluster.node(followers[1]));
    for number in 0..50 {
        let name = format!("j{number}");
        let rev = submit(writer, add(&name)).await.rev;
        let view = reader.read(Consistency::Linearizable, HOLD, |state| state.job(&id(&name)));
        let view = view.await.unwrap();
        assert!(view.value.is_some(), "{name} was acknowledged");
        assert!(view.rev >= rev);
    }
    cluster.end().await;
}

/// api 1.rev.same
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_applied_the_same_say_the_same() {
    let cluster = Cluster::of(3).await;
    for number in 0..30 {
        submit(cluster.node(number % 3), add(&format!("j{number}"))).await;
    }
    let leader = cluster.leader().await;
    let same = async || {
        let expected = cluster.node(leader).status();
        cluster
            .running()
            .map(Handle::status)
            .all(|status| (status.rev, status.state_hash) == (expected.rev, expected.state_hash))
    };
    eventually("all replicas have the same revision and hash", same).await;
    cluster.end().await;
}

/// Until then a request may still be sent to the leader that died, and its fate be unknown.
async fn nobody_leads(survivor: &Handle) {
    eventually("the dead leader is no longer named", async || {
        survivor.status().raft.leader.is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_a_request_is_held_and_then_certainly_not_applied() {
    let mut cluster = Cluster::of(3).await;
    let [survivor, other] = cluster.followers().await[..] else { panic!("two followers") };
    let leader = cluster.leader().await;
    cluster.crash(other).await;
    cluster.crash(leader).await;
    let hold = Duration::from_millis(400);
    let survivor = cluster.node(survivor);
    nobody_leads(survivor).await;
    let asked_at = Instant::now();
    let no_leader = Unavailable::NotApplied(Reason::NoLeader);
    assert_eq!(survivor.submit(vec![add("a")], hold).await, Err(no_leader.clone()));
    assert!(asked_at.elapsed() >= hold, "it was held");
    assert_eq!(survivor.claim(claim("w", "r"), NO_WAIT, hold).await, Err(no_leader.clone()));
    let read = survivor.read(Consistency::Linearizable, hold, State::rev).await;
    assert_eq!(read.map(|view| view.value), Err(no_leader));
    let stale = survivor.read(Consistency::Stale, hold, State::rev).await;
    assert_eq!(stale.unwrap().value, Rev(0));
    cluster.end().await;
}

/// api 1.error.429.before
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_refuses_adds_before_proposing_and_lets_heartbeats_pass() {
    let cluster = Cluster::with(1, |options| options.limits.lane_commands = 2).await;
    submit(cluster.node(0), add("held")).await;
    let token = claim_one(cluster.node(0), claim("w", "r"), NO_WAIT).await.token.0;
    let mut adds = JoinSet::new();
    for number in 0..300 {
        let node = cluster.node(0).clone();
        adds.spawn(async move { node.submit(vec![add(&format!("j{number}"))], HOLD).await });
    }
    let mut refused = 0;
    while let Some(added) = adds.join_next().await {
        if let Err(reason) = added.unwrap() {
            assert!(matches!(reason, Unavailable::NotApplied(Reason::Overloaded { .. })));
            refused += 1;
        }
        // However many adds are left: they never stand in its way.
        let beaten = cluster.node(0).submit(vec![heartbeat("held", token)], HOLD).await;
        assert!(beaten.is_ok(), "{beaten:?}");
    }
    assert!(refused > 0, "300 adds at once do not fit into 2 places");
    let totals = cluster.node(0).read(Consistency::Linearizable, HOLD, State::totals).await;
    assert_eq!(totals.unwrap().value.total, 301 - refused, "what was refused was not applied");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_node_refuses_and_a_reopened_one_knows_all() {
    let mut cluster = Cluster::of(1).await;
    submit(cluster.node(0), add("a")).await;
    cluster.node(0).snapshot().await.unwrap();
    submit(cluster.node(0), add("b")).await;
    let before = cluster.node(0).status();
    let stopped = cluster.node(0).clone();
    cluster.stop(0).await;
    let refused = Err(Unavailable::NotApplied(Reason::ShuttingDown));
    assert_eq!(stopped.submit(vec![add("c")], HOLD).await, refused);
    stopped.stop().await;
    cluster.start(0).await;
    cluster.ready().await;
    let after = cluster.node(0).status();
    assert_eq!((after.rev, after.state_hash), (before.rev, before.state_hash));
    assert!(job(cluster.node(0), "a").await.is_some() && job(cluster.node(0), "b").await.is_some());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_fell_behind_a_snapshot_catches_up_and_says_the_same() {
    let mut cluster = Cluster::with(3, |options| {
        options.raft.kept_entries = 1;
        options.raft.segment_bytes = 64 << 10;
    })
    .await;
    submit(cluster.node(0), add("watched")).await;
    let behind = cluster.followers().await[0];
    cluster.crash(behind).await;
    let ahead = cluster.node(cluster.leader().await).clone();
    for number in 0..200 {
        submit(&ahead, add(&format!("j{number}"))).await;
    }
    for node in cluster.running() {
        node.snapshot().await.unwrap();
    }
    cluster.start(behind).await;
    cluster.ready().await;
    eventually("the same revision and hash", async || {
        let (behind, ahead) = (cluster.node(behind).status(), ahead.status());
        (behind.rev, behind.state_hash) == (ahead.rev, ahead.state_hash)
    })
    .await;
    assert!(job(cluster.node(behind), "j199").await.is_some());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_stops_the_node_and_says_so() {
    let cluster = Cluster::of(1).await;
    let node = cluster.node(0);
    let failing = tokio::spawn({
        let node = node.clone();
        async move { node.failed().await }
    });
    let unreadable = bytes::Bytes::from_static(&[9, 0]);
    let replica = node.node().replica.clone();
    let proposed = tokio::spawn(async move { replica.propose(unreadable).await });
    let reason = timeout(PATIENCE, failing).await.unwrap().unwrap();
    assert!(reason.contains("format 9"), "{reason}");
    assert!(proposed.await.unwrap().is_err());
    let refused = node.submit(vec![add("a")], Duration::from_millis(50)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert!(node.status().checks.iter().any(|check| check.name == "disk" && !check.is_ok));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raft_runs_on_threads_of_its_own_and_leaves_none_behind() {
    let directory = tempfile::tempdir().unwrap();
    let raft_threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let name = |task: &Path| std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        tasks.filter(|task| name(&task.path()).trim_end() == "raft").count()
    };
    let node = alone_on_own_threads(directory.path()).await;
    submit(&node, add("a")).await;
    if Path::new("/proc/self/task").exists() {
        assert!(raft_threads() >= 2);
    }
    node.stop().await;
    eventually("Raft's threads have ended", async || raft_threads() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_job_is_noticed_on_a_replica_that_did_not_end_it() {
    let cluster = Cluster::of(3).await;
    let followers = cluster.followers().await;
    let (watching, ending) = (cluster.node(followers[0]), cluster.node(followers[1]));
    submit(watching, add("a")).await;
    assert!(job(watching, "a").await.is_some());
    let watch = tokio::spawn({
        let watching = watching.clone();
        async move { watching.ended(&id("a"), HOLD).await }
    });
    let token = claim_one(ending, claim("w", "r"), NO_WAIT).await.token.0;
    assert!(!watch.is_finished());
    submit(ending, complete("a", token)).await;
    timeout(PATIENCE, watch).await.unwrap().unwrap().unwrap();
    assert_eq!(job(watching, "a").await.unwrap().state, JobState::Completed);
    let in_time = watching.ended(&id("b"), Duration::from_millis(10)).await;
    assert_eq!(in_time, Ok(()), "a job that is gone has ended");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_ids_are_unique_and_grow_with_time() {
    let cluster = Cluster::of(1).await;
    let ids: BTreeSet<_> = (0..100).map(|_| cluster.node(0).fresh_id()).collect();
    assert_eq!(ids.len(), 100);
    assert!(ids.iter().all(|fresh| JobId::parse(fresh).is_ok() && fresh.len() == 26));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_must_not_be_held_is_still_carried_out_by_a_leader_that_is_there() {
    let mut cluster = Cluster::of(3).await;
    for number in 0..3 {
        let node = cluster.node(number);
        let name = format!("j{number}");
        node.submit(vec![add(&name)], Duration::ZERO).await.unwrap();
        let outcome = node.claim(claim("w", &name), NO_WAIT, Duration::ZERO).await.unwrap();
        assert!(grant_of(&outcome).is_some());
        node.read(Consistency::Linearizable, Duration::ZERO, State::rev).await.unwrap();
    }
    let [survivor, other] = cluster.followers().await[..] else { panic!("two followers") };
    let leader = cluster.leader().await;
    // The other follower first: the survivor alone can never be elected, so it never proposes.
    cluster.crash(other).await;
    cluster.crash(leader).await;
    let survivor = cluster.node(survivor);
    nobody_leads(survivor).await;
    let refused = survivor.submit(vec![add("a")], Duration::ZERO).await;
    assert_eq!(refused, Err(Unavailable::NotApplied(Reason::NoLeader)));
    cluster.end().await;
}

/// As in simulation: no part may block the one thread that all of them share.
#[tokio::test]
async fn three_nodes_share_one_thread() {
    let mut cluster = Cluster::of(3).await;
    for number in 0..3 {
        submit(cluster.node(number), add(&format!("j{number}"))).await;
    }
    let leader = cluster.leader().await;
    cluster.crash(leader).await;
    let survivor = cluster.node(cluster.leader().await);
    for number in 0..3 {
        let grant = claim_one(survivor, claim("w", &format!("r{number}")), NO_WAIT).await;
        assert_eq!(grant.job, id(&format!("j{number}")), "first in, first out");
    }
    cluster.end().await;
}
