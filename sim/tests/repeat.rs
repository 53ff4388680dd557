//! A simulation that cannot be repeated proves little: what it finds could not be found again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::{fs, path::PathBuf, process::Command};

fn trace(seed: u64, turn: u32) -> Vec<u8> {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{seed}-{turn}.ndjson"));
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["--seed", &seed.to_string(), "--trace"])
        .arg(&file)
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{report}");
    fs::read(file).unwrap()
}

#[test]
fn a_seed_run_twice_gives_the_same_trace_to_the_byte() {
    let (first, second) = (trace(2, 1), trace(2, 2));
    let line = first.split(|byte| *byte == b'\n').zip(second.split(|byte| *byte == b'\n'));
    if let Some((one, other)) = line.clone().find(|(one, other)| one != other) {
        let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
        panic!("the first difference:\n{one}\n{other}");
    }
    assert_eq!(first.len(), second.len());
}

#[test]
fn two_seeds_are_two_stories() {
    assert_ne!(trace(3, 1), trace(4, 1));
}
