//! Ten thousand jobs go through a cluster whose voters are killed one after the other, twice round.

use std::{
    fmt::Write as _,
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use jepsen_like::history::Function;
use serde_json::{Value, json};

use crate::{
    history::{Call, Client, Recorder, claim_body, every_promise_holds},
    support::{Caller, Cluster, Reply, SetOnFailure, seed},
};

const JOBS: usize = 10_000;
const CLAIMERS: usize = 4;
/// One claim in so many is left to expire, and its stale token is tried afterwards.
const FORGOTTEN: u64 = 97;
/// How long the drain may take: some twenty times what it does.
const DRAIN_MAX: Duration = Duration::from_mins(15);

// Situation: a file of 10,000 jobs is added by the command line while four workers drain it and each
// voter in turn is killed with -9 and started again, twice round; now and then a worker lets a lease run
// out and comes back with the stale token. Claim: every job is completed exactly once in the record, no
// acknowledged add is missing, no token is issued twice, no stale token succeeds.
#[test]
fn ten_thousand_jobs_survive_the_death_of_each_voter_twice_over() {
    let seed = seed();
    let mut cluster = Cluster::of_three();
    let jobs: Vec<String> = (0..JOBS).map(|number| format!("job-{number}")).collect();
    let body = |number: usize| json!({"work_id": jobs[number], "payload": {"n": number}});
    let file = cluster.directory.path().join("jobs.ndjson");
    let lines = (0..JOBS).fold(String::new(), |mut text, number| {
        writeln!(text, "{}", body(number)).expect("into a string");
        text
    });
    fs::write(&file, lines).expect("the file of jobs");

    let addresses = cluster.addresses();
    let recorder = Recorder::new();
    let started = Instant::now();
    let adding = recorder
        .on_adding(&addresses[0], (0..JOBS).map(|number| (jobs[number].clone(), body(number))));
    let mut command = Command::new(env!("CARGO_BIN_EXE_queue"))
        .args(["--addr", &cluster.urls(), "add", "--file"])
        .arg(&file)
        .stdout(Stdio::null())
        .spawn()
        .expect("queue add starts");

    let drain = Drain { seed, completed: AtomicUsize::new(0), has_failed: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        let _failure = SetOnFailure(&drain.has_failed);
        for number in 0..CLAIMERS {
            let client = recorder.client(Caller::to(&addresses).starting_at(number));
            let drain = &drain;
            scope.spawn(move || drain.work(number, client));
        }
        kill_each_voter_twice(&mut cluster, &drain.completed);
    });
    let added = cluster.eventually("queue add --file ends", || {
        command.try_wait().expect("its end can be asked for")
    });
    assert!(added.success(), "queue add --file ends with 0");
    recorder.on_added(&adding);
    eprintln!("{JOBS} jobs drained in {:.1} s under six kills", started.elapsed().as_secs_f64());

    let mut client = recorder.client(Caller::to(&addresses));
    let again = Call {
        function: Function::Add,
        job: Some(&jobs[0]),
        token: None,
        request: None,
        body: body(0),
    };
    assert_eq!(client.insist(&again).1["duplicate"], true, "an id is added once");
    each_job_is_completed(&addresses);
    every_promise_holds(&recorder.judge(&addresses, &jobs));
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

/// What the workers share.
struct Drain {
    seed: u64,
    completed: AtomicUsize,
    has_failed: AtomicBool,
}

impl Drain {
    /// One worker: claims and completes until all jobs are done. Both calls are safe to repeat: the claim by
    /// its request id, the completion by its token.
    fn work(&self, number: usize, mut client: Client<'_>) {
        let worker = format!("w{number}");
        let deadline = Instant::now() + DRAIN_MAX;
        let mut forgotten: Vec<(Instant, String, u64)> = Vec::new();
        for claim in 0_u64.. {
            while let Some(place) = forgotten.iter().position(|(due, ..)| *due <= Instant::now()) {
                let (_, job, token) = forgotten.swap_remove(place);
                self.complete(&mut client, &job, token);
            }
            let completed = self.completed.load(Ordering::Relaxed);
            let is_done = completed >= JOBS && forgotten.is_empty();
            if is_done || self.has_failed.load(Ordering::Relaxed) {
                return;
            }
            assert!(Instant::now() < deadline, "{completed} of {JOBS} in {DRAIN_MAX:?}");
            let is_forgotten = claim.wrapping_add(self.seed).is_multiple_of(FORGOTTEN);
            let request = format!("{}-{number}-{claim}", self.seed);
            let (status, answer) = client.insist(&Call {
                function: Function::Claim,
                job: None,
                token: None,
                request: Some(&request),
                body: claim_body(&worker, &request, if is_forgotten { 200 } else { 60_000 }, 200),
            });
            assert_eq!(status, 200, "{answer}");
            let (Some(job), Some(token)) =
                (answer["work"]["work_id"].as_str(), answer["work"]["token"].as_u64())
            else {
                continue;
            };
            if is_forgotten {
                forgotten.push((Instant::now() + Duration::from_secs(1), job.to_owned(), token));
            } else {
                self.complete(&mut client, job, token);
            }
        }
    }

    /// Completes under a token; counts it when this call did it.
    fn complete(&self, client: &mut Client<'_>, job: &str, token: u64) {
        let (status, answer) = client.insist(&Call {
            function: Function::Complete,
            job: Some(job),
            token: Some(token),
            request: None,
            body: json!({"work_id": job, "token": token, "result": {"token": token}}),
        });
        match status {
            200 => _ = self.completed.fetch_add(1, Ordering::Relaxed),
            409 => assert_eq!(answer["code"], "stale_token", "{answer}"),
            _ => panic!("{status}: {answer}"),
        }
    }
}

fn each_job_is_completed(addresses: &[String]) {
    let (_, status) = Caller::to(addresses).insist("GET", "/work/status", None);
    assert_eq!(status["by_status"]["completed"].as_u64(), Some(JOBS as u64), "{status}");
}

// Situation: a voter is away past the point to which the others have purged their logs, while writes
// flow. Claim: it comes back by a snapshot, and holds what they hold.
#[test]
fn a_voter_that_was_away_past_the_purge_comes_back_by_snapshot_while_writes_flow() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_queue"));
    let flags =
        ["--snapshot-log-bytes", "1048576", "--kept-entries", "50", "--segment-bytes", "1048576"];
    let mut cluster = Cluster::stopped(binary, &[], &flags);
    cluster.start_all();
    let away = (cluster.leader() + 1) % 3;
    cluster.kill(away);
    let others: Vec<String> = (0..3)
        .filter(|index| *index != away)
        .map(|index| cluster.voters[index].http.clone())
        .collect();

    let is_done = AtomicBool::new(false);
    let added = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let _failure = SetOnFailure(&is_done);
        scope.spawn(|| {
            let mut caller = Caller::to(&others);
            while !is_done.load(Ordering::Relaxed) {
                let id = format!("job-{}", added.load(Ordering::Relaxed));
                let body = json!({"work_id": id, "payload": "x".repeat(4000)});
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
        matches!(reply, Reply::Answer { status: 200, body } if body["total_items"] == json!(count))
            .then_some(())
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
            .map(|address| {
                match Caller::to(std::slice::from_ref(address)).call("GET", "/status", None) {
                    Reply::Answer { status: 200, body } => {
                        json!([body["applied_index"], body["state_hash"]])
                    }
                    _ => Value::Null,
                }
            })
            .collect();
        let same_index: Vec<&Value> = seen.iter().filter(|one| one[0] == seen[0][0]).collect();
        assert!(same_index.iter().all(|one| one[1] == seen[0][1]), "replicas differ: {seen:?}");
        (same_index.len() == seen.len() && !seen[0].is_null()).then_some(())
    });
}
