//! `queue history`, and an archive that is damaged while its node is down.

use std::{fs, path::Path, sync::Arc};

use quorate::{
    archive::{DiskArchive, Options},
    node::{Archive as _, FileSystem},
    queue::{Add, Cancel, ClockMs, Command, Entry, JobId, Limits, NewJob, Stamp, State, WallMs},
};

use crate::harness::{PATIENCE, Server, User, until};

/// Puts cancelled jobs into the archive of a node that does not run, as if it had lived for an hour.
fn fill_archive(data_dir: &Path, ids: &[&str]) {
    let mut state = State::with_limits(Limits { retention_ms: 1, ..Limits::default() });
    let mut commands = Vec::new();
    for id in ids {
        let job = JobId::parse(id).unwrap();
        commands.push(Command::Add(Add { jobs: vec![NewJob::plain(job.clone())] }));
        commands.push(Command::Cancel(Cancel { job }));
    }
    state.apply(&Entry { stamp: Stamp { clock: ClockMs(1), wall: WallMs(1) }, commands });
    let later = Stamp { clock: ClockMs(9), wall: WallMs(9) };
    let departed = state.apply(&Entry { stamp: later, commands: Vec::new() }).departed.0;
    assert_eq!(departed.len(), ids.len());
    let archive = DiskArchive::new(Options {
        directory: data_dir.join("archive"),
        jobs_max: 1000,
        bytes_max: 64 << 20,
        reserve_bytes: 0,
        space: Arc::new(FileSystem),
    });
    archive.offer(departed);
    archive.start();
    assert!(archive.close(PATIENCE));
    assert_eq!(archive.status().written, ids.len() as u64);
}

/// The history, once the archive has been opened.
fn history(user: &User, server: &Server) -> String {
    let mut shown = String::new();
    let words = ["history", "--addr", &server.address];
    let is_open = until(PATIENCE, || {
        let said = user.queue(&words);
        shown.clone_from(&said.stdout);
        said.code == Some(0) && said.stderr.is_empty()
    });
    assert!(is_open, "{}", server.log(user));
    shown.trim_end().to_owned()
}

#[test]
fn history_shows_finished_jobs_in_every_format() {
    let user = User::new();
    let data_dir = user.path("node");
    fill_archive(&data_dir, &["old"]);
    let server = Server::start(&user, &data_dir);
    let address = ["--addr", &server.address];
    let queue = |words: &[&str]| user.queue(&[words, &address].concat());
    queue(&["add", "--id", "new"]).with_code(0);
    queue(&["cancel", "new"]).with_code(0);
    assert_eq!(history(&user, &server), "new cancelled\nold cancelled");
    assert_eq!(queue(&["history", "--limit", "1"]).with_code(0), "new cancelled");
    assert_eq!(queue(&["history", "--status", "completed,failed"]).with_code(0), "");
    let json = queue(&["history", "-o", "json"]).with_code(0);
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&answer["count"], &answer["history"][1]["archived"]), (&2.into(), &true.into()));
    let lines = queue(&["history", "-o", "jsonl"]).with_code(0);
    assert_eq!(lines.lines().count(), 2);
    let table = queue(&["history", "-o", "table"]).with_code(0);
    assert!(table.contains("WORK ID") && table.contains("archive"), "{table}");
    assert_eq!(queue(&["get", "old"]).with_code(0), "old cancelled");
    assert!(queue(&["history", "--status", "pending"]).complaint(2).contains("pending"));
    assert!(queue(&["history", "--limit", "1001"]).complaint(2).contains("1001"));
}

// Situation: a node is killed, and the files of its archive are overwritten with noise. Claim: it starts,
// serves, keeps every job that was acknowledged, says once what happened; only the history is shorter.
#[test]
fn a_damaged_archive_costs_a_killed_node_its_history_and_nothing_else() {
    let user = User::new();
    let data_dir = user.path("node");
    fill_archive(&data_dir, &["old-1", "old-2"]);
    let server = Server::start(&user, &data_dir);
    user.queue(&["add", "--id", "kept", "--addr", &server.address]).with_code(0);
    assert_eq!(history(&user, &server), "old-2 cancelled\nold-1 cancelled");
    drop(server); // kill -9

    let file = data_dir.join("archive/conf");
    fs::write(&file, [0xa5; 200]).unwrap();
    let server = Server::start(&user, &data_dir);
    assert_eq!(history(&user, &server), "");
    let log = server.log(&user);
    let lines = log.lines().filter(|line| line.contains("archive of finished jobs"));
    let warnings: Vec<_> = lines.filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("damaged and set aside"), "{log}");
    assert!(data_dir.join("archive.damaged").exists());
    let get = ["get", "kept", "--addr", &server.address];
    assert_eq!(user.queue(&get).with_code(0), "kept pending");
    user.queue(&["cancel", "kept", "--addr", &server.address]).with_code(0);
    assert_eq!(history(&user, &server), "kept cancelled");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_node_without_an_archive_says_so_and_writes_none() {
    let user = User::new();
    let port = crate::harness::two_ports();
    let listen = format!("127.0.0.1:{port}");
    let data_dir = user.path("node");
    let dir = data_dir.display().to_string();
    let words = ["serve", "--listen", &listen, "--data-dir", &dir, "--archive-max-bytes", "0"];
    let server = Server::spawn(&user, port, &words);
    server.await_leader(&user);
    let said = user.queue(&["history", "--addr", &server.address]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""));
    assert!(said.stderr.contains("keeps no archive"), "{}", said.stderr);
    assert_eq!(server.terminate(), Some(0));
    assert!(!data_dir.join("archive").exists());
}
