//! The contract's rules that hold everywhere: JSON, revisions, headers, durations, any node.

use std::collections::BTreeSet;

use raft::Role;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, Site};

/// api 1.http.json
#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_answers_are_json_in_utf_8() {
    let site = Site::start().await;
    let text = "żółć 漢字 🚦";
    let added = site.post("/work/add", &json!({"work_id": "j", "payload": text}).to_string()).await;
    assert_eq!(added.headers["content-type"], "application/json");
    let job = site.get("/work/get/j").await;
    assert_eq!(job.headers["content-type"], "application/json");
    assert_eq!(job.json()["payload"], text);
    let latin = site.send("POST", "/work/add", &[], b"{\"payload\":\"\xe9\"}").await;
    latin.failed(400, "invalid_json");
}

/// One of each call about jobs, queues and workers, in an order in which each is answered with 2xx.
async fn answers(site: &Site) -> Vec<(String, crate::support::Reply)> {
    let mut replies = Vec::new();
    let mut send = async |method: &str, path: &str, body: &str| {
        let reply = site.send(method, path, &[], body.as_bytes()).await;
        assert!(reply.status < 300, "{method} {path} {body}: {reply:?}");
        let json = reply.json();
        replies.push((format!("{method} {path}"), reply));
        json
    };
    let mut post = async |path: &str, body: Value| send("POST", path, &body.to_string()).await;
    post("/work/add", json!({"work_id": "a"})).await;
    let items: Vec<_> = ["b", "c", "d", "e"].map(|work_id| json!({"work_id": work_id})).into();
    post("/work/add_batch", json!({"items": items})).await;
    let work = post("/work/claim", json!({"node_id": "w"})).await["work"].clone();
    let batch = post("/work/claim_batch", json!({"node_id": "w"})).await["items"].clone();
    post("/work/claim", json!({"node_id": "w"})).await;
    let held = |work: &Value| json!({"work_id": work["work_id"], "token": work["token"]});
    post("/work/start", held(&work)).await;
    post("/work/heartbeat", json!({"node_id": "w", "items": [held(&work)]})).await;
    post("/work/complete", held(&work)).await;
    post("/work/complete", held(&work)).await;
    post("/work/complete_batch", json!({"items": [held(&batch[0])]})).await;
    post("/work/fail", held(&batch[1])).await;
    post("/work/release", held(&batch[2])).await;
    post("/work/cancel", json!({"work_id": "e"})).await;
    post("/work/retry", json!({"work_id": "e"})).await;
    for call in [
        "GET /work/get/a",
        "GET /work/list",
        "GET /work/history",
        "GET /work/status",
        "GET /work/for-node/w",
        "PUT /queues/q",
        "POST /queues/q/pause",
        "POST /queues/q/resume",
        "POST /queues/q/purge",
        "GET /queues/q",
        "GET /queues",
        "DELETE /queues/q",
        "POST /workers/w/drain",
        "POST /workers/w/resume",
        "GET /workers/w",
        "GET /workers",
        "GET /status",
    ] {
        let (method, path) = call.split_once(' ').unwrap();
        send(method, path, "").await;
    }
    replies
}

/// The calls about jobs, queues and workers, as the node's own document names them.
async fn documented(site: &Site) -> BTreeSet<String> {
    let document = site.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap().iter();
    let calls = paths.flat_map(|(path, verbs)| {
        let verbs = verbs.as_object().unwrap().keys();
        verbs.map(move |verb| format!("{} {path}", verb.to_uppercase()))
    });
    let is_meant = |call: &String| {
        let path = call.split_once(' ').unwrap().1;
        ["/work/", "/queues", "/workers"].iter().any(|start| path.starts_with(start))
    };
    calls.filter(is_meant).collect()
}

/// Whether a call is the one that a document names, with something in each of its `{…}`.
fn is_call(call: &str, documented: &str) -> bool {
    let (call, documented) = (call.split('/'), documented.split('/'));
    call.clone().count() == documented.clone().count()
        && call.zip(documented).all(|(part, named)| part == named || named.starts_with('{'))
}

/// api 1.rev.every, 1.header.rev, 1.header.node, 1.header.leader, 1.rev.grows
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_its_revision_and_who_gave_it() {
    let site = Site::start().await;
    let mut last = 0;
    for (path, reply) in answers(&site).await {
        let rev = reply.json()["rev"].as_u64().unwrap_or_else(|| panic!("{path}: {reply:?}"));
        assert!(rev >= last, "{path}: {rev} after {last}");
        last = rev;
        assert_eq!(reply.headers["x-queue-rev"], rev.to_string(), "{path}");
        assert_eq!(reply.headers["x-queue-node"], "n1", "{path}");
        assert_eq!(reply.headers["x-queue-leader"], "n1", "{path}");
    }
}

/// api 1.header.request-id
#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_echoed_or_made() {
    let site = Site::start().await;
    let echoed = site.send("GET", "/work/status", &[("X-Request-Id", "mine.1")], b"").await;
    assert_eq!(echoed.headers["x-request-id"], "mine.1");
    let mut made = BTreeSet::new();
    for path in ["/work/status", "/work/status", "/nowhere", "/work/add"] {
        let id = site.get(path).await.headers["x-request-id"].clone();
        assert!(!id.is_empty() && made.insert(id), "{path}");
    }
}

/// api 1.header.leader-unknown
#[tokio::test(flavor = "multi_thread")]
async fn the_leaders_header_is_empty_while_there_is_none() {
    let seeds = vec!["127.0.0.1:1".to_owned()];
    let bootstrap = raft::Bootstrap::Expect { voters: 3, seeds, only: None };
    let site = Setup { bootstrap, ..Setup::default() }.start().await;
    let health = site.get("/health").await;
    assert_eq!((health.status, health.headers["x-queue-leader"].as_str()), (200, ""));
}

/// api 1.rev.by-one, 1.rev.nothing-else
#[tokio::test(flavor = "multi_thread")]
async fn a_change_a_grant_and_an_expiry_raise_the_revision_by_one_and_nothing_else_does() {
    let site = Site::start().await;
    let rev = async || site.get("/work/status").await.json()["rev"].as_u64().unwrap();
    site.add(json!({"work_id": "j", "lease_ms": 100})).await;
    assert_eq!(rev().await, 1, "a change");
    site.add(json!({"work_id": "j", "lease_ms": 100})).await;
    site.refuses("/work/add", json!({"depends_on": ["no"]}), "depends_on").await;
    site.post("/work/start", r#"{"work_id":"j","token":9}"#).await.failed(409, "stale_token");
    site.get("/work/get/j").await;
    site.call("/work/claim", json!({"node_id": "w", "queues": ["empty"]})).await;
    assert_eq!(rev().await, 1, "a duplicate, a rejection, a read, an empty claim");
    site.claim().await;
    site.job_when("j", "attempts_lost", json!(1)).await;
    assert_eq!(rev().await, 3, "a grant and an expiry");
}

/// api 1.rev.empty-claim
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_claim_never_enters_the_log() {
    let site = Site::start().await;
    site.add(json!({"queue": "other"})).await;
    let index = async || site.get("/status").await.json()["commit_index"].clone();
    // Before the add lie the founding configuration, at 0, and the leader's first entry, at 1. The
    // status follows the acknowledgement.
    let of_the_add = json!(2);
    let shown = async { while index().await != of_the_add {} };
    timeout(PATIENCE, shown).await.expect("the status shows the add");
    for _ in 0..3 {
        let claim = json!({"node_id": "w", "queues": ["empty"], "request_id": "r"});
        assert_eq!(site.call("/work/claim", claim).await["status"], "no_work_available");
    }
    assert_eq!(index().await, of_the_add);
}

/// api 1.token.grows
#[tokio::test(flavor = "multi_thread")]
async fn each_grant_of_a_job_has_a_greater_token_than_all_before() {
    let site = Site::start().await;
    site.add(json!({"work_id": "a"})).await;
    let mut last = 0;
    for _ in 0..5 {
        let work = site.claim().await;
        let token = work["token"].as_u64().unwrap();
        assert!(token > last && token < 1 << 53, "{token} after {last}");
        last = token;
        site.settle("release", &work, json!({})).await;
    }
}

/// api 1.time.strings
#[tokio::test(flavor = "multi_thread")]
async fn a_duration_may_be_a_string_in_every_request() {
    let site = Site::start().await;
    let backoff = json!({"initial_ms": "2s", "max_ms": "1h 5m"});
    let job = json!({"work_id": "j", "lease_ms": "1h 5m", "delay_ms": "0s", "backoff": backoff,
        "expires_in_ms": "1d"});
    site.add(job).await;
    assert_eq!(site.job("j").await["lease_ms"], 3_900_000);
    let claim = json!({"node_id": "w", "lease_ms": "30s", "wait_ms": "1s"});
    let work = site.call("/work/claim", claim).await["work"].clone();
    assert_eq!(work["lease_ms"], 30_000);
    let item = json!({"work_id": "j", "token": work["token"], "lease_ms": "2m"});
    let beaten = site.call("/work/heartbeat", json!({"items": [item]})).await;
    assert_eq!(beaten["items"][0]["lease_expires_in_ms"], 120_000);
    site.settle("release", &work, json!({"delay_ms": "10m"})).await;
    assert!(site.job("j").await["ready_in_ms"].as_u64().unwrap() > 500_000);
    assert_eq!(site.get("/work/get/j?wait_ms=10ms").await.status, 200);
    for wrong in ["soon", "-1s", "30"] {
        site.refuses("/work/add", json!({"lease_ms": wrong}), "lease_ms").await;
    }
}

/// api 1.repeat.rest.add-batch
#[tokio::test(flavor = "multi_thread")]
async fn adds_without_ids_are_safe_to_repeat_under_a_key() {
    let site = Site::start().await;
    let batch = json!({"items": [{"a": 1}, {"a": 2}], "request_id": "r"});
    let first = site.call("/work/add_batch", batch.clone()).await;
    let again = site.call("/work/add_batch", batch).await;
    assert_eq!(first["work_ids"], again["work_ids"]);
    assert_eq!(again["items"][0]["duplicate"], true);
    let headers = [("Idempotency-Key", "k")];
    let added = site.send("POST", "/work/add", &headers, b"{}").await;
    let repeated = site.send("POST", "/work/add", &headers, b"{}").await;
    assert_eq!((added.status, repeated.status), (201, 200));
    assert_eq!(added.json()["work_id"], repeated.json()["work_id"]);
    assert_eq!(site.get("/work/status").await.json()["total_items"], 3);
}

// Situation: three voters. Claim: each call works through a follower as it does through the leader: no
// redirect, no word of leaders, the follower's own name, and the revision of the write.
/// api 1.any-node.takes, 1.any-node.no-redirect
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_takes_every_call_and_neither_redirects_nor_refuses() {
    let mut sites = Vec::new();
    for setup in Setup::three() {
        sites.push(setup.start().await);
    }
    for site in &sites {
        site.until_ready().await;
    }
    let follows = |site: &&Site| site.handle.status().raft.role == Role::Follower;
    let follower = sites.iter().find(follows).expect("two of three follow");
    let answers = answers(follower).await;
    for named in documented(follower).await {
        assert!(answers.iter().any(|(call, _)| is_call(call, &named)), "{named} was not called");
    }
    for (path, reply) in answers {
        assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
        assert!(!reply.headers.contains_key("location"), "{path}: {reply:?}");
        assert_eq!(reply.headers["x-queue-node"], follower.handle.status().raft.me.label, "{path}");
    }
    for site in &sites {
        assert_eq!(site.job("a").await["state"], "completed", "each node shows it");
    }
}
