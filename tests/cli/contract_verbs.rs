//! The contract of the client verbs: each flag does what it says, and each end has its code.
//!
//! `/// api …` names the promises of the table in `docs/api.md` that a test holds.

use std::{io::Write as _, process::Stdio};

use serde_json::{Value, json};

use crate::harness::{Server, User, finish, two_ports};

/// A user whose commands find the server.
fn user_and_server() -> (User, Server) {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    (user, server)
}

fn job(user: &User, id: &str) -> Value {
    serde_json::from_str(&user.queue(&["get", id, "-o", "json"]).with_code(0)).unwrap()
}

/// Claims one job with these words; the answer's `work`.
fn claim(user: &User, words: &[&str]) -> Value {
    let claim = [&["claim", "--worker", "w", "-o", "json"], words].concat();
    let answer: Value = serde_json::from_str(&user.queue(&claim).with_code(0)).unwrap();
    answer["work"].clone()
}

/// api 4.add.queue, 4.add.payload, 4.add.type, 4.add.id, 4.add.priority, 4.add.delay
/// api 4.add.lease, 4.add.max-attempts, 4.add.after
#[test]
fn each_flag_of_add_reaches_its_field() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "first", "--delay", "1h"]).with_code(0);
    let words = ["add", "mail", "--payload", "{\"n\": 1}", "--type", "t", "--id", "j"];
    let more = ["--priority", "7", "--lease", "90s", "--max-attempts", "9", "--after", "first"];
    user.queue(&[&words[..], &more].concat()).with_code(0);
    let shown = job(&user, "j");
    for (field, value) in [
        ("queue", json!("mail")),
        ("payload", json!({"n": 1})),
        ("work_type", json!("t")),
        ("priority", json!(7)),
        ("lease_ms", json!(90_000)),
        ("max_attempts", json!(9)),
        ("depends_on", json!(["first"])),
        ("state", json!("blocked")),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(job(&user, "first")["state"], "scheduled");
}

/// api 4.add.payload.file, 4.add.payload.stdin
#[test]
fn a_payload_comes_from_a_file_or_from_stdin() {
    let (user, _server) = user_and_server();
    let file = user.write("payload.json", "{ \"of\" : \"file\" }\n");
    user.queue(&["add", "--id", "a", "--payload", &format!("@{file}")]).with_code(0);
    assert_eq!(job(&user, "a")["payload"], json!({"of": "file"}));
    let mut command = user.command(&["add", "--id", "b", "--payload", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[1, 2]").unwrap();
    finish(child).with_code(0);
    assert_eq!(job(&user, "b")["payload"], json!([1, 2]));
}

/// api 4.claim.queues, 4.claim.lease, 4.claim.worker
#[test]
fn claim_serves_the_queues_it_names_in_their_order() {
    let (user, _server) = user_and_server();
    for queue in ["a", "b", "c"] {
        user.queue(&["add", queue, "--id", queue]).with_code(0);
    }
    let work = claim(&user, &["c", "b", "--lease", "2m"]);
    assert_eq!((&work["work_id"], &work["lease_ms"]), (&json!("c"), &json!(120_000)));
    assert_eq!(claim(&user, &["c", "b"])["work_id"], "b");
    assert_eq!(job(&user, "b")["node_id"], "w");
    user.queue(&["claim", "c", "b", "--worker", "w"]).with_code(8);
    user.queue(&["claim"]).complaint(2);
}

/// api 4.claim.wait
#[test]
fn claim_waits_for_a_job_that_is_not_there_yet() {
    let (user, _server) = user_and_server();
    let waiting = user.command(&["claim", "--worker", "w", "--wait", "20s"]).spawn().unwrap();
    user.queue(&["add", "--id", "a"]).with_code(0);
    assert!(finish(waiting).with_code(0).starts_with("a "));
}

/// api 4.holder.verbs, 4.complete.result
#[test]
fn the_verbs_of_a_holder_take_an_id_and_a_token() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "j", "--max-attempts", "9"]).with_code(0);
    for (verb, extra, said) in [
        ("heartbeat", &["--lease", "1h", "--progress", "{\"at\": 1}"][..], "extended"),
        ("release", &[], "released"),
        ("fail", &["--error", "boom", "--retry-in", "1ms"], "retrying"),
        ("complete", &["--result", "{\"ok\": 1}"], "completed"),
    ] {
        let token = claim(&user, &["--wait", "20s"])["token"].to_string();
        let words = [&[verb, "j", "--token", &token], extra].concat();
        assert_eq!(user.queue(&words).with_code(0), said);
        if verb == "heartbeat" {
            user.queue(&["release", "j", "--token", &token]).with_code(0);
        }
        user.queue(&[verb, "j"]).complaint(2);
    }
    let shown = job(&user, "j");
    assert_eq!((&shown["result"], &shown["progress"]), (&json!({"ok": 1}), &json!({"at": 1})));
}

/// api 4.get, 4.status, 4.cancel, 4.leader
#[test]
fn get_status_cancel_and_leader_show_what_they_name() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "j"]).with_code(0);
    assert_eq!(user.queue(&["get", "j"]).with_code(0), "j pending");
    assert!(user.queue(&["status"]).with_code(0).contains("pending 1"));
    assert_eq!(user.queue(&["cancel", "j"]).with_code(0), "cancelled");
    assert_eq!(user.queue(&["get", "j"]).with_code(0), "j cancelled");
    assert_eq!(user.queue(&["leader"]).with_code(0), "n1");
}

/// api 4.exit.2, 4.exit.3, 4.exit.4, 4.exit.7, 4.exit.8
#[test]
fn each_way_to_fail_has_its_exit_code() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--priority", "101"]).complaint(2);
    user.queue(&["add", "--after", "nowhere"]).complaint(2);
    user.queue(&["get", "nowhere"]).complaint(3);
    user.queue(&["cancel", "nowhere"]).complaint(3);
    assert_eq!(user.queue(&["claim", "--worker", "w"]).with_code(8), "");
    user.queue(&["add", "--id", "j"]).with_code(0);
    user.queue(&["complete", "j", "--token", "1"]).complaint(4);
    assert_eq!(user.queue(&["heartbeat", "j", "--token", "1"]).with_code(4), "lost");
    user.queue(&["add", "--id", "j", "--payload", "1"]).complaint(4);
    user.queue(&["cancel", "j"]).with_code(0);
    assert_eq!(user.queue(&["get", "j", "--wait"]).with_code(7), "j cancelled");
}

/// api 4.exit.5
#[test]
fn who_is_not_there_or_too_slow_is_worth_a_retry() {
    let (user, _server) = user_and_server();
    let nobody = format!("http://127.0.0.1:{}", two_ports());
    user.queue(&["status", "--addr", &nobody]).complaint(5);
    user.queue(&["add", "--id", "j"]).with_code(0);
    assert_eq!(user.queue(&["get", "j", "--wait=10ms"]).with_code(5), "j pending");
}

// Situation: the client names the server in a way that the server does not take for its own, as a page
// that a browser was lured to would. Claim: it is denied, and the exit code says so.
/// api 4.exit.6
#[test]
fn a_refusal_for_want_of_a_right_is_denied() {
    let (user, server) = user_and_server();
    let complaint =
        user.queue(&["leader", "--addr", &format!("http://127.1:{}", server.port)]).complaint(6);
    assert!(complaint.contains("forbidden"), "{complaint}");
}
