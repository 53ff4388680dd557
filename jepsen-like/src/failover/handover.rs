//! A trial of a worker: an agent that holds a job is killed, hung or cut off, and for how long the job is
//! nobody's until the next agent has it.
//!
//! Each job's command runs until the trial says that it is done. It goes on when its agent is killed or
//! stopped, so that a stopped agent, once it goes on, tries to settle under a token that is spent.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Fault,
    fault::Evidence,
    trial::{Outcome, Setting, Trial, milliseconds, pause, start_load},
};
use crate::{
    chance::Chance,
    cluster::{Cluster, Orders, Victim},
    exit::Failure,
    traffic::Load,
};

const QUEUE: &str = "handover";
/// The lease of a job, far longer than a handover may take.
const LEASE: &str = "30s";
/// A job that is not handed on by then waits for its lease, and some.
const LIMIT: Duration = Duration::from_secs(45);
/// Between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The next agent gets so long to ask for work, and a little more that is drawn from the seed.
const ASKS_WITHIN: Duration = Duration::from_millis(300);
const JITTER_MS: u64 = 250;

/// Two agents, each with place for one job.
pub(super) fn start_agents(cluster: &mut Cluster) -> Result<(), Failure> {
    let directory = done_directory(cluster);
    fs::create_dir_all(&directory).map_err(Failure::harness(directory.display().to_string()))?;
    let directory = directory.display();
    let script = format!(
        "until [ -e {directory}/$QUEUE_WORK_ID ] || [ ! -d {directory} ]; do sleep 0.1; done; echo {{}}"
    );
    for _ in 0..2 {
        cluster.add_agent(Orders {
            queue: QUEUE,
            slots: 1,
            lease: LEASE,
            script: script.clone(),
        })?;
    }
    Ok(())
}

/// Runs one: from two idle agents to a completed job.
pub(super) fn run(
    cluster: &mut Cluster,
    setting: &Setting,
    fault: Fault,
    number: u16,
    chance: &mut Chance,
) -> Result<Trial, Failure> {
    let everyone: Vec<usize> = (0..cluster.nodes.len()).collect();
    let asked = *chance.one_of(&everyone);
    let load = start_load(cluster, setting, &everyone)?;
    let holder = usize::try_from(chance.below(2)).expect("below 2");
    let next = 1 - holder;
    let job = one_holds_a_job(cluster, setting, number, holder)?;
    pause(ASKS_WITHIN + Duration::from_millis(chance.below(JITTER_MS)));
    let load_rate = load.as_ref().map_or(0.0, Load::rate);

    let injected = fault.inject(cluster, Victim::Agent(holder), setting.epoch)?;
    let handed_over = loop {
        if holder_of(&look(cluster, asked, &job)).as_deref() == Some(&cluster.agents[next].name) {
            break Some(setting.epoch.elapsed());
        }
        if setting.epoch.elapsed() > injected.begun + LIMIT {
            break None;
        }
        pause(LOOK_EVERY);
    };
    let evidence = injected.evidence(cluster)?;
    finish(cluster, &job)?;
    let has_ended = handed_over.is_some();
    let told = if has_ended { await_completion(cluster, asked, &job)? } else { Value::Null };
    injected.heal(cluster)?;
    let calls = load.map(Load::finish).unwrap_or_default();
    // Once the faulted agent is at work again, it has tried whatever it had in mind.
    let final_look = if has_ended { is_back(cluster, setting, number, &job)? } else { told };

    let completions = ends_of(&final_look).filter(|end| *end == "completed").count();
    let cause = ends_of(&final_look).find(|end| *end != "completed").map(str::to_owned);
    let gap = handed_over.map(|at| at.saturating_sub(injected.begun));
    Ok(Trial {
        number,
        fault,
        node: cluster.agents[holder].name.clone(),
        writer_at: cluster.nodes[asked].label.clone(),
        outcome: outcome(evidence, gap),
        gap_ms: gap.map(milliseconds),
        first_write_ms: None,
        gap_after_heal_ms: None,
        gap_before_ms: None,
        writer_late_ms: None,
        load_rate,
        calls,
        successor: has_ended.then(|| cluster.agents[next].name.clone()),
        cause,
        completed_twice: completions > 1,
    })
}

fn outcome(evidence: Evidence, gap: Option<Duration>) -> Outcome {
    match (evidence, gap) {
        (Evidence::None(why), _) => Outcome::Void(why),
        (Evidence::Misbehaved(why), _) => Outcome::Failed(why),
        (Evidence::InForce, None) => Outcome::Failed(format!(
            "the job was not the next worker's within {} s",
            LIMIT.as_secs()
        )),
        (Evidence::InForce, Some(_)) => Outcome::Measured,
    }
}

/// Gives each agent a job, which shows that both are at work, then ends that of the one that is to be
/// next. The answer is the other's job.
fn one_holds_a_job(
    cluster: &Cluster,
    setting: &Setting,
    number: u16,
    holder: usize,
) -> Result<String, Failure> {
    let ids = ["a", "b"].map(|letter| format!("handover-{}-{number}-{letter}", setting.seed));
    for id in &ids {
        add(cluster, id)?;
    }
    let holders = both_held(cluster, &ids)?;
    gossip_is_settled(cluster)?;
    let held = usize::from(holders[1] == cluster.agents[holder].name);
    finish(cluster, &ids[1 - held])?;
    await_completion(cluster, 0, &ids[1 - held])?;
    let [a, b] = ids;
    Ok(if held == 0 { a } else { b })
}

/// Waits until two jobs are held by two agents; the answer is by whom each.
fn both_held(cluster: &Cluster, ids: &[String; 2]) -> Result<[String; 2], Failure> {
    cluster.eventually("each agent holds a job", || {
        let [a, b] = [&ids[0], &ids[1]].map(|id| holder_of(&look(cluster, 0, id)));
        let (a, b) = (a?, b?);
        (a != b).then_some([a, b])
    })
}

/// Where there is gossip, waits until every node sees every agent alive.
fn gossip_is_settled(cluster: &Cluster) -> Result<(), Failure> {
    cluster.eventually("every node's gossip has both agents alive", || {
        let sees_all = |node: &crate::cluster::Node| {
            // No such path, or no gossip: leases decide, and that is what will be measured.
            let Some(seen) = cluster.control.get(node.http, "/peers") else { return true };
            let alive = |name: &str| {
                seen["peers"].as_array().is_some_and(|peers| {
                    peers.iter().any(|peer| peer["node_id"] == name && peer["state"] == "alive")
                })
            };
            seen["gossip"] != true || cluster.agents.iter().all(|agent| alive(&agent.name))
        };
        cluster.nodes.iter().all(sees_all).then_some(())
    })
}

/// After healing: both agents do a job at the same time, so the one that was faulted is done with what it
/// held. The answer is a last look at the job of the trial.
fn is_back(cluster: &Cluster, setting: &Setting, number: u16, job: &str) -> Result<Value, Failure> {
    let ids = ["c", "d"].map(|letter| format!("handover-{}-{number}-{letter}", setting.seed));
    for id in &ids {
        add(cluster, id)?;
    }
    both_held(cluster, &ids)?;
    for id in &ids {
        finish(cluster, id)?;
    }
    for id in &ids {
        await_completion(cluster, 0, id)?;
    }
    cluster.eventually("the job can be looked at", || {
        Some(look(cluster, 0, job)).filter(|job| !job.is_null())
    })
}

fn add(cluster: &Cluster, id: &str) -> Result<(), Failure> {
    let body = json!({"work_id": id, "queue": QUEUE, "payload": {}, "max_attempts": 1000});
    cluster.eventually("a job is added", || {
        let answer = cluster.control.post(cluster.nodes[0].http, "/work/add", &body).ok()?;
        answer.is_ok().then_some(())
    })
}

/// Lets the command of a job end.
fn finish(cluster: &Cluster, id: &str) -> Result<(), Failure> {
    let mark = done_directory(cluster).join(id);
    fs::write(&mark, "").map_err(Failure::harness(mark.display().to_string()))
}

fn await_completion(cluster: &Cluster, asked: usize, id: &str) -> Result<Value, Failure> {
    cluster.eventually("a job is completed", || {
        Some(look(cluster, asked, id)).filter(|job| job["state"] == "completed")
    })
}

/// The job as a node has it; `null` when it does not say.
fn look(cluster: &Cluster, asked: usize, id: &str) -> Value {
    let path = format!("/work/get/{id}");
    cluster.control.get(cluster.nodes[asked].http, &path).unwrap_or_default()
}

/// Who holds a job now.
fn holder_of(job: &Value) -> Option<String> {
    let is_held = matches!(job["state"].as_str(), Some("claimed" | "running"));
    let last = job["attempts"].as_array().filter(|_| is_held)?.last()?;
    last["node_id"].as_str().map(str::to_owned)
}

/// How the attempts ended that have.
fn ends_of(job: &Value) -> impl Iterator<Item = &str> {
    job["attempts"].as_array().into_iter().flatten().filter_map(|attempt| attempt["end"].as_str())
}

fn done_directory(cluster: &Cluster) -> PathBuf {
    Path::new(cluster.directory()).join("done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_that_of_the_last_attempt_of_a_job_that_is_held() {
        let attempts = json!([{"node_id": "w1", "end": "worker_down"}, {"node_id": "w2"}]);
        let job = |state| json!({"state": state, "attempts": attempts});
        assert_eq!(holder_of(&job("running")).as_deref(), Some("w2"));
        assert_eq!(holder_of(&job("claimed")).as_deref(), Some("w2"));
        assert_eq!(holder_of(&job("pending")), None);
        assert_eq!(holder_of(&Value::Null), None);
        assert_eq!(ends_of(&job("running")).collect::<Vec<_>>(), ["worker_down"]);
        assert_eq!(ends_of(&Value::Null).count(), 0);
    }

    #[test]
    fn a_job_that_nobody_got_is_a_failure_and_no_evidence_is_void() {
        assert!(matches!(outcome(Evidence::InForce, None), Outcome::Failed(_)));
        assert_eq!(outcome(Evidence::InForce, Some(LOOK_EVERY)), Outcome::Measured);
        assert!(matches!(outcome(Evidence::None(String::new()), None), Outcome::Void(_)));
    }
}
