//! `queue add --file`.

use std::io::Write as _;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{PATIENCE, Server, User, finish, signal, until};

fn user_and_server() -> (User, Server) {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    (user, server)
}

fn lines(count: u32) -> String {
    let lines: Vec<String> = (1..=count).map(|n| format!("{{\"n\": {n}}}")).collect();
    lines.join("\n") + "\n"
}

/// api 4.add.file
#[test]
fn every_line_becomes_a_job_and_a_repeated_import_adds_nothing() {
    let (user, _server) = user_and_server();
    let file = user.write("jobs.ndjson", &lines(2500));
    let words = ["add", "--file", &file, "--import-id", "imp"];
    let ids = user.queue(&words).with_code(0);
    let expected: Vec<String> = (1..=2500).map(|line| format!("imp-{line}")).collect();
    assert_eq!(ids.lines().collect::<Vec<_>>(), expected, "in the order of the lines");
    let summary = user.queue(&[&words[..], &["-o", "json"]].concat()).with_code(0);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["count"], &summary["duplicates"]), (&2500.into(), &2500.into()));
    let status: Value =
        serde_json::from_str(&user.queue(&["status", "-o", "json"]).with_code(0)).unwrap();
    assert_eq!(status["work"]["total_items"], 2500);
}

/// api 4.exit.1
#[test]
fn a_bad_line_is_named_and_what_was_acknowledged_is_counted() {
    let (user, _server) = user_and_server();
    let file = user.write("jobs.ndjson", &format!("{}{{\"priority\": 900}}\n", lines(1200)));
    let said = user.queue(&["add", "--file", &file, "--import-id", "imp"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("line 1201: `priority`"), "{}", said.stderr);
    assert!(said.stderr.contains("1200 jobs were acknowledged"), "{}", said.stderr);
    assert_eq!(said.stdout.lines().count(), 1200);
    user.write("jobs.ndjson", &format!("{}{{\"priority\": 90}}\n", lines(1200)));
    user.queue(&["add", "--file", &file, "--import-id", "imp"]).with_code(0);
    let status = user.queue(&["status"]).with_code(0);
    assert!(status.contains("total 1201"), "{status}");
}

#[test]
fn a_line_that_the_server_refuses_is_named_too() {
    let (user, _server) = user_and_server();
    user.queue(&["add", "--id", "taken", "--payload", "1"]).with_code(0);
    let file = user.write("jobs.ndjson", "{}\n\n{\"work_id\": \"taken\", \"payload\": 2}\n");
    let complaint = user.queue(&["add", "--file", &file]).complaint(4);
    assert!(complaint.contains("line 3: "), "{complaint}");
    assert!(complaint.contains("0 jobs were acknowledged"), "{complaint}");
}

#[test]
fn stdin_is_a_file_too() {
    let (user, _server) = user_and_server();
    let mut command = user.command(&["add", "--file", "-", "-o", "table"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines(3).as_bytes()).unwrap();
    let table = finish(child).with_code(0);
    assert!(table.trim().starts_with("added 3 jobs in "), "{table}");
    user.queue(&["add", "--file", "/nonexistent"]).complaint(2);
}

/// api 4.exit.130
#[test]
fn an_interrupted_import_says_how_far_it_came() {
    let (user, _server) = user_and_server();
    let mut command = user.command(&["add", "--file", "-", "--import-id", "imp", "-o", "json"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    // A whole batch, and an input that stays open.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines(1000).as_bytes()).unwrap();
    let last = ["get", "imp-1000"];
    assert!(until(PATIENCE, || user.queue(&last).code == Some(0)));
    signal(&child, Signal::INT);
    let error: Value = serde_json::from_str(&finish(child).complaint(130)).unwrap();
    assert_eq!(
        (&error["code"], &error["details"]["import_id"]),
        (&"interrupted".into(), &"imp".into())
    );
    // The jobs are there; whether the answer was too is a race that the import does not decide.
    assert!([0, 1000].contains(&error["details"]["acknowledged"].as_i64().unwrap()), "{error}");
}

// Situation: with four batches under way, the last line waits for a job of the first batch. Claim: the server
// knows every job that a line waits for by the time it reads the line.
#[test]
fn jobs_that_wait_for_earlier_lines_are_sent_after_them() {
    let (user, _server) = user_and_server();
    let last = "{\"work_id\": \"last\", \"depends_on\": [\"imp-1\", \"imp-2500\"]}\n";
    let file = user.write("jobs.ndjson", &(lines(2500) + last));
    let ids = user.queue(&["add", "--file", &file, "--import-id", "imp"]).with_code(0);
    assert_eq!((ids.lines().count(), ids.lines().last()), (2501, Some("last")));
    assert_eq!(user.queue(&["get", "last"]).with_code(0), "last blocked");
    let claimed = user.queue(&["claim", "--worker", "w", "--max", "1000"]).with_code(0);
    assert!(claimed.starts_with("imp-") && !claimed.contains("last"), "{claimed}");
}
