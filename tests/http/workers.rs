//! Workers: known by their claims, told to stop by a drain.

use serde_json::{Value, json};

use crate::support::Site;

async fn claim(site: &Site, worker: &str) -> Value {
    site.done("/work/claim", &format!(r#"{{"node_id":"{worker}"}}"#)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_known_by_its_claims() {
    let site = Site::start().await;
    assert_eq!(claim(&site, "w1").await["status"], "no_work_available");
    let unknown = site.get("/workers/w1").await;
    assert_eq!(unknown.failed(404, "not_found")["node_id"], "w1");
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    let claim = r#"{"node_id":"w1","labels":{"gpu":"a100"},"session":7}"#;
    let claimed = site.done("/work/claim", claim).await;
    let worker = site.get("/workers/w1").await.json();
    assert_eq!((&worker["node_id"], &worker["session"]), (&json!("w1"), &json!(7)));
    assert_eq!((&worker["labels"], &worker["held"]), (&json!({"gpu": "a100"}), &json!(1)));
    assert_eq!((&worker["draining"], &worker["rev"]), (&json!(false), &claimed["rev"]));
    assert!(worker["last_seen_at_ms"].is_u64() && worker["last_seen_ms_ago"].is_u64());
    let stale = site.get("/workers/w1?consistency=stale").await;
    assert_eq!((stale.status, &*stale.headers["x-queue-consistency"]), (200, "stale"));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed_by_name_page_by_page() {
    let site = Site::start().await;
    for worker in ["c", "a", "b"] {
        site.done("/work/add", "{}").await;
        claim(&site, worker).await;
    }
    let names = |page: &Value| {
        let workers = page["workers"].as_array().unwrap().iter();
        workers.map(|worker| worker["node_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = site.get("/workers").await.json();
    assert_eq!((names(&all), &all["count"]), (vec!["a".into(), "b".into(), "c".into()], &json!(3)));
    let first = site.get("/workers?limit=2").await.json();
    assert_eq!((names(&first), &first["next"]), (vec!["a".into(), "b".into()], &json!("b")));
    let rest = site.get("/workers?limit=2&after=b").await.json();
    assert_eq!((names(&rest), &rest["next"]), (vec!["c".to_owned()], &Value::Null));
    let bad = site.get("/workers?after=%2F").await;
    assert_eq!(bad.failed(400, "invalid_argument")["field"], "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_worker_is_told_and_granted_nothing_until_it_is_resumed() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"a"}"#).await;
    site.done("/work/add", r#"{"work_id":"b"}"#).await;
    let token = claim(&site, "w").await["work"]["token"].clone();
    let drained = site.done("/workers/w/drain", "").await;
    assert_eq!((&drained["status"], &drained["node_id"]), (&json!("draining"), &json!("w")));
    assert!(drained["rev"].as_u64() > token.as_u64(), "it is a change");
    let beat = format!(r#"{{"node_id":"w","items":[{{"work_id":"a","token":{token}}}]}}"#);
    let told = site.done("/work/heartbeat", &beat).await;
    assert_eq!((&told["drain"], &told["items"][0]["status"]), (&json!(true), &json!("extended")));
    assert_eq!(claim(&site, "w").await["status"], "no_work_available");
    let worker = site.get("/workers/w").await.json();
    assert_eq!((&worker["draining"], &worker["held"]), (&json!(true), &json!(1)));
    assert_eq!(site.done("/workers/w/resume", "").await["status"], "resumed");
    assert_eq!(site.done("/work/heartbeat", &beat).await["drain"], false);
    assert_eq!(claim(&site, "w").await["work"]["work_id"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_be_drained_before_it_is_known() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    site.done("/workers/w/drain", r#"{"request_id":"r1"}"#).await;
    assert_eq!(claim(&site, "w").await["status"], "no_work_available");
    site.done("/workers/w/resume", "").await;
    let again = site.done("/workers/w/drain", r#"{"request_id":"r1"}"#).await;
    assert_eq!((&again["status"], &again["duplicate"]), (&json!("draining"), &json!(true)));
    assert_eq!(claim(&site, "w").await["work"]["work_id"], "j", "the repeat did nothing");
}
