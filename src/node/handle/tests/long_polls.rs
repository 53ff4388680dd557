use std::future::{Future, poll_fn};

use tokio::{task::JoinSet, time::timeout};

use super::{super::*, cluster::*};
use crate::{
    node::samples::{add, claim, complete, id, queue, worker},
    queue::{Action, AttemptEnd, JobState, Operation, Patch, SetQueue},
};

/// Waits until that many claims stand in line at the leader.
async fn wait_parked(cluster: &Cluster, count: usize) {
    let leader = cluster.leader().await;
    eventually("the claims stand in line", async || parked(cluster.node(leader)) == count).await;
}

fn poll_for_job(
    node: &Handle,
    request: &str,
) -> tokio::task::JoinHandle<Result<Outcome, Unavailable>> {
    let (node, claim) = (node.clone(), claim("w", request));
    tokio::spawn(async move { node.claim(claim, PATIENCE, HOLD).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_at_a_follower_gets_a_job_added_at_another() {
    let cluster = Cluster::of(3).await;
    let followers = cluster.followers().await;
    let polling = poll_for_job(cluster.node(followers[0]), "r");
    wait_parked(&cluster, 1).await;
    submit(cluster.node(followers[1]), add("a")).await;
    let granted = timeout(PATIENCE, polling).await.unwrap().unwrap().unwrap();
    assert_eq!(grant_of(&granted).unwrap().job, id("a"));
    cluster.end().await;
}

// Situation: an agent's claim waits at a follower, which sends it to the leader, and again to the next one.
// Claim: the agent has asked the follower for something, and no other node: a repeat is no sign that it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_is_a_sign_of_life_where_its_worker_sent_it_and_nowhere_else() {
    let mut cluster = Cluster::of(3).await;
    let old = cluster.leader().await;
    let follower = (old + 1) % 3;
    let waiting = cluster.node(follower).clone();
    let claim = Claim { session: Some(7), ..claim("w", "r") };
    let polling = tokio::spawn(async move { waiting.claim(claim, PATIENCE, HOLD).await });
    wait_parked(&cluster, 1).await;
    let has_heard =
        |number: usize| cluster.node(number).node().signs.has_asked_since(&worker("w"), 7, 0);
    assert!(has_heard(follower));
    assert!(!has_heard(old));
    cluster.crash(old).await;
    wait_parked(&cluster, 1).await;
    let third = (old + 2) % 3;
    let has_heard = cluster.node(third).node().signs.has_asked_since(&worker("w"), 7, 0);
    assert!(!has_heard, "whoever leads now");
    polling.abort();
    cluster.end().await;
}

/// api 2.claim.wait.one-wakes-one
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_added_job_wakes_one_waiter_wherever_it_waits() {
    let cluster = Cluster::of(3).await;
    let mut polls = JoinSet::new();
    for number in 0..3 {
        let node = cluster.node(number).clone();
        let claim = claim("w", &format!("r{number}"));
        polls.spawn(async move { node.claim(claim, PATIENCE, HOLD).await });
    }
    wait_parked(&cluster, 3).await;
    for (name, left) in [("a", 2), ("b", 1), ("c", 0)] {
        submit(cluster.node(0), add(name)).await;
        let granted = timeout(PATIENCE, polls.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(grant_of(&granted.unwrap()).unwrap().job, id(name));
        assert_eq!(polls.len(), left);
        wait_parked(&cluster, left).await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_that_gets_nothing_says_so_at_the_end_of_its_wait() {
    let cluster = Cluster::of(3).await;
    let wait = Duration::from_millis(200);
    for number in 0..3 {
        let asked_at = Instant::now();
        let node = cluster.node(number);
        let outcome = node.claim(claim("w", "r"), wait, HOLD).await.unwrap();
        assert!(grant_of(&outcome).is_none());
        assert!(asked_at.elapsed() >= wait);
    }
    assert_eq!(cluster.node(0).status().rev, Rev(0), "nothing entered the log");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_gives_up_its_place_on_any_node() {
    let cluster = Cluster::of(3).await;
    for number in 0..3 {
        let polling = poll_for_job(cluster.node(number), "gone");
        wait_parked(&cluster, 1).await;
        polling.abort();
        wait_parked(&cluster, 0).await;
    }
    let staying = poll_for_job(cluster.node(0), "stays");
    wait_parked(&cluster, 1).await;
    submit(cluster.node(1), add("a")).await;
    let granted = timeout(PATIENCE, staying).await.unwrap().unwrap().unwrap();
    assert_eq!(grant_of(&granted).unwrap().attempt, 1);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_nobody_takes_is_released_and_its_attempt_not_counted() {
    let cluster = Cluster::of(3).await;
    for number in 0..3 {
        let (node, name) = (cluster.node(number), format!("j{number}"));
        submit(node, add(&name)).await;
        // The claim is on its way after the first poll, and its caller is gone.
        let mut claiming = Box::pin(node.claim(claim("w", &name), NO_WAIT, HOLD));
        poll_fn(|context| {
            assert!(claiming.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(claiming);
        eventually("the grant was made and given back", async || {
            let job = job(node, &name).await.unwrap();
            let ends: Vec<_> = job.attempts.iter().map(|attempt| attempt.end).collect();
            job.state == JobState::Pending
                && job.attempts_used == 0
                && ends == [Some(AttemptEnd::Released)]
        })
        .await;
        claim_one(node, claim("w", &format!("takes-{name}")), NO_WAIT).await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_of_a_claim_that_its_client_named_is_kept_for_the_clients_repeat() {
    let cluster = Cluster::of(3).await;
    for number in 0..3 {
        let (node, name) = (cluster.node(number), format!("j{number}"));
        submit(node, add(&name)).await;
        // The claim is on its way after the first poll, and its caller is gone.
        let mut claiming = Box::pin(node.claim_named(claim("w", &name), NO_WAIT, HOLD));
        poll_fn(|context| {
            assert!(claiming.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(claiming);
        eventually("the grant was made", async || {
            job(node, &name).await.unwrap().state == JobState::Claimed
        })
        .await;
        let elsewhere = cluster.node((number + 1) % 3);
        let outcome = elsewhere.claim_named(claim("w", &name), NO_WAIT, HOLD).await.unwrap();
        let token = grant_of(&outcome).unwrap().token;
        // What was released by now, or would be, shows after a few rounds through the log.
        for _ in 0..5 {
            submit(node, add(&name)).await;
        }
        assert_eq!(job(node, &name).await.unwrap().lease.unwrap().token, token);
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_claim_moves_on_to_the_next_leader() {
    let mut cluster = Cluster::of(3).await;
    let [first, second] = cluster.followers().await[..] else { panic!("two followers") };
    let polling = poll_for_job(cluster.node(first), "r");
    wait_parked(&cluster, 1).await;
    let leader = cluster.leader().await;
    cluster.crash(leader).await;
    wait_parked(&cluster, 1).await;
    submit(cluster.node(second), add("a")).await;
    let granted = timeout(PATIENCE, polling).await.unwrap().unwrap().unwrap();
    assert_eq!(grant_of(&granted).unwrap().job, id("a"));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_long_polls_at_one_follower_hold_up_nothing_else() {
    let cluster = Cluster::of(3).await;
    let follower = cluster.node(cluster.followers().await[0]);
    // More than the requests that one connection between two nodes carries at a time.
    let mut polls = JoinSet::new();
    for number in 0..300 {
        let node = follower.clone();
        let claim = claim("w", &format!("r{number}"));
        polls.spawn(async move { node.claim(claim, PATIENCE, HOLD).await });
    }
    wait_parked(&cluster, 300).await;
    for number in 0..300 {
        submit(follower, add(&format!("j{number}"))).await;
    }
    let mut jobs = BTreeSet::new();
    while let Some(granted) = timeout(PATIENCE, polls.join_next()).await.unwrap() {
        let grant = grant_of(&granted.unwrap().unwrap()).unwrap();
        assert!(jobs.insert(grant.job), "one job to one claim");
    }
    assert_eq!(jobs.len(), 300);
    cluster.end().await;
}

/// api 1.hold.poll
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_is_held_without_a_leader_no_longer_than_its_hold() {
    let mut cluster = Cluster::of(3).await;
    let [survivor, other] = cluster.followers().await[..] else { panic!("two followers") };
    let hold = Duration::from_millis(600);
    let polling = tokio::spawn({
        let node = cluster.node(survivor).clone();
        async move { node.claim(claim("w", "r"), PATIENCE, hold).await }
    });
    wait_parked(&cluster, 1).await;
    let leader = cluster.leader().await;
    cluster.crash(other).await;
    cluster.crash(leader).await;
    let refused = timeout(PATIENCE / 2, polling).await.unwrap().unwrap();
    assert!(refused.is_err(), "{refused:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_node_answers_its_long_polls_and_keeps_those_of_others() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.followers().await[0];
    let at_leader = poll_for_job(cluster.node(leader), "own");
    let at_follower = poll_for_job(cluster.node(follower), "others");
    wait_parked(&cluster, 2).await;
    cluster.stop(leader).await;
    let empty = timeout(PATIENCE, at_leader).await.unwrap().unwrap().unwrap();
    assert_eq!(grant_of(&empty), None);
    submit(cluster.node(follower), add("a")).await;
    let granted = timeout(PATIENCE, at_follower).await.unwrap().unwrap().unwrap();
    assert_eq!(grant_of(&granted).unwrap().job, id("a"));
    cluster.end().await;
}

// Situation: a node takes its leave step by step, with claims of its clients and of another node's parked.
// Claim: all it is asked meanwhile is done, nobody who waits gets an error, and who comes late does not wait.
/// api 1.stop.serves, 1.stop.polls
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_serves_to_the_end() {
    for leads in [true, false] {
        let mut cluster = Cluster::of(3).await;
        let leader = cluster.leader().await;
        let leaving = if leads { leader } else { cluster.followers().await[0] };
        let node = cluster.node(leaving).clone();
        let mut polls = JoinSet::new();
        for request in ["a", "b"] {
            let node = node.clone();
            polls.spawn(async move { node.claim(claim("w", request), PATIENCE, HOLD).await });
        }
        wait_parked(&cluster, 2).await;
        node.leave().await;
        assert_ne!(cluster.leader().await, leaving, "it has handed over, if it had to");
        assert!(node.is_leaving() && node.lets_wait());
        submit(&node, add("leaving")).await;
        let granted = timeout(PATIENCE, polls.join_next()).await.unwrap().unwrap().unwrap();
        assert!(grant_of(&granted.unwrap()).is_some(), "its polls are still served");
        wait_parked(&cluster, 1).await;
        polls.spawn({
            let (node, job) = (node.clone(), id("leaving"));
            async move {
                node.ended(&job, PATIENCE).await?;
                node.claim_named(claim("w", "c"), NO_WAIT, HOLD).await
            }
        });
        node.end_waits();
        while let Some(sent_home) = timeout(PATIENCE / 2, polls.join_next()).await.unwrap() {
            assert_eq!(grant_of(&sent_home.unwrap().unwrap()), None);
        }
        let late = timeout(PATIENCE / 2, node.claim(claim("w", "d"), PATIENCE, HOLD));
        assert_eq!(grant_of(&late.await.unwrap().unwrap()), None);
        submit(&node, add("after")).await;
        assert!(claim_one(&node, claim("w", "e"), NO_WAIT).await.token.0 > 0);
        cluster.stop(leaving).await;
        let refused = node.submit(vec![add("late")], HOLD).await;
        assert_eq!(refused, Err(Unavailable::NotApplied(Reason::ShuttingDown)));
        cluster.end().await;
    }
}

/// Both places of a full queue are free again before anyone has claimed: two who wait get a job each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_place_of_a_limited_queue_that_is_free_again_wakes_one_waiter() {
    let cluster = Cluster::of(1).await;
    let node = cluster.node(0);
    let set = SetQueue { max_leased: Patch::Set(2), ..SetQueue::unchanged(queue("default")) };
    let request_id = RequestId::parse("limit").unwrap();
    let limit = Command::Operate(Operation { request_id, action: Action::SetQueue(set) });
    submit(node, limit).await;
    for name in ["a", "b", "c", "d"] {
        submit(node, add(name)).await;
    }
    let held = node.claim(Claim { max: 2, ..claim("v", "both") }, PATIENCE, HOLD).await.unwrap();
    let Ok(Answer::Claimed(held)) = held.result else { panic!("{held:?}") };
    let polls = ["r1", "r2"].map(|request| poll_for_job(node, request));
    wait_parked(&cluster, 2).await;
    let ends = held.iter().map(|held| match held {
        Claimed::Granted(grant) => complete(grant.job.as_str(), grant.token.0),
        Claimed::Lost { .. } => panic!("{held:?}"),
    });
    node.submit(ends.collect(), HOLD).await.unwrap();
    for polling in polls {
        let granted = timeout(PATIENCE / 2, polling).await.expect("it was woken").unwrap().unwrap();
        assert!(grant_of(&granted).is_some());
    }
    cluster.end().await;
}
