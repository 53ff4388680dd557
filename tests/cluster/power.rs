//! All voters die at once, in the middle of writes, again and again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde_json::json;

use crate::{
    drain::all_replicas_agree,
    support::{Caller, Cluster, Reply, SetOnFailure, seed},
};

const ROUNDS: usize = 20;
const WRITERS: usize = 4;

/// What the cluster acknowledged of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Acknowledged {
    Added,
    Claimed { token: u64 },
    Completed { token: u64 },
}

/// The last acknowledgement of each job, by id.
type Record = Mutex<BTreeMap<String, Acknowledged>>;

// Situation: three voters are killed with -9 at the same moment while four clients write; twenty times.
// Claim: after each restart every acknowledged add, claim and completion is there.
#[test]
fn nothing_acknowledged_is_lost_when_all_voters_are_killed_at_once() {
    let binary = Path::new(env!("CARGO_BIN_EXE_queue"));
    kill_all_again_and_again(|_| Cluster::stopped(binary, &[], &[]));
}

// Situation: the same, with the power cut too: the voters' disks hold back what was not synced, and at
// the kill it is lost, kept in part, or torn, as the seed has it. Claim: the same.
/// api 1.ack.fsynced
#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails_for_all_voters_at_once() {
    kill_all_again_and_again(|seed| {
        Cluster::stopped(&faulty_binary(), &[("QUORATE_FAULTY_DISK", seed.to_string())], &[])
    });
}

fn kill_all_again_and_again(cluster: impl FnOnce(u64) -> Cluster) {
    let seed = seed();
    let mut cluster = cluster(seed);
    cluster.start_all();
    let record = Record::default();
    for round in 0..ROUNDS {
        let is_over = AtomicBool::new(false);
        let acknowledged = AtomicUsize::new(0);
        let addresses = cluster.addresses();
        std::thread::scope(|scope| {
            let _failure = SetOnFailure(&is_over);
            for writer in 0..WRITERS {
                let caller = Caller::to(&addresses).starting_at(writer);
                let (is_over, acknowledged, record) = (&is_over, &acknowledged, &record);
                let name = format!("{round}-{writer}");
                scope.spawn(move || write(&name, caller, is_over, acknowledged, record));
            }
            let enough = 100 + usize::try_from((seed >> (round % 32)) % 100).expect("below 100");
            cluster.eventually("the writers have written enough", || {
                (acknowledged.load(Ordering::Relaxed) >= enough).then_some(())
            });
            cluster.kill_all();
            is_over.store(true, Ordering::Relaxed);
        });
        cluster.start_all();
        everything_acknowledged_is_there(&cluster, &record);
    }
    all_replicas_agree(&cluster);
    let record = record.into_inner().expect("no writer panicked");
    let completed =
        record.values().filter(|last| matches!(last, Acknowledged::Completed { .. })).count();
    eprintln!(
        "{ROUNDS} kills, {} acknowledged jobs, {completed} of them completed, none lost",
        record.len()
    );
}

/// Adds, claims and completes until the cluster is gone, and notes what was acknowledged.
fn write(
    name: &str,
    mut caller: Caller,
    is_over: &AtomicBool,
    acknowledged: &AtomicUsize,
    record: &Record,
) {
    let note = |job: &str, what: Acknowledged| {
        record.lock().expect("no writer panicked").insert(job.to_owned(), what);
        acknowledged.fetch_add(1, Ordering::Relaxed);
    };
    for number in 0_u64.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let job = format!("{name}-{number}");
        let add =
            json!({"work_id": job, "queue": name, "payload": {"n": number}, "lease_ms": 3_600_000});
        let Reply::Answer { status: 201, .. } = caller.call("POST", "/work/add", Some(&add)) else {
            continue;
        };
        note(&job, Acknowledged::Added);
        let claim = json!({"node_id": name, "queues": [name], "request_id": job});
        let Reply::Answer { status: 200, body } = caller.call("POST", "/work/claim", Some(&claim))
        else {
            continue;
        };
        let (Some(job), Some(token)) =
            (body["work"]["work_id"].as_str(), body["work"]["token"].as_u64())
        else {
            continue;
        };
        note(job, Acknowledged::Claimed { token });
        let complete = json!({"work_id": job, "token": token, "result": {"token": token}});
        if let Reply::Answer { status: 200, .. } =
            caller.call("POST", "/work/complete", Some(&complete))
        {
            note(job, Acknowledged::Completed { token });
        }
    }
}

fn everything_acknowledged_is_there(cluster: &Cluster, record: &Record) {
    let mut caller = Caller::to(&cluster.addresses());
    for (job, last) in record.lock().expect("no writer panicked").iter() {
        let (status, seen) = caller.insist("GET", &format!("/work/get/{job}"), None);
        assert_eq!(status, 200, "{job} was acknowledged as {last:?} and is gone: {seen}");
        let attempts = seen["attempts"].as_array().cloned().unwrap_or_default();
        let has_attempt = |token: u64, end: Option<&str>| {
            attempts.iter().any(|attempt| {
                attempt["token"] == json!(token)
                    && end.is_none_or(|end| attempt["end"] == json!(end))
            })
        };
        let is_there = match last {
            Acknowledged::Added => true,
            Acknowledged::Claimed { token } => has_attempt(*token, None),
            Acknowledged::Completed { token } => {
                seen["state"] == "completed"
                    && has_attempt(*token, Some("completed"))
                    && seen["result"] == json!({"token": token})
            }
        };
        assert!(is_there, "{job} was acknowledged as {last:?}, and now it is {seen}");
    }
}

/// `examples/faulty.rs`: `queue` over a disk that holds back what was not synced. Cargo builds it with
/// the tests, beside them.
fn faulty_binary() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test's own path");
    path.pop();
    path.pop();
    path.join("examples").join("faulty")
}
