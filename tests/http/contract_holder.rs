//! The contract of the calls of a holder: start, heartbeat, complete, fail, release; and of cancel.

use serde_json::{Value, json};

use crate::support::Site;

/// A node with one claimed job, `j`.
async fn held(extra: Value) -> (Site, Value) {
    let site = Site::start().await;
    let mut job = json!({"work_id": "j"});
    job.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    site.add(job).await;
    let work = site.claim().await;
    (site, work)
}

/// A heartbeat of `w1` for these items.
async fn beat(site: &Site, items: Value) -> Value {
    site.call("/work/heartbeat", json!({"node_id": "w1", "items": items})).await
}

fn lease(work: &Value) -> Value {
    json!({"work_id": work["work_id"], "token": work["token"]})
}

/// api 1.token.carried, 2.holder.needs
#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_holder_needs_the_job_and_its_token() {
    let (site, _) = held(json!({})).await;
    for verb in ["start", "complete", "fail", "release", "heartbeat"] {
        let path = format!("/work/{verb}");
        site.refuses(&path, json!({"work_id": "j"}), "token").await;
        site.refuses(&path, json!({"token": 1}), "work_id").await;
    }
    assert_eq!(site.job("j").await["state"], "claimed");
}

/// api 2.start.answer, 2.state.claimed, 2.state.running.start, 1.rev.change
#[tokio::test(flavor = "multi_thread")]
async fn start_makes_a_claimed_job_running() {
    let (site, work) = held(json!({})).await;
    assert_eq!(site.job("j").await["state"], "claimed");
    let started = site.settle("start", &work, json!({})).await;
    assert_eq!(started, json!({"status": "started", "work_id": "j", "rev": 3}));
    assert_eq!(site.job("j").await["state"], "running");
}

/// api 2.state.running.heartbeat
#[tokio::test(flavor = "multi_thread")]
async fn a_first_heartbeat_makes_a_claimed_job_running() {
    let (site, work) = held(json!({})).await;
    beat(&site, json!([lease(&work)])).await;
    assert_eq!(site.job("j").await["state"], "running");
}

/// api 2.heartbeat.answer, 2.heartbeat.order, 2.heartbeat.one-call
#[tokio::test(flavor = "multi_thread")]
async fn one_heartbeat_keeps_all_leases_of_a_worker_and_answers_in_order() {
    let site = Site::start().await;
    let items = json!([{"work_id": "a"}, {"work_id": "b"}, {"work_id": "c"}]);
    site.call("/work/add_batch", json!({"items": items})).await;
    let claim = site.call("/work/claim_batch", json!({"node_id": "w1"})).await;
    let leases = |index: usize| lease(&claim["items"][index]);
    site.call("/work/cancel", json!({"work_id": "b"})).await;
    let unknown = json!({"work_id": "no", "token": 1});
    let beaten = beat(&site, json!([leases(2), leases(1), unknown, leases(0)])).await;
    let said: Vec<_> = beaten["items"].as_array().unwrap().iter().collect();
    let ids: Vec<_> = said.iter().map(|item| item["work_id"].clone()).collect();
    assert_eq!(ids, [json!("c"), json!("b"), json!("no"), json!("a")]);
    let statuses: Vec<_> = said.iter().map(|item| item["status"].clone()).collect();
    assert_eq!(statuses, ["extended", "cancel_requested", "lost", "extended"].map(|s| json!(s)));
    assert_eq!(said[0]["token"], claim["items"][2]["token"]);
    assert!(said[0]["lease_expires_in_ms"].is_u64(), "{beaten}");
    assert_eq!(said[1].get("lease_expires_in_ms"), None, "{beaten}");
    assert_eq!((&beaten["drain"], beaten["rev"].is_u64()), (&json!(false), true));
}

/// api 2.heartbeat.lease, 2.heartbeat.never-shortens
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_extends_a_lease_and_never_shortens_it() {
    let (site, work) = held(json!({})).await;
    let extended = async |lease_ms: u64| {
        let mut item = lease(&work);
        item["lease_ms"] = lease_ms.into();
        let beaten = beat(&site, json!([item])).await;
        beaten["items"][0]["lease_expires_in_ms"].as_u64().unwrap()
    };
    assert_eq!(extended(3_600_000).await, 3_600_000);
    assert!(extended(100).await > 3_000_000);
    let mut item = lease(&work);
    item["lease_ms"] = json!(99);
    site.refuses("/work/heartbeat", json!({"items": [item]}), "items[0].lease_ms").await;
}

/// api 2.heartbeat.progress
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_tells_of_progress() {
    let (site, work) = held(json!({})).await;
    let mut item = lease(&work);
    item["progress"] = json!({"done": [1, 2]});
    beat(&site, json!([item])).await;
    assert_eq!(site.job("j").await["progress"], json!({"done": [1, 2]}));
}

/// api 2.heartbeat.max
#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_names_at_most_a_thousand_leases() {
    let site = Site::start().await;
    let many = vec![json!({"work_id": "no", "token": 1}); 1001];
    site.refuses("/work/heartbeat", json!({"node_id": "w", "items": many}), "items").await;
    let most = beat(&site, json!(many[1..])).await;
    assert_eq!(most["items"].as_array().unwrap().len(), 1000);
}

/// api 2.complete.result, 2.complete.answer, 2.state.completed
#[tokio::test(flavor = "multi_thread")]
async fn complete_keeps_the_result_as_it_came() {
    let (site, work) = held(json!({})).await;
    let body = format!(r#"{{"work_id":"j","token":{},"result":[ 1.50 ]}}"#, work["token"]);
    let completed = site.done("/work/complete", &body).await;
    assert_eq!(completed, json!({"status": "completed", "work_id": "j", "rev": 3}));
    let shown = String::from_utf8(site.get("/work/get/j").await.body).unwrap();
    assert!(shown.contains(r#""result":[ 1.50 ]"#), "{shown}");
    assert!(shown.contains(r#""state":"completed""#), "{shown}");
}

/// api 2.complete.then, 2.complete.then.rejects
#[tokio::test(flavor = "multi_thread")]
async fn one_invalid_job_of_then_rejects_the_call_and_leaves_the_lease() {
    let (site, work) = held(json!({})).await;
    site.add(json!({"work_id": "known"})).await;
    for (bad, status, code) in [
        (json!({"priority": 101}), 400, "invalid_argument"),
        (json!({"depends_on": ["no"]}), 400, "invalid_argument"),
        (json!({"work_id": "known", "payload": 2}), 409, "id_conflict"),
    ] {
        let mut body = lease(&work);
        body["then"] = json!([{"work_id": "next"}, bad]);
        let details = site.post("/work/complete", &body.to_string()).await.failed(status, code);
        assert_eq!(details["index"], 1);
        site.get("/work/get/next").await.failed(404, "not_found");
    }
    assert_eq!(site.job("j").await["token"], work["token"]);
    let then = json!({"then": [{"work_id": "next"}, {"work_id": "known"}]});
    let completed = site.settle("complete", &work, then).await;
    let listed = json!([{"work_id": "next", "duplicate": false},
        {"work_id": "known", "duplicate": true}]);
    assert_eq!(completed["then"], listed);
    assert_eq!(site.job("next").await["state"], "pending");
}

// Situation: `then` names a job that depends on the one being completed. Claim: both happen in one step, so
// it is ready at once. While a lease runs, entries that only let time pass may come between: of several tries
// one sees none.
/// api 2.complete.then.same-entry
#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_then_come_with_the_completion_in_one_entry_of_the_log() {
    let site = Site::start().await;
    let index = async || site.get("/status").await.json()["applied_index"].as_u64().unwrap();
    for number in 0..20 {
        let [work_id, next] = ["j", "next"].map(|name| format!("{name}{number}"));
        site.add(json!({"work_id": work_id})).await;
        let work = site.call("/work/claim", json!({"node_id": "w1", "queues": ["default"]})).await;
        let then = json!({"then": [{"work_id": next, "queue": "later", "depends_on": [work_id]}]});
        let before = index().await;
        site.settle("complete", &work["work"], then).await;
        let entries = index().await - before;
        assert_eq!(site.job(&next).await["state"], "pending");
        if entries == 1 {
            return;
        }
    }
    panic!("it never takes one entry alone");
}

/// api 2.complete-batch, 2.complete-batch.max
#[tokio::test(flavor = "multi_thread")]
async fn complete_batch_answers_200_and_in_order_with_an_error_where_one_failed() {
    let site = Site::start().await;
    site.call("/work/add_batch", json!({"items": [{"work_id": "a"}, {"work_id": "b"}]})).await;
    let claim = site.call("/work/claim_batch", json!({"node_id": "w1"})).await;
    let (a, b) = (lease(&claim["items"][0]), lease(&claim["items"][1]));
    let stale = json!({"work_id": "a", "token": 1});
    let body = json!({"items": [b, stale, {"work_id": "a"}, a]});
    let reply = site.post("/work/complete_batch", &body.to_string()).await;
    assert_eq!(reply.status, 200);
    let items = reply.json()["items"].clone();
    let done = |index: usize| (items[index]["status"].clone(), items[index]["work_id"].clone());
    assert_eq!(
        (done(0), done(3)),
        ((json!("completed"), json!("b")), (json!("completed"), json!("a")))
    );
    assert_eq!(
        (&items[1]["code"], &items[2]["code"]),
        (&json!("stale_token"), &json!("invalid_argument"))
    );
    assert_eq!(items[1]["details"]["current_token"], a["token"]);
    assert!(items[1]["error"].is_string());
    let many = vec![b; 1001];
    site.refuses("/work/complete_batch", json!({"items": many}), "items").await;
}

/// api 2.fail.retrying, 2.fail.retry-in, 2.state.scheduled.backing-off
#[tokio::test(flavor = "multi_thread")]
async fn fail_says_when_the_job_comes_back() {
    let (site, work) = held(json!({})).await;
    let retrying = site.settle("fail", &work, json!({"error": "boom", "retry_in_ms": "1h"})).await;
    let job = site.job("j").await;
    assert_eq!((&retrying["status"], &job["state"]), (&json!("retrying"), &json!("scheduled")));
    assert_eq!(retrying["run_at_ms"], job["run_at_ms"]);
    let ended_at = job["attempts"][0]["ended_at_ms"].as_u64().unwrap();
    assert_eq!(retrying["run_at_ms"], ended_at + 3_600_000);
    assert_eq!((&job["error"], &job["attempts"][0]["error"]), (&json!("boom"), &json!("boom")));
}

/// api 2.fail.failed, 2.state.failed.exhausted, 2.state.failed.no-retry
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_failed_when_its_attempts_are_used_up_or_no_retry_is_wanted() {
    let site = Site::start().await;
    for (max_attempts, extra) in [(1, json!({})), (3, json!({"retry": false}))] {
        let work_id = format!("of-{max_attempts}");
        site.add(json!({"work_id": work_id, "max_attempts": max_attempts})).await;
        let work = site.claim().await;
        let failed = site.settle("fail", &work, extra).await;
        assert_eq!((&failed["status"], failed.get("run_at_ms")), (&json!("failed"), None));
        assert_eq!(site.job(&work_id).await["state"], "failed");
    }
}

/// api 2.release.place, 2.release.attempt, 2.state.pending
#[tokio::test(flavor = "multi_thread")]
async fn a_released_job_is_back_at_its_old_place() {
    let (site, work) = held(json!({})).await;
    site.add(json!({"work_id": "younger"})).await;
    let released = site.settle("release", &work, json!({})).await;
    assert_eq!(released, json!({"status": "released", "work_id": "j", "rev": 4}));
    let job = site.job("j").await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("pending"), &json!(0)));
    assert_eq!(site.claim().await["work_id"], "j");
}

/// api 2.release.delay
#[tokio::test(flavor = "multi_thread")]
async fn a_release_may_be_delayed() {
    let (site, work) = held(json!({})).await;
    site.settle("release", &work, json!({"delay_ms": "1h"})).await;
    assert_eq!(site.job("j").await["state"], "scheduled");
    assert_eq!(site.claim().await, Value::Null);
}

/// api 1.repeat.holder, 1.repeat.rev
#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_holder_answers_its_repeat_as_it_did_at_the_revision_of_now() {
    let site = Site::start().await;
    for (verb, extra) in [
        ("start", json!({})),
        ("complete", json!({"result": 1, "then": [{"work_id": "next", "queue": "later"}]})),
        ("fail", json!({"retry": false})),
        ("fail", json!({"retry_in_ms": "1h"})),
        ("release", json!({"delay_ms": "1h"})),
    ] {
        site.add(json!({"queue": "q"})).await;
        let claim = json!({"node_id": "w1", "queues": ["q"]});
        let work = site.call("/work/claim", claim).await["work"].clone();
        let first = site.settle(verb, &work, extra.clone()).await;
        let rev = site.add(json!({"queue": "other"})).await["rev"].clone();
        let again = site.settle(verb, &work, extra).await;
        assert_eq!((first.get("duplicate"), &again["duplicate"]), (None, &json!(true)), "{verb}");
        assert_eq!(
            (&first["status"], &first["run_at_ms"]),
            (&again["status"], &again["run_at_ms"])
        );
        assert_eq!(first["then"], again["then"], "{verb}: its jobs as they were answered, too");
        assert_eq!(again["rev"], rev, "{verb}: nothing changed since");
    }
}

/// api 1.repeat.newer-grant
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_even_after_a_newer_grant_and_changes_nothing() {
    let (site, first) = held(json!({})).await;
    site.settle("release", &first, json!({})).await;
    let second = site.claim().await;
    let again = site.settle("release", &first, json!({})).await;
    assert_eq!((&again["status"], &again["duplicate"]), (&json!("released"), &json!(true)));
    let job = site.job("j").await;
    assert_eq!((&job["state"], &job["token"]), (&json!("claimed"), &second["token"]));
}

/// api 1.repeat.other-verb
#[tokio::test(flavor = "multi_thread")]
async fn another_verb_under_a_spent_token_is_told_how_it_ended() {
    let site = Site::start().await;
    for (verb, other, ended_as) in [
        ("release", "complete", "released"),
        ("complete", "fail", "completed"),
        ("fail", "release", "failed"),
    ] {
        site.add(json!({"queue": verb})).await;
        let claim = json!({"node_id": "w1", "queues": [verb]});
        let work = site.call("/work/claim", claim).await["work"].clone();
        site.settle(verb, &work, json!({})).await;
        let refused = site.post(&format!("/work/{other}"), &lease(&work).to_string()).await;
        assert_eq!(refused.failed(409, "stale_token")["ended_as"], ended_as);
    }
}

/// api 2.cancel.leased, 2.cancel.told, 2.state.cancelled
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_lease_is_dead_at_once_and_its_worker_is_told() {
    let (site, work) = held(json!({})).await;
    let cancelled = site.call("/work/cancel", json!({"work_id": "j"})).await;
    assert_eq!(cancelled, json!({"status": "cancelled", "work_id": "j", "rev": 3}));
    assert_eq!(site.job("j").await["state"], "cancelled");
    for verb in ["start", "complete", "fail", "release"] {
        let refused = site.post(&format!("/work/{verb}"), &lease(&work).to_string()).await;
        assert_eq!(refused.failed(409, "stale_token")["ended_as"], "cancelled", "{verb}");
    }
    let beaten = beat(&site, json!([lease(&work)])).await;
    assert_eq!(beaten["items"][0]["status"], "cancel_requested");
}

/// api 1.repeat.cancel
#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_cancelled_job_is_a_duplicate() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    let first = site.call("/work/cancel", json!({"work_id": "j"})).await;
    let again = site.call("/work/cancel", json!({"work_id": "j"})).await;
    assert_eq!((first.get("duplicate"), &again["duplicate"]), (None, &json!(true)));
    assert_eq!(first["rev"], again["rev"]);
}

/// api 2.state.terminal
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_state_is_final() {
    let site = Site::start().await;
    for state in ["completed", "failed", "cancelled", "expired"] {
        let expires = if state == "expired" { json!(50) } else { Value::Null };
        site.add(json!({"work_id": state, "expires_in_ms": expires})).await;
        let mut token = json!(1);
        if state == "completed" || state == "failed" {
            let work = site.claim().await;
            token = work["token"].clone();
            let verb = if state == "completed" { "complete" } else { "fail" };
            let no_retry = if verb == "fail" { json!({"retry": false}) } else { json!({}) };
            site.settle(verb, &work, no_retry).await;
        }
        if state == "cancelled" {
            site.call("/work/cancel", json!({"work_id": state})).await;
        }
        assert_eq!(site.ended(state).await["state"], state);
        let start = json!({"work_id": state, "token": token}).to_string();
        site.post("/work/start", &start).await.failed(409, "stale_token");
        site.post("/work/release", &start).await.failed(409, "stale_token");
        if state != "cancelled" {
            let cancel = json!({"work_id": state}).to_string();
            let details = site.post("/work/cancel", &cancel).await.failed(409, "wrong_state");
            assert_eq!(details["state"], state);
        }
        assert_eq!(site.claim().await, Value::Null);
        assert_eq!(site.job(state).await["state"], state);
    }
}
