//! Each call: what it answers, and what its repeat answers.

use serde_json::{Value, json};

use crate::support::Site;

/// Adds a job and claims it; returns its token.
async fn claimed(site: &Site, work_id: &str, extra: &str) -> u64 {
    site.done("/work/add", &format!(r#"{{"work_id":"{work_id}","queue":"{work_id}"{extra}}}"#))
        .await;
    let body = format!(r#"{{"node_id":"w1","queues":["{work_id}"]}}"#);
    let claim = site.done("/work/claim", &body).await;
    assert_eq!(claim["work"]["work_id"], work_id, "{claim}");
    claim["work"]["token"].as_u64().unwrap()
}

fn held(work_id: &str, token: u64) -> String {
    format!(r#"{{"work_id":"{work_id}","token":{token}}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_commands_add_show_and_claim() {
    let site = Site::start().await;
    let added = site
        .post(
            "/work/add",
            r#"{"work_type": "selfplay", "board_type": "hex8", "num_players": 2, "num_games": 1000}"#,
        )
        .await;
    assert_eq!(added.status, 201);
    let added = added.json();
    assert_eq!((&added["status"], &added["state"]), (&json!("added"), &json!("pending")));
    assert_eq!(added["duplicate"], false);
    let status = site.get("/work/status").await.json();
    assert_eq!(status["by_status"], json!({"pending": 1}));
    assert_eq!(status["by_type"], json!({"selfplay": 1}));
    assert_eq!((&status["is_leader"], &status["leader_id"]), (&json!(true), &json!("n1")));
    let claim = site.done("/work/claim", r#"{"node_id": "my-node"}"#).await;
    let payload = json!({"board_type": "hex8", "num_players": 2, "num_games": 1000});
    assert_eq!(claim["work"]["payload"], payload);
    assert_eq!(claim["work"]["token"], claim["rev"]);
    assert_eq!(claim["work"]["attempt"], 1);
    let nothing = site.done("/work/claim", r#"{"node_id": "my-node"}"#).await;
    assert_eq!(nothing["status"], "no_work_available");
    assert_eq!(nothing["work"], Value::Null);
    assert_eq!(nothing["rev"], claim["rev"], "an empty claim raises no revision");
}

/// api 1.error.409.id-conflict, 2.add.status
#[tokio::test(flavor = "multi_thread")]
async fn adding_again_answers_200_and_duplicate() {
    let site = Site::start().await;
    let body = r#"{"work_id":"j1","payload":{ "a" : 1.50 }}"#;
    assert_eq!(site.post("/work/add", body).await.status, 201);
    let again = site.post("/work/add", body).await;
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &json!(true)));
    let other = site.post("/work/add", r#"{"work_id":"j1","payload":{"a":2}}"#).await;
    assert_eq!(other.failed(409, "id_conflict")["work_id"], "j1");
    let kept = site.get("/work/get/j1").await;
    let text = String::from_utf8(kept.body).unwrap();
    assert!(text.contains(r#""payload":{ "a" : 1.50 }"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_a_batch_without_ids_safe_to_repeat() {
    let site = Site::start().await;
    let body = r#"{"items":[{"a":1},{"a":2}],"request_id":"r1"}"#;
    let first = site.done("/work/add_batch", body).await;
    assert_eq!((&first["count"], &first["items"][0]["duplicate"]), (&json!(2), &json!(false)));
    let again = site.done("/work/add_batch", body).await;
    assert_eq!(first["work_ids"], again["work_ids"]);
    assert_eq!(again["items"][1]["duplicate"], true);
    let headers = [("Idempotency-Key", "r1")];
    let by_header =
        site.send("POST", "/work/add_batch", &headers, br#"{"items":[{"a":1},{"a":2}]}"#).await;
    assert_eq!(by_header.json()["work_ids"], first["work_ids"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_nothing_unless_it_says_otherwise() {
    let site = Site::start().await;
    let items = r#""items":[{"work_id":"a"},{"work_id":"b","priority":101},{"work_id":"c"}]"#;
    let refused = site.post("/work/add_batch", &format!("{{{items}}}")).await;
    let details = refused.failed(400, "invalid_argument");
    assert_eq!((&details["index"], &details["field"]), (&json!(1), &json!("items[1].priority")));
    site.get("/work/get/a").await.failed(404, "not_found");
    let each = site.done("/work/add_batch", &format!(r#"{{{items},"atomic":false}}"#)).await;
    assert_eq!((&each["count"], &each["work_ids"]), (&json!(2), &json!(["a", "c"])));
    assert_eq!(each["items"][1]["code"], "invalid_argument");
    assert_eq!(each["items"][2], json!({"work_id": "c", "duplicate": false}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_batch_does_nothing_and_says_at_which_revision() {
    let site = Site::start().await;
    let rev = site.done("/work/add", r#"{"work_id":"j"}"#).await["rev"].clone();
    let added = site.done("/work/add_batch", r#"{"items":[]}"#).await;
    let nothing = json!({"status": "added", "count": 0, "work_ids": [], "items": [], "rev": rev});
    assert_eq!(added, nothing);
    let completed = site.done("/work/complete_batch", r#"{"items":[]}"#).await;
    assert_eq!(completed, json!({"items": [], "rev": rev}));
    let beaten = site.done("/work/heartbeat", r#"{"node_id":"w","items":[]}"#).await;
    assert_eq!(beaten, json!({"items": [], "drain": false, "rev": rev}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_claims_has_a_token_for_each_job() {
    let site = Site::start().await;
    site.done("/work/add_batch", r#"{"items":[{},{},{}]}"#).await;
    let claim = site.done("/work/claim_batch", r#"{"node_id":"w1","max":2}"#).await;
    assert_eq!((&claim["status"], &claim["count"]), (&json!("claimed"), &json!(2)));
    let token = |index: usize| claim["items"][index]["token"].as_u64().unwrap();
    assert_eq!(token(0) + 1, token(1));
    let held = site.get("/work/for-node/w1").await.json();
    assert_eq!((&held["count"], &held["node_id"]), (&json!(2), &json!("w1")));
    assert_eq!(held["work_items"][0]["state"], "claimed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_may_be_a_query_and_is_repeated_under_its_id() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"j1","work_type":"t"}"#).await;
    let path = "/work/claim?node_id=w1&capabilities=t,u&lease_ms=30s&request_id=r1";
    let first = site.done(path, "").await;
    assert_eq!(first["work"]["lease_ms"], 30_000);
    let again = site.done(path, "").await;
    assert_eq!(again["work"]["token"], first["work"]["token"]);
    let other = site.post("/work/claim?node_id=w1&request_id=r1", "").await;
    assert_eq!(other.failed(409, "id_conflict")["field"], "request_id");
    let token = first["work"]["token"].as_u64().unwrap();
    site.done("/work/complete", &held("j1", token)).await;
    let lost = site.done(path, "").await["work"].clone();
    assert_eq!(lost, json!({"work_id": "j1", "token": token, "lost": true, "state": "completed"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_started_kept_and_completed_and_each_repeat_is_a_duplicate() {
    let site = Site::start().await;
    let token = claimed(&site, "j1", "").await;
    let started = site.done("/work/start", &held("j1", token)).await;
    assert_eq!((&started["status"], started.get("duplicate")), (&json!("started"), None));
    assert_eq!(site.done("/work/start", &held("j1", token)).await["duplicate"], true);
    let beat = format!(
        r#"{{"node_id":"w1","items":[{{"work_id":"j1","token":{token},"progress":{{"at":5}}}},{{"work_id":"j1","token":1}}]}}"#
    );
    let beaten = site.done("/work/heartbeat", &beat).await;
    assert_eq!(beaten["items"][0]["status"], "extended");
    assert!(beaten["items"][0]["lease_expires_in_ms"].as_u64().unwrap() > 29_000);
    assert_eq!(beaten["items"][1], json!({"work_id": "j1", "token": 1, "status": "lost"}));
    assert_eq!(beaten["drain"], false);
    let complete = format!(
        r#"{{"work_id":"j1","token":{token},"result":{{"ok": 1}},"then":[{{"work_id":"next"}}]}}"#
    );
    let completed = site.done("/work/complete", &complete).await;
    assert_eq!((&completed["status"], &completed["work_id"]), (&json!("completed"), &json!("j1")));
    assert_eq!(completed["then"], json!([{"work_id": "next", "duplicate": false}]));
    assert_eq!(site.done("/work/complete", &complete).await["duplicate"], true);
    let job = site.get("/work/get/j1").await.json();
    assert_eq!((&job["state"], &job["result"]), (&json!("completed"), &json!({"ok": 1})));
    assert_eq!(
        (&job["attempts"][0]["end"], &job["progress"]),
        (&json!("completed"), &json!({"at": 5}))
    );
    assert!(job["ended_at_ms"].as_u64() >= job["added_at_ms"].as_u64());
    assert_eq!(site.state_of("next").await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_backs_off_and_then_is_failed() {
    let site = Site::start().await;
    let token = claimed(&site, "j1", r#","max_attempts":2"#).await;
    let body = format!(r#"{{"work_id":"j1","token":{token},"error":"boom","retry_in_ms":0}}"#);
    let retrying = site.done("/work/fail", &body).await;
    assert_eq!(retrying["status"], "retrying");
    assert!(retrying["run_at_ms"].is_u64());
    assert_eq!(site.done("/work/fail", &body).await["duplicate"], true);
    let claim = site.done("/work/claim", r#"{"node_id":"w2","wait_ms":"10s"}"#).await;
    assert_eq!(claim["work"]["attempt"], 2);
    let last = format!(r#"{{"work_id":"j1","token":{}}}"#, claim["work"]["token"]);
    assert_eq!(site.done("/work/fail", &last).await["status"], "failed");
    let job = site.get("/work/get/j1").await.json();
    assert_eq!((&job["state"], &job["error"]), (&json!("failed"), &json!("boom")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_job_goes_back_with_its_attempt_not_counted() {
    let site = Site::start().await;
    let token = claimed(&site, "j1", "").await;
    assert_eq!(site.done("/work/release", &held("j1", token)).await["status"], "released");
    assert_eq!(site.done("/work/release", &held("j1", token)).await["duplicate"], true);
    let job = site.get("/work/get/j1").await.json();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("pending"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_dead_at_once_and_its_worker_is_told() {
    let site = Site::start().await;
    let token = claimed(&site, "j1", "").await;
    assert_eq!(site.done("/work/cancel", r#"{"work_id":"j1"}"#).await["status"], "cancelled");
    assert_eq!(site.done("/work/cancel", r#"{"work_id":"j1"}"#).await["duplicate"], true);
    let beaten = site.done("/work/heartbeat", &held("j1", token)).await;
    assert_eq!(beaten["items"][0]["status"], "cancel_requested");
    site.post("/work/complete", &held("j1", token)).await.failed(409, "stale_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_another_and_shows_for_which() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"first"}"#).await;
    let body = r#"{"work_id":"second","depends_on":["first"],"group":"g","expires_in_ms":"1h"}"#;
    assert_eq!(site.done("/work/add", body).await["state"], "blocked");
    let job = site.get("/work/get/second").await.json();
    assert_eq!((&job["depends_on"], &job["group"]), (&json!(["first"]), &json!("g")));
    let token = site.done("/work/claim", r#"{"node_id":"w"}"#).await["work"]["token"].clone();
    site.done("/work/complete", &format!(r#"{{"work_id":"first","token":{token}}}"#)).await;
    assert_eq!(site.state_of("second").await, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_complete_batch_answers_for_itself() {
    let site = Site::start().await;
    let token = claimed(&site, "j1", "").await;
    let body = format!(
        r#"{{"items":[{},{{"work_id":"no","token":1}},{{"token":1}}]}}"#,
        held("j1", token)
    );
    let answer = site.done("/work/complete_batch", &body).await;
    assert_eq!(answer["items"][0]["status"], "completed");
    assert_eq!(answer["items"][1]["code"], "not_found");
    assert_eq!(answer["items"][2]["details"]["field"], "items[2].work_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_who_answered_at_which_revision() {
    let site = Site::start().await;
    let headers = [("X-Request-Id", "mine-1"), ("X-Queue-Hold-Ms", "100")];
    let reply = site.send("POST", "/work/add", &headers, b"{}").await;
    let header = |name: &str| reply.headers[name].as_str();
    assert_eq!((header("x-queue-node"), header("x-queue-leader")), ("n1", "n1"));
    assert_eq!(header("x-queue-rev"), reply.json()["rev"].to_string());
    assert_eq!(header("x-request-id"), "mine-1");
    let odd = site.send("GET", "/work/status", &[("X-Request-Id", "a b")], b"").await;
    assert_eq!(odd.headers["x-request-id"].len(), 26);
    assert_eq!(odd.headers["x-queue-consistency"], "linearizable");
    let stale = site.get("/work/status?consistency=stale").await;
    assert_eq!(stale.headers["x-queue-consistency"], "stale");
    let unknown = site.get("/nowhere").await;
    assert!(
        unknown.headers.contains_key("x-queue-rev") && unknown.headers.contains_key("x-request-id")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_shows_its_standing() {
    let site = Site::start().await;
    let health = site.get("/health").await.json();
    assert_eq!((&health["status"], &health["node_id"]), (&json!("ok"), &json!("n1")));
    let ready = site.get("/ready").await.json();
    assert_eq!(ready["status"], "ready");
    assert!(ready["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true));
    let status = site.get("/status").await.json();
    assert_eq!((&status["role"], &status["leader_id"]), (&json!("leader"), &json!("n1")));
    assert_eq!((&status["alive_peers"], &status["voters"]), (&json!(1), &json!(["n1"])));
    assert_eq!(status["state_hash"].as_str().unwrap().len(), 32);
    assert_eq!(status["work"]["total_items"], 0);
    let election = site.get("/election/status").await.json();
    assert_eq!((&election["is_leader"], &election["leader_id"]), (&json!(true), &json!("n1")));
    assert!(election["term"].as_u64().unwrap() >= 1);
}
