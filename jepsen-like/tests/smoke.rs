//! The commands against real processes, for a few seconds each: that they run to their end, tell what
//! they saw as JSON, show that their fault was in force, and leave nothing behind.
//!
//! What they measure is not asserted: a machine that tests something else beside it proves nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// `jepsen-like` on the `queue` beside it, with its directories below `folder`. A run of all tests has
/// built that one; where it is missing the harness builds it.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_jepsen-like"));
    let mut command = Command::new(program);
    command.args(arguments).args(["-o", "json", "--dir"]).arg(folder);
    let queue = program.with_file_name("queue");
    if queue.exists() {
        command.arg("--queue-bin").arg(queue);
    }
    command.output().expect("the harness starts")
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn assert_nothing_is_left(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// The verdict on the check of this name.
fn verdict<'a>(report: &'a Value, what: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("a report has checks");
    let check = checks.iter().find(|check| check["what"] == what);
    let verdict = check.and_then(|check| check["verdict"].as_str());
    verdict.unwrap_or_else(|| panic!("no check {what:?} in {report:#}"))
}

#[test]
fn a_leader_is_killed_twice_and_both_times_there_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["failover", "--fault", "kill", "--trials", "2", "--gap-goal", "none"];
    let output = run(folder.path(), &arguments);
    let report = report(&output);
    let trials = report["rows"][0]["trials"].as_array().expect("a row has trials");
    assert_eq!(trials.len(), 2, "{report:#}");
    for trial in trials {
        // Void: the machine was so busy that the writer came too late to have seen a gap.
        let outcome = trial["outcome"]["outcome"].as_str().expect("a trial has an outcome");
        assert!(matches!(outcome, "measured" | "void"), "{trial:#}");
        assert_ne!(trial["successor"], trial["node"], "{trial:#}");
        assert!(trial["gap_ms"].as_f64().is_some_and(|gap| gap > 0.0), "{trial:#}");
    }
    assert!(matches!(output.status.code(), Some(0 | 2)), "{:?}", output.status);
    assert_nothing_is_left(folder.path());
}

#[test]
fn a_pair_of_followers_is_refused_and_both_went_on_trying() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["refuse-pair", "--pair", "followers", "--minutes", "0.05"]);
    if output.status.code() == Some(254) {
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains("cutting the network needs"), "{complaint}");
        return;
    }
    let report = report(&output);
    assert_eq!(verdict(&report, "segments refused"), "met", "{report:#}");
    assert_eq!(verdict(&report, "voters"), "met", "{report:#}");
    assert_eq!(verdict(&report, "looks at the nodes"), "met", "{report:#}");
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds >= 3.0), "{report:#}");
    assert_nothing_is_left(folder.path());
}
