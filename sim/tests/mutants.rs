//! A harness that finds nothing may look in the wrong place: planted bugs must be caught. Three that are caught
//! within seconds; `sim --mutants all` plants the others too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::process::Command;

fn table(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn planted_bugs_are_caught() {
    let (code, table) = table(&["--mutants", "M4,M5,M6", "--seeds", "3"]);
    assert_eq!(code, Some(0), "{table}");
    assert_eq!(table.lines().count(), 5, "a head, and a row each: {table}");
}

#[test]
fn a_bug_that_nobody_knows_of_is_not_planted() {
    assert_eq!(table(&["--mutants", "M99"]).0, Some(254));
}
