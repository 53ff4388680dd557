//! What clients see while one voter after the other is restarted, killed or frozen: nothing.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quorate::{
    client::{Client, Options},
    queue::{JobId, Token, WorkerId},
    wire::{AddRequest, ClaimRequest, CompleteRequest, Work},
};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    drain::all_replicas_agree,
    support::{Caller, Cluster, Reply, SetOnFailure},
};

/// Clients of each kind. Those of plain HTTP know one node at a time and leave it when it is announced to
/// go; the typed ones know all nodes, and are told nothing.
const PLAIN_WRITERS: usize = 4;
const PLAIN_WORKERS: usize = 2;
const TYPED_WRITERS: usize = 2;
const TYPED_WORKERS: usize = 2;
/// Writers pause while so many jobs are not completed yet.
const BACKLOG: usize = 100;
/// What is done before and after each step.
const SHARE: usize = 60;
/// How long a claim waits for a job.
const WAIT_MS: u64 = 1_000;
/// No lease runs out in a test.
const LEASE_MS: u64 = 3_600_000;

/// What all clients of one test share.
#[derive(Default)]
struct Load {
    addresses: Vec<String>,
    /// The node that is announced to go: it gets no plain request. One more than its number; 0: none.
    going: AtomicUsize,
    /// Plain requests under way at each node.
    under_way: [AtomicUsize; 3],
    /// Nothing more is added; workers end when everything is completed.
    is_over: AtomicBool,
    /// The test has failed: everyone ends.
    is_aborted: AtomicBool,
    added: AtomicUsize,
    completed: AtomicUsize,
    /// The tokens under which each job was completed.
    completions: Mutex<BTreeMap<String, Vec<u64>>>,
    /// Whatever a client should not have seen.
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn on(cluster: &Cluster) -> Self {
        Self { addresses: cluster.addresses(), ..Self::default() }
    }

    fn fail(&self, failure: String) {
        self.failures.lock().expect("a list").push(failure);
    }

    fn counts(&self) -> (usize, usize) {
        (self.completed.load(Ordering::Relaxed), self.added.load(Ordering::Relaxed))
    }

    /// Waits for room; `false` when there is nothing more to add.
    fn may_add(&self) -> bool {
        loop {
            let (completed, added) = self.counts();
            if self.is_over.load(Ordering::Relaxed) || self.is_aborted.load(Ordering::Relaxed) {
                return false;
            }
            if added < completed + BACKLOG {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    fn may_claim(&self) -> bool {
        let (completed, added) = self.counts();
        // What failed may never be completed.
        let is_all = completed >= added || !self.failures.lock().expect("a list").is_empty();
        let is_done = self.is_over.load(Ordering::Relaxed) && is_all;
        !is_done && !self.is_aborted.load(Ordering::Relaxed)
    }

    fn note_added(&self) {
        self.added.fetch_add(1, Ordering::Relaxed);
    }

    fn note_completed(&self, job: &str, token: u64) {
        let mut completions = self.completions.lock().expect("a map");
        completions.entry(job.to_owned()).or_default().push(token);
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// Has everyone leave a node, and waits until they have.
    fn announce(&self, cluster: &Cluster, node: usize) {
        self.going.store(node + 1, Ordering::SeqCst);
        cluster.eventually("everyone has left the node that is to go", || {
            (self.under_way[node].load(Ordering::SeqCst) == 0).then_some(())
        });
    }

    /// Waits until clients have done a share of work since now.
    fn progress(&self, cluster: &Cluster) {
        let (completed, added) = self.counts();
        cluster.eventually("clients go on", || {
            let (now_completed, now_added) = self.counts();
            (now_completed >= completed + SHARE && now_added >= added + SHARE).then_some(())
        });
    }
}

/// A client that speaks plain HTTP with one node at a time.
struct Plain<'load> {
    load: &'load Load,
    callers: Vec<Caller>,
    at: usize,
}

impl<'load> Plain<'load> {
    fn of(load: &'load Load, number: usize) -> Self {
        let caller = |address: &String| Caller::to(std::slice::from_ref(address));
        Self { load, callers: load.addresses.iter().map(caller).collect(), at: number % 3 }
    }

    /// One request to a node that stays. `None` when that failed.
    fn call(&mut self, path: &str, body: &serde_json::Value) -> Option<serde_json::Value> {
        loop {
            self.load.under_way[self.at].fetch_add(1, Ordering::SeqCst);
            if self.load.going.load(Ordering::SeqCst) != self.at + 1 {
                break;
            }
            self.load.under_way[self.at].fetch_sub(1, Ordering::SeqCst);
            self.callers[self.at].hang_up();
            self.at = (self.at + 1) % 3;
        }
        let reply = self.callers[self.at].call("POST", path, Some(body));
        self.load.under_way[self.at].fetch_sub(1, Ordering::SeqCst);
        match reply {
            Reply::Answer { status: 200 | 201, body } => Some(body),
            failed => {
                self.load.fail(format!("{path} {body} at node {}: {failed:?}", self.at));
                None
            }
        }
    }

    fn write(mut self, number: usize) {
        for job in 0.. {
            if !self.load.may_add() {
                return;
            }
            let body = json!({"work_id": format!("p{number}-{job}"), "payload": job});
            if self.call("/work/add", &body).is_some() {
                self.load.note_added();
            }
        }
    }

    fn work(mut self, number: usize) {
        for claim in 0_u64.. {
            if !self.load.may_claim() {
                return;
            }
            let body = json!({"node_id": format!("p{number}"), "lease_ms": LEASE_MS,
                "wait_ms": WAIT_MS, "request_id": format!("p{number}-{claim}")});
            let Some(answer) = self.call("/work/claim", &body) else { continue };
            let (Some(job), Some(token)) =
                (answer["work"]["work_id"].as_str(), answer["work"]["token"].as_u64())
            else {
                continue;
            };
            let body = json!({"work_id": job, "token": token});
            if self.call("/work/complete", &body).is_some() {
                self.load.note_completed(job, token);
            }
        }
    }
}

/// A client that knows all nodes.
struct Typed<'load> {
    load: &'load Load,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl<'load> Typed<'load> {
    fn of(load: &'load Load) -> Self {
        let url = |address: &String| format!("http://{address}").parse().expect("a URL");
        let client = Client::new(Options {
            addresses: load.addresses.iter().map(url).collect(),
            timeout: Duration::from_secs(20),
            patience: Options::DEFAULT_PATIENCE,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { load, client, runtime: runtime.expect("a runtime") }
    }

    fn write(self, number: usize) {
        for job in 0.. {
            if !self.load.may_add() {
                return;
            }
            let work_id = JobId::parse(&format!("t{number}-{job}")).expect("an id");
            let add = AddRequest { work_id: Some(work_id), ..AddRequest::default() };
            match self.runtime.block_on(self.client.add(add)) {
                Ok(_) => self.load.note_added(),
                Err(error) => self.load.fail(format!("a typed add: {error:?}")),
            }
        }
    }

    fn work(self, number: usize) {
        let worker = WorkerId::parse(&format!("t{number}")).expect("a name");
        while self.load.may_claim() {
            let claim = ClaimRequest {
                wait_ms: Some(WAIT_MS),
                lease_ms: Some(LEASE_MS),
                ..ClaimRequest::new(worker.clone())
            };
            let work = match self.runtime.block_on(self.client.claim(claim)) {
                Ok(answer) => answer.value.work,
                Err(error) => {
                    self.load.fail(format!("a typed claim: {error:?}"));
                    None
                }
            };
            if let Some(Work::Granted(work)) = work {
                self.complete(work.work_id, work.token);
            }
        }
    }

    fn complete(&self, work_id: JobId, token: Token) {
        let job = work_id.to_string();
        let complete = CompleteRequest { work_id, token, result: None, then: vec![] };
        match self.runtime.block_on(self.client.complete(&complete)) {
            Ok(_) => self.load.note_completed(&job, token.0),
            Err(error) => self.load.fail(format!("a typed completion: {error:?}")),
        }
    }
}

/// Runs steps on a cluster under load, and checks that nobody saw them.
fn unseen(mut cluster: Cluster, steps: impl FnOnce(&mut Cluster, &Load)) {
    let load = Load::on(&cluster);
    std::thread::scope(|scope| {
        let load = &load;
        let _failure = SetOnFailure(&load.is_aborted);
        for number in 0..PLAIN_WRITERS {
            scope.spawn(move || Plain::of(load, number).write(number));
        }
        for number in 0..PLAIN_WORKERS {
            scope.spawn(move || Plain::of(load, number + 1).work(number));
        }
        for number in 0..TYPED_WRITERS {
            scope.spawn(move || Typed::of(load).write(number));
        }
        for number in 0..TYPED_WORKERS {
            scope.spawn(move || Typed::of(load).work(number));
        }
        load.progress(&cluster);
        steps(&mut cluster, load);
        load.progress(&cluster);
        load.is_over.store(true, Ordering::Relaxed);
    });
    let failures = load.failures.lock().expect("a list");
    assert!(failures.is_empty(), "{} failures: {:#?}", failures.len(), &failures[..]);
    let completions = load.completions.lock().expect("a map");
    let twice: Vec<_> = completions.iter().filter(|(_, tokens)| tokens.len() != 1).collect();
    assert!(twice.is_empty(), "completed more than once: {twice:?}");
    let added = load.added.load(Ordering::Relaxed);
    assert_eq!(completions.len(), added, "each job is completed");
    let (_, status) = Caller::to(&load.addresses).insist("GET", "/work/status", None);
    assert_eq!(status["by_status"]["completed"], json!(added), "{status}");
    assert_eq!(status["total_items"], json!(added), "{status}");
    all_replicas_agree(&cluster);
}

// Situation: each of three voters is stopped by SIGTERM and started again, twice round. Claim: no request fails,
// neither of clients that know another node nor of typed ones that know the one that goes; no job is lost,
// and each is completed once.
/// api 1.stop.unseen
#[test]
fn a_rolling_restart_is_seen_by_no_client() {
    unseen(Cluster::of_three(), |cluster, load| {
        for node in [0, 1, 2, 0, 1, 2] {
            load.announce(cluster, node);
            cluster.signal(node, Signal::TERM);
            let status = cluster.wait_exit(node, Duration::from_secs(30));
            assert!(status.is_some_and(|status| status.success()), "{status:?}");
            load.progress(cluster);
            cluster.start(node);
            cluster.wait_ready(node);
        }
    });
}

// Situation: the leader is killed by SIGKILL, three times. Claim: as above.
/// api 1.hold.killed
#[test]
fn a_killed_leader_is_missed_by_no_client_of_another_node() {
    unseen(Cluster::of_three(), |cluster, load| {
        for _ in 0..3 {
            let leader = cluster.leader();
            load.announce(cluster, leader);
            cluster.kill(leader);
            load.progress(cluster);
            cluster.start(leader);
            cluster.wait_ready(leader);
        }
    });
}

// Situation: the leader is frozen by SIGSTOP, and goes on after others have done some work; three times.
// Claim: as above.
/// api 1.hold.frozen
#[test]
fn a_frozen_leader_is_missed_by_no_client_of_another_node() {
    unseen(Cluster::of_three(), |cluster, load| {
        for _ in 0..3 {
            let leader = cluster.leader();
            load.announce(cluster, leader);
            cluster.signal(leader, Signal::STOP);
            load.progress(cluster);
            cluster.signal(leader, Signal::CONT);
            cluster.wait_ready(leader);
        }
    });
}

/// What a node says of itself to who watches it; empty when it breaks off.
fn metrics(address: &str) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let sent = stream.write_all(request.as_bytes());
        drop(sent.and_then(|()| stream.read_to_string(&mut text)));
    }
    text
}

// Situation: the leader is stopped by SIGTERM while clients that know no other node write over kept
// connections, and one waits for a job. Claim: every request that they sent is carried out and answered, the
// last of each connection says so, and who waited is answered long before its wait is over.
/// api 1.stop.serves, 1.stop.close, 1.stop.polls
#[test]
fn the_node_that_stops_answers_what_was_sent_to_it() {
    let mut cluster = Cluster::of_three();
    let leader = cluster.leader();
    let at = cluster.voters[leader].http.clone();
    let call = |caller: &mut Caller, path: &str, body: serde_json::Value| match caller.call(
        "POST",
        path,
        Some(&body),
    ) {
        Reply::Answer { status: 200 | 201, body } => body,
        failed => panic!("{path} {body}: {failed:?}"),
    };
    let (added, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (at, call, added, has_failed) = (&at, &call, &added, &has_failed);
        let _failure = SetOnFailure(has_failed);
        let wait =
            json!({"node_id": "w", "queues": ["nothing"], "wait_ms": 60_000, "request_id": "r"});
        let polling = scope
            .spawn(move || call(&mut Caller::to(std::slice::from_ref(at)), "/work/claim", wait));
        let writers = [0, 1, 2].map(|writer| {
            scope.spawn(move || {
                let mut caller = Caller::to(std::slice::from_ref(at));
                for job in 0.. {
                    let body = json!({"work_id": format!("{writer}-{job}")});
                    call(&mut caller, "/work/add", body);
                    added.fetch_add(1, Ordering::Relaxed);
                    if caller.has_hung_up() || has_failed.load(Ordering::Relaxed) {
                        return;
                    }
                }
            })
        });
        cluster.eventually("jobs are added", || {
            (added.load(Ordering::Relaxed) >= SHARE).then_some(())
        });
        cluster.eventually("the claim waits there", || {
            metrics(at).lines().any(|line| line == "queue_claims_parked 1").then_some(())
        });
        cluster.signal(leader, Signal::TERM);
        assert_eq!(polling.join().expect("it is answered")["status"], "no_work_available");
        for writer in writers {
            writer.join().expect("each of its requests is answered");
        }
    });
    let status = cluster.wait_exit(leader, Duration::from_secs(30));
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    let (_, status) = Caller::to(&cluster.addresses()).insist("GET", "/work/status", None);
    assert_eq!(status["total_items"], json!(added.load(Ordering::Relaxed)), "{status}");
}
