//! The contract of `/work/list` and `/work/retry`.

use serde_json::{Value, json};

use crate::support::{Site, ids};

/// A page of the list.
async fn page(site: &Site, query: &str) -> Value {
    let reply = site.get(&format!("/work/list?{query}")).await;
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    reply.json()
}

/// api 2.list.answer, 2.list.order, 2.list.items
#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_every_job_in_the_order_of_their_adds_as_get_shows_them() {
    let site = Site::start().await;
    site.end("z", "completed").await;
    for (work_id, priority) in [("b", 1), ("a", 99)] {
        site.add(json!({"work_id": work_id, "priority": priority, "payload": {"n": 1}})).await;
    }
    let listed = page(&site, "").await;
    assert_eq!((ids(&listed["items"]), &listed["next"]), (vec!["z", "b", "a"], &Value::Null));
    let mut job = site.job("b").await;
    assert_eq!(listed["rev"], job["rev"]);
    job.as_object_mut().unwrap().remove("rev");
    assert_eq!(listed["items"][1], job);
}

/// api 2.list.filters, 2.list.states
#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_by_queue_state_kind_and_tag() {
    let site = Site::start().await;
    site.end("done", "completed").await;
    site.end("lost", "failed").await;
    for (work_id, queue, kind, tag) in
        [("a", "q", "t", "x"), ("b", "q", "u", "y"), ("c", "r", "t", "x:1")]
    {
        let tags = json!({"k": tag});
        site.add(json!({"work_id": work_id, "queue": queue, "work_type": kind, "tags": tags}))
            .await;
    }
    for (query, expected) in [
        ("queue=q", &["a", "b"][..]),
        ("work_type=t", &["a", "c"]),
        ("tag=k:x", &["a"]),
        ("tag=k:x:1", &["c"]),
        ("state=pending", &["a", "b", "c"]),
        ("state=completed,failed", &["done", "lost"]),
        ("queue=q&work_type=u&state=pending", &["b"]),
        ("queue=nowhere", &[]),
    ] {
        assert_eq!(ids(&page(&site, query).await["items"]), expected, "{query}");
    }
    for (query, field) in [
        ("queue=%2F", "queue"),
        ("state=odd", "state"),
        ("work_type=%2F", "work_type"),
        ("tag=k", "tag"),
        ("odd=1", "odd"),
    ] {
        let refused = site.get(&format!("/work/list?{query}")).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], field, "{query}");
    }
}

/// api 2.list.limit, 2.list.after
#[tokio::test(flavor = "multi_thread")]
async fn the_list_comes_in_pages_and_a_bad_cursor_is_named() {
    let site = Site::start().await;
    let items: Vec<_> = (0..250).map(|n| json!({"work_id": format!("j{n:03}")})).collect();
    site.call("/work/add_batch", json!({"items": items})).await;
    let expected: Vec<_> = (0..250).map(|n| format!("j{n:03}")).collect();
    for (limit, first_page) in [("", 100), ("limit=125&", 125), ("limit=1000&", 250)] {
        let mut found = Vec::new();
        let mut query = limit.to_owned();
        loop {
            let listed = page(&site, &query).await;
            let of_page = ids(&listed["items"]);
            assert!(!found.is_empty() || of_page.len() == first_page, "{query}");
            found.extend(of_page.into_iter().map(str::to_owned));
            let Some(next) = listed["next"].as_str() else { break };
            query = format!("{limit}after={next}");
        }
        assert_eq!(found, expected);
    }
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("after=!", "after")] {
        let refused = site.get(&format!("/work/list?{query}")).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], field, "{query}");
    }
}

/// api 2.retry.one, 2.retry.answer, 2.retry.history, 2.state.retry
#[tokio::test(flavor = "multi_thread")]
async fn a_retried_job_has_a_fresh_count_of_attempts_and_its_history() {
    let site = Site::start().await;
    for state in ["completed", "failed", "cancelled", "expired"] {
        site.end(state, state).await;
        let retried = site.call("/work/retry", json!({"work_id": state})).await;
        let rev = &retried["rev"];
        let expected = json!({"status": "retried", "count": 1, "work_ids": [state],
            "dry_run": false, "rev": rev});
        assert_eq!(retried, expected);
        let job = site.job(state).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("pending"), &json!(0)));
        let had_an_attempt = state == "completed" || state == "failed";
        assert_eq!(job["attempts"].as_array().unwrap().len(), usize::from(had_an_attempt));
        let work = site.claim().await;
        assert_eq!((&work["work_id"], &work["attempt"]), (&json!(state), &json!(1)));
        site.settle("complete", &work, json!({})).await;
    }
    let lost = site.job("failed").await;
    assert_eq!(
        (&lost["attempts"][0]["end"], &lost["attempts"][0]["error"]),
        (&json!("failed"), &json!("boom"))
    );
}

/// api 2.retry.wrong-state
#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_job_is_not_retried() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    let retry = async || site.post("/work/retry", r#"{"work_id":"j"}"#).await;
    assert_eq!(retry().await.failed(409, "wrong_state")["state"], "pending");
    site.claim().await;
    assert_eq!(retry().await.failed(409, "wrong_state")["state"], "claimed");
    site.post("/work/retry", r#"{"work_id":"no"}"#).await.failed(404, "not_found");
}

/// api 2.retry.bulk, 2.retry.dry-run, 2.retry.bulk.limit
#[tokio::test(flavor = "multi_thread")]
async fn the_failed_jobs_of_a_queue_are_retried_together_or_only_named() {
    let site = Site::start().await;
    for work_id in ["a", "b", "c"] {
        site.end(work_id, "failed").await;
    }
    site.end("done", "completed").await;
    let rev = site.job("a").await["rev"].clone();
    let dry = site.call("/work/retry", json!({"queue": "ending", "dry_run": true})).await;
    let expected = json!({"status": "retried", "count": 3, "work_ids": ["a", "b", "c"],
        "dry_run": true, "rev": rev});
    assert_eq!(dry, expected, "nothing is changed");
    assert_eq!(site.job("a").await["state"], "failed");
    let two = site.call("/work/retry", json!({"queue": "ending", "limit": 2})).await;
    assert_eq!((&two["count"], &two["work_ids"]), (&json!(2), &json!(["a", "b"])));
    let completed = json!({"queue": "ending", "state": "completed"});
    assert_eq!(site.call("/work/retry", completed).await["work_ids"], json!(["done"]));
    for (work_id, state) in
        [("a", "pending"), ("b", "pending"), ("c", "failed"), ("done", "pending")]
    {
        assert_eq!(site.job(work_id).await["state"], state, "{work_id}");
    }
    for (body, field) in [
        (json!({"queue": "ending", "limit": 0}), "limit"),
        (json!({"queue": "ending", "limit": 1001}), "limit"),
        (json!({"queue": "ending", "state": "pending"}), "state"),
        (json!({"queue": "ending", "dry_run": "no"}), "dry_run"),
    ] {
        site.refuses("/work/retry", body, field).await;
    }
}

/// api 1.repeat.rest.retry
#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_retry_under_the_same_request_id_is_done_once() {
    let site = Site::start().await;
    for work_id in ["a", "b"] {
        site.end(work_id, "failed").await;
    }
    let bulk = json!({"queue": "ending", "limit": 1, "request_id": "r1"});
    let first = site.call("/work/retry", bulk.clone()).await;
    let again = site.call("/work/retry", bulk).await;
    assert_eq!((&first["work_ids"], &again["work_ids"]), (&json!(["a"]), &json!(["a"])));
    assert_eq!((first.get("duplicate"), &again["duplicate"]), (None, &json!(true)));
    assert_eq!(site.job("b").await["state"], "failed", "the repeat did nothing more");
    let other = json!({"queue": "ending", "limit": 2, "request_id": "r1"}).to_string();
    site.post("/work/retry", &other).await.failed(409, "id_conflict");
}
