//! `queue events`: real processes, one that listens and those that it listens to.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr},
    sync::mpsc::{Receiver, channel},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{PATIENCE, Server, User, signal, until};

/// A `queue events` under way.
struct Listening {
    child: Child,
    lines: Receiver<String>,
}

impl Listening {
    /// Starts it, and waits until as many listen to the server as say so.
    fn start(user: &User, server: &Server, words: &[&str]) -> Self {
        Self::start_at(user, server, &server.address, words)
    }

    fn start_at(user: &User, server: &Server, addresses: &str, words: &[&str]) -> Self {
        let words = [&["events", "--addr", addresses], words].concat();
        let listening = Self::spawn(user, &words);
        assert!(until(PATIENCE, || listeners(server) == 1), "nobody listens");
        listening
    }

    fn spawn(user: &User, words: &[&str]) -> Self {
        let mut child = user.command(words).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (lines, received) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if lines.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines: received }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// Its exit code and stderr, once it has ended.
    fn ended(mut self) -> (Option<i32>, String) {
        let mut status = None;
        until(PATIENCE, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let mut said = String::new();
        let mut stderr: ChildStderr = self.child.stderr.take().unwrap();
        assert!(status.is_some(), "it ends");
        stderr.read_to_string(&mut said).unwrap();
        (status.unwrap().code(), said)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Gone already, unless the test has failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How many listen to a server.
fn listeners(server: &Server) -> u64 {
    server.metric("queue_event_listeners", " ")
}

fn server(user: &User, name: &str) -> Server {
    Server::start(user, &user.path(name))
}

/// api 4.events
#[test]
fn events_prints_a_line_for_each_and_ends_after_as_many_as_were_asked_for() {
    let user = User::new();
    let server = server(&user, "data");
    let add = |id: &str, queue: &str| {
        user.queue(&["add", queue, "--id", id, "--addr", &server.address]).with_code(0);
    };
    let plain =
        Listening::start(&user, &server, &["--types", "job_*", "--queue", "mail", "--limit", "2"]);
    add("a", "other");
    add("b", "mail");
    let line = plain.line();
    let (at, rest) = line.split_once(' ').unwrap();
    assert!(at.ends_with('Z') && at.len() == 24, "{line}");
    assert!(rest.starts_with("job_added b queue=mail state=pending rev="), "{line}");
    user.queue(&["cancel", "b", "--addr", &server.address]).with_code(0);
    assert!(plain.line().contains(" job_cancelled b "));
    assert_eq!(plain.ended(), (Some(0), String::new()));
    assert!(until(PATIENCE, || listeners(&server) == 0), "it gives its place up");

    let json = Listening::start(&user, &server, &["-o", "jsonl"]);
    add("c", "mail");
    let event: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!((&event["type"], &event["work_id"]), (&"job_added".into(), &"c".into()));
    signal(&json.child, Signal::INT);
    assert_eq!(json.ended(), (Some(130), String::new()));

    add("d", "mail");
    let id = event["id"].as_str().unwrap();
    let words = ["events", "--addr", &server.address, "--after", id, "--limit", "1", "-o", "table"];
    let table = user.queue(&words).with_code(0);
    assert!(
        table.contains("  job_added          d  "),
        "what came in between is not lost: {table}"
    );
}

#[test]
fn what_cannot_be_listened_to_is_said_and_why() {
    let user = User::new();
    let server = server(&user, "data");
    let address = server.address.clone();
    let complaint = user.queue(&["events", "--types", "job_lost", "--addr", &address]).complaint(2);
    assert!(complaint.contains("job_lost") && complaint.contains("job_added"), "{complaint}");
    let complaint = user.queue(&["events", "--after", "soon", "--addr", &address]).complaint(2);
    assert!(complaint.contains("`after`"), "{complaint}");
    user.queue(&["events", "--limit", "0", "--addr", &address]).complaint(2);
    assert_eq!(server.terminate(), Some(0));
    user.queue(&["events", "--addr", &address]).complaint(5);
}

/// api 4.events.next
#[test]
fn events_goes_on_at_the_next_address_and_tells_what_nobody_can_tell_any_more() {
    let user = User::new();
    let [first, second] = [server(&user, "first"), server(&user, "second")];
    let addresses = format!("{},{}", first.address, second.address);
    let words = ["--types", "job_added", "-o", "jsonl"];
    let listening = Listening::start_at(&user, &first, &addresses, &words);
    let (gone, there) = (first.address.clone(), second.address.clone());
    user.queue(&["add", "--id", "a", "--addr", &gone]).with_code(0);
    let event: Value = serde_json::from_str(&listening.line()).unwrap();
    assert_eq!(first.terminate(), Some(0), "a listener does not hold it up");
    let gap: Value = serde_json::from_str(&listening.line()).unwrap();
    assert_eq!((&gap["type"], &gap["reason"]), (&"gap".into(), &"other_run".into()));
    assert_eq!(gap["after"], event["id"]);
    user.queue(&["add", "--id", "b", "--addr", &there]).with_code(0);
    let event: Value = serde_json::from_str(&listening.line()).unwrap();
    assert_eq!(event["work_id"], "b");
    signal(&listening.child, Signal::INT);
    let (code, said) = listening.ended();
    assert_eq!(code, Some(130));
    let notes: Vec<_> = said.lines().collect();
    assert!(
        notes[0].starts_with(&format!("note: {gone}")) && notes[0].contains("is gone"),
        "{said}"
    );
    assert!(notes[1].starts_with(&format!("note: listening to {there}")), "{said}");
}
