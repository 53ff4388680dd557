//! The contract of what can be read of the queue: one job, the totals, what a worker holds.

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{PATIENCE, Site};

/// The names of an object's fields, sorted.
fn names(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// api 2.get.whole, 1.time.at-ms, 1.time.ms
#[tokio::test(flavor = "multi_thread")]
async fn get_shows_the_whole_job_and_its_times_as_integers() {
    let site = Site::start().await;
    let now_ms = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_millis()).unwrap()
    };
    let before = now_ms();
    let job = json!({"work_id": "j", "payload": {"a": 1}, "queue": "q", "work_type": "t",
        "priority": 9, "group": "g", "tags": {"k": "v"}, "lease_ms": "1h"});
    site.add(job.clone()).await;
    let work = site.claim().await;
    let leased = site.job("j").await;
    for field in ["work_id", "payload", "queue", "work_type", "priority", "group", "tags"] {
        assert_eq!(leased[field], job[field], "{field}");
    }
    assert_eq!((&leased["token"], &leased["node_id"]), (&work["token"], &json!("w1")));
    assert!(leased["lease_expires_in_ms"].as_u64().unwrap() <= 3_600_000, "{leased}");
    site.settle("complete", &work, json!({"result": {"ok": true}})).await;
    let ended = site.job("j").await;
    assert_eq!((&ended["state"], &ended["result"]), (&json!("completed"), &json!({"ok": true})));
    let attempt = &ended["attempts"][0];
    let times = [&ended["added_at_ms"], &attempt["claimed_at_ms"], &ended["ended_at_ms"]];
    let times = times.map(|time| time.as_u64().expect("an integer"));
    // The cluster's wall clock and this process's are the machine's; a minute is room for anything.
    assert!(times.is_sorted() && times[0] + 60_000 > before && times[2] < now_ms() + 60_000);
    assert_eq!(attempt["ended_at_ms"], ended["ended_at_ms"]);
}

/// api 2.get.attempts, 2.get.attempts.ends
#[tokio::test(flavor = "multi_thread")]
async fn get_lists_the_attempts_oldest_first_and_how_each_ended() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j", "max_attempts": 10})).await;
    let mut tokens = Vec::new();
    let first = site.claim().await;
    site.settle("release", &first, json!({})).await;
    let second = site.claim().await;
    site.settle("fail", &second, json!({"error": "boom", "retry_in_ms": 0})).await;
    let third =
        site.call("/work/claim", json!({"node_id": "w2", "wait_ms": "20s", "lease_ms": 100}));
    let third = third.await["work"].clone();
    site.job_when("j", "attempts_lost", json!(1)).await;
    let fourth = site.claim_soon().await;
    site.settle("complete", &fourth, json!({})).await;
    for work in [&first, &second, &third, &fourth] {
        tokens.push(work["token"].clone());
    }
    let job = site.job("j").await;
    let attempts = job["attempts"].as_array().unwrap();
    let column = |name: &str| attempts.iter().map(|one| one[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("token"), tokens);
    assert_eq!(column("attempt"), [1, 1, 2, 3].map(|n| json!(n)));
    assert_eq!(column("node_id"), ["w1", "w1", "w2", "w1"].map(|name| json!(name)));
    assert_eq!(column("end"), ["released", "failed", "expired", "completed"].map(|end| json!(end)));
    assert_eq!(column("error")[1], "boom");
    let fields = ["attempt", "claimed_at_ms", "end", "ended_at_ms", "error", "node_id", "token"];
    assert_eq!(names(&attempts[1]), fields);
    site.add(json!({"work_id": "k"})).await;
    site.claim().await;
    site.call("/work/cancel", json!({"work_id": "k"})).await;
    assert_eq!(site.job("k").await["attempts"][0]["end"], "cancelled");
}

/// api 2.get.attempts.kept
#[tokio::test(flavor = "multi_thread")]
async fn the_last_thirty_two_attempts_are_kept() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    let mut tokens = Vec::new();
    for _ in 0..34 {
        let work = site.claim().await;
        tokens.push(work["token"].clone());
        site.settle("release", &work, json!({})).await;
    }
    let job = site.job("j").await;
    let kept = job["attempts"].as_array().unwrap().iter().map(|one| one["token"].clone());
    assert_eq!(kept.collect::<Vec<_>>(), tokens[2..]);
}

/// api 2.get.wait
#[tokio::test(flavor = "multi_thread")]
async fn get_waits_until_a_job_is_terminal_or_the_time_is_up() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    assert_eq!(site.get("/work/get/j?wait_ms=100").await.json()["state"], "pending");
    let work = site.claim().await;
    let completed = site.settle("complete", &work, json!({}));
    let both = async { tokio::join!(site.get("/work/get/j?wait_ms=60s"), completed) };
    let (waited, _) = timeout(PATIENCE, both).await.expect("its end answers");
    assert_eq!(waited.json()["state"], "completed");
    assert_eq!(site.get("/work/get/j?wait_ms=60s").await.json()["state"], "completed");
}

/// api 2.status.answer, 2.status.queues
#[tokio::test(flavor = "multi_thread")]
async fn status_counts_the_jobs_by_state_kind_and_queue() {
    let site = Site::start().await;
    for (queue, kind, delay) in [("a", "x", "0s"), ("a", "y", "1h"), ("b", "x", "0s")] {
        site.add(json!({"queue": queue, "work_type": kind, "delay_ms": delay})).await;
    }
    site.claim().await;
    let mut status = site.get("/work/status").await.json();
    let oldest = status["queues"]["b"]["oldest_pending_ms"].take();
    assert!(oldest.is_u64(), "{status}");
    let queues = json!({
        "a": {"claimed": 1, "scheduled": 1, "oldest_pending_ms": null, "paused": false},
        "b": {"pending": 1, "oldest_pending_ms": null, "paused": false},
    });
    let expected = json!({"total_items": 3, "by_status": {"claimed": 1, "pending": 1, "scheduled": 1},
        "by_type": {"x": 2, "y": 1}, "queues": queues, "is_leader": true, "leader_id": "n1", "rev": 4});
    assert_eq!(status, expected);
}

/// api 2.for-node
#[tokio::test(flavor = "multi_thread")]
async fn for_node_shows_what_a_worker_holds() {
    let site = Site::start().await;
    site.call("/work/add_batch", json!({"items": [{"work_id": "a"}, {"work_id": "b"}, {}]})).await;
    site.call("/work/claim_batch", json!({"node_id": "w1", "max": 2})).await;
    let held = site.get("/work/for-node/w1").await.json();
    assert_eq!((&held["node_id"], &held["count"]), (&json!("w1"), &json!(2)));
    let ids: Vec<_> =
        held["work_items"].as_array().unwrap().iter().map(|it| &it["work_id"]).collect();
    assert_eq!(ids, ["a", "b"]);
    let nobody = site.get("/work/for-node/w2").await.json();
    assert_eq!((&nobody["count"], &nobody["work_items"]), (&json!(0), &json!([])));
}

/// api 1.read.stale
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_says_that_it_is_one_on_every_read() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    for path in ["/work/get/j", "/work/status", "/work/for-node/w"] {
        let fresh = site.get(path).await;
        assert_eq!(fresh.headers["x-queue-consistency"], "linearizable", "{path}");
        let stale = site.get(&format!("{path}?consistency=stale")).await;
        assert_eq!(stale.headers["x-queue-consistency"], "stale", "{path}");
        assert_eq!((fresh.status, stale.status), (200, 200));
    }
}
