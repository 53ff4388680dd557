//! Hand-written histories, a folder a promise: the first word of a file's name is the verdict that
//! its checker must give. The first line of each says what happens in it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::{
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::Command,
};

use jepsen_like::{
    checker::{Finding, Promise, Verdict},
    history::write_line,
    judge_history,
};
use serde_json::json;

const PROMISES: [(Promise, &str); 12] = [
    (Promise::S1, "s1"),
    (Promise::S2, "s2"),
    (Promise::S3, "s3"),
    (Promise::S4, "s4"),
    (Promise::S5, "s5"),
    (Promise::S6, "s6"),
    (Promise::S8, "s8"),
    (Promise::S9, "s9"),
    (Promise::S10, "s10"),
    (Promise::S12, "s12"),
    (Promise::S13, "s13"),
    (Promise::S15, "s15"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

fn files(promise: &str) -> Vec<(String, PathBuf)> {
    let mut files: Vec<(String, PathBuf)> = fs::read_dir(folder().join(promise))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .collect();
    files.sort();
    files
}

fn finding(promise: Promise, text: &[u8]) -> Finding {
    let findings = judge_history(BufReader::new(text)).unwrap();
    findings.into_iter().find(|finding| finding.promise == promise).unwrap()
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Violated(_) => "violated",
        Verdict::Unknown { .. } => "unknown",
    }
}

#[test]
fn every_history_gets_the_verdict_in_its_name() {
    for (promise, name) in PROMISES {
        for (file, path) in files(name) {
            let finding = finding(promise, &fs::read(path).unwrap());
            let expected = file.split('-').next().unwrap();
            assert_eq!(word(&finding.verdict), expected, "{name}/{file}: {finding}");
        }
    }
}

#[test]
fn every_promise_has_three_good_and_three_bad_histories() {
    for (_, name) in PROMISES {
        let files = files(name);
        for verdict in ["valid-", "violated-"] {
            let count = files.iter().filter(|(file, _)| file.starts_with(verdict)).count();
            assert!(count >= 3, "{name}: {count} {verdict}");
        }
    }
}

// A history that is good for one promise must not be called bad by another checker: that would be a
// false alarm in one of the two.
#[test]
fn no_checker_accuses_the_good_histories_of_another() {
    for (_, name) in PROMISES {
        for (file, path) in files(name).into_iter().filter(|(file, _)| file.starts_with("valid-")) {
            let text = fs::read(path).unwrap();
            for finding in judge_history(BufReader::new(&text[..])).unwrap() {
                assert_ne!(word(&finding.verdict), "violated", "{name}/{file}: {finding}");
            }
        }
    }
}

/// Rewrites a good history line by line.
fn mutated(name: &str, mut mutate: impl FnMut(&mut serde_json::Value) -> bool) -> Vec<u8> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    let mut out = Vec::new();
    for line in text.lines() {
        let mut record = serde_json::from_str(line).unwrap();
        if mutate(&mut record) {
            write_line(&mut out, &record).unwrap();
        }
    }
    out
}

fn assert_caught(promise: Promise, text: &[u8]) {
    let finding = finding(promise, text);
    assert_eq!(word(&finding.verdict), "violated", "{finding}");
}

#[test]
fn a_job_dropped_from_the_final_read_is_caught() {
    let text = mutated("s1/valid-every-add-is-read-everywhere.ndjson", |record| {
        if record["type"] == "final_end" {
            record["jobs"] = json!(1);
        }
        !(record["type"] == "final_job" && record["job"]["work_id"] == "b")
    });
    assert_caught(Promise::S1, &text);
}

#[test]
fn a_removed_add_makes_its_job_a_phantom() {
    let text = mutated("s2/valid-job-out-as-put-in.ndjson", |record| record["f"] != "add");
    assert_caught(Promise::S2, &text);
}

#[test]
fn a_duplicate_turned_into_a_creation_is_caught() {
    let text = mutated("s3/valid-repeat-is-a-duplicate.ndjson", |record| {
        if record["res"]["duplicate"] == true {
            record["res"]["duplicate"] = json!(false);
        }
        true
    });
    assert_caught(Promise::S3, &text);
}

#[test]
fn a_refused_complete_turned_into_a_success_is_caught() {
    let accept = |record: &mut serde_json::Value| {
        if record["type"] == "fail" {
            record["type"] = json!("ok");
            record.as_object_mut().unwrap().remove("err");
        }
        true
    };
    assert_caught(Promise::S4, &mutated("s4/valid-late-complete-refused.ndjson", accept));
    assert_caught(Promise::S6, &mutated("s6/valid-older-holder-refused.ndjson", accept));
}

#[test]
fn swapped_tokens_are_caught() {
    let text = mutated("s5/valid-later-is-larger.ndjson", |record| {
        match record["tok"].as_u64() {
            Some(5) => record["tok"] = json!(6),
            Some(6) => record["tok"] = json!(5),
            _ => {}
        }
        true
    });
    assert_caught(Promise::S5, &text);
}

#[test]
fn a_witness_has_few_events_in_order() {
    for (promise, name) in PROMISES {
        for (file, path) in files(name).iter().filter(|(file, _)| file.starts_with("violated-")) {
            let finding = finding(promise, &fs::read(path).unwrap());
            let Verdict::Violated(witness) = &finding.verdict else { panic!("{file}") };
            assert!(witness.events.len() <= 4, "{name}/{file}");
            assert!(witness.events.is_sorted_by_key(|event| event.i), "{name}/{file}");
        }
    }
}

// A hundred cancels whose outcome nobody knows, before the final read of an otherwise good history.
#[test]
fn too_many_unknowns_prove_nothing() {
    let good = fs::read_to_string(folder().join("s4/valid-completed-once.ndjson")).unwrap();
    let (events, read) = good.split_at(good.find("{\"type\":\"final_job\"").unwrap());
    let mut text = events.as_bytes().to_vec();
    let last = events.lines().count() as u64;
    for cancel in 0..100 {
        for (kind, offset) in [("invoke", 1), ("info", 2)] {
            let i = last + 2 * cancel + offset;
            let event = json!({"i": i, "t": i * 1_000_000, "proc": 100 + cancel, "node": "n1",
                "type": kind, "f": "cancel", "job": "z"});
            write_line(&mut text, &event).unwrap();
        }
    }
    text.extend_from_slice(read.as_bytes());
    let finding = finding(Promise::S4, &text);
    assert_eq!(word(&finding.verdict), "unknown", "{finding}");
}

fn exit_code(arguments: &[&str]) -> i32 {
    let binary = env!("CARGO_BIN_EXE_jepsen-like");
    Command::new(binary).args(arguments).output().unwrap().status.code().unwrap()
}

#[test]
fn exit_codes_tell_violated_unknown_and_broken_apart() {
    let path = |name: &str| folder().join(name).into_os_string().into_string().unwrap();
    assert_eq!(exit_code(&["check", &path("whole/valid-every-promise.ndjson")]), 0);
    // Other promises are unknown in it: violated outranks.
    assert_eq!(exit_code(&["check", &path("s6/violated-stale-complete.ndjson")]), 1);
    assert_eq!(exit_code(&["check", &path("s1/unknown-no-adds.ndjson")]), 2);
    assert_eq!(exit_code(&[]), 254);
    assert_eq!(exit_code(&["judge", "x"]), 254);
    assert_eq!(exit_code(&["check", &path("no-such-file")]), 255);
    assert_eq!(exit_code(&["check", &path("whole/malformed-retired-process-acts.ndjson")]), 255);
}
