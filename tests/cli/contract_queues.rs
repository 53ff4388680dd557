//! The contract of the verbs for whole queues: list, retry, pause, resume, purge.

use serde_json::{Value, json};

use crate::harness::{Server, User};

/// A user whose commands find the server.
fn user_and_server() -> (User, Server) {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    (user, server)
}

/// The HTTP answer of a command that must succeed.
fn answer(user: &User, words: &[&str]) -> Value {
    let printed = user.queue(&[words, &["-o", "json"]].concat()).with_code(0);
    serde_json::from_str(&printed).unwrap()
}

/// api 4.list
#[test]
fn list_shows_the_jobs() {
    let (user, _server) = user_and_server();
    for id in ["a", "b"] {
        user.queue(&["add", "--id", id]).with_code(0);
    }
    let listed = answer(&user, &["list"]);
    assert_eq!(
        (&listed["items"][0]["work_id"], &listed["items"][1]["work_id"]),
        (&json!("a"), &json!("b"))
    );
    let lines = user.queue(&["list", "-o", "jsonl"]).with_code(0);
    let ids =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["work_id"].clone());
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "b"]);
}

/// api 4.retry
#[test]
fn retry_puts_a_finished_job_back() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "a"]).with_code(0);
    user.queue(&["retry", "a"]).complaint(4);
    user.queue(&["cancel", "a"]).with_code(0);
    assert_eq!(answer(&user, &["retry", "a"])["work_ids"], json!(["a"]));
    assert_eq!(user.queue(&["get", "a"]).with_code(0), "a pending");
    user.queue(&["retry", "no"]).complaint(3);
}

/// api 4.pause, 4.resume
#[test]
fn pause_and_resume_stop_and_start_a_queue() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "q"]).with_code(0);
    assert_eq!(answer(&user, &["pause", "q"])["status"], "paused");
    user.queue(&["claim", "q", "--worker", "w"]).with_code(8);
    assert_eq!(answer(&user, &["resume", "q"])["status"], "resumed");
    user.queue(&["claim", "q", "--worker", "w"]).with_code(0);
    user.queue(&["pause", "nowhere"]).complaint(3);
}

/// api 4.purge
#[test]
fn purge_cancels_what_waits_in_a_queue_without_a_question() {
    let (user, _server) = user_and_server();
    for id in ["a", "b"] {
        user.queue(&["add", "q", "--id", id]).with_code(0);
    }
    assert_eq!(answer(&user, &["purge", "q"])["count"], 2);
    assert_eq!(user.queue(&["get", "a"]).with_code(0), "a cancelled");
}
