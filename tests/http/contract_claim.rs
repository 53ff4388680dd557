//! The contract of `POST /work/claim` and `/work/claim_batch`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{PATIENCE, Site};

/// A claim of `w1` with these fields beside; the whole answer.
async fn claim_with(site: &Site, extra: Value) -> Value {
    let mut body = json!({"node_id": "w1"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    site.call("/work/claim", body).await
}

/// api 2.claim.node-id, 2.claim.worker-id
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_names_its_worker_under_either_name() {
    let site = Site::start().await;
    site.add(json!({"work_id": "a"})).await;
    site.add(json!({"work_id": "b"})).await;
    site.refuses("/work/claim", json!({}), "node_id").await;
    site.refuses("/work/claim_batch", json!({"max": 1}), "node_id").await;
    for (name, work_id) in [("node_id", "a"), ("worker_id", "b")] {
        let mut body = json!({});
        body[name] = "w7".into();
        assert_eq!(site.call("/work/claim", body).await["work"]["work_id"], work_id);
        assert_eq!(site.job(work_id).await["node_id"], "w7");
    }
    site.refuses("/work/claim", json!({"node_id": "a", "worker_id": "a"}), "worker_id").await;
}

/// api 2.claim.session, 2.claim.labels
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_takes_a_session_and_labels() {
    let site = Site::start().await;
    site.add(json!({})).await;
    let claim = claim_with(&site, json!({"session": 7, "labels": {"zone": "a"}})).await;
    assert_eq!(claim["status"], "claimed");
    site.refuses("/work/claim", json!({"node_id": "w", "session": "x"}), "session").await;
    site.refuses("/work/claim", json!({"node_id": "w", "labels": {"a": 1}}), "labels").await;
}

/// api 1.error.409.stale-session, 2.claim.session.later, 2.claim.session.stale
#[tokio::test(flavor = "multi_thread")]
async fn a_later_session_of_a_worker_ends_the_earlier_one() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    let earlier = claim_with(&site, json!({"session": 7})).await;
    let token = &earlier["work"]["token"];
    assert_eq!(claim_with(&site, json!({"session": 8})).await["work"]["work_id"], "j");
    let beat = json!({"work_id": "j", "token": token});
    assert_eq!(site.call("/work/heartbeat", beat).await["items"][0]["status"], "lost");
    let attempts = &site.job("j").await["attempts"];
    assert_eq!(attempts[0]["end"], "worker_down", "{attempts}");
    let body = json!({"node_id": "w1", "session": 7}).to_string();
    let stale = site.post("/work/claim", &body).await.failed(409, "stale_session");
    assert_eq!((&stale["current_session"], &stale["down"]), (&json!(8), &json!(false)));
    let shown = site.get("/workers/w1").await.json();
    assert_eq!((&shown["session"], &shown["held"]), (&json!(8), &json!(1)));
}

/// api 2.claim.queues.order
#[tokio::test(flavor = "multi_thread")]
async fn listed_queues_are_served_in_their_order_whatever_the_priorities() {
    let site = Site::start().await;
    for (work_id, queue, priority) in [("1", "a", 100), ("2", "b", 0), ("3", "c", 100)] {
        site.add(json!({"work_id": work_id, "queue": queue, "priority": priority})).await;
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(
            claim_with(&site, json!({"queues": ["b", "a"]})).await["work"]["work_id"].clone(),
        );
    }
    assert_eq!(order, [json!("2"), json!("1"), Value::Null]);
}

/// api 2.claim.queues.all
#[tokio::test(flavor = "multi_thread")]
async fn without_queues_the_highest_priority_of_all_goes_first_and_then_the_oldest() {
    let site = Site::start().await;
    for (work_id, queue, priority) in
        [("1", "a", 50), ("2", "b", 50), ("3", "a", 60), ("4", "c", 9)]
    {
        site.add(json!({"work_id": work_id, "queue": queue, "priority": priority})).await;
    }
    for expected in ["3", "1", "2", "4"] {
        assert_eq!(site.claim().await["work_id"], expected);
    }
}

/// api 2.claim.work-types, 2.claim.capabilities, 2.claim.work-types.all
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_takes_the_kinds_it_names_or_all() {
    let site = Site::start().await;
    for kind in ["a", "b", "c", "d"] {
        site.add(json!({"work_id": kind, "work_type": kind})).await;
    }
    assert_eq!(claim_with(&site, json!({"work_types": ["x"]})).await["work"], Value::Null);
    let named = claim_with(&site, json!({"work_types": ["d", "c"]})).await;
    assert_eq!(named["work"]["work_id"], "c", "the older of the two");
    let other_name = claim_with(&site, json!({"capabilities": ["d"]})).await;
    assert_eq!(other_name["work"]["work_id"], "d");
    assert_eq!(site.claim().await["work_id"], "a");
}

/// api 2.claim.wait.limit, 2.claim.wait.ends
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_waits_as_long_as_it_says_and_at_most_a_minute() {
    let site = Site::start().await;
    site.refuses("/work/claim", json!({"node_id": "w", "wait_ms": 60_001}), "wait_ms").await;
    let start = Instant::now();
    let claim = claim_with(&site, json!({"wait_ms": 200})).await;
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    assert_eq!((&claim["status"], &claim["work"]), (&json!("no_work_available"), &Value::Null));
}

// Situation: three workers wait. Claim: each added job is granted to one of them, and none of them
// is answered without one.
/// api 2.claim.wait.one-wakes-one
#[tokio::test(flavor = "multi_thread")]
async fn each_of_three_jobs_ends_one_of_three_long_polls() {
    let site = Site::start().await;
    let poll = async |worker: &str| {
        let body = json!({"node_id": worker, "wait_ms": "30s"});
        site.call("/work/claim", body).await["work"]["work_id"].clone()
    };
    let adds = async {
        for work_id in ["a", "b", "c"] {
            site.add(json!({"work_id": work_id})).await;
        }
    };
    let all = async { tokio::join!(poll("w1"), poll("w2"), poll("w3"), adds) };
    let (one, two, three, ()) = timeout(PATIENCE, all).await.expect("each gets one");
    let mut got = [one, two, three].map(|work_id| work_id.as_str().unwrap().to_owned());
    got.sort();
    assert_eq!(got, ["a", "b", "c"]);
}

/// api 2.claim.query, 2.claim.query.lists
#[tokio::test(flavor = "multi_thread")]
async fn query_parameters_say_what_the_body_would() {
    let site = Site::start().await;
    for (work_id, queue, kind) in
        [("1", "a", "x"), ("2", "b", "y"), ("3", "c", "z"), ("4", "b", "z")]
    {
        site.add(json!({"work_id": work_id, "queue": queue, "work_type": kind})).await;
    }
    let claim =
        async |query: &str| site.done(&format!("/work/claim?{query}"), "").await["work"].clone();
    let first = claim("worker_id=w&queues=b,a&lease_ms=90s&wait_ms=0&session=1").await;
    assert_eq!((&first["work_id"], &first["lease_ms"]), (&json!("2"), &json!(90_000)));
    let second = claim("node_id=w&queues=c&queues=b&work_types=z&timeout_seconds=9").await;
    assert_eq!((&second["work_id"], &second["lease_ms"]), (&json!("3"), &json!(9000)));
    let rest = site.done("/work/claim_batch?node_id=w&max_items=5&capabilities=x,z", "").await;
    assert_eq!(rest["count"], 2);
    let both = site.post("/work/claim?node_id=w", r#"{"node_id":"w"}"#).await;
    assert_eq!(both.failed(400, "invalid_argument")["field"], "node_id");
}

/// api 2.claim.answer, 1.token.is-rev
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_claim_has_the_contracts_fields() {
    let site = Site::start().await;
    let job = json!({"work_id": "j", "work_type": "t", "payload": {"a": 1}, "tags": {"k": "v"}});
    site.add(job).await;
    let mut claim = claim_with(&site, json!({})).await;
    let work = claim["work"].as_object_mut().unwrap();
    let left = work.remove("lease_expires_in_ms").unwrap().as_u64().unwrap();
    let added_at = work.remove("added_at_ms").unwrap();
    assert!(left <= 30_000 && added_at.is_u64(), "{left} {added_at}");
    let expected = json!({"work_id": "j", "queue": "default", "work_type": "t", "priority": 50,
        "payload": {"a": 1}, "attempt": 1, "max_attempts": 3, "token": 2, "lease_ms": 30_000,
        "tags": {"k": "v"}});
    assert_eq!(claim, json!({"status": "claimed", "work": expected, "rev": 2}));
}

/// api 2.claim.answer.empty
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_work_says_so() {
    let site = Site::start().await;
    let nothing = json!({"status": "no_work_available", "work": null, "rev": 0});
    assert_eq!(claim_with(&site, json!({})).await, nothing);
    let batch = site.call("/work/claim_batch", json!({"node_id": "w"})).await;
    let nothing = json!({"status": "no_work_available", "count": 0, "items": [], "rev": 0});
    assert_eq!(batch, nothing);
}

/// api 2.claim-batch.max, 2.claim-batch.max.default
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_claims_gets_ten_jobs_unless_it_asks_for_up_to_a_thousand() {
    let site = Site::start().await;
    site.call("/work/add_batch", json!({"items": vec![json!({}); 30]})).await;
    for max in [0, 1001] {
        for name in ["max", "max_items"] {
            let mut body = json!({"node_id": "w"});
            body[name] = max.into();
            site.refuses("/work/claim_batch", body, "max").await;
        }
    }
    for (extra, count) in [(json!({}), 10), (json!({"max": 3}), 3), (json!({"max_items": 2}), 2)] {
        let mut body = json!({"node_id": "w"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(site.call("/work/claim_batch", body).await["count"], count);
    }
    let rest = site.call("/work/claim_batch", json!({"node_id": "w", "max": 1000})).await;
    assert_eq!(rest["count"], 15);
}

/// api 2.claim-batch.tokens
#[tokio::test(flavor = "multi_thread")]
async fn each_grant_of_a_batch_has_a_token_of_its_own_in_the_order_of_the_items() {
    let site = Site::start().await;
    let added = site.call("/work/add_batch", json!({"items": [{}, {}, {}]})).await;
    let claim = site.call("/work/claim_batch", json!({"node_id": "w"})).await;
    let items = claim["items"].as_array().unwrap();
    let tokens: Vec<_> = items.iter().map(|work| work["token"].as_u64().unwrap()).collect();
    assert_eq!(tokens, [4, 5, 6]);
    let ids: Vec<_> = items.iter().map(|work| work["work_id"].clone()).collect();
    assert_eq!(json!(ids), added["work_ids"]);
    assert_eq!(claim["rev"], 6);
}

/// api 1.repeat.claim, 1.repeat.claim.lost
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_claim_gets_the_same_jobs_and_is_told_what_is_no_longer_held() {
    let site = Site::start().await;
    site.call("/work/add_batch", json!({"items": [{"work_id": "a"}, {"work_id": "b"}, {}]})).await;
    let ask = json!({"node_id": "w", "request_id": "r", "max": 2});
    let first = site.call("/work/claim_batch", ask.clone()).await;
    site.settle("complete", &first["items"][0], json!({})).await;
    let again = site.call("/work/claim_batch", ask).await;
    assert_eq!(again["count"], 2, "nothing new");
    let token = &first["items"][0]["token"];
    let lost = json!({"work_id": "a", "token": token, "lost": true, "state": "completed"});
    assert_eq!(again["items"][0], lost);
    let left = |answer: &Value| answer["items"][1]["lease_expires_in_ms"].as_u64().unwrap();
    assert!(left(&again) <= left(&first), "what remains of the lease");
    let mut same = again["items"][1].clone();
    same["lease_expires_in_ms"] = first["items"][1]["lease_expires_in_ms"].clone();
    assert_eq!(same, first["items"][1]);
}

/// api 1.repeat.claim.scope, 1.repeat.claim.conflict, 1.repeat.claim.empty
#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_its_workers_own_and_stands_for_the_same_arguments() {
    let site = Site::start().await;
    let named = json!({"request_id": "r"});
    assert_eq!(claim_with(&site, named.clone()).await["work"], Value::Null);
    site.call("/work/add_batch", json!({"items": [{"work_id": "a"}, {"work_id": "b"}]})).await;
    let mine = claim_with(&site, named.clone()).await["work"].clone();
    assert_eq!(mine["work_id"], "a", "the empty answer was not remembered");
    assert_eq!(claim_with(&site, named).await["work"]["token"], mine["token"]);
    let theirs = json!({"node_id": "w2", "request_id": "r"});
    assert_eq!(site.call("/work/claim", theirs).await["work"]["work_id"], "b");
    for other in [json!({"lease_ms": 5000}), json!({"queues": ["q"]}), json!({"work_types": ["t"]})]
    {
        let mut body = json!({"node_id": "w1", "request_id": "r"});
        body.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        site.post("/work/claim", &body.to_string()).await.failed(409, "id_conflict");
    }
}

/// api 1.repeat.claim.header
#[tokio::test(flavor = "multi_thread")]
async fn the_idempotency_key_of_a_claim_is_its_request_id() {
    let site = Site::start().await;
    site.call("/work/add_batch", json!({"items": [{}, {}]})).await;
    let headers = [("Idempotency-Key", "k")];
    let body = br#"{"node_id":"w1"}"#;
    let first = site.send("POST", "/work/claim", &headers, body).await.json();
    let again = site.send("POST", "/work/claim", &headers, body).await.json();
    assert_eq!(first["work"]["token"], again["work"]["token"]);
}
