//! The contract of what is printed, where, and in which format.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::harness::{PATIENCE, Said, Server, User, finish, until};

/// A user whose commands find the server, and one job, `j`.
fn user_and_server() -> (User, Server) {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    user.queue(&["add", "--id", "j"]).with_code(0);
    (user, server)
}

/// Runs `queue` on a terminal, with nothing else in the environment. Its stdout and stderr are one.
fn on_a_terminal(user: &User, words: &[&str], variables: &[(&str, &str)]) -> Said {
    let line = format!("{} {}", env!("CARGO_BIN_EXE_queue"), words.join(" "));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", user.home.path());
    command.env("TERM", "xterm").env("SHELL", "/bin/sh").envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}

/// The body of a GET.
fn http(server: &Server, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// api 4.output.json
#[test]
fn json_is_the_http_answer() {
    let (user, server) = user_and_server();
    let printed = user.queue(&["get", "j", "-o", "json"]).with_code(0);
    assert_eq!(printed, http(&server, "/work/get/j"));
}

/// api 4.output.plain, 4.output.plain.add, 4.output.plain.claim
#[test]
fn without_a_terminal_add_prints_the_bare_id_and_claim_id_and_token() {
    let (user, _server) = user_and_server();
    assert_eq!(user.queue(&["add", "--id", "k", "--priority", "99"]).with_code(0), "k");
    let claimed = user.queue(&["claim", "--worker", "w"]).with_code(0);
    let token = claimed.strip_prefix("k ").expect("the id and a space");
    assert!(token.parse::<u64>().is_ok(), "{claimed}");
    assert_eq!(user.queue(&["get", "j"]).stdout, "j pending\n");
}

/// api 4.output.table, 4.color.terminal, 4.color.no-color, 4.color.flag
#[test]
fn on_a_terminal_a_table_is_printed_in_colour_unless_told_otherwise() {
    let (user, server) = user_and_server();
    let claim = ["claim", "--worker", "w", "--addr", &server.address, "--max", "9"];
    for (words, variables, is_colored) in [
        (&[][..], &[][..], true),
        (&[], &[("NO_COLOR", "1")], false),
        (&["--color", "never"], &[], false),
        (&["--color", "always"], &[("NO_COLOR", "1")], true),
    ] {
        user.queue(&["add"]).with_code(0);
        let shown = on_a_terminal(&user, &[&claim[..], words].concat(), variables).with_code(0);
        assert!(shown.contains("WORK ID") && shown.contains("TOKEN"), "{shown}");
        assert_eq!(shown.contains("\x1b["), is_colored, "{words:?} {variables:?}: {shown:?}");
    }
    user.queue(&["add"]).with_code(0);
    let piped = user.queue(&["claim", "--worker", "w", "-o", "table"]).with_code(0);
    assert!(piped.contains("WORK ID") && !piped.contains('\x1b'), "{piped:?}");
    user.queue(&["add"]).with_code(0);
    let asked = user.queue(&["claim", "--worker", "w", "-o", "table", "--color", "always"]);
    assert!(asked.with_code(0).contains('\x1b'));
}

/// api 4.errors.stderr, 4.errors.json
#[test]
fn errors_go_to_stderr_and_are_json_when_json_was_asked_for() {
    let (user, _server) = user_and_server();
    for words in [&["get", "no"][..], &["complete", "j", "--token", "1"], &["add", "--after", "no"]]
    {
        let said = user.queue(words);
        assert_eq!(said.stdout, "", "{words:?}");
        assert!(said.stderr.starts_with("error: "), "{words:?}: {}", said.stderr);
        assert_eq!(said.stderr.lines().count(), 1, "{words:?}: {}", said.stderr);
        for format in ["json", "jsonl"] {
            let said = user.queue(&[words, &["-o", format]].concat());
            let error: Value = serde_json::from_str(&said.stderr).unwrap();
            let mut fields: Vec<_> = error.as_object().unwrap().keys().collect();
            fields.sort_unstable();
            assert_eq!(fields, ["applied", "code", "details", "error", "retryable"]);
            assert_eq!(said.stdout, "");
        }
    }
}

/// The verbs that `queue --help` names, with its groups' names left out.
fn verbs(user: &User) -> BTreeSet<String> {
    let help = user.queue(&["--help"]).with_code(0);
    let of_verbs = help.split("\n      --addr").next().unwrap();
    let named = of_verbs.lines().filter_map(|line| line.strip_prefix("  "));
    named.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// What a verb printed is in the form of the format.
#[track_caller]
fn is_in_form(format: &str, words: &[&str], said: &str) {
    assert!(!said.is_empty(), "{words:?} {format}");
    let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    let holds = match format {
        "json" => is_json(said),
        "jsonl" => said.lines().all(is_json),
        // Some print a bare number, which is JSON besides.
        _ => serde_json::from_str::<Value>(said).map_or(true, |json| json.is_number()),
    };
    assert!(holds, "{words:?} {format}: {said}");
}

/// api 4.output.formats
#[test]
fn every_format_is_taken_by_every_verb() {
    let (user, server) = user_and_server();
    let mut asked = BTreeSet::new();
    for format in ["table", "json", "jsonl", "plain"] {
        let mut ask = |words: &[&str]| {
            asked.insert(words[0].to_owned());
            is_in_form(format, words, &user.queue(&[words, &["-o", format]].concat()).with_code(0));
        };
        let token = || {
            let held = user.queue(&["get", format, "-o", "json"]).with_code(0);
            serde_json::from_str::<Value>(&held).unwrap()["token"].to_string()
        };
        let listening =
            user.command(&["events", "--types", "job_added", "--limit", "1", "-o", format]);
        let listening = { listening }.spawn().unwrap();
        let is_heard = until(PATIENCE, || server.metric("queue_event_listeners", " ") == 1);
        assert!(is_heard, "nobody listens");
        ask(&["add", format, "--id", format, "--max-attempts", "9"]);
        is_in_form(format, &["events"], &finish(listening).with_code(0));
        for words in [
            &["get", format][..],
            &["list"],
            &["queues"],
            &["pause", format],
            &["resume", format],
            &["set-queue", format, "--max-jobs", "9"],
            &["claim", format, "--worker", "w"],
            &["workers"],
            &["drain", "w"],
            &["undrain", "w"],
        ] {
            ask(words);
        }
        for (verb, words) in [
            ("heartbeat", &["--lease", "1h"][..]),
            ("release", &[]),
            ("fail", &["--retry-in", "1ms"]),
            ("complete", &[]),
        ] {
            ask(&[&[verb, format, "--token", &token()], words].concat());
            if verb != "heartbeat" && verb != "complete" {
                user.queue(&["claim", format, "--worker", "w", "--wait", "20s"]).with_code(0);
            }
        }
        let is_kept = until(PATIENCE, || !user.queue(&["history"]).with_code(0).is_empty());
        assert!(is_kept, "the archive has it");
        let copy = user.path(&format!("{format}.backup")).display().to_string();
        for words in [
            &["history"][..],
            &["retry", format],
            &["cancel", format],
            &["purge", format],
            &["delete-queue", format],
            &["status"],
            &["leader"],
            &["members"],
            &["transfer", "n1"],
            &["remove-voter", "n9"],
            &["keygen"],
            &["backup", &copy],
        ] {
            ask(words);
        }
    }
    // A node, two that run somebody else's command and print what it prints, and text for a shell.
    let others = ["serve", "run", "worker", "completions"];
    // Two that need a second node: they print as `remove-voter` does.
    let of_many = ["add-voter", "replace-voter"];
    // `events` above.
    let listened = ["events"];
    asked.extend([&others[..], &of_many, &listened].concat().into_iter().map(str::to_owned));
    assert_eq!(asked, verbs(&user));
    user.queue(&["status", "-o", "xml"]).complaint(2);
}

// Situation: stdin is open and silent. Claim: no verb waits for it.
/// api 4.no-prompt
#[test]
fn nothing_ever_asks_a_question() {
    let (user, _server) = user_and_server();
    for words in [&["status"][..], &["claim", "--worker", "w"], &["cancel", "j"], &["get", "j"]] {
        let mut child = user.command(words).stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        finish(child).with_code(0);
        drop(stdin);
    }
}

/// api 4.add.file.progress
#[test]
fn an_import_shows_a_progress_bar_on_a_terminal_and_none_elsewhere() {
    let (user, server) = user_and_server();
    let file = user.write("jobs.ndjson", &"{\"n\": 1}\n".repeat(2000));
    let words = ["add", "--file", &file, "--addr", &server.address];
    let shown = on_a_terminal(&user, &words, &[]).with_code(0);
    assert!(shown.contains("jobs"), "{shown}");
    assert!(shown.contains('\r') && shown.contains("\x1b["), "it is drawn over and over");
    let elsewhere = user.queue(&words);
    assert!(!elsewhere.stderr.contains('\r'), "{}", elsewhere.stderr);
    assert_eq!(elsewhere.with_code(0).lines().count(), 2000);
}
