//! `queue worker`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{PATIENCE, Said, Server, User, finish, signal, until};

/// A user of a server, and what a test does with a worker there.
struct Site {
    user: User,
    server: Server,
}

impl Site {
    fn start() -> Self {
        let mut user = User::new();
        let server = Server::start(&user, &user.path("data"));
        user.set("QUEUE_ADDR", &server.address);
        Self { user, server }
    }

    fn add(&self, id: &str, more: &[&str]) {
        self.user.queue(&[&["add", "--id", id], more].concat()).with_code(0);
    }

    fn worker(&self, words: &[&str], script: &str) -> Agent {
        let words = [&["worker"], words, &["--", "sh", "-c", script]].concat();
        let child = self.user.command(&words).stdout(Stdio::piped()).spawn().unwrap();
        Agent { child: Some(child) }
    }

    /// The same, and the file into which it says what it does.
    fn heard_worker(&self, words: &[&str], script: &str) -> (Agent, PathBuf) {
        let words = [&["worker"], words, &["--", "sh", "-c", script]].concat();
        let path = self.user.path("worker.log");
        let mut command = self.user.command(&words);
        let child = command.stderr(fs::File::create(&path).unwrap()).spawn().unwrap();
        (Agent { child: Some(child) }, path)
    }

    /// Waits until so many claims wait at the server.
    #[track_caller]
    fn claims_wait(&self, count: u64) {
        let waiting = || self.server.metric("queue_claims_parked", " ");
        assert!(until(PATIENCE, || waiting() == count), "{} claims wait", waiting());
    }

    /// How many requests of a path the server has answered well.
    fn answered(&self, path: &str) -> u64 {
        let labels = format!("{{method=\"POST\",route=\"{path}\",status=\"2xx\"}}");
        self.server.metric("queue_http_requests_total", &labels)
    }

    fn job(&self, id: &str) -> Value {
        let job = self.user.queue(&["get", id, "-o", "json"]).with_code(0);
        serde_json::from_str(&job).unwrap()
    }

    #[track_caller]
    fn until(&self, id: &str, state: &str) -> Value {
        let mut job = Value::Null;
        let is_so = until(PATIENCE, || {
            job = self.job(id);
            job["state"] == state
        });
        assert!(is_so, "{id} is not {state}: {job}");
        job
    }

    /// What a script has written into a file, whole.
    #[track_caller]
    fn written(&self, name: &str) -> String {
        assert!(until(PATIENCE, || self.user.path(name).exists()), "nothing wrote {name}");
        fs::read_to_string(self.user.path(name)).unwrap().trim().to_owned()
    }

    /// A script that tells the number of its process and then runs for long.
    fn long(&self, name: &str) -> String {
        let path = self.user.path(name).display().to_string();
        format!("echo $$ > {path}.new; mv {path}.new {path}; sleep 600")
    }
}

/// A running `queue worker`. Killed when dropped.
struct Agent {
    child: Option<Child>,
}

impl Agent {
    fn signal(&self, what: Signal) {
        signal(self.child.as_ref().unwrap(), what);
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    fn ended(mut self) -> Said {
        finish(self.child.take().unwrap())
    }

    #[track_caller]
    fn terminate(self) -> Said {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Waits until a file holds this.
#[track_caller]
fn says(path: &Path, what: &str) {
    let said = || fs::read_to_string(path).unwrap();
    assert!(until(PATIENCE, || said().contains(what)), "not said: {what}: {}", said());
}

/// A process that is gone, or dead and only not yet collected by the test environment's first process.
fn has_ended(id: &str) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
    status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// api 4.worker.command, 4.worker.result
#[test]
fn each_job_runs_the_command_with_its_payload_and_the_last_json_line_is_its_result() {
    let site = Site::start();
    site.add("a", &["work", "--payload", "{\"n\": 1}", "--type", "t"]);
    site.add("b", &["work", "--payload", "[2]"]);
    let script = "p=$(cat); echo \"ran $QUEUE_WORK_ID\"; \
        echo \"{\\\"p\\\":$p,\\\"env\\\":\\\"$QUEUE_ATTEMPT $QUEUE_NAME $QUEUE_WORK_TYPE $QUEUE_WORKER\\\"}\"; \
        echo bye; [ -n \"$QUEUE_TOKEN\" ] && [ -n \"$QUEUE_ADDR\" ]";
    let worker = site.worker(&["work", "--worker", "w1", "--no-gossip"], script);
    let (a, b) = (site.until("a", "completed"), site.until("b", "completed"));
    assert_eq!(a["result"], json!({"p": {"n": 1}, "env": "1 work t w1"}));
    assert_eq!(b["result"], json!({"p": [2], "env": "1 work default w1"}));
    let said = worker.terminate();
    assert!(said.stderr.contains("job a completed"), "{}", said.stderr);
    let stdout = said.with_code(0);
    assert!(stdout.contains("ran a\n") && stdout.contains("ran b\n"), "{stdout}");
}

/// api 4.worker.fail
#[test]
fn a_command_that_fails_or_cannot_be_run_fails_the_attempt_and_says_why() {
    let site = Site::start();
    site.add("a", &["--max-attempts", "1"]);
    let worker = site.worker(&["--no-gossip"], "echo the disk is full >&2; exit 3");
    let job = site.until("a", "failed");
    let error = job["attempts"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("exit status: 3") && error.contains("the disk is full"), "{error}");
    worker.terminate().with_code(0);
    site.add("b", &["--max-attempts", "1"]);
    let words = ["worker", "--no-gossip", "--", "/nonexistent/x"];
    let worker = Agent { child: Some(site.user.command(&words).spawn().unwrap()) };
    let job = site.until("b", "failed");
    assert!(job["attempts"][0]["error"].as_str().unwrap().contains("cannot run /nonexistent/x"));
    worker.terminate().with_code(0);
}

/// api 4.worker.slots
#[test]
fn a_worker_runs_as_many_jobs_at_once_as_it_has_slots_and_keeps_their_leases() {
    let site = Site::start();
    for id in ["a", "b", "c"] {
        site.add(id, &["--lease", "400ms"]);
    }
    // Each waits for the other, so one alone would never end; and for longer than its lease.
    let here = site.user.home.path().display().to_string();
    let script = format!(
        "touch {here}/$QUEUE_WORK_ID; until [ -e {here}/a ] && [ -e {here}/b ]; do sleep 0.05; done; sleep 1.2"
    );
    let worker = site.worker(&["--slots", "2", "--no-gossip"], &script);
    for id in ["a", "b", "c"] {
        let job = site.until(id, "completed");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job}");
    }
    worker.terminate().with_code(0);
}

/// api 4.worker.drain
#[test]
fn sigterm_lets_what_runs_finish_and_claims_no_more() {
    let site = Site::start();
    site.add("a", &[]);
    let go = site.user.path("go").display().to_string();
    let started = site.user.path("started").display().to_string();
    let script = format!("touch {started}; until [ -e {go} ]; do sleep 0.02; done; echo 1");
    let (worker, said) = site.heard_worker(&["--slots", "2", "--no-gossip"], &script);
    site.written("started");
    // It has a place left, for which it waits.
    site.claims_wait(1);
    worker.signal(Signal::TERM);
    says(&said, "claiming no more");
    site.claims_wait(0);
    site.add("b", &[]);
    fs::write(&go, "").unwrap();
    worker.ended().with_code(0);
    assert_eq!(site.job("a")["state"], "completed");
    // A call that calls the claim back may be granted it for a moment, and gives it back.
    let b = site.job("b");
    assert_eq!(b["state"], "pending", "{b}");
    let started = fs::read_to_string(&said).unwrap();
    assert!(!started.contains("job b"), "{started}");
}

/// api 4.worker.release
#[test]
fn a_second_signal_gives_back_what_runs_and_leaves_no_process() {
    let site = Site::start();
    site.add("a", &[]);
    let worker = site.worker(&["--no-gossip"], &site.long("pid"));
    let pid = site.written("pid");
    worker.signal(Signal::TERM);
    worker.signal(Signal::TERM);
    // Two signals may arrive as one.
    let has_begun = || site.job("a")["state"] == "pending";
    let worker = worker;
    if !until(std::time::Duration::from_secs(2), has_begun) {
        worker.signal(Signal::TERM);
    }
    worker.ended().with_code(0);
    assert!(has_ended(&pid));
    let job = site.job("a");
    assert_eq!(
        (&job["state"], &job["attempts"][0]["end"]),
        (&json!("pending"), &json!("released"))
    );
}

/// api 4.worker.cancel
#[test]
fn a_cancelled_job_ends_its_command_and_the_worker_goes_on() {
    let site = Site::start();
    site.add("a", &["--lease", "300ms"]);
    let script = format!("[ $QUEUE_WORK_ID = b ] && exit 0; {}", site.long("pid"));
    let worker = site.worker(&["--no-gossip"], &script);
    let pid = site.written("pid");
    site.user.queue(&["cancel", "a"]).with_code(0);
    assert!(until(PATIENCE, || has_ended(&pid)));
    site.add("b", &[]);
    site.until("b", "completed");
    assert!(worker.terminate().stderr.contains("job a was cancelled"));
}

/// api 4.worker.stale
#[test]
fn a_worker_that_slept_past_its_lease_ends_its_command_and_goes_on() {
    let site = Site::start();
    site.add("a", &["--lease", "300ms"]);
    let mark = site.user.path("second").display().to_string();
    let script = format!("[ -e {mark} ] && exit 0; {}", site.long("pid"));
    let worker = site.worker(&["--no-gossip", "--worker", "sleeper"], &script);
    let pid = site.written("pid");
    worker.signal(Signal::STOP);
    site.until("a", "pending");
    fs::write(&mark, "").unwrap();
    let token = site.user.queue(&["claim", "--worker", "other", "--lease", "1m"]).with_code(0);
    assert!(!has_ended(&pid), "it sleeps");
    worker.signal(Signal::CONT);
    assert!(until(PATIENCE, || has_ended(&pid)));
    let (id, token) = token.split_once(' ').unwrap();
    site.user.queue(&["complete", id, "--token", token]).with_code(0);
    site.add("b", &[]);
    site.until("b", "completed");
    worker.terminate().with_code(0);
    assert_eq!(site.job("a")["attempts"][0]["end"], "expired");
}

/// api 4.worker.name
#[test]
fn a_later_worker_of_the_same_name_takes_over_and_the_earlier_one_ends() {
    let site = Site::start();
    site.add("a", &["--lease", "1h"]);
    let earlier = site.worker(&["--worker", "w", "--no-gossip", "--slots", "2"], &site.long("pid"));
    let pid = site.written("pid");
    let later = site.worker(&["--worker", "w", "--no-gossip"], "exit 0");
    let job = site.until("a", "completed");
    assert_eq!(job["attempts"][0]["end"], "worker_down", "{job}");
    let said = earlier.ended();
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("another worker has taken over as w"), "{}", said.stderr);
    assert!(has_ended(&pid));
    later.terminate().with_code(0);
}

/// api 4.worker.plain
#[test]
fn the_job_of_a_dead_worker_that_did_not_gossip_waits_for_the_end_of_its_lease() {
    let site = Site::start();
    site.add("a", &["--lease", "1s"]);
    let dead = site.worker(&["--no-gossip", "--worker", "dead"], &site.long("pid"));
    let pid = site.written("pid");
    drop(dead);
    let next = site.worker(&["--no-gossip", "--worker", "next"], "exit 0");
    let job = site.until("a", "completed");
    assert_eq!(job["attempts"][0]["end"], "expired", "{job}");
    next.terminate().with_code(0);
    // Nobody was left to end the command.
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
}

/// api 4.worker.drained
#[test]
fn a_worker_that_is_told_to_drain_claims_nothing_until_it_is_told_otherwise() {
    let site = Site::start();
    site.add("a", &["--lease", "300ms"]);
    let go = site.user.path("go").display().to_string();
    let started = site.user.path("started").display().to_string();
    let script = format!("touch {started}; until [ -e {go} ]; do sleep 0.02; done");
    let (worker, said) = site.heard_worker(&["--no-gossip", "--worker", "w"], &script);
    site.written("started");
    site.user.queue(&["drain", "w"]).with_code(0);
    says(&said, "told to claim no more");
    fs::write(&go, "").unwrap();
    site.until("a", "completed");
    let (claims, beats) = (site.answered("/work/claim_batch"), site.answered("/work/heartbeat"));
    assert!(claims > 0 && beats > 0, "{claims} claims and {beats} heartbeats are counted");
    site.add("b", &[]);
    // It asks whether it still is to drain, and for no job.
    let has_asked = || site.answered("/work/heartbeat") > beats + 1;
    assert!(until(PATIENCE, has_asked), "it asks no more");
    site.claims_wait(0);
    assert_eq!(site.answered("/work/claim_batch"), claims);
    let b = site.job("b");
    assert_eq!((&b["state"], &b["attempts"]), (&json!("pending"), &json!([])), "{b}");
    site.user.queue(&["undrain", "w"]).with_code(0);
    site.until("b", "completed");
    worker.terminate().with_code(0);
}
