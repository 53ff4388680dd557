//! The verbs of whoever runs the queue, against a single voter: lists, retries, queues, workers.

use serde_json::Value;

use crate::harness::{PATIENCE, Server, User, until};

/// A user whose commands find the server.
fn user_and_server() -> (User, Server) {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    (user, server)
}

/// Adds jobs of these ids to a queue.
#[track_caller]
fn add(user: &User, queue: &str, ids: &[&str]) {
    for id in ids {
        user.queue(&["add", queue, "--id", id, "--max-attempts", "1"]).with_code(0);
    }
}

/// Claims a job of a queue for `w` and has it fail for good.
#[track_caller]
fn fail_next(user: &User, queue: &str) {
    let claimed = user.queue(&["claim", queue, "--worker", "w"]).with_code(0);
    let (id, token) = claimed.split_once(' ').unwrap();
    user.queue(&["fail", id, "--token", token, "--error", "boom"]).with_code(0);
}

fn json(user: &User, words: &[&str]) -> Value {
    serde_json::from_str(&user.queue(&[words, &["-o", "json"]].concat()).with_code(0)).unwrap()
}

/// Adds `count` jobs `j-1` … to a queue.
#[track_caller]
fn import(user: &User, queue: &str, count: u32) {
    let line = |n| format!("{{\"queue\": \"{queue}\", \"payload\": {n}}}\n");
    let file = user.write("jobs.ndjson", &(1..=count).map(line).collect::<String>());
    user.queue(&["add", "--file", &file, "--import-id", "j", "--in-flight", "1"]).with_code(0);
}

#[test]
fn jobs_are_listed_in_the_order_of_adding_and_filtered() {
    let (user, _server) = user_and_server();
    assert_eq!(user.queue(&["list"]).with_code(0), "", "nothing is nothing to scripts");
    assert_eq!(user.queue(&["list", "-o", "table"]).with_code(0).trim(), "no jobs");
    add(&user, "mail", &["b", "a"]);
    user.queue(&["add", "other", "--id", "c", "--type", "t", "--tag", "k=v w:1"]).with_code(0);
    fail_next(&user, "mail");
    for (words, expected) in [
        (&[][..], "b\na\nc"),
        (&["mail"], "b\na"),
        (&["--queue", "other"], "c"),
        (&["--state", "failed"], "b"),
        (&["--state", "failed,pending", "mail"], "b\na"),
        (&["--type", "t"], "c"),
        (&["--tag", "k=v w:1"], "c"),
        (&["--tag", "k=v"], ""),
        (&["nowhere"], ""),
    ] {
        assert_eq!(user.queue(&[&["list"], words].concat()).with_code(0), expected, "{words:?}");
    }
    let table = user.queue(&["list", "-o", "table"]).with_code(0);
    assert!(table.contains("WORK ID") && table.contains("failed"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let first = user.queue(&["list", "-o", "jsonl", "--limit", "1"]).with_code(0);
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["error"], "boom");
}

// Situation: 2500 jobs, so three pages. Claim: `--all` shows each once, in each format, and JSON is one
// object; a list that ends before says where to go on.
#[test]
fn a_long_list_takes_many_requests_and_is_one_answer() {
    let (user, _server) = user_and_server();
    import(&user, "mail", 2500);
    let expected: Vec<String> = (1..=2500).map(|n| format!("j-{n}")).collect();
    let all = user.queue(&["list", "--all"]).with_code(0);
    assert_eq!(all.lines().collect::<Vec<_>>(), expected);
    let list = json(&user, &["list", "--all"]);
    assert_eq!(list["items"].as_array().unwrap().len(), 2500);
    assert_eq!((&list["items"][2499]["work_id"], &list["next"]), (&"j-2500".into(), &Value::Null));
    assert!(list["rev"].as_u64().unwrap() >= 2500);
    let some = json(&user, &["list", "--limit", "1200"]);
    assert_eq!(some["items"].as_array().unwrap().len(), 1200);
    let rest = user.queue(&["list", "--all", "--after", some["next"].as_str().unwrap()]);
    assert_eq!(rest.with_code(0).lines().collect::<Vec<_>>(), expected[1200..]);
    assert_eq!(user.queue(&["list"]).with_code(0).lines().count(), 100);
    let table = user.queue(&["list", "-o", "table"]).with_code(0);
    assert!(table.lines().last().unwrap().contains("--all"), "{table}");
    let complaint = user.queue(&["list", "--after", "j-7"]).complaint(2);
    assert!(complaint.contains("after"), "{complaint}");
}

#[test]
fn a_dead_letter_is_retried_by_its_id() {
    let (user, _server) = user_and_server();
    add(&user, "mail", &["a"]);
    assert!(user.queue(&["retry", "a"]).complaint(4).contains("wrong_state"));
    fail_next(&user, "mail");
    assert_eq!(user.queue(&["retry", "a", "--dry-run"]).with_code(0), "a");
    assert_eq!(user.queue(&["get", "a"]).with_code(0), "a failed", "nothing was changed");
    assert_eq!(user.queue(&["retry", "a"]).with_code(0), "a");
    assert_eq!(user.queue(&["get", "a"]).with_code(0), "a pending");
    assert!(user.queue(&["retry", "nowhere"]).complaint(3).contains("not_found"));
}

#[test]
fn dead_letters_of_a_queue_are_retried_together() {
    let (user, _server) = user_and_server();
    add(&user, "mail", &["a", "b", "c", "d"]);
    for _ in 0..3 {
        fail_next(&user, "mail");
    }
    let retry = ["retry", "--queue", "mail"];
    let dry = user.queue(&[&retry[..], &["--dry-run", "--limit", "2"]].concat());
    assert_eq!(dry.with_code(0), "a\nb");
    assert_eq!(user.queue(&[&retry[..], &["--limit", "1"]].concat()).with_code(0), "a");
    let table = user.queue(&[&retry[..], &["--all", "-o", "table"]].concat()).with_code(0);
    assert!(table.ends_with("2 jobs put back"), "{table}");
    let answer = json(&user, &retry);
    assert_eq!((&answer["status"], &answer["count"]), (&"retried".into(), &0.into()));
    assert_eq!(user.queue(&["list", "--state", "pending"]).with_code(0), "a\nb\nc\nd");
    assert!(user.queue(&["retry", "--queue", "nowhere"]).complaint(3).contains("nowhere"));
    user.queue(&["retry", "--queue", "nowhere", "--all"]).complaint(3);
}

#[test]
fn more_jobs_than_a_round_takes_are_retried_in_rounds() {
    let (user, _server) = user_and_server();
    import(&user, "mail", 1500);
    assert_eq!(user.queue(&["purge", "mail"]).with_code(0), "1500");
    let retry = ["retry", "--queue", "mail", "--state", "cancelled"];
    let dry = json(&user, &[&retry[..], &["--all", "--dry-run"]].concat());
    assert_eq!((&dry["count"], &dry["more"]), (&1000.into(), &true.into()));
    let answer = json(&user, &[&retry[..], &["--all"]].concat());
    assert_eq!((&answer["count"], &answer["dry_run"]), (&1500.into(), &false.into()));
    assert_eq!(answer["work_ids"].as_array().unwrap().len(), 1500);
    assert_eq!(answer["work_ids"][1499], "j-1500");
    let pending = json(&user, &["queues", "mail"]);
    assert_eq!(pending["by_status"]["pending"], 1500);
}

#[test]
fn a_paused_queue_is_passed_over_until_it_is_resumed() {
    let (user, _server) = user_and_server();
    assert!(user.queue(&["pause", "mail"]).complaint(3).contains("mail"));
    add(&user, "mail", &["a"]);
    assert_eq!(user.queue(&["pause", "mail"]).with_code(0), "paused");
    assert_eq!(user.queue(&["pause", "mail"]).with_code(0), "paused", "repeating it is safe");
    user.queue(&["claim", "--worker", "w"]).with_code(8);
    assert!(user.queue(&["queues", "-o", "table"]).with_code(0).contains("paused"));
    assert!(user.queue(&["status", "-o", "table"]).with_code(0).contains("paused"));
    let waiting = user.command(&["claim", "--worker", "w", "--wait", "20s"]).spawn().unwrap();
    assert_eq!(user.queue(&["resume", "mail"]).with_code(0), "resumed");
    assert!(crate::harness::finish(waiting).with_code(0).starts_with("a "));
    user.queue(&["resume", "nowhere"]).complaint(3);
}

#[test]
fn a_purge_cancels_what_is_unfinished_and_kills_its_tokens() {
    let (user, _server) = user_and_server();
    add(&user, "mail", &["a", "b", "c"]);
    let held = user.queue(&["claim", "mail", "--worker", "w"]).with_code(0);
    let token = held.strip_prefix("a ").unwrap();
    assert_eq!(user.queue(&["purge", "mail", "--dry-run"]).with_code(0), "3");
    assert_eq!(user.queue(&["get", "b"]).with_code(0), "b pending", "nothing was changed");
    let purged = json(&user, &["purge", "mail"]);
    assert_eq!((&purged["status"], &purged["count"]), (&"purged".into(), &3.into()));
    assert_eq!(user.queue(&["purge", "mail"]).with_code(0), "0");
    assert_eq!(user.queue(&["list", "--state", "cancelled"]).with_code(0), "a\nb\nc");
    user.queue(&["complete", "a", "--token", token]).complaint(4);
    assert_eq!(user.queue(&["heartbeat", "a", "--token", token]).with_code(4), "cancel_requested");
    user.queue(&["purge", "nowhere"]).complaint(3);
    user.queue(&["purge", "nowhere", "--dry-run"]).complaint(3);
}

#[test]
fn a_queue_is_set_shown_and_deleted() {
    let (user, _server) = user_and_server();
    assert_eq!(user.queue(&["queues"]).with_code(0), "");
    user.queue(&["queues", "mail"]).complaint(3);
    let set = ["set-queue", "mail", "--max-jobs", "2", "--rate", "50", "--default-lease", "1m"];
    assert_eq!(user.queue(&set).with_code(0), "created");
    assert_eq!(user.queue(&set).with_code(0), "updated");
    let limited = json(&user, &["queues", "mail"]);
    assert_eq!((&limited["max_jobs"], &limited["default_lease_ms"]), (&2.into(), &60_000.into()));
    add(&user, "mail", &["a", "b"]);
    let full = ["add", "mail", "--id", "c", "--timeout", "1s"];
    assert!(user.queue(&full).complaint(5).contains("queue_full"));
    let open = ["set-queue", "mail", "--max-jobs", "none"];
    user.queue(&open).with_code(0);
    user.queue(&full).with_code(0);
    let shown = user.queue(&["queues", "mail"]).with_code(0);
    assert!(shown.contains("max_jobs none\n") && shown.contains("rate_per_second 50"), "{shown}");
    user.queue(&["set-queue", "other"]).with_code(0);
    assert_eq!(user.queue(&["queues"]).with_code(0), "mail\nother");
    assert!(user.queue(&["delete-queue", "mail"]).complaint(4).contains("wrong_state"));
    assert_eq!(user.queue(&["delete-queue", "other"]).with_code(0), "deleted");
    user.queue(&["delete-queue", "other"]).complaint(3);
    assert_eq!(user.queue(&["queues"]).with_code(0), "mail");
    assert!(user.queue(&["set-queue", "mail", "--max-jobs", "0"]).complaint(2).contains("none"));
}

#[test]
fn a_drained_worker_is_granted_nothing_more_and_keeps_what_it_holds() {
    let (user, _server) = user_and_server();
    assert_eq!(user.queue(&["workers", "-o", "table"]).with_code(0).trim(), "no workers");
    user.queue(&["workers", "w"]).complaint(3);
    add(&user, "mail", &["a", "b"]);
    let claim = ["claim", "--worker", "w"];
    let held = user.queue(&claim).with_code(0);
    assert_eq!(user.queue(&["drain", "w"]).with_code(0), "draining");
    user.queue(&claim).with_code(8);
    assert_eq!(user.queue(&["workers"]).with_code(0), "w");
    assert_eq!(user.queue(&["workers", "w"]).with_code(0), "w 1 draining");
    let (id, token) = held.split_once(' ').unwrap();
    let beat = json(&user, &["heartbeat", id, "--token", token]);
    assert_eq!(beat["drain"], true);
    user.queue(&["complete", id, "--token", token]).with_code(0);
    assert_eq!(user.queue(&["undrain", "w"]).with_code(0), "resumed");
    assert!(user.queue(&claim).with_code(0).starts_with("b "));
}

/// api 4.completions
#[test]
fn completions_are_a_script_for_each_shell() {
    let user = User::new();
    let script = user.queue(&["completions", "bash"]).with_code(0);
    assert!(script.contains("set-queue") && script.contains("--max-jobs"));
    assert!(user.queue(&["completions", "csh"]).complaint(2).contains("fish"));
}

// Situation: somebody reads the first ids of a retry of many. Claim: all are put back all the same.
#[test]
fn a_reader_that_goes_away_stops_no_retry() {
    let (user, _server) = user_and_server();
    import(&user, "mail", 2100);
    user.queue(&["purge", "mail"]).with_code(0);
    let words = ["retry", "--queue", "mail", "--state", "cancelled", "--all"];
    let mut child = user.command(&words).spawn().unwrap();
    drop(child.stdout.take());
    let retried = || json(&user, &["queues", "mail"])["by_status"]["pending"] == 2100;
    assert!(until(PATIENCE, retried));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
