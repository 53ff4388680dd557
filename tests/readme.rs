//! README's commands, run as they stand.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

// Situation: a person copies the first command. Claim: it ends by itself, with 0, and the job's output is on
// the screen.
#[test]
fn the_main_job_runs_as_written() {
    let _alone = alone();
    let home = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &block("main job")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("XDG_DATA_HOME", home.path())
        .env_remove("QUEUE_ADDR")
        .output()
        .expect("bash runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("hello from job "), "{out}\n{err}");
}

// Situation: a person pastes the walk-through's three blocks into one shell. Claim: the killed leader costs no
// job: all 22 are completed.
/// api 4.serve.cluster
#[test]
fn the_walk_through_loses_no_job_when_the_leader_is_killed() {
    let _alone = alone();
    let script = format!(
        "trap 'kill -9 $(cat \"$DIR\"/n*.pid) 2>/dev/null || true' EXIT\n{}\n{}\nqueue status -o json >\"$DIR/after.json\"\n{}\ncat \"$DIR/after.json\"",
        block("walk-through: start"),
        block("walk-through: kill"),
        block("walk-through: heal").replace("; wait", ""),
    );
    let built = Path::new(env!("CARGO_BIN_EXE_queue")).parent().expect("a folder").to_owned();
    let script = script.replace("$PWD/target/debug", &built.to_string_lossy());
    let output = Command::new("timeout")
        .args(["-k", "5", "120", "bash", "-euo", "pipefail", "-c", &script])
        .output()
        .expect("bash runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    let status: serde_json::Value =
        serde_json::from_str(out.lines().last().unwrap_or_default()).expect("JSON on one line");
    assert_eq!(status["work"]["by_status"]["completed"], 22, "{out}\n{err}");
}

/// One at a time: the first command would find the walk-through's first voter on port 8770 and use it.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shell block that follows a `<!-- name -->` mark in README.md.
fn block(name: &str) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
        .expect("README.md");
    let mark = format!("<!-- {name} -->\n```sh\n");
    let start =
        readme.find(&mark).unwrap_or_else(|| panic!("README.md has a block {name:?}")) + mark.len();
    let end = readme[start..].find("```").expect("the block ends") + start;
    readme[start..end].to_owned()
}
