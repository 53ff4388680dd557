//! The contract of `/work/history`.

use serde_json::json;

use crate::support::{Site, ids};

/// api 2.history
#[tokio::test(flavor = "multi_thread")]
async fn the_history_has_the_finished_jobs_the_newest_first() {
    let site = Site::start().await;
    for (work_id, state) in [
        ("a", "completed"),
        ("b", "failed"),
        ("c", "cancelled"),
        ("d", "expired"),
        ("e", "completed"),
    ] {
        site.end(work_id, state).await;
    }
    site.add(json!({"work_id": "unfinished"})).await;
    let history = async |query: &str| site.get(&format!("/work/history{query}")).await.json();
    let all = history("").await;
    assert_eq!((ids(&all["history"]), &all["count"]), (vec!["e", "d", "c", "b", "a"], &json!(5)));
    assert_eq!(ids(&history("?limit=2").await["history"]), ["e", "d"]);
    assert_eq!(ids(&history("?status=completed").await["history"]), ["e", "a"]);
    assert_eq!(history("?status=completed&limit=1").await["count"], 1);
    for (query, field) in [("?limit=0", "limit"), ("?status=odd", "status")] {
        let refused = site.get(&format!("/work/history{query}")).await;
        assert_eq!(refused.failed(400, "invalid_argument")["field"], field, "{query}");
    }
}
