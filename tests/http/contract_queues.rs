//! The contract of `/queues`: what a queue says of itself, its limits, pause, purge and delete.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Reply, Site};

/// Sends a PUT to a queue; the whole answer.
async fn put(site: &Site, queue: &str, body: Value) -> Reply {
    site.send("PUT", &format!("/queues/{queue}"), &[], body.to_string().as_bytes()).await
}

/// Sets a queue's fields; the queue.
async fn set(site: &Site, queue: &str, body: Value) -> Value {
    let reply = put(site, queue, body).await;
    assert!(reply.status < 300, "{reply:?}");
    reply.json()
}

async fn queue(site: &Site, name: &str) -> Value {
    let reply = site.get(&format!("/queues/{name}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn rev(site: &Site) -> u64 {
    site.get("/work/status").await.json()["rev"].as_u64().unwrap()
}

/// Adds a job to a queue; the whole answer.
async fn add_to(site: &Site, queue: &str, work_id: &str) -> Reply {
    let body = json!({"work_id": work_id, "queue": queue, "payload": "12345678"});
    site.post("/work/add", &body.to_string()).await
}

/// Claims up to `max` jobs of a queue.
async fn claim_from(site: &Site, queue: &str, max: usize) -> Vec<Value> {
    let body = json!({"node_id": "w1", "queues": [queue], "max": max});
    let claim = site.call("/work/claim_batch", body).await;
    claim["items"].as_array().unwrap().clone()
}

/// Checks that an add was refused because the queue is full.
fn assert_full(reply: &Reply) {
    let details = reply.failed(429, "queue_full");
    let json = reply.json();
    assert_eq!((&json["retryable"], &json["applied"]), (&json!(true), &json!("no")));
    assert!(details["retry_after_ms"].is_u64() && reply.headers.contains_key("retry-after"));
}

/// api 2.queues.exists, 2.queues.unknown, 1.error.404.queue
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_exists_once_an_add_or_a_put_has_named_it() {
    let site = Site::start().await;
    site.get("/queues/q").await.failed(404, "not_found");
    for verb in ["pause", "resume", "purge"] {
        site.post(&format!("/queues/q/{verb}"), "{}").await.failed(404, "not_found");
    }
    site.send("DELETE", "/queues/q", &[], b"").await.failed(404, "not_found");
    assert_eq!(add_to(&site, "q", "j").await.status, 201);
    assert_eq!(queue(&site, "q").await["queue"], "q");
    assert_eq!(put(&site, "r", json!({})).await.status, 201);
    assert_eq!(put(&site, "r", json!({})).await.status, 200);
    assert_eq!(queue(&site, "r").await["jobs"], 0);
    let listed = site.get("/queues").await.json();
    let names: Vec<_> = listed["queues"].as_array().unwrap().iter().map(|q| &q["queue"]).collect();
    assert_eq!((&listed["count"], names), (&json!(2), vec![&json!("q"), &json!("r")]));
    assert!(listed["rev"].is_u64(), "{listed}");
}

/// api 2.queues.answer
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_shows_its_settings_and_its_counts() {
    let site = Site::start().await;
    for work_id in ["a", "b", "c"] {
        add_to(&site, "q", work_id).await;
    }
    let work = claim_from(&site, "q", 2).await;
    site.settle("complete", &work[0], json!({})).await;
    let mut shown = queue(&site, "q").await;
    assert!(shown["oldest_pending_ms"].take().is_u64(), "{shown}");
    for limit in [
        "max_jobs",
        "max_bytes",
        "default_lease_ms",
        "max_attempts",
        "max_leased",
        "rate_per_second",
    ] {
        assert_eq!(shown.get(limit), Some(&Value::Null), "{limit}");
    }
    assert_eq!(
        (&shown["paused"], &shown["jobs"], &shown["bytes"]),
        (&json!(false), &json!(2), &json!(20))
    );
    assert_eq!(shown["leased"], 1);
    assert_eq!(shown["by_status"], json!({"pending": 1, "claimed": 1, "completed": 1}));
    assert_eq!(shown["rev"], rev(&site).await);
}

/// api 2.queues.put, 2.queues.put.merges
#[tokio::test(flavor = "multi_thread")]
async fn a_put_changes_what_it_names_and_null_takes_a_limit_away() {
    let site = Site::start().await;
    let all = json!({"paused": true, "max_jobs": 5, "max_bytes": 1000, "default_lease_ms": "1m",
        "max_attempts": 7, "max_leased": 2, "rate_per_second": 9});
    let made = set(&site, "q", all).await;
    assert_eq!((&made["paused"], &made["max_jobs"]), (&json!(true), &json!(5)));
    assert_eq!((&made["max_bytes"], &made["default_lease_ms"]), (&json!(1000), &json!(60_000)));
    assert_eq!((&made["max_attempts"], &made["max_leased"]), (&json!(7), &json!(2)));
    assert_eq!(made["rate_per_second"], 9);
    let changed = set(&site, "q", json!({"max_jobs": null, "max_leased": 3})).await;
    assert_eq!((&changed["max_jobs"], &changed["max_leased"]), (&Value::Null, &json!(3)));
    assert_eq!((&changed["paused"], &changed["max_bytes"]), (&json!(true), &json!(1000)));
}

/// api 2.queues.put.checked
#[tokio::test(flavor = "multi_thread")]
async fn a_put_of_a_bad_or_unknown_field_is_refused_by_name_and_makes_no_queue() {
    let site = Site::start().await;
    for (body, field) in [
        (json!({"paused": "yes"}), "paused"),
        (json!({"max_jobs": -1}), "max_jobs"),
        (json!({"max_bytes": "many"}), "max_bytes"),
        (json!({"default_lease_ms": 99}), "default_lease_ms"),
        (json!({"max_attempts": 0}), "max_attempts"),
        (json!({"max_attempts": 1001}), "max_attempts"),
        (json!({"max_leased": -1}), "max_leased"),
        (json!({"rate_per_second": 0}), "rate_per_second"),
        (json!({"rate_per_second": 1_000_001}), "rate_per_second"),
        (json!({"max_job": 1}), "max_job"),
    ] {
        let details = put(&site, "q", body.clone()).await.failed(400, "invalid_argument");
        assert_eq!(details["field"], field, "{body}");
    }
    site.get("/queues/q").await.failed(404, "not_found");
    put(&site, "a:b", json!({})).await.failed(400, "invalid_argument");
}

/// api 2.queues.rev
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_a_queue_raises_the_revision_by_one_and_what_changes_nothing_does_not() {
    let site = Site::start().await;
    add_to(&site, "q", "j").await;
    let before = rev(&site).await;
    assert_eq!(set(&site, "q", json!({"max_jobs": 5})).await["rev"], before + 1);
    set(&site, "q", json!({"max_jobs": 5})).await;
    assert_eq!(rev(&site).await, before + 1);
    let paused = site.done("/queues/q/pause", "").await;
    assert_eq!(paused, json!({"status": "paused", "queue": "q", "rev": before + 2}));
    let again = site.done("/queues/q/pause", "").await;
    assert_eq!((&again["status"], &again["rev"]), (&json!("paused"), &json!(before + 2)));
}

/// api 2.queues.pause, 2.queues.resume, 2.status.paused
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_takes_jobs_and_grants_none_until_it_is_resumed() {
    let site = Site::start().await;
    add_to(&site, "q", "a").await;
    let [held] = &claim_from(&site, "q", 1).await[..] else { panic!("one job") };
    site.done("/queues/q/pause", "").await;
    assert_eq!(add_to(&site, "q", "b").await.status, 201);
    assert_eq!(claim_from(&site, "q", 9).await, [Value::Null; 0]);
    let status = site.get("/work/status").await.json();
    assert_eq!(status["queues"]["q"]["paused"], true);
    assert_eq!(queue(&site, "q").await["paused"], true);
    let completed = site.settle("complete", held, json!({})).await;
    assert_eq!(completed["status"], "completed", "who holds a job finishes it");
    let waiting = site.claim_soon();
    let (work, resumed) = tokio::join!(waiting, site.done("/queues/q/resume", ""));
    assert_eq!((&work["work_id"], &resumed["status"]), (&json!("b"), &json!("resumed")));
}

/// api 2.queues.purge, 2.queues.purge.tokens, 2.queues.purge.answer
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_cancels_every_unfinished_job_added_before_it() {
    let site = Site::start().await;
    add_to(&site, "q", "done").await;
    let done = claim_from(&site, "q", 1).await;
    site.settle("complete", &done[0], json!({})).await;
    add_to(&site, "q", "held").await;
    let held = claim_from(&site, "q", 1).await.remove(0);
    add_to(&site, "q", "pending").await;
    site.add(json!({"work_id": "delayed", "queue": "q", "delay_ms": "1h"})).await;
    site.add(json!({"work_id": "blocked", "queue": "q", "depends_on": ["pending"]})).await;
    add_to(&site, "other", "elsewhere").await;
    let before = rev(&site).await;
    let purged = site.done("/queues/q/purge", "").await;
    let expected = json!({"status": "purged", "queue": "q", "count": 4, "rev": before + 1});
    assert_eq!(purged, expected, "one revision whatever the number");
    for work_id in ["held", "pending", "delayed", "blocked"] {
        assert_eq!(site.job(work_id).await["state"], "cancelled", "{work_id}");
    }
    assert_eq!(site.job("done").await["state"], "completed");
    assert_eq!(site.job("elsewhere").await["state"], "pending");
    let token = json!({"work_id": "held", "token": held["token"]});
    let refused = site.post("/work/complete", &token.to_string()).await;
    assert_eq!(refused.failed(409, "stale_token")["ended_as"], "cancelled");
    let beaten = site.call("/work/heartbeat", token).await;
    assert_eq!(beaten["items"][0]["status"], "cancel_requested");
    add_to(&site, "q", "after").await;
    assert_eq!(claim_from(&site, "q", 9).await[0]["work_id"], "after");
}

/// api 2.queues.purge.many, 2.queues.purge.none
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_any_number_at_once_and_of_none_it_changes_nothing() {
    let site = Site::start().await;
    for _ in 0..3 {
        site.call("/work/add_batch", json!({"items": vec![json!({"queue": "q"}); 1000]})).await;
    }
    let before = rev(&site).await;
    let purged = site.done("/queues/q/purge", "").await;
    assert_eq!((&purged["count"], &purged["rev"]), (&json!(3000), &json!(before + 1)));
    assert_eq!(claim_from(&site, "q", 1000).await, [Value::Null; 0]);
    let shown = queue(&site, "q").await;
    assert_eq!((&shown["jobs"], &shown["bytes"]), (&json!(0), &json!(0)));
    let none = site.done("/queues/q/purge", "").await;
    assert_eq!((&none["count"], &none["rev"]), (&json!(0), &json!(before + 1)));
}

/// api 2.queues.delete
#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_queue_is_deleted() {
    let site = Site::start().await;
    add_to(&site, "q", "j").await;
    let delete = async || site.send("DELETE", "/queues/q", &[], b"").await;
    delete().await.failed(409, "wrong_state");
    site.call("/work/cancel", json!({"work_id": "j"})).await;
    let deleted = delete().await;
    let json = deleted.json();
    assert_eq!(
        (deleted.status, &json["status"], &json["queue"]),
        (200, &json!("deleted"), &json!("q"))
    );
    assert!(json["rev"].is_u64(), "{json}");
    site.get("/queues/q").await.failed(404, "not_found");
}

/// api 2.queues.max-jobs, 2.queues.max-jobs.idempotent, 1.error.429.queue-full, 1.error.429.retry-after
#[tokio::test(flavor = "multi_thread")]
async fn max_jobs_counts_the_unfinished_and_lets_repeats_pass() {
    let site = Site::start().await;
    set(&site, "q", json!({"max_jobs": 2})).await;
    assert_eq!(add_to(&site, "q", "a").await.status, 201);
    assert_eq!(add_to(&site, "q", "b").await.status, 201);
    assert_full(&add_to(&site, "q", "c").await);
    assert_eq!(add_to(&site, "q", "a").await.status, 200, "a repeat is answered all the same");
    let work = claim_from(&site, "q", 1).await;
    assert_full(&add_to(&site, "q", "c").await);
    site.settle("complete", &work[0], json!({})).await;
    assert_eq!(add_to(&site, "q", "c").await.status, 201);
    assert_eq!(add_to(&site, "other", "d").await.status, 201, "each queue has its own limit");
}

/// api 2.queues.max-jobs.batch, 2.complete.then.max-jobs
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_held_to_max_jobs_as_a_whole_and_then_is_not_held_to_it() {
    let site = Site::start().await;
    set(&site, "q", json!({"max_jobs": 2})).await;
    let items = json!([{"queue": "q"}, {"queue": "q"}, {"queue": "q"}]);
    let whole = json!({"items": items}).to_string();
    assert_full(&site.post("/work/add_batch", &whole).await);
    assert_eq!(queue(&site, "q").await["jobs"], 0);
    let each = site.call("/work/add_batch", json!({"items": items, "atomic": false})).await;
    assert_eq!((&each["count"], &each["items"][2]["code"]), (&json!(2), &json!("queue_full")));
    let work = claim_from(&site, "q", 1).await;
    site.settle("complete", &work[0], json!({"then": [{"queue": "q"}, {"queue": "q"}]})).await;
    assert_eq!(queue(&site, "q").await["jobs"], 3);
}

/// api 2.queues.exact
#[tokio::test(flavor = "multi_thread")]
async fn of_many_adds_at_once_exactly_max_jobs_are_accepted() {
    let site = std::sync::Arc::new(Site::start().await);
    set(&site, "q", json!({"max_jobs": 10})).await;
    let mut adds = JoinSet::new();
    for number in 0..40 {
        let site = std::sync::Arc::clone(&site);
        adds.spawn(async move { add_to(&site, "q", &format!("j{number}")).await.status });
    }
    let statuses = adds.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 10, "{statuses:?}");
    assert_eq!(queue(&site, "q").await["jobs"], 10);
}

/// api 2.queues.max-bytes
#[tokio::test(flavor = "multi_thread")]
async fn max_bytes_counts_the_payloads_of_the_unfinished() {
    let site = Site::start().await;
    // Each payload is ten bytes: eight letters and their quotes.
    set(&site, "q", json!({"max_bytes": 20})).await;
    for work_id in ["a", "b"] {
        assert_eq!(add_to(&site, "q", work_id).await.status, 201);
    }
    assert_full(&add_to(&site, "q", "c").await);
    assert_eq!(add_to(&site, "q", "b").await.status, 200);
    assert_eq!(queue(&site, "q").await["bytes"], 20);
    site.call("/work/cancel", json!({"work_id": "a"})).await;
    assert_eq!(add_to(&site, "q", "c").await.status, 201);
}

/// api 2.queues.default-lease, 2.queues.max-attempts
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gives_its_jobs_the_lease_and_the_attempts_that_they_do_not_name() {
    let site = Site::start().await;
    set(&site, "q", json!({"default_lease_ms": 5000, "max_attempts": 7})).await;
    site.add(json!({"work_id": "plain", "queue": "q"})).await;
    site.add(json!({"work_id": "own", "queue": "q", "lease_ms": 9000, "max_attempts": 2})).await;
    let work = claim_from(&site, "q", 2).await;
    assert_eq!((&work[0]["lease_ms"], &work[0]["max_attempts"]), (&json!(5000), &json!(7)));
    assert_eq!((&work[1]["lease_ms"], &work[1]["max_attempts"]), (&json!(9000), &json!(2)));
}

/// api 2.queues.max-leased
#[tokio::test(flavor = "multi_thread")]
async fn max_leased_bounds_what_is_held_at_a_time() {
    let site = Site::start().await;
    set(&site, "q", json!({"max_leased": 2})).await;
    for work_id in ["a", "b", "c"] {
        add_to(&site, "q", work_id).await;
    }
    let held = claim_from(&site, "q", 9).await;
    assert_eq!(held.len(), 2);
    assert_eq!(claim_from(&site, "q", 9).await, [Value::Null; 0]);
    let waiting = site.claim_soon();
    let (work, _) = tokio::join!(waiting, site.settle("complete", &held[0], json!({})));
    assert_eq!(work["work_id"], "c");
}

/// api 2.queues.rate, 2.queues.rate.empty
#[tokio::test(flavor = "multi_thread")]
async fn rate_per_second_bounds_the_grants_of_a_second_and_answers_empty() {
    let site = Site::start().await;
    set(&site, "q", json!({"rate_per_second": 2})).await;
    for work_id in ["a", "b", "c"] {
        add_to(&site, "q", work_id).await;
    }
    let start = Instant::now();
    assert_eq!(claim_from(&site, "q", 9).await.len(), 2);
    let work = site.claim_soon().await;
    assert_eq!(work["work_id"], "c", "a claim that waits gets it when the second is over");
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    // A window that nothing on this machine outlasts: of one grant, and asked for again at once.
    set(&site, "r", json!({"rate_per_second": 1})).await;
    site.call("/work/add_batch", json!({"items": [{"queue": "r"}, {"queue": "r"}]})).await;
    let asked = Instant::now();
    assert_eq!(claim_from(&site, "r", 9).await.len(), 1);
    let next = site.post("/work/claim", r#"{"node_id":"w","queues":["r"]}"#).await;
    if asked.elapsed() < Duration::from_millis(900) {
        assert_eq!((next.status, &next.json()["status"]), (200, &json!("no_work_available")));
    }
}

/// api 1.repeat.rest.request-id, 1.repeat.rest.header
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_under_the_same_identity_is_done_once() {
    let site = Site::start().await;
    add_to(&site, "q", "a").await;
    let named = r#"{"request_id":"p1"}"#;
    assert_eq!(site.done("/queues/q/purge", named).await["count"], 1);
    add_to(&site, "q", "b").await;
    let again = site.done("/queues/q/purge", named).await;
    assert_eq!((&again["count"], &again["duplicate"]), (&json!(1), &json!(true)), "as it did");
    let other = site.post("/queues/q/pause", named).await;
    other.failed(409, "id_conflict");
    assert_eq!(site.job("b").await["state"], "pending");
    let headers = [("Idempotency-Key", "p2")];
    let purge = async || site.send("POST", "/queues/q/purge", &headers, b"{}").await.json();
    assert_eq!(purge().await["count"], 1);
    add_to(&site, "q", "c").await;
    assert_eq!(purge().await["count"], 1);
    assert_eq!(site.job("c").await["state"], "pending");
}

/// api 1.repeat.rest.put
#[tokio::test(flavor = "multi_thread")]
async fn a_put_under_the_same_request_id_is_done_once() {
    let site = Site::start().await;
    let named = json!({"max_jobs": 5, "request_id": "s1"});
    set(&site, "q", named.clone()).await;
    set(&site, "q", json!({"max_jobs": 6})).await;
    let again = set(&site, "q", named).await;
    assert_eq!((&again["duplicate"], &again["max_jobs"]), (&json!(true), &json!(6)));
    let other = put(&site, "q", json!({"max_jobs": 7, "request_id": "s1"})).await;
    other.failed(409, "id_conflict");
}

/// api 1.repeat.rest.memory
#[test]
fn what_has_no_other_identity_is_remembered_for_five_minutes() {
    assert_eq!(quorate::queue::Limits::default().memory_ms, 300_000);
}
