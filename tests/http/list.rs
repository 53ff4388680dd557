//! Lists of jobs: in add order, page by page, only what was asked for.

use serde_json::{Value, json};

use crate::support::Site;

fn ids(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|job| job["work_id"].as_str().unwrap()).collect()
}

async fn list(site: &Site, query: &str) -> Value {
    let reply = site.get(&format!("/work/list?{query}")).await;
    assert_eq!(reply.status, 200, "{query}: {reply:?}");
    reply.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_in_add_order_and_goes_on_where_it_ended() {
    let site = Site::start().await;
    let items: Vec<_> = (0..5).map(|n| format!(r#"{{"work_id":"j{n}","priority":{n}}}"#)).collect();
    site.done("/work/add_batch", &format!(r#"{{"items":[{}]}}"#, items.join(","))).await;
    let all = list(&site, "").await;
    assert_eq!((ids(&all), &all["next"]), (vec!["j0", "j1", "j2", "j3", "j4"], &Value::Null));
    let one = site.get("/work/get/j3").await.json();
    assert_eq!((&all["items"][3]["payload"], &all["rev"]), (&one["payload"], &one["rev"]));
    assert_eq!(all["items"][3]["added_at_ms"], one["added_at_ms"]);
    let first = list(&site, "limit=2").await;
    assert_eq!(ids(&first), ["j0", "j1"]);
    // What comes and goes between two pages moves nothing of the rest.
    site.done("/work/cancel", r#"{"work_id":"j1"}"#).await;
    site.done("/work/add", r#"{"work_id":"j5","priority":100}"#).await;
    let next = first["next"].as_str().unwrap();
    let second = list(&site, &format!("limit=3&after={next}")).await;
    assert_eq!(ids(&second), ["j2", "j3", "j4"]);
    let next = second["next"].as_str().unwrap();
    let last = list(&site, &format!("limit=3&after={next}")).await;
    assert_eq!((ids(&last), &last["next"]), (vec!["j5"], &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_only_what_agrees_with_everything_named() {
    let site = Site::start().await;
    for job in [
        r#"{"work_id":"a","queue":"q","work_type":"t","tags":{"env":"prod","team":"x"}}"#,
        r#"{"work_id":"b","queue":"q","work_type":"u","tags":{"env":"prod","at":"1:2, 3"}}"#,
        r#"{"work_id":"c","queue":"r","work_type":"t","tags":{"env":"test"}}"#,
        r#"{"work_id":"d","queue":"r","work_type":"t","delay_ms":"1h"}"#,
    ] {
        site.done("/work/add", job).await;
    }
    site.done("/work/cancel", r#"{"work_id":"c"}"#).await;
    for (query, expected) in [
        ("queue=q", vec!["a", "b"]),
        ("work_type=t", vec!["a", "c", "d"]),
        ("queue=r&work_type=t&state=scheduled", vec!["d"]),
        ("state=cancelled,scheduled", vec!["c", "d"]),
        ("state=cancelled&state=pending", vec!["a", "b", "c"]),
        ("tag=env:prod", vec!["a", "b"]),
        ("tag=env:prod&tag=team:x", vec!["a"]),
        ("tag=at:1:2,%203", vec!["b"]),
        ("tag=env:prod&queue=r", vec![]),
        ("queue=none", vec![]),
        ("consistency=stale&limit=1000", vec!["a", "b", "c", "d"]),
    ] {
        let page = list(&site, query).await;
        assert_eq!((ids(&page), &page["next"]), (expected, &Value::Null), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_parameter_of_a_list_is_named() {
    let site = Site::start().await;
    for (query, field) in [
        ("state=dead", "state"),
        ("tag=plain", "tag"),
        ("limit=1001", "limit"),
        ("after=7", "after"),
        ("after=c1-%2B7", "after"),
        ("order=desc", "order"),
    ] {
        let refused = site.get(&format!("/work/list?{query}")).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], field, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_at_most_eight_mebibytes() {
    let site = Site::start().await;
    let payload = "x".repeat(1_000_000);
    for number in 0..10 {
        let body = format!(r#"{{"work_id":"j{number}","payload":"{payload}"}}"#);
        site.done("/work/add", &body).await;
    }
    let first = site.get("/work/list").await;
    assert!(first.body.len() <= (8 << 20) + 1000, "{}", first.body.len());
    let first = first.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 8);
    let next = first["next"].as_str().unwrap();
    let rest = list(&site, &format!("after={next}")).await;
    assert_eq!((ids(&rest), &rest["next"]), (vec!["j8", "j9"], &json!(null)));
}

// Situation: the one job that fits stands behind more jobs than one look at the state takes in. Claim:
// it is on the first page all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_filled_over_many_looks() {
    let site = Site::start().await;
    let items = vec!["{}"; 1000].join(",");
    for _ in 0..11 {
        site.done("/work/add_batch", &format!(r#"{{"items":[{items}]}}"#)).await;
    }
    site.done("/work/add", r#"{"work_id":"last","queue":"q"}"#).await;
    let page = list(&site, "queue=q").await;
    assert_eq!((ids(&page), &page["next"]), (vec!["last"], &Value::Null));
}
