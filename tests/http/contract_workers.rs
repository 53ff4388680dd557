//! The contract of `/workers`: who they are, what they hold, and how they are drained.

use serde_json::{Value, json};

use crate::support::Site;

/// A heartbeat of `w1` for nothing: whether it is to drain.
async fn is_to_drain(site: &Site) -> Value {
    site.call("/work/heartbeat", json!({"node_id": "w1", "items": []})).await["drain"].clone()
}

/// api 2.workers.list, 2.workers.get, 2.workers.labels
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_shown_once_it_was_granted_a_job() {
    let site = Site::start().await;
    site.call("/work/claim", json!({"node_id": "idle"})).await;
    site.call("/work/add_batch", json!({"items": [{}, {}]})).await;
    let ask = json!({"node_id": "w1", "labels": {"zone": "a"}, "session": 7, "max": 2});
    site.call("/work/claim_batch", ask).await;
    let listed = site.get("/workers").await.json();
    assert_eq!(listed["count"], 1, "{listed}");
    assert!(listed["rev"].is_u64(), "{listed}");
    let shown = site.get("/workers/w1").await.json();
    for worker in [&listed["workers"][0], &shown] {
        assert_eq!((&worker["node_id"], &worker["held"]), (&json!("w1"), &json!(2)));
        assert_eq!((&worker["labels"], &worker["session"]), (&json!({"zone": "a"}), &json!(7)));
        assert_eq!(
            (&worker["draining"], worker["last_seen_ms_ago"].is_u64()),
            (&json!(false), true)
        );
    }
}

/// api 2.workers.unknown, 1.error.404.node
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_worker_is_not_found() {
    let site = Site::start().await;
    site.get("/workers/nobody").await.failed(404, "not_found");
    let odd = site.get("/workers/a%20b").await;
    assert_eq!(odd.failed(400, "invalid_argument")["field"], "node_id");
}

/// api 2.workers.drain, 2.workers.drain.told
#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_is_told_at_its_next_heartbeat_and_gets_no_more_work() {
    let site = Site::start().await;
    site.call("/work/add_batch", json!({"items": [{"work_id": "a"}, {"work_id": "b"}]})).await;
    let held = site.claim().await;
    assert_eq!(is_to_drain(&site).await, false);
    let rev = held["token"].as_u64().unwrap();
    let draining = site.done("/workers/w1/drain", "").await;
    assert_eq!(draining, json!({"status": "draining", "node_id": "w1", "rev": rev + 1}));
    assert_eq!(is_to_drain(&site).await, true);
    assert_eq!(site.claim().await, Value::Null);
    assert_eq!(site.get("/workers/w1").await.json()["draining"], true);
    let other = site.call("/work/claim", json!({"node_id": "w2"})).await;
    assert_eq!(other["work"]["work_id"], "b", "others go on");
    let completed = site.settle("complete", &held, json!({})).await;
    assert_eq!(completed["status"], "completed", "what it holds it finishes");
}

/// api 2.workers.resume
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_resumed_gets_work_again() {
    let site = Site::start().await;
    site.add(json!({"work_id": "a"})).await;
    let draining = site.done("/workers/w1/drain", "").await;
    let again = site.done("/workers/w1/drain", "").await;
    assert_eq!(again["rev"], draining["rev"], "the second changes nothing");
    assert_eq!(site.get("/workers").await.json()["workers"][0]["node_id"], "w1");
    assert_eq!(site.claim().await, Value::Null);
    let resumed = site.done("/workers/w1/resume", "").await;
    assert_eq!((&resumed["status"], &resumed["node_id"]), (&json!("resumed"), &json!("w1")));
    assert_eq!(is_to_drain(&site).await, false);
    assert_eq!(site.claim().await["work_id"], "a");
}
