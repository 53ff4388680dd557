//! Agents of `queue worker` among three voters: what becomes of their jobs when they die.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

use crate::support::{Caller, Cluster};

/// Longer than any test: a job that is handed on was not waited for.
const LEASE_MS: u64 = 3_600_000;

/// Agents that fall with more than this between them do not fall together.
const APART: Duration = Duration::from_secs(6);

/// An agent as a process. Killed when dropped, and its command with it.
struct Agent {
    child: Child,
    mark: PathBuf,
}

impl Agent {
    /// Starts an agent whose command says who has it, and runs for long.
    fn holding(cluster: &Cluster, name: &str) -> Self {
        Self::holding_again(cluster, name, 1)
    }

    /// The same, when it is not the first of its name.
    fn holding_again(cluster: &Cluster, name: &str, run: u32) -> Self {
        let mark = cluster.directory.path().join(format!("{name}-{run}.pid"));
        let path = mark.display();
        let script = format!("echo $$ > {path}.new; mv {path}.new {path}; exec sleep 600");
        Self::start(cluster, name, &script, mark)
    }

    /// Starts an agent whose command ends at once.
    fn quick(cluster: &Cluster, name: &str) -> Self {
        let mark = cluster.directory.path().join(format!("{name}.pid"));
        Self::start(cluster, name, "echo $QUEUE_WORKER | jq -R .", mark)
    }

    fn start(cluster: &Cluster, name: &str, script: &str, mark: PathBuf) -> Self {
        let log = cluster.directory.path().join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_queue"))
            .args(["worker", "--addr", &cluster.urls(), "--worker", name, "--", "sh", "-c", script])
            .env_remove("QUEUE_ADDR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log).expect("a log file"))
            .spawn()
            .expect("the agent starts");
        Self { child, mark }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    fn kill(&mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is reaped");
    }

    /// The number of the process that its command is.
    fn command(&self) -> Option<i32> {
        fs::read_to_string(&self.mark).ok()?.trim().parse().ok()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(group) = self.command().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn add(cluster: &Cluster, id: &str) {
    let job = json!({"work_id": id, "payload": 1, "lease_ms": LEASE_MS});
    let (status, body) = Caller::to(&cluster.addresses()).insist("POST", "/work/add", Some(&job));
    assert!(status == 201 || status == 200, "{body}");
}

fn job(cluster: &Cluster, id: &str) -> Value {
    Caller::to(&cluster.addresses()).insist("GET", &format!("/work/get/{id}"), None).1
}

fn until(cluster: &Cluster, id: &str, state: &str) -> Value {
    cluster.eventually(&format!("{id} is {state}"), || {
        let job = job(cluster, id);
        (job["state"] == state).then_some(job)
    })
}

/// Waits until every voter's gossip has an agent in this state.
fn is_seen(cluster: &Cluster, name: &str, state: &str) {
    for address in cluster.addresses() {
        cluster.eventually(&format!("{name} is seen {state}"), || {
            let peers = Caller::to(std::slice::from_ref(&address)).insist("GET", "/peers", None).1;
            let mut peers = peers["peers"].as_array()?.iter();
            peers
                .any(|peer| {
                    peer["node_id"] == name && peer["state"] == state && peer["kind"] == "worker"
                })
                .then_some(())
        });
    }
}

/// api 4.worker.gossip, 2.add.max-attempts.worker-down, 2.get.attempts.worker-down
#[test]
fn a_killed_agents_job_goes_to_the_next_worker_without_waiting_for_its_lease() {
    let cluster = Cluster::of_three();
    add(&cluster, "a");
    let mut holder = Agent::holding(&cluster, "holder");
    until(&cluster, "a", "running");
    is_seen(&cluster, "holder", "alive");
    let _next = Agent::quick(&cluster, "next");
    holder.kill();
    let job = until(&cluster, "a", "completed");
    let ends: Vec<&Value> = job["attempts"]
        .as_array()
        .expect("attempts")
        .iter()
        .map(|attempt| &attempt["end"])
        .collect();
    assert_eq!(ends, ["worker_down", "completed"], "{job}");
    assert_eq!(job["result"], "next");
}

// Situation: an agent is stopped for longer than it takes to be missed, and goes on. Claim: its job went
// to another, once; it ends its command and claims again, under a new session.
#[test]
fn an_agent_that_was_taken_for_dead_loses_its_job_ends_its_command_and_goes_on() {
    let cluster = Cluster::of_three();
    add(&cluster, "a");
    let holder = Agent::holding(&cluster, "holder");
    until(&cluster, "a", "running");
    is_seen(&cluster, "holder", "alive");
    let command = cluster.eventually("its command runs", || holder.command());
    holder.signal(Signal::STOP);
    let next = Agent::quick(&cluster, "next");
    let job = until(&cluster, "a", "completed");
    assert_eq!(job["attempts"][0]["end"], "worker_down", "{job}");
    drop(next);
    fs::remove_file(&holder.mark).expect("its mark");
    holder.signal(Signal::CONT);
    let is_gone = || fs::metadata(format!("/proc/{command}")).is_err();
    cluster.eventually("its command is ended", || is_gone().then_some(()));
    add(&cluster, "b");
    until(&cluster, "b", "running");
    let log = cluster.directory.path().join("holder.log");
    let said = fs::read_to_string(log).expect("its log");
    assert!(said.contains("taken for dead; going on under session"), "{said}");
    is_seen(&cluster, "holder", "alive");
}

// Situation: of six agents five are stopped at once, and the sixth later. Claim: the five are a storm, and
// their leases decide; the one is none, and its job is handed on while those of the five are still theirs.
#[test]
fn agents_that_fall_together_keep_their_leases() {
    const TOGETHER: [&str; 5] = ["h1", "h2", "h3", "h4", "h5"];
    let cluster = Cluster::of_three();
    let mut agents = Vec::new();
    for name in TOGETHER.into_iter().chain(["later"]) {
        add(&cluster, name);
        agents.push(Agent::holding(&cluster, name));
        until(&cluster, name, "running");
        is_seen(&cluster, name, "alive");
    }
    for agent in &agents[..5] {
        agent.signal(Signal::STOP);
    }
    for name in TOGETHER {
        is_seen(&cluster, name, "down");
    }
    let since = Instant::now();
    cluster.eventually("what falls now falls alone", || (since.elapsed() > APART).then_some(()));
    agents[5].signal(Signal::STOP);
    // The look that ends this lease goes over the agents that fell before, too.
    let handed_on = until(&cluster, "later", "pending");
    assert_eq!(handed_on["attempts"][0]["end"], "worker_down", "{handed_on}");
    let held = TOGETHER.iter().filter(|id| job(&cluster, id)["state"] == "running").count();
    // The first two to be missed may have been alone for a moment: three are the least that is a storm.
    assert!(held >= TOGETHER.len() - 2, "{held} are held");
}

// Situation: an agent is killed and started again at once; then one more is started under its name.
// Claim: the newest session has the job each time, the one before it none, and another agent's lease
// is never touched.
#[test]
fn the_newest_session_of_a_name_has_its_jobs_and_nobody_else_loses_any() {
    let cluster = Cluster::of_three();
    add(&cluster, "steady");
    let steady = Agent::holding(&cluster, "steady");
    until(&cluster, "steady", "running");
    add(&cluster, "a");
    let mut first = Agent::holding(&cluster, "w");
    until(&cluster, "a", "running");
    let held_by = |attempts: usize| {
        cluster.eventually(&format!("attempt {attempts} runs"), || {
            let job = job(&cluster, "a");
            let ends = job["attempts"].as_array()?;
            (ends.len() == attempts && job["state"] == "running").then(|| job.clone())
        })
    };
    first.kill();
    let mut second = Agent::holding_again(&cluster, "w", 2);
    let job_then = held_by(2);
    assert_eq!(job_then["attempts"][0]["end"], "worker_down", "{job_then}");
    let third = Agent::holding_again(&cluster, "w", 3);
    let job_then = held_by(3);
    assert_eq!(job_then["attempts"][1]["end"], "worker_down", "{job_then}");
    let code = second.child.wait().expect("it ends").code();
    assert_eq!(code, Some(4), "its name was taken over");
    let untouched = job(&cluster, "steady");
    assert_eq!(untouched["state"], "running");
    assert_eq!(untouched["attempts"].as_array().map(Vec::len), Some(1), "{untouched}");
    drop((steady, third));
}
