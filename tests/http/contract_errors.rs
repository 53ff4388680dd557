//! The contract of the failures: their five fields, and each row of the table.

use serde_json::{Value, json};

use crate::support::{Reply, Site};

/// A call that fails in the way that the row names.
async fn failures(site: &Site) -> Vec<(u16, &'static str, Reply)> {
    site.add(json!({"work_id": "j"})).await;
    let work = site.claim().await;
    site.settle("complete", &work, json!({})).await;
    let post = async |path: &str, body: Value| site.post(path, &body.to_string()).await;
    let too_large = json!({"payload": "x".repeat(1 << 20)});
    vec![
        (400, "invalid_json", site.post("/work/add", "{").await),
        (400, "invalid_argument", post("/work/add", json!({"priority": 101})).await),
        (403, "forbidden", site.send("GET", "/health", &[("Host", "evil.example")], b"").await),
        (404, "not_found", site.get("/work/get/no").await),
        (404, "not_found", site.get("/nowhere").await),
        (405, "method_not_allowed", site.get("/work/add").await),
        (409, "stale_token", post("/work/fail", json!({"work_id": "j", "token": 1})).await),
        (409, "wrong_state", post("/work/cancel", json!({"work_id": "j"})).await),
        (409, "id_conflict", post("/work/add", json!({"work_id": "j", "payload": 1})).await),
        (
            409,
            "dependency_cycle",
            post("/work/add", json!({"work_id": "c", "depends_on": ["c"]})).await,
        ),
        (413, "payload_too_large", post("/work/add", too_large).await),
    ]
}

/// api 1.error.shape, 1.error.applied.no
#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_the_five_fields_and_says_that_nothing_was_applied() {
    let site = Site::start().await;
    for (status, code, reply) in failures(&site).await {
        reply.failed(status, code);
        let error = reply.json();
        let mut fields: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["applied", "code", "details", "error", "retryable"]);
        assert_eq!((&error["retryable"], &error["applied"]), (&json!(false), &json!("no")));
        assert!(error["details"].is_object() && error["error"].as_str().unwrap().ends_with('.'));
    }
}

/// api 1.error.400.missing, 1.error.400.type, 1.error.400.range, 1.error.400.unknown, 1.error.field
#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_missing_mistyped_out_of_range_or_unknown_is_named() {
    let site = Site::start().await;
    for (path, body, field) in [
        ("/work/cancel", json!({}), "work_id"),
        ("/work/claim", json!({}), "node_id"),
        ("/work/add_batch", json!({}), "items"),
        ("/work/add", json!({"queue": 5}), "queue"),
        ("/work/fail", json!({"work_id": "j", "token": "1"}), "token"),
        ("/work/complete", json!({"work_id": "j", "token": 1, "then": {}}), "then"),
        ("/work/add", json!({"max_attempts": 0}), "max_attempts"),
        ("/work/claim_batch", json!({"node_id": "w", "max": 1001}), "max"),
        ("/work/release", json!({"work_id": "j", "token": 1, "delay_ms": -1}), "delay_ms"),
    ] {
        site.refuses(path, body, field).await;
    }
    for path in [
        "add_batch",
        "claim",
        "claim_batch",
        "start",
        "heartbeat",
        "complete",
        "complete_batch",
        "fail",
        "release",
        "cancel",
    ] {
        let body = json!({"node_id": "w", "work_id": "j", "token": 1, "items": [], "odd": 1});
        let taken: &[&str] = match path {
            "add_batch" | "complete_batch" => &["items", "odd"],
            "claim" | "claim_batch" => &["node_id", "odd"],
            "heartbeat" => &["node_id", "items", "odd"],
            "cancel" => &["work_id", "odd"],
            _ => &["work_id", "token", "odd"],
        };
        let body: Value =
            taken.iter().map(|name| ((*name).to_owned(), body[*name].clone())).collect();
        site.refuses(&format!("/work/{path}"), body, "odd").await;
    }
}

/// api 1.error.400.query
#[tokio::test(flavor = "multi_thread")]
async fn a_query_parameter_that_a_call_does_not_take_is_named() {
    let site = Site::start().await;
    for (path, field) in [
        ("/work/add?priority=90", "priority"),
        ("/work/add_batch?atomic=false&x=1", "atomic"),
        ("/work/cancel?work_id=j", "work_id"),
        ("/work/start?token=1", "token"),
        ("/work/complete?x", "x"),
        ("/work/claim?node_id=w&x=1", "x"),
        ("/work/retry?work_id=j", "work_id"),
        ("/queues/q/purge?x=1", "x"),
        ("/workers/w/drain?x=1", "x"),
        ("/admin/snapshot?x=1", "x"),
    ] {
        site.refuses(path, json!({}), field).await;
    }
    let reads =
        ["/work/get/j", "/work/status", "/work/list", "/work/history", "/queues", "/workers"];
    let of_the_node = ["/health", "/ready", "/status", "/election/status", "/lease/status"];
    let documents = ["/metrics", "/openapi.json", "/admin/backup"];
    for path in reads.iter().chain(&of_the_node).chain(&documents) {
        let refused = site.get(&format!("{path}?x=1")).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], "x", "{path}");
    }
    for path in ["/work/status", "/work/for-node/w", "/queues/q", "/workers/w"] {
        let refused = site.get(&format!("{path}?wait_ms=1")).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], "wait_ms", "{path}");
    }
    assert_eq!(site.post("/work/add?", "{}").await.status, 201);
    assert_eq!(site.get("/work/status").await.json()["total_items"], 1);
}

/// api 1.error.404.job, 1.error.404.path, 1.error.405
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_404_and_the_wrong_verb_405_with_the_right_ones() {
    let site = Site::start().await;
    assert_eq!(site.get("/work/get/no").await.failed(404, "not_found")["work_id"], "no");
    assert_eq!(site.get("/nowhere").await.failed(404, "not_found")["path"], "/nowhere");
    for (method, path, allowed) in
        [("GET", "/work/add", "POST"), ("DELETE", "/work/status", "GET,HEAD")]
    {
        let wrong = site.send(method, path, &[], b"").await;
        wrong.failed(405, "method_not_allowed");
        assert_eq!(wrong.headers["allow"], allowed);
    }
}

/// api 1.error.409.stale-token
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_token_is_told_who_holds_the_job_or_that_nobody_does() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    let stale = json!({"work_id": "j", "token": 77}).to_string();
    let nobody = site.post("/work/start", &stale).await.failed(409, "stale_token");
    assert_eq!((&nobody["current_token"], &nobody["holder"]), (&Value::Null, &Value::Null));
    assert_eq!(nobody["state"], "pending");
    let work = site.claim().await;
    let held = site.post("/work/start", &stale).await.failed(409, "stale_token");
    assert_eq!((&held["current_token"], &held["holder"]), (&work["token"], &json!("w1")));
    assert_eq!(held["state"], "claimed");
}

/// api 1.error.413.payload, 1.error.413.result, 1.error.413.error
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_a_result_and_an_error_each_have_their_bound() {
    let site = Site::start().await;
    let text = |bytes: usize| "x".repeat(bytes);
    // A JSON string has two quotes; an error is bounded without them.
    site.add(json!({"work_id": "j", "payload": text((1 << 20) - 2)})).await;
    let work = site.claim().await;
    let of = |extra: Value| {
        let mut body = json!({"work_id": "j", "token": work["token"]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    for (path, body, field, bytes_max) in [
        ("/work/add", json!({"payload": text((1 << 20) - 1)}), "payload", 1 << 20),
        ("/work/complete", of(json!({"result": text((256 << 10) - 1)})), "result", 256 << 10),
        ("/work/fail", of(json!({"error": text((16 << 10) + 1)})), "error", 16 << 10),
    ] {
        let refused = site.post(path, &body.to_string()).await;
        let details = refused.failed(413, "payload_too_large");
        assert_eq!((&details["field"], &details["bytes_max"]), (&json!(field), &json!(bytes_max)));
    }
    let error = json!({"error": text(16 << 10), "retry_in_ms": 0});
    assert_eq!(site.settle("fail", &work, error).await["status"], "retrying");
    let result = json!({"result": text((256 << 10) - 2)});
    let work = site.claim_soon().await;
    assert_eq!(site.settle("complete", &work, result).await["status"], "completed");
}
