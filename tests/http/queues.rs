//! Queues: what they are held to, and what is done to them as a whole.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::support::{Reply, Site, read_reply};

/// Makes or changes a queue, which must succeed.
async fn set(site: &Site, queue: &str, settings: &str) -> Value {
    let reply = site.put(&format!("/queues/{queue}"), settings).await;
    assert!(reply.status < 300, "{queue} {settings}: {reply:?}");
    reply.json()
}

async fn queue(site: &Site, queue: &str) -> Value {
    site.get(&format!("/queues/{queue}")).await.json()
}

async fn add(site: &Site, work_id: &str, queue: &str) {
    site.done("/work/add", &format!(r#"{{"work_id":"{work_id}","queue":"{queue}"}}"#)).await;
}

async fn claim(site: &Site, worker: &str, queue: &str) -> Value {
    site.done("/work/claim", &format!(r#"{{"node_id":"{worker}","queues":["{queue}"]}}"#)).await
}

/// Starts a long poll on a queue.
async fn poll(site: &Site, worker: &str, queue: &str) -> TcpStream {
    let body = format!(r#"{{"node_id":"{worker}","queues":["{queue}"],"wait_ms":30000}}"#);
    let head = format!(
        "POST /work/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = site.connect().await;
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

/// Whether a long poll goes on for a while.
async fn stays(waiting: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(150), read_reply(waiting)).await.is_err()
}

async fn answer(waiting: &mut TcpStream) -> Value {
    read_reply(waiting).await.unwrap().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_exists_once_named_by_an_add_or_a_put() {
    let site = Site::start().await;
    assert_eq!(site.get("/queues/q").await.failed(404, "not_found")["queue"], "q");
    assert_eq!(site.get("/queues").await.json()["queues"], json!([]));
    let made = site.put("/queues/q", "{}").await;
    assert_eq!((made.status, &made.json()["status"]), (201, &json!("created")));
    let again = site.put("/queues/q", "").await;
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("updated")));
    assert_eq!(again.json()["rev"], made.json()["rev"], "nothing changed");
    let empty = json!({
        "queue": "q", "paused": false, "max_jobs": null, "max_bytes": null,
        "default_lease_ms": null, "max_attempts": null, "max_leased": null,
        "rate_per_second": null, "jobs": 0, "bytes": 0, "leased": 0, "by_status": {},
        "oldest_pending_ms": null, "rev": made.json()["rev"],
    });
    assert_eq!(queue(&site, "q").await, empty);
    site.done("/work/add", r#"{"queue":"r","payload":[1, 2]}"#).await;
    claim(&site, "w", "r").await;
    site.done("/work/add", r#"{"queue":"r","payload":[1, 2]}"#).await;
    let busy = queue(&site, "r").await;
    let counts = (&busy["jobs"], &busy["bytes"], &busy["leased"], &busy["by_status"]);
    let by_status = json!({"pending": 1, "claimed": 1});
    assert_eq!(counts, (&json!(2), &json!(12), &json!(1), &by_status));
    assert!(busy["oldest_pending_ms"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_changes_what_it_names_and_null_clears() {
    let site = Site::start().await;
    let first = r#"{"paused":true,"max_jobs":10,"default_lease_ms":"1m","rate_per_second":5}"#;
    let first = set(&site, "q", first).await;
    assert_eq!((&first["paused"], &first["max_jobs"]), (&json!(true), &json!(10)));
    assert_eq!(
        (&first["default_lease_ms"], &first["rate_per_second"]),
        (&json!(60_000), &json!(5))
    );
    let second = set(&site, "q", r#"{"max_jobs":null,"max_leased":3}"#).await;
    assert_eq!((&second["max_jobs"], &second["max_leased"]), (&Value::Null, &json!(3)));
    assert_eq!((&second["paused"], &second["rate_per_second"]), (&json!(true), &json!(5)));
    assert!(second["rev"].as_u64() > first["rev"].as_u64());
    let third = set(&site, "q", r#"{"paused":null}"#).await;
    assert_eq!((&third["paused"], &third["max_leased"]), (&json!(false), &json!(3)));
    assert_eq!(site.get("/work/status").await.json()["queues"]["q"]["paused"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_setting_is_named_and_makes_no_queue() {
    let site = Site::start().await;
    for (body, field) in [
        (r#"{"max_jobs":0}"#, "max_jobs"),
        (r#"{"max_jobs":9007199254740992}"#, "max_jobs"),
        (r#"{"default_lease_ms":"1ms"}"#, "default_lease_ms"),
        (r#"{"max_attempts":1001}"#, "max_attempts"),
        (r#"{"rate_per_second":"5"}"#, "rate_per_second"),
        (r#"{"paused":"yes"}"#, "paused"),
        (r#"{"jobs":1}"#, "jobs"),
    ] {
        let refused = site.put("/queues/q", body).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], field, "{body}");
    }
    let name = site.put("/queues/a%2Fb", "{}").await;
    assert_eq!(name.failed(400, "invalid_argument")["field"], "queue");
    site.get("/queues/q").await.failed(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_by_name_page_by_page() {
    let site = Site::start().await;
    for name in ["c", "a", "b"] {
        set(&site, name, "{}").await;
    }
    let names = |page: &Value| {
        let queues = page["queues"].as_array().unwrap().iter();
        queues.map(|queue| queue["queue"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = site.get("/queues").await.json();
    assert_eq!((names(&all), &all["count"]), (vec!["a".into(), "b".into(), "c".into()], &json!(3)));
    assert_eq!(all["next"], Value::Null);
    let first = site.get("/queues?limit=2").await.json();
    assert_eq!((names(&first), &first["next"]), (vec!["a".into(), "b".into()], &json!("b")));
    let rest = site.get("/queues?limit=2&after=b").await.json();
    assert_eq!((names(&rest), &rest["next"]), (vec!["c".to_owned()], &Value::Null));
    let bad = site.get("/queues?limit=0").await;
    assert_eq!(bad.failed(400, "invalid_argument")["field"], "limit");
    let stale = site.get("/queues/a?consistency=stale").await;
    assert_eq!((stale.status, &*stale.headers["x-queue-consistency"]), (200, "stale"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_repeated_answers_as_the_first_did() {
    let site = Site::start().await;
    let send = async |verb: &str, path: &str, key: &str, body: &str| -> Reply {
        site.send(verb, path, &[("Idempotency-Key", key)], body.as_bytes()).await
    };
    let made = send("PUT", "/queues/q", "r1", r#"{"max_jobs":2}"#).await;
    assert_eq!((made.status, made.json().get("duplicate")), (201, None));
    add(&site, "j", "q").await;
    set(&site, "q", r#"{"max_jobs":9}"#).await;
    let again = send("PUT", "/queues/q", "r1", r#"{"max_jobs":2}"#).await;
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("created")));
    assert_eq!(again.json()["duplicate"], true);
    assert_eq!(again.json()["max_jobs"], 9, "it is shown as it is now");
    let body = r#"{"request_id":"r2"}"#;
    assert_eq!(send("POST", "/queues/q/pause", "r2", body).await.json()["status"], "paused");
    site.done("/queues/q/resume", "").await;
    let again = site.done("/queues/q/pause", body).await;
    assert_eq!((&again["status"], &again["duplicate"]), (&json!("paused"), &json!(true)));
    assert_eq!(queue(&site, "q").await["paused"], false);
    let purged = send("POST", "/queues/q/purge", "r3", "").await.json();
    assert_eq!((&purged["status"], &purged["count"]), (&json!("purged"), &json!(1)));
    add(&site, "k", "q").await;
    let again = send("POST", "/queues/q/purge", "r3", "").await.json();
    assert_eq!((&again["count"], &again["duplicate"]), (&json!(1), &json!(true)));
    assert_eq!(site.state_of("k").await, "pending");
    let other = send("POST", "/queues/q/resume", "r3", "").await;
    assert_eq!(other.failed(409, "id_conflict")["field"], "request_id");
    let two = send("POST", "/queues/q/purge", "r4", r#"{"request_id":"r5"}"#).await;
    assert_eq!(two.failed(400, "invalid_argument")["field"], "request_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_on_no_queue_is_not_found() {
    let site = Site::start().await;
    for (verb, path) in [
        ("POST", "/queues/no/pause"),
        ("POST", "/queues/no/resume"),
        ("POST", "/queues/no/purge"),
        ("DELETE", "/queues/no"),
    ] {
        let refused = site.send(verb, path, &[], b"").await;
        assert_eq!(refused.failed(404, "not_found")["queue"], "no", "{verb} {path}");
    }
    let unknown = site.post("/queues/no/pause", r#"{"for":"1h"}"#).await;
    assert_eq!(unknown.failed(400, "invalid_argument")["field"], "for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_to_a_full_queue_is_refused_until_there_is_room() {
    let site = Site::start().await;
    set(&site, "q", r#"{"max_jobs":1,"max_bytes":10}"#).await;
    add(&site, "a", "q").await;
    let refused = site.post("/work/add", r#"{"work_id":"b","queue":"q"}"#).await;
    assert_eq!(refused.failed(429, "queue_full")["retry_after_ms"], 1000);
    assert_eq!((&*refused.headers["retry-after"], &refused.json()["applied"]), ("1", &json!("no")));
    add(&site, "a", "q").await;
    site.done("/work/cancel", r#"{"work_id":"a"}"#).await;
    add(&site, "b", "q").await;
    set(&site, "q", r#"{"max_jobs":null}"#).await;
    let long = r#"{"queue":"q","payload":"12345678"}"#;
    site.post("/work/add", long).await.failed(429, "queue_full");
    set(&site, "q", r#"{"max_bytes":12}"#).await;
    site.done("/work/add", long).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queues_defaults_are_those_of_jobs_that_name_none() {
    let site = Site::start().await;
    set(&site, "q", r#"{"default_lease_ms":"2m","max_attempts":7}"#).await;
    add(&site, "a", "q").await;
    let named = r#"{"work_id":"b","queue":"q","lease_ms":5000,"max_attempts":1}"#;
    site.done("/work/add", named).await;
    let first = claim(&site, "w", "q").await;
    assert_eq!(
        (&first["work"]["lease_ms"], &first["work"]["max_attempts"]),
        (&json!(120_000), &json!(7))
    );
    let second = claim(&site, "w", "q").await;
    assert_eq!(
        (&second["work"]["lease_ms"], &second["work"]["max_attempts"]),
        (&json!(5_000), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_on_a_paused_queue_waits_until_it_is_resumed() {
    let site = Site::start().await;
    set(&site, "q", r#"{"paused":true}"#).await;
    let mut waiting = poll(&site, "w", "q").await;
    add(&site, "j", "q").await;
    assert!(stays(&mut waiting).await, "its queue is paused");
    assert_eq!(claim(&site, "v", "q").await["status"], "no_work_available");
    let resumed = site.done("/queues/q/resume", "").await;
    assert_eq!((&resumed["status"], &resumed["queue"]), (&json!("resumed"), &json!("q")));
    assert_eq!(answer(&mut waiting).await["work"]["work_id"], "j");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_keeps_leases_and_stops_claims_of_every_kind() {
    let site = Site::start().await;
    add(&site, "a", "q").await;
    add(&site, "b", "q").await;
    let token = claim(&site, "w", "q").await["work"]["token"].clone();
    assert_eq!(site.done("/queues/q/pause", "{}").await["status"], "paused");
    for body in [r#"{"node_id":"v"}"#, r#"{"node_id":"v","queues":["q"]}"#] {
        assert_eq!(site.done("/work/claim", body).await["status"], "no_work_available");
    }
    site.done("/work/complete", &format!(r#"{{"work_id":"a","token":{token}}}"#)).await;
    assert_eq!(site.get("/work/status").await.json()["queues"]["q"]["paused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_on_a_queue_with_all_its_leases_out_waits_for_one_to_end() {
    let site = Site::start().await;
    set(&site, "q", r#"{"max_leased":1}"#).await;
    for work_id in ["a", "b", "c"] {
        add(&site, work_id, "q").await;
    }
    let token = claim(&site, "w", "q").await["work"]["token"].clone();
    let mut waiting = poll(&site, "v", "q").await;
    assert!(stays(&mut waiting).await, "the one lease is out");
    site.done("/work/complete", &format!(r#"{{"work_id":"a","token":{token}}}"#)).await;
    let second = answer(&mut waiting).await;
    assert_eq!(second["work"]["work_id"], "b");
    // That lease runs out: its job goes back to its place, and the next waiter gets it.
    let token = &second["work"]["token"];
    site.done("/work/release", &format!(r#"{{"work_id":"b","token":{token}}}"#)).await;
    let short = r#"{"node_id":"v","queues":["q"],"lease_ms":100}"#;
    assert_eq!(site.done("/work/claim", short).await["work"]["work_id"], "b");
    let mut waiting = poll(&site, "u", "q").await;
    assert_eq!(answer(&mut waiting).await["work"]["work_id"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_beyond_a_queues_rate_waits_for_the_second_to_be_over() {
    let site = Site::start().await;
    set(&site, "q", r#"{"rate_per_second":2}"#).await;
    for work_id in ["a", "b", "c"] {
        add(&site, work_id, "q").await;
    }
    let start = Instant::now();
    let many = r#"{"node_id":"w","queues":["q"],"max":3}"#;
    assert_eq!(site.done("/work/claim_batch", many).await["count"], 2);
    let mut waiting = poll(&site, "v", "q").await;
    assert_eq!(answer(&mut waiting).await["work"]["work_id"], "c");
    assert!(start.elapsed() >= Duration::from_millis(950), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_ends_every_unfinished_job_and_its_leases_die() {
    let site = Site::start().await;
    for work_id in ["a", "b", "c"] {
        add(&site, work_id, "q").await;
    }
    add(&site, "other", "r").await;
    let token = claim(&site, "w", "q").await["work"]["token"].clone();
    let waiting = site.get("/work/get/b?wait_ms=30s");
    let (waited, purged) = tokio::join!(waiting, site.done("/queues/q/purge", ""));
    assert_eq!((&purged["status"], &purged["count"]), (&json!("purged"), &json!(3)));
    assert_eq!(waited.json()["state"], "cancelled");
    let held = format!(r#"{{"work_id":"a","token":{token}}}"#);
    let beat = site.done("/work/heartbeat", &format!(r#"{{"items":[{held}]}}"#)).await;
    assert_eq!(beat["items"][0]["status"], "cancel_requested");
    let dead = site.post("/work/complete", &held).await.failed(409, "stale_token");
    assert_eq!((&dead["state"], &dead["ended_as"]), (&json!("cancelled"), &json!("cancelled")));
    assert_eq!(claim(&site, "w", "q").await["status"], "no_work_available");
    let empty = queue(&site, "q").await;
    assert_eq!(
        (&empty["jobs"], &empty["leased"], &empty["bytes"]),
        (&json!(0), &json!(0), &json!(0))
    );
    assert_eq!(empty["by_status"], json!({"cancelled": 3}));
    assert_eq!(site.state_of("other").await, "pending");
    add(&site, "later", "q").await;
    assert_eq!(claim(&site, "w", "q").await["work"]["work_id"], "later");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_queue_without_unfinished_jobs_is_deleted() {
    let site = Site::start().await;
    set(&site, "q", r#"{"max_leased":5}"#).await;
    add(&site, "j", "q").await;
    let delete = async || site.send("DELETE", "/queues/q", &[], b"").await;
    let refused = delete().await.failed(409, "wrong_state");
    assert_eq!((&refused["queue"], &refused["unfinished"]), (&json!("q"), &json!(1)));
    site.done("/work/cancel", r#"{"work_id":"j"}"#).await;
    let deleted = delete().await;
    assert_eq!((deleted.status, &deleted.json()["status"]), (200, &json!("deleted")));
    site.get("/queues/q").await.failed(404, "not_found");
    delete().await.failed(404, "not_found");
    assert_eq!(site.state_of("j").await, "cancelled", "what has finished stays");
    add(&site, "k", "q").await;
    let anew = queue(&site, "q").await;
    assert_eq!((&anew["max_leased"], &anew["jobs"]), (&Value::Null, &json!(1)));
}

// Situation: a queue is made and deleted, and the first PUT comes again. Claim: it is a duplicate, and
// shows a queue that nothing was said about; it makes none.
#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_is_repeated_after_a_delete_makes_no_queue() {
    let site = Site::start().await;
    let body = r#"{"max_jobs":2,"request_id":"r"}"#;
    set(&site, "q", body).await;
    assert_eq!(site.send("DELETE", "/queues/q", &[], b"").await.status, 200);
    let again = set(&site, "q", body).await;
    assert_eq!((&again["duplicate"], &again["max_jobs"]), (&json!(true), &Value::Null));
    site.get("/queues/q").await.failed(404, "not_found");
}
