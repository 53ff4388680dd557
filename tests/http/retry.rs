//! Finished jobs put back, by an explicit retry.

use serde_json::{Value, json};

use crate::support::Site;

/// Adds a job that fails for good.
async fn failed(site: &Site, work_id: &str, queue: &str) {
    let body = format!(r#"{{"work_id":"{work_id}","queue":"{queue}","max_attempts":1}}"#);
    site.done("/work/add", &body).await;
    let claim = format!(r#"{{"node_id":"w","queues":["{queue}"]}}"#);
    let token = site.done("/work/claim", &claim).await["work"]["token"].clone();
    let fail = format!(r#"{{"work_id":"{work_id}","token":{token},"error":"broken"}}"#);
    assert_eq!(site.done("/work/fail", &fail).await["status"], "failed");
}

async fn rev(site: &Site) -> Value {
    site.get("/work/status").await.json()["rev"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_starts_anew_and_its_history_is_kept() {
    let site = Site::start().await;
    failed(&site, "j", "q").await;
    let retried = site.done("/work/retry", r#"{"work_id":"j"}"#).await;
    assert_eq!((&retried["status"], &retried["work_ids"]), (&json!("retried"), &json!(["j"])));
    assert_eq!((&retried["count"], &retried["dry_run"]), (&json!(1), &json!(false)));
    let job = site.get("/work/get/j").await.json();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("pending"), &json!(0)));
    assert_eq!((&job["attempts"][0]["error"], &job["rev"]), (&json!("broken"), &retried["rev"]));
    let claim = site.done("/work/claim", r#"{"node_id":"w","queues":["q"]}"#).await;
    assert_eq!((&claim["work"]["work_id"], &claim["work"]["attempt"]), (&json!("j"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_wakes_a_waiting_claim() {
    let site = Site::start().await;
    failed(&site, "j", "q").await;
    let waiting = site.done("/work/claim", r#"{"node_id":"v","queues":["q"],"wait_ms":30000}"#);
    let (claim, _) = tokio::join!(waiting, site.done("/work/retry", r#"{"queue":"q"}"#));
    assert_eq!(claim["work"]["work_id"], "j");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_retried_says_why_and_so_does_its_dry_run() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    for dry_run in [false, true] {
        let retry = async |what: &str| {
            site.post("/work/retry", &format!(r#"{{{what},"dry_run":{dry_run}}}"#)).await
        };
        let unfinished = retry(r#""work_id":"j""#).await.failed(409, "wrong_state");
        assert_eq!(
            (&unfinished["work_id"], &unfinished["state"]),
            (&json!("j"), &json!("pending"))
        );
        assert_eq!(retry(r#""work_id":"no""#).await.failed(404, "not_found")["work_id"], "no");
        assert_eq!(retry(r#""queue":"no""#).await.failed(404, "not_found")["queue"], "no");
    }
    for (body, field) in [
        ("{}", "work_id"),
        (r#"{"work_id":"j","queue":"q"}"#, "queue"),
        (r#"{"queue":"q","state":"running"}"#, "state"),
        (r#"{"queue":"q","limit":1001}"#, "limit"),
    ] {
        let refused = site.post("/work/retry", body).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], field, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_retry_takes_the_oldest_and_its_dry_run_tells_which() {
    let site = Site::start().await;
    for work_id in ["a", "b", "c"] {
        failed(&site, work_id, "q").await;
    }
    failed(&site, "other", "r").await;
    site.done("/work/add", r#"{"work_id":"d","queue":"q"}"#).await;
    site.done("/work/cancel", r#"{"work_id":"d"}"#).await;
    let before = rev(&site).await;
    let dry = site.done("/work/retry", r#"{"queue":"q","limit":2,"dry_run":true}"#).await;
    assert_eq!((&dry["work_ids"], &dry["count"]), (&json!(["a", "b"]), &json!(2)));
    assert_eq!((&dry["dry_run"], &dry["more"]), (&json!(true), &json!(true)));
    assert_eq!((&dry["rev"], rev(&site).await), (&before, before.clone()), "nothing was done");
    let first = site.done("/work/retry", r#"{"queue":"q","limit":2}"#).await;
    assert_eq!((&first["work_ids"], &first["more"]), (&json!(["a", "b"]), &json!(true)));
    let rest = site.done("/work/retry", r#"{"queue":"q","limit":1}"#).await;
    assert_eq!((&rest["work_ids"], rest.get("more")), (&json!(["c"]), None));
    let none = site.done("/work/retry", r#"{"queue":"q"}"#).await;
    assert_eq!((&none["count"], &none["rev"]), (&json!(0), &rest["rev"]));
    let cancelled = site.done("/work/retry", r#"{"queue":"q","state":"cancelled"}"#).await;
    assert_eq!(cancelled["work_ids"], json!(["d"]));
    assert_eq!(site.state_of("other").await, "failed");
    let one = site.done("/work/retry", r#"{"work_id":"other","dry_run":true}"#).await;
    assert_eq!((&one["work_ids"], &one["dry_run"]), (&json!(["other"]), &json!(true)));
    assert_eq!(site.state_of("other").await, "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_retry_answers_as_the_first_did() {
    let site = Site::start().await;
    failed(&site, "a", "q").await;
    let retry = async || {
        let headers = [("Idempotency-Key", "r1")];
        site.send("POST", "/work/retry", &headers, br#"{"queue":"q"}"#).await.json()
    };
    let first = retry().await;
    assert_eq!((&first["work_ids"], first.get("duplicate")), (&json!(["a"]), None));
    site.done("/work/cancel", r#"{"work_id":"a"}"#).await;
    failed(&site, "b", "q").await;
    let again = retry().await;
    assert_eq!((&again["work_ids"], &again["duplicate"]), (&json!(["a"]), &json!(true)));
    assert_eq!(site.state_of("b").await, "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_held_to_what_the_queue_may_have() {
    let site = Site::start().await;
    for work_id in ["a", "b"] {
        failed(&site, work_id, "q").await;
    }
    assert_eq!(site.put("/queues/q", r#"{"max_jobs":1}"#).await.status, 200);
    let dry = site.done("/work/retry", r#"{"queue":"q","dry_run":true}"#).await;
    assert_eq!(dry["work_ids"], json!(["a"]));
    let retried = site.done("/work/retry", r#"{"queue":"q"}"#).await;
    assert_eq!(retried["work_ids"], json!(["a"]));
    for dry_run in [true, false] {
        let body = format!(r#"{{"work_id":"b","dry_run":{dry_run}}}"#);
        site.post("/work/retry", &body).await.failed(429, "queue_full");
    }
}
