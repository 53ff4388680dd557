//! Ten thousand jobs go through a cluster whose voters are killed one after the other, twice round.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};

use crate::support::{Caller, Cluster, Reply, seed};

const JOBS: usize = 10_000;
const CLAIMERS: usize = 4;

// Situation: a file of 10,000 jobs is added by the command line while four workers drain it and each
// voter in turn is killed with -9 and started again, twice round. Claim: every job is completed exactly
// once in the record, no acknowledged add is missing, no token was issued twice.
#[test]
fn ten_thousand_jobs_survive_the_death_of_each_voter_twice_over() {
    let seed = seed();
    let mut cluster = Cluster::of_three();
    let file = cluster.directory.path().join("jobs.ndjson");
    let lines = (0..JOBS).fold(String::new(), |mut text, number| {
        writeln!(text, r#"{{"work_id":"job-{number}","payload":{{"n":{number}}}}}"#).expect("into a string");
        text
    });
    fs::write(&file, lines).expect("the file of jobs");

    let addresses = cluster.addresses();
    let completed = AtomicUsize::new(0);
    let grants: Mutex<Vec<(String, u64)>> = Mutex::new(Vec::new());
    let started = Instant::now();
    let mut adding = Command::new(env!("CARGO_BIN_EXE_queue"))
        .args(["--addr", &cluster.urls(), "add", "--file"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .expect("queue add starts");

    std::thread::scope(|scope| {
        for number in 0..CLAIMERS {
            let caller = Caller::to(&addresses).starting_at(number);
            let (completed, grants) = (&completed, &grants);
            scope.spawn(move || work(number, seed, caller, completed, grants));
        }
        kill_each_voter_twice(&mut cluster, &completed);
    });
    assert!(adding.wait().expect("queue add ends").success(), "queue add --file ends with 0");
    eprintln!("{JOBS} jobs drained in {:.1} s under six kills", started.elapsed().as_secs_f64());

    each_job_is_completed_exactly_once(&addresses);
    no_token_is_issued_twice(&grants.into_inner().expect("no claimer panicked"));
}

/// Kills voter after voter; each time only when the drain has gone on since the last kill.
fn kill_each_voter_twice(cluster: &mut Cluster, completed: &AtomicUsize) {
    let share = JOBS / 8;
    for (kill, index) in [0, 1, 2, 0, 1, 2].into_iter().enumerate() {
        let target = (kill + 1) * share;
        cluster.eventually(&format!("{target} jobs are completed"), || {
            (completed.load(Ordering::Relaxed) >= target).then_some(())
        });
        cluster.kill(index);
        // The other two go on alone for a while before the third comes back.
        let alone = completed.load(Ordering::Relaxed) + share / 4;
        cluster.eventually("two voters go on", || {
            (completed.load(Ordering::Relaxed) >= alone.min(JOBS)).then_some(())
        });
        cluster.start(index);
        cluster.wait_ready(index);
    }
}

/// One worker: claims and completes until all jobs are done. Both calls are safe to repeat: the claim by
/// its request id, the completion by its token.
fn work(
    number: usize,
    seed: u64,
    mut caller: Caller,
    completed: &AtomicUsize,
    grants: &Mutex<Vec<(String, u64)>>,
) {
    let mut claim = 0_u64;
    while completed.load(Ordering::Relaxed) < JOBS {
        claim += 1;
        let body = json!({
            "node_id": format!("w{number}"), "wait_ms": 500, "lease_ms": 60_000,
            "request_id": format!("{seed}-{number}-{claim}"),
        });
        let (status, answer) = caller.insist("POST", "/work/claim", Some(&body));
        assert_eq!(status, 200, "{answer}");
        let work = &answer["work"];
        let (Some(job), Some(token)) = (work["work_id"].as_str(), work["token"].as_u64()) else { continue };
        grants.lock().expect("no claimer panicked").push((job.to_owned(), token));
        let body = json!({"work_id": job, "token": token, "result": {"by": number}});
        let (status, answer) = caller.insist("POST", "/work/complete", Some(&body));
        assert_eq!(status, 200, "{answer}");
        completed.fetch_add(1, Ordering::Relaxed);
    }
}

fn each_job_is_completed_exactly_once(addresses: &[String]) {
    let mut caller = Caller::to(addresses);
    let (_, status) = caller.insist("GET", "/work/status", None);
    assert_eq!(status["by_status"]["completed"].as_u64(), Some(JOBS as u64), "{status}");
    for number in 0..JOBS {
        let (code, job) = caller.insist("GET", &format!("/work/get/job-{number}"), None);
        assert_eq!((code, job["state"].as_str()), (200, Some("completed")), "{job}");
        let attempts = job["attempts"].as_array().cloned().unwrap_or_default();
        let completions = attempts.iter().filter(|attempt| attempt["end"] == "completed").count();
        assert_eq!(completions, 1, "{job}");
    }
}

fn no_token_is_issued_twice(grants: &[(String, u64)]) {
    let mut holder: BTreeMap<u64, &str> = BTreeMap::new();
    for (job, token) in grants {
        if let Some(other) = holder.insert(*token, job) {
            assert_eq!(other, job, "token {token} was issued for two jobs");
            panic!("token {token} of {job} was issued twice");
        }
    }
    let jobs: BTreeSet<&str> = grants.iter().map(|(job, _)| job.as_str()).collect();
    assert_eq!(jobs.len(), JOBS, "every job was granted");
}

// Situation: a voter is away past the point to which the others have purged their logs, while writes
// flow. Claim: it comes back by a snapshot, and holds what they hold.
#[test]
fn a_voter_that_was_away_past_the_purge_comes_back_by_snapshot_while_writes_flow() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_queue"));
    let flags = ["--snapshot-log-bytes", "65536", "--kept-entries", "50", "--segment-bytes", "65536"];
    let mut cluster = Cluster::stopped(binary, &[], &flags);
    cluster.start_all();
    let away = (cluster.leader() + 1) % 3;
    cluster.kill(away);
    let others: Vec<String> =
        (0..3).filter(|index| *index != away).map(|index| cluster.voters[index].http.clone()).collect();

    let is_done = std::sync::atomic::AtomicBool::new(false);
    let added = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut caller = Caller::to(&others);
            while !is_done.load(Ordering::Relaxed) {
                let id = format!("job-{}", added.load(Ordering::Relaxed));
                let body = json!({"work_id": id, "payload": "x".repeat(500)});
                let (status, answer) = caller.insist("POST", "/work/add", Some(&body));
                assert!(status == 201 || status == 200, "{answer}");
                added.fetch_add(1, Ordering::Relaxed);
            }
        });
        cluster.eventually("the log was purged behind a snapshot", || {
            (added.load(Ordering::Relaxed) >= 1_000).then_some(())
        });
        cluster.start(away);
        cluster.wait_ready(away);
        is_done.store(true, Ordering::Relaxed);
    });

    let count = added.load(Ordering::Relaxed);
    let back = std::slice::from_ref(&cluster.voters[away].http);
    cluster.eventually("the voter that was away holds every job", || {
        let reply = Caller::to(back).call("GET", "/work/status?consistency=stale", None);
        matches!(reply, Reply::Answer { status: 200, body } if body["total_items"] == json!(count)).then_some(())
    });
    let log = cluster.log(away);
    assert!(log.contains("installed a snapshot"), "it came back by a snapshot:\n{log}");
    all_replicas_agree(&cluster);
}

/// Equal applied index, equal hash chain (S16).
pub(crate) fn all_replicas_agree(cluster: &Cluster) {
    cluster.eventually("all replicas show one state", || {
        let seen: Vec<Value> = cluster
            .addresses()
            .iter()
            .map(|address| match Caller::to(std::slice::from_ref(address)).call("GET", "/status", None) {
                Reply::Answer { status: 200, body } => json!([body["applied_index"], body["state_hash"]]),
                _ => Value::Null,
            })
            .collect();
        let same_index: Vec<&Value> = seen.iter().filter(|one| one[0] == seen[0][0]).collect();
        assert!(same_index.iter().all(|one| one[1] == seen[0][1]), "replicas differ: {seen:?}");
        (same_index.len() == seen.len() && !seen[0].is_null()).then_some(())
    });
}
