//! The contract of `POST /work/add` and `/work/add_batch`: each field's default, bounds and effect.
//!
//! `/// api …` names the promises of the table in `docs/api.md` that a test holds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Site;

/// The ids of the jobs that one claim for many gets, in order.
async fn claim_ids(site: &Site) -> Vec<String> {
    let claim = site.call("/work/claim_batch", json!({"node_id": "w1", "max": 1000})).await;
    let items = claim["items"].as_array().unwrap();
    items.iter().map(|work| work["work_id"].as_str().unwrap().to_owned()).collect()
}

/// How long after its last attempt a failed job is to come back, ms.
async fn backoff_of(site: &Site, work: &Value) -> u64 {
    let retrying = site.settle("fail", work, json!({})).await;
    assert_eq!(retrying["status"], "retrying");
    let job = site.job(work["work_id"].as_str().unwrap()).await;
    let ended_at = job["attempts"].as_array().unwrap().last().unwrap()["ended_at_ms"].as_u64();
    retrying["run_at_ms"].as_u64().unwrap() - ended_at.unwrap()
}

/// api 2.add.payload.default, 2.add.queue.default, 2.add.work-type.default, 2.add.priority.default
/// api 2.add.delay.default, 2.add.lease.default, 2.add.max-attempts.default, 2.add.tags.default
/// api 2.add.depends-on.default, 2.add.group.default, 2.add.expires.default
#[tokio::test(flavor = "multi_thread")]
async fn what_an_add_leaves_out_has_the_tables_default() {
    let site = Site::start().await;
    let added = site.add(json!({})).await;
    let job = site.job(added["work_id"].as_str().unwrap()).await;
    assert_eq!((&job["payload"], &job["tags"]), (&json!({}), &json!({})));
    assert_eq!((&job["queue"], &job["work_type"]), (&json!("default"), &json!("default")));
    assert_eq!((&job["priority"], &job["lease_ms"]), (&json!(50), &json!(30_000)));
    assert_eq!((&job["max_attempts"], &job["state"]), (&json!(3), &json!("pending")));
    for absent in ["depends_on", "group", "run_at_ms"] {
        assert_eq!(job.get(absent), None, "{job}");
    }
}

/// api 2.add.payload.any, 2.add.payload.bytes, 2.add.payload.given-back, 2.add.payload.content-type
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_is_any_json_and_comes_back_as_the_bytes_that_came() {
    let site = Site::start().await;
    let texts =
        ["null", "true", "-0.0", "1.50e2", r#""\u00e9""#, "[1, 2 ]", r#"{ "b":1, "a" : 2 }"#];
    for (number, text) in texts.iter().enumerate() {
        let body = format!(r#"{{"work_id":"j{number}","payload":{text}}}"#);
        site.done("/work/add", &body).await;
        let expected = format!(r#""payload":{text}"#);
        let get = site.get(&format!("/work/get/j{number}")).await;
        let claim = site.post("/work/claim", r#"{"node_id":"w"}"#).await;
        for reply in [get, claim] {
            assert_eq!(reply.headers["content-type"], "application/json");
            let shown = String::from_utf8(reply.body).unwrap();
            assert!(shown.contains(&expected), "{text}: {shown}");
        }
    }
}

/// api 2.add.shorthand, 2.add.config
#[tokio::test(flavor = "multi_thread")]
async fn without_a_payload_what_the_table_does_not_name_becomes_it() {
    let site = Site::start().await;
    let short =
        json!({"work_id": "short", "board": "hex8", "priority": 7, "tags": {"a": "b"}, "n": [1]});
    site.add(short).await;
    let job = site.job("short").await;
    assert_eq!(job["payload"], json!({"board": "hex8", "n": [1]}));
    assert_eq!((&job["priority"], &job["tags"]), (&json!(7), &json!({"a": "b"})));
    site.add(json!({"work_id": "other", "config": {"a": 1}})).await;
    assert_eq!(site.job("other").await["payload"], json!({"a": 1}));
}

/// api 2.add.unknown-field
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_payload_an_unknown_field_is_an_error() {
    let site = Site::start().await;
    site.refuses("/work/add", json!({"payload": {}, "board": 1}), "board").await;
    site.refuses("/work/add", json!({"config": {}, "board": 1}), "board").await;
    site.refuses("/work/add", json!({"payload": 1, "config": 2}), "config").await;
    assert_eq!(site.get("/work/status").await.json()["total_items"], 0);
}

/// api 2.add.work-id.made, 1.repeat.add-id
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_not_given_is_a_ulid_of_the_servers() {
    let site = Site::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(site.add(json!({})).await["work_id"].as_str().unwrap().to_owned());
    }
    let is_crockford = |id: &String| {
        id.len() == 26 && id.chars().all(|c| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(c))
    };
    assert!(ids.iter().all(is_crockford), "{ids:?}");
    assert!(ids.is_sorted() && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

/// api 2.add.work-id.alphabet, 2.add.queue.alphabet, 2.add.queue.slash, 2.add.work-type.alphabet
#[tokio::test(flavor = "multi_thread")]
async fn names_have_their_alphabets_and_lengths() {
    let site = Site::start().await;
    let long = |length: usize| "x".repeat(length);
    for (field, longest, good) in
        [("work_id", 128, "aZ09._:-"), ("queue", 128, "aZ09._-"), ("work_type", 64, "aZ09._-")]
    {
        for name in [good.to_owned(), long(1), long(longest)] {
            let mut job = json!({"payload": 1});
            job[field] = name.clone().into();
            assert_eq!(site.add(job).await[field], name, "{field}");
        }
        for name in [String::new(), long(longest + 1), "a b".into(), "a/b".into(), "ä".into()] {
            let mut job = json!({"payload": 1});
            job[field] = name.into();
            site.refuses("/work/add", job, field).await;
        }
    }
    site.refuses("/work/add", json!({"queue": "a:b"}), "queue").await;
    site.refuses("/work/add", json!({"work_type": "a:b"}), "work_type").await;
}

/// api 2.add.work-id.kept, 2.add.work-id.key
#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_the_jobs_as_long_as_it_is_kept_whatever_has_become_of_it() {
    let site = Site::start().await;
    let job = json!({"work_id": "j", "payload": {"a": 1}});
    site.add(job.clone()).await;
    for state in ["pending", "claimed", "completed"] {
        let again = site.add(job.clone()).await;
        assert_eq!((&again["duplicate"], &again["state"]), (&json!(true), &json!(state)));
        let other = json!({"work_id": "j", "payload": {"a": 2}}).to_string();
        site.post("/work/add", &other).await.failed(409, "id_conflict");
        match state {
            "pending" => drop(site.claim().await),
            "claimed" => {
                let token = site.job("j").await["token"].clone();
                site.settle("complete", &json!({"work_id": "j", "token": token}), json!({})).await;
            }
            _ => {}
        }
    }
    assert_eq!(site.get("/work/status").await.json()["total_items"], 1);
}

/// api 2.add.priority.range
#[tokio::test(flavor = "multi_thread")]
async fn a_priority_is_an_integer_from_0_to_100() {
    let site = Site::start().await;
    for priority in [json!(-1), json!(101), json!(1.5), json!("high"), json!([])] {
        site.refuses("/work/add", json!({"priority": priority}), "priority").await;
    }
    for priority in [0, 100] {
        assert_eq!(site.add(json!({"priority": priority})).await["priority"], priority);
    }
}

/// api 2.add.priority.higher-first, 2.add.priority.fifo
#[tokio::test(flavor = "multi_thread")]
async fn higher_priorities_go_first_and_equal_ones_in_the_order_of_their_adds() {
    let site = Site::start().await;
    for (work_id, priority) in [("a", 50), ("b", 0), ("c", 100), ("d", 50), ("e", 100), ("f", 0)] {
        site.add(json!({"work_id": work_id, "priority": priority})).await;
    }
    assert_eq!(claim_ids(&site).await, ["c", "e", "a", "d", "b", "f"]);
}

/// api 2.add.delay.not-before, 2.state.scheduled
#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_job_is_scheduled_and_handed_out_no_earlier() {
    let site = Site::start().await;
    let start = Instant::now();
    site.add(json!({"work_id": "j", "delay_ms": 300})).await;
    let job = site.job("j").await;
    assert_eq!(job["state"], "scheduled");
    assert_eq!(job["run_at_ms"].as_u64(), job["added_at_ms"].as_u64().map(|at| at + 300));
    assert_eq!(site.claim().await, Value::Null);
    assert_eq!(site.claim_soon().await["work_id"], "j");
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
}

/// api 2.add.run-at
#[tokio::test(flavor = "multi_thread")]
async fn an_instant_may_be_named_instead_of_a_delay() {
    let site = Site::start().await;
    let far = 4_102_444_800_000_u64;
    site.add(json!({"work_id": "far", "run_at_ms": far})).await;
    let job = site.job("far").await;
    assert_eq!((&job["state"], &job["run_at_ms"]), (&json!("scheduled"), &json!(far)));
    assert_eq!(site.add(json!({"run_at_ms": 1})).await["state"], "pending", "it is past");
    site.refuses("/work/add", json!({"delay_ms": 1, "run_at_ms": 1}), "run_at_ms").await;
    site.refuses("/work/add", json!({"delay_ms": -1}), "delay_ms").await;
}

/// api 2.add.lease.range, 2.add.lease.granted, 2.add.lease.timeout-seconds, 2.claim.lease
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_the_jobs_own_unless_the_claim_asks_otherwise() {
    let site = Site::start().await;
    for lease_ms in [99, 43_200_001] {
        site.refuses("/work/add", json!({"lease_ms": lease_ms}), "lease_ms").await;
    }
    site.refuses("/work/add", json!({"timeout_seconds": 43_201}), "timeout_seconds").await;
    for (field, value, lease_ms) in [
        ("lease_ms", 43_200_000, 43_200_000),
        ("lease_ms", 5000, 5000),
        ("timeout_seconds", 60, 60_000),
    ] {
        let mut job = json!({});
        job[field] = value.into();
        site.add(job).await;
        let work = site.claim().await;
        assert_eq!(work["lease_ms"], lease_ms);
        assert!(work["lease_expires_in_ms"].as_u64().unwrap() <= lease_ms, "{work}");
    }
    site.add(json!({"lease_ms": 5000})).await;
    let asked = site.call("/work/claim", json!({"node_id": "w", "lease_ms": 7000})).await;
    assert_eq!(asked["work"]["lease_ms"], 7000);
    assert_eq!(site.add(json!({"lease_ms": 100})).await["state"], "pending");
}

/// api 2.add.max-attempts.range, 2.add.max-attempts.grant-counts, 2.add.max-attempts.release
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_counts_as_an_attempt_until_it_is_released() {
    let site = Site::start().await;
    for max_attempts in [0, 1001] {
        site.refuses("/work/add", json!({"max_attempts": max_attempts}), "max_attempts").await;
    }
    site.add(json!({"max_attempts": 1000, "delay_ms": "1h"})).await;
    site.add(json!({"work_id": "j", "max_attempts": 1})).await;
    let work = site.claim().await;
    assert_eq!((&work["attempt"], &work["max_attempts"]), (&json!(1), &json!(1)));
    assert_eq!(site.job("j").await["attempt"], 1);
    site.settle("release", &work, json!({})).await;
    assert_eq!(site.job("j").await["attempt"], 0);
    let again = site.claim().await;
    assert_eq!(again["attempt"], 1, "it was given back");
    assert_eq!(site.settle("fail", &again, json!({})).await["status"], "failed");
}

/// api 2.add.max-attempts.lost, 2.add.max-attempts.lost-apart, 2.add.max-attempts.lost-place
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_attempt_counts_is_shown_apart_and_costs_neither_a_place_nor_a_backoff() {
    let site = Site::start().await;
    let backoff = json!({"initial_ms": "1h", "max_ms": "1h"});
    site.add(json!({"work_id": "a", "lease_ms": 100, "backoff": backoff})).await;
    site.claim().await;
    site.add(json!({"work_id": "b"})).await;
    let job = site.job_when("a", "attempts_lost", json!(1)).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("pending"), &json!(1)));
    assert_eq!(job["attempts"][0]["end"], "expired");
    let work = site.call("/work/claim", json!({"node_id": "w2", "lease_ms": "1h"})).await;
    assert_eq!((&work["work"]["work_id"], &work["work"]["attempt"]), (&json!("a"), &json!(2)));
}

/// api 2.add.max-attempts.last-lost
#[tokio::test(flavor = "multi_thread")]
async fn losing_the_last_attempt_makes_a_job_failed() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j", "lease_ms": 100, "max_attempts": 1})).await;
    site.claim().await;
    let job = site.ended("j").await;
    assert_eq!((&job["state"], &job["attempts_lost"]), (&json!("failed"), &json!(1)));
}

/// api 2.add.backoff.default
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_backs_off_a_second_more_or_less_a_tenth_unless_it_says_otherwise() {
    let site = Site::start().await;
    site.add(json!({"work_id": "j"})).await;
    let work = site.claim().await;
    let backoff_ms = backoff_of(&site, &work).await;
    assert!((900..=1100).contains(&backoff_ms), "{backoff_ms}");
    let job = site.job("j").await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("scheduled"), &json!(1)));
    // What is not given has its default: it doubles, up to five minutes.
    let doubled = backoffs(&site, "doubled", json!({"jitter": 0.0}), 3).await;
    assert_eq!(doubled, [4_000]);
    let long = json!({"initial_ms": "100s", "jitter": 0.0});
    assert_eq!(backoffs(&site, "long", long, 3).await, [300_000]);
}

/// The backoffs after the attempts of a job that waits in between as short as can be.
async fn backoffs(site: &Site, work_id: &str, backoff: Value, attempts: usize) -> Vec<u64> {
    site.add(json!({"work_id": work_id, "max_attempts": 10, "backoff": backoff})).await;
    let mut waits = Vec::new();
    for attempt in 1..=attempts {
        let work = site.claim_soon().await;
        assert_eq!(work["attempt"], attempt);
        if attempt < attempts {
            site.settle("fail", &work, json!({"retry_in_ms": 0})).await;
        } else {
            waits.push(backoff_of(site, &work).await);
        }
    }
    waits
}

/// api 2.add.backoff.factor, 2.add.backoff.max, 2.add.backoff.thousandths
#[tokio::test(flavor = "multi_thread")]
async fn a_backoff_grows_by_its_factor_to_its_maximum_in_thousandths() {
    let site = Site::start().await;
    for (work_id, factor, attempts, expected) in [
        ("first", 3.0, 1, 100_000),
        ("second", 3.0, 2, 300_000),
        ("third", 3.0, 3, 500_000),
        ("thousandths", 1.0011, 2, 100_100),
        ("rounded", 1.0004, 2, 100_000),
    ] {
        let backoff =
            json!({"initial_ms": "100s", "factor": factor, "max_ms": 500_000, "jitter": 0.0004});
        assert_eq!(backoffs(&site, work_id, backoff, attempts).await, [expected], "{work_id}");
    }
    for (backoff, field) in [
        (json!({"factor": 0.9}), "backoff.factor"),
        (json!({"jitter": 1.1}), "backoff.jitter"),
        (json!({"initial_ms": -1}), "backoff.initial_ms"),
        (json!({"cap_ms": 1}), "backoff.cap_ms"),
    ] {
        site.refuses("/work/add", json!({"backoff": backoff}), field).await;
    }
}

/// api 2.add.backoff.jitter
#[tokio::test(flavor = "multi_thread")]
async fn a_backoffs_jitter_is_that_of_the_jobs_id_and_attempt_on_every_server() {
    let (one, other) = tokio::join!(Site::start(), Site::start());
    let backoff = json!({"initial_ms": 1_000_000, "factor": 1, "max_ms": "1h", "jitter": 0.5});
    let mut drawn = Vec::new();
    for (work_id, attempts) in [("a", 1), ("b", 1), ("c", 2)] {
        let wait = backoffs(&one, work_id, backoff.clone(), attempts).await;
        assert_eq!(wait, backoffs(&other, work_id, backoff.clone(), attempts).await);
        assert!((500_000..=1_500_000).contains(&wait[0]), "{wait:?}");
        drawn.extend(wait);
    }
    assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2], "{drawn:?}");
}

/// api 2.add.expires.unclaimed, 2.add.expires.claimed, 2.state.expired
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_claims_in_time_expires_and_one_claimed_once_never_does() {
    let site = Site::start().await;
    site.add(json!({"work_id": "kept", "expires_in_ms": 30_000})).await;
    let work = site.claim().await;
    site.settle("release", &work, json!({"delay_ms": "1h"})).await;
    site.add(json!({"work_id": "lost", "expires_in_ms": 50})).await;
    assert_eq!(site.ended("lost").await["state"], "expired");
    assert_eq!(site.claim().await, Value::Null);
    assert_eq!(site.job("kept").await["state"], "scheduled");
    site.refuses("/work/add", json!({"expires_in_ms": 0}), "expires_in_ms").await;
}

/// api 2.add.depends-on.known, 2.add.depends-on.batch, 2.add.depends-on.blocked, 2.state.blocked
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_blocked_until_all_it_depends_on_is_completed() {
    let site = Site::start().await;
    site.add(json!({"work_id": "a"})).await;
    let items = json!([{"work_id": "c", "depends_on": ["b", "a"]}, {"work_id": "b"}]);
    site.call("/work/add_batch", json!({"items": items})).await;
    for done in ["a", "b"] {
        assert_eq!(site.job("c").await["state"], "blocked");
        let work = site.claim().await;
        assert_eq!(work["work_id"], done);
        site.settle("complete", &work, json!({})).await;
    }
    assert_eq!(site.claim().await["work_id"], "c");
}

/// api 2.add.depends-on.unknown, 2.add.depends-on.itself
#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_nobody_knows_is_invalid_and_itself_a_circle() {
    let site = Site::start().await;
    site.refuses("/work/add", json!({"work_id": "a", "depends_on": ["no"]}), "depends_on").await;
    let itself = json!({"work_id": "a", "depends_on": ["a"]}).to_string();
    site.post("/work/add", &itself).await.failed(409, "dependency_cycle");
    site.get("/work/get/a").await.failed(404, "not_found");
}

/// api 2.add.depends-on.fails, 2.add.depends-on.run
#[tokio::test(flavor = "multi_thread")]
async fn a_dependency_that_ends_otherwise_fails_the_job_unless_it_is_to_run() {
    let site = Site::start().await;
    for (number, how) in ["cancelled", "failed", "expired"].into_iter().enumerate() {
        let [first, fails, runs] = ["first", "fails", "runs"].map(|name| format!("{name}{number}"));
        let expires = if how == "expired" { json!(50) } else { Value::Null };
        site.add(json!({"work_id": first, "expires_in_ms": expires})).await;
        site.add(json!({"work_id": fails, "depends_on": [first]})).await;
        let runs_on =
            json!({"work_id": runs, "depends_on": [first], "on_dependency_failure": "run"});
        site.add(runs_on).await;
        match how {
            "cancelled" => drop(site.call("/work/cancel", json!({"work_id": first})).await),
            "failed" => {
                let work = site.claim().await;
                site.settle("fail", &work, json!({"retry": false})).await;
            }
            _ => {}
        }
        assert_eq!(site.ended(&first).await["state"], how);
        let failed = site.ended(&fails).await;
        assert_eq!(failed["state"], "failed");
        assert_eq!(failed["error"], format!("its dependency {first} is {how}"));
        let work = site.claim_soon().await;
        assert_eq!(work["work_id"], runs);
        site.settle("complete", &work, json!({})).await;
    }
}

/// api 2.add.group.one, 2.add.group.add-order, 2.add.group.priority, 2.add.group.others
#[tokio::test(flavor = "multi_thread")]
async fn one_job_of_a_group_is_leased_at_a_time_in_the_order_of_their_adds() {
    let site = Site::start().await;
    for (work_id, group, priority) in
        [("g1", "g", 10), ("g2", "g", 100), ("h1", "h", 20), ("h2", "h", 0)]
    {
        site.add(json!({"work_id": work_id, "group": group, "priority": priority})).await;
    }
    let first = site.claim().await;
    assert_eq!(first["work_id"], "h1", "of two heads the higher one, whatever stands behind them");
    assert_eq!(claim_ids(&site).await, ["g1"], "one of each group");
    site.settle("complete", &first, json!({})).await;
    assert_eq!(claim_ids(&site).await, ["h2"]);
}

/// api 2.add.group.head-holds, 2.add.group.finished-frees
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_go_yet_holds_its_group_and_a_finished_one_frees_it() {
    let site = Site::start().await;
    site.add(json!({"work_id": "gate", "queue": "elsewhere"})).await;
    let heads = [
        ("delayed", json!({"delay_ms": "1h"})),
        ("blocked", json!({"depends_on": ["gate"]})),
        ("backing", json!({"backoff": {"initial_ms": "1h", "max_ms": "1h"}})),
    ];
    for (group, extra) in &heads {
        let mut head = json!({"work_id": format!("{group}-1"), "group": group});
        head.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        site.add(head).await;
        if *group == "backing" {
            let here = json!({"node_id": "w", "queues": ["default"]});
            let work = site.call("/work/claim", here).await["work"].clone();
            site.settle("fail", &work, json!({})).await;
        }
        site.add(json!({"work_id": format!("{group}-2"), "group": group})).await;
    }
    let here = json!({"node_id": "w", "queues": ["default"]});
    assert_eq!(site.call("/work/claim", here.clone()).await["work"], Value::Null);
    for (group, _) in &heads {
        site.call("/work/cancel", json!({"work_id": format!("{group}-1")})).await;
        let freed = site.call("/work/claim", here.clone()).await["work"].clone();
        assert_eq!(freed["work_id"], format!("{group}-2"));
    }
}

/// api 2.add.tags
#[tokio::test(flavor = "multi_thread")]
async fn tags_are_at_most_sixteen_strings_and_are_shown() {
    let site = Site::start().await;
    let tags =
        |count: usize| -> Value { (0..count).map(|n| (n.to_string(), json!("v"))).collect() };
    site.add(json!({"work_id": "j", "tags": tags(16)})).await;
    assert_eq!(site.claim().await["tags"], tags(16));
    assert_eq!(site.job("j").await["tags"], tags(16));
    for wrong in [tags(17), json!({"a": 1}), json!(["a"])] {
        site.refuses("/work/add", json!({"tags": wrong}), "tags").await;
    }
}

/// api 2.add.answer
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_add_has_the_contracts_fields() {
    let site = Site::start().await;
    let job = json!({"work_id": "j", "work_type": "selfplay"});
    let expected = json!({"status": "added", "work_id": "j", "queue": "default",
        "work_type": "selfplay", "priority": 50, "state": "pending", "duplicate": false, "rev": 1});
    assert_eq!(site.add(job).await, expected);
}

/// api 2.add-batch.answer, 2.add-batch.max
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_with_the_id_of_each_item_and_has_at_most_a_thousand() {
    let site = Site::start().await;
    let items = json!([{"work_id": "b"}, {"work_id": "a"}]);
    let added = site.call("/work/add_batch", json!({"items": items})).await;
    let expected = json!({"status": "added", "count": 2, "work_ids": ["b", "a"], "rev": 2,
        "items": [{"work_id": "b", "duplicate": false}, {"work_id": "a", "duplicate": false}]});
    assert_eq!(added, expected);
    let many = vec![json!({}); 1001];
    site.refuses("/work/add_batch", json!({"items": many}), "items").await;
    let most = site.call("/work/add_batch", json!({"items": many[1..]})).await;
    assert_eq!(most["count"], 1000);
}

/// api 2.add-batch.all-or-nothing, 2.add-batch.index
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_item_rejects_a_whole_batch_and_is_named() {
    let site = Site::start().await;
    site.add(json!({"work_id": "known"})).await;
    for (bad, status, code) in [
        (json!({"priority": 101}), 400, "invalid_argument"),
        (json!({"depends_on": ["no"]}), 400, "invalid_argument"),
        (json!({"work_id": "known", "payload": 2}), 409, "id_conflict"),
    ] {
        let items = json!({"items": [{"work_id": "good"}, bad]}).to_string();
        let details = site.post("/work/add_batch", &items).await.failed(status, code);
        assert_eq!(details["index"], 1);
        site.get("/work/get/good").await.failed(404, "not_found");
    }
}

/// api 2.add-batch.each, 2.add-batch.each-count
#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_batch_that_is_not_atomic_answers_for_itself() {
    let site = Site::start().await;
    site.add(json!({"work_id": "known"})).await;
    let items = json!([{"work_id": "a"}, {"queue": "/"}, {"work_id": "known", "payload": 2},
        {"work_id": "known"}]);
    let added = site.call("/work/add_batch", json!({"items": items, "atomic": false})).await;
    assert_eq!((&added["count"], &added["work_ids"]), (&json!(2), &json!(["a", "known"])));
    let code = |index: usize| added["items"][index]["code"].clone();
    assert_eq!((code(1), code(2)), (json!("invalid_argument"), json!("id_conflict")));
    assert!(added["items"][1]["error"].is_string(), "{added}");
    assert_eq!(added["items"][3], json!({"work_id": "known", "duplicate": true}));
}
