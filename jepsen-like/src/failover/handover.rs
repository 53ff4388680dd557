//! A trial of a worker: an agent that holds a job is killed, hung, cut off, started again or given a twin,
//! and for how long the job is nobody's until the next one has it.
//!
//! Each job's command runs until the trial says that it is done. It goes on when its agent is killed or
//! stopped, so that a stopped agent, once it goes on, tries to settle under a token that is spent.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    Fault,
    fault::Evidence,
    trial::{Outcome, Setting, Trial, milliseconds, pause, start_load},
};
use crate::{
    chance::Chance,
    cluster::{Cluster, Orders, Victim, holder_of},
    exit::Failure,
    traffic::Load,
};

const QUEUE: &str = "handover";
/// The lease of a job, far longer than a handover may take.
const LEASE: &str = "30s";
/// A job that is not handed on by then waits for its lease, and some.
const LIMIT: Duration = Duration::from_secs(45);
/// An agent that is stopped is so for at least this long, far longer than it takes to be missed.
const STOPPED_FOR: Duration = Duration::from_secs(3);
/// Between two looks at the job.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The next agent gets so long to ask for work, and a little more that is drawn from the seed.
const ASKS_WITHIN: Duration = Duration::from_millis(300);
const JITTER_MS: u64 = 250;

/// Two agents, each with place for one job.
pub(crate) fn start_agents(cluster: &mut Cluster) -> Result<(), Failure> {
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
pub(crate) fn run(
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
    let job = one_holds_a_job(cluster, setting, number, holder)?;
    pause(ASKS_WITHIN + Duration::from_millis(chance.below(JITTER_MS)));
    let load_rate = load.as_ref().map_or(0.0, Load::rate);

    let injected = fault.inject(cluster, Victim::Agent(holder), setting.epoch)?;
    let handed_over = loop {
        if let Some(successor) = second_holder(&cluster.job(asked, &job)) {
            break Some((setting.epoch.elapsed(), successor));
        }
        if setting.epoch.elapsed() > injected.begun + LIMIT {
            break None;
        }
        pause(LOOK_EVERY);
    };
    if fault == Fault::Stop {
        let lasts = injected.begun + STOPPED_FOR;
        pause(lasts.saturating_sub(setting.epoch.elapsed()));
    }
    let evidence = injected.evidence(cluster)?;
    finish(cluster, &job)?;
    let has_ended = handed_over.is_some();
    let told = if has_ended { cluster.await_completion(asked, &job)? } else { Value::Null };
    injected.heal(cluster)?;
    let calls = load.map(Load::finish).unwrap_or_default();
    // Once the faulted agent is at work again, it has tried whatever it had in mind.
    let (final_look, lost) =
        if has_ended { is_back(cluster, setting, number, &job)? } else { (told, None) };
    let comes_back = matches!(fault, Fault::Stop | Fault::Partition);
    let has_given_up = !has_ended || !comes_back || says_lost(cluster, holder, &job)?;
    let complaint = if has_given_up {
        lost.map(|id| format!("a living agent lost the lease of {id}"))
    } else {
        Some("the agent came back and does not say that it lost the job".to_owned())
    };

    let completions = ends_of(&final_look).filter(|end| *end == "completed").count();
    let cause = ends_of(&final_look).find(|end| *end != "completed").map(str::to_owned);
    let gap = handed_over.as_ref().map(|(at, _)| at.saturating_sub(injected.begun));
    Ok(Trial {
        number,
        fault,
        node: cluster.agents[holder].name.clone(),
        writer_at: cluster.nodes[asked].label.clone(),
        outcome: outcome(evidence, gap, complaint),
        gap_ms: gap.map(milliseconds),
        first_write_ms: None,
        gap_after_heal_ms: None,
        gap_before_ms: None,
        writer_late_ms: None,
        load_rate,
        calls,
        successor: handed_over.map(|(_, successor)| successor),
        cause,
        told_gap_ms: None,
        completed_twice: completions > 1,
    })
}

fn outcome(evidence: Evidence, gap: Option<Duration>, complaint: Option<String>) -> Outcome {
    match (evidence, gap) {
        (Evidence::None(why), _) => Outcome::Void(why),
        (Evidence::Misbehaved(why), _) => Outcome::Failed(why),
        (Evidence::InForce, None) => Outcome::Failed(format!(
            "the job was not the next worker's within {} s",
            LIMIT.as_secs()
        )),
        (Evidence::InForce, Some(_)) => complaint.map_or(Outcome::Measured, Outcome::Failed),
    }
}

/// Whether the agent that came back has told, in its log, that the job is not its own any more.
fn says_lost(cluster: &Cluster, agent: usize, job: &str) -> Result<bool, Failure> {
    let path = cluster.log_path(&cluster.agents[agent].name);
    let log = fs::read_to_string(&path).map_err(Failure::harness(path.display().to_string()))?;
    Ok(is_lost_by(&log, job))
}

fn is_lost_by(log: &str, job: &str) -> bool {
    let tells = ["could not be completed", "lost its lease", "could not extend its lease"];
    let of_job = |line: &&str| line.contains(&format!("job {job} "));
    log.lines().filter(of_job).any(|line| tells.iter().any(|tell| line.contains(tell)))
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
    cluster.add_jobs(QUEUE, &ids)?;
    let holders = both_held(cluster, &ids)?;
    if setting.waits_for_gossip {
        cluster.wait_gossip()?;
    }
    let held = usize::from(holders[1] == cluster.agents[holder].name);
    finish(cluster, &ids[1 - held])?;
    cluster.await_completion(0, &ids[1 - held])?;
    let [a, b] = ids;
    Ok(if held == 0 { a } else { b })
}

/// Waits until two jobs are held by two agents; the answer is by whom each.
fn both_held(cluster: &Cluster, ids: &[String; 2]) -> Result<[String; 2], Failure> {
    cluster.eventually("each agent holds a job", || {
        let [a, b] = [&ids[0], &ids[1]].map(|id| holder_of(&cluster.job(0, id)));
        let (a, b) = (a?, b?);
        (a != b).then_some([a, b])
    })
}

/// After healing: both agents do a job at the same time, so the one that was faulted is done with what it
/// held. The answer is a last look at the job of the trial, and which of the two jobs was not completed by
/// the first who had it: all live.
fn is_back(
    cluster: &Cluster,
    setting: &Setting,
    number: u16,
    job: &str,
) -> Result<(Value, Option<String>), Failure> {
    let ids = ["c", "d"].map(|letter| format!("handover-{}-{number}-{letter}", setting.seed));
    cluster.add_jobs(QUEUE, &ids)?;
    both_held(cluster, &ids)?;
    for id in &ids {
        finish(cluster, id)?;
    }
    let mut lost = None;
    for id in ids {
        let job = cluster.await_completion(0, &id)?;
        lost = lost.or((ends_of(&job).count() > 1).then_some(id));
    }
    let last_look = cluster.eventually("the job can be looked at", || {
        Some(cluster.job(0, job)).filter(|job| !job.is_null())
    })?;
    Ok((last_look, lost))
}

/// Lets the command of a job end.
fn finish(cluster: &Cluster, id: &str) -> Result<(), Failure> {
    let mark = done_directory(cluster).join(id);
    fs::write(&mark, "").map_err(Failure::harness(mark.display().to_string()))
}

/// Who holds a job that somebody held before.
fn second_holder(job: &Value) -> Option<String> {
    holder_of(job).filter(|_| job["attempts"].as_array().is_some_and(|all| all.len() > 1))
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
    use serde_json::json;

    use super::*;

    #[test]
    fn the_ends_are_of_the_attempts_that_have_ended() {
        let attempts = json!([{"node_id": "w1", "end": "worker_down"}, {"node_id": "w2"}]);
        let job = json!({"state": "running", "attempts": attempts});
        assert_eq!(ends_of(&job).collect::<Vec<_>>(), ["worker_down"]);
        assert_eq!(second_holder(&job).as_deref(), Some("w2"));
        let first = json!({"state": "running", "attempts": [{"node_id": "w1"}]});
        assert_eq!(second_holder(&first), None);
        assert_eq!(ends_of(&Value::Null).count(), 0);
    }

    #[test]
    fn a_job_that_nobody_got_is_a_failure_and_no_evidence_is_void() {
        let outcome_of = |gap| outcome(Evidence::InForce, gap, None);
        assert!(matches!(outcome_of(None), Outcome::Failed(_)));
        assert_eq!(outcome_of(Some(LOOK_EVERY)), Outcome::Measured);
        assert!(matches!(outcome(Evidence::None(String::new()), None, None), Outcome::Void(_)));
    }

    #[test]
    fn an_agent_that_came_back_must_have_lost_the_job() {
        let complaint = Some("it does not say so".to_owned());
        assert!(matches!(outcome(Evidence::InForce, Some(LIMIT), complaint), Outcome::Failed(_)));
        let log =
            "job a-1 started (queue q, attempt 1 of 9)\njob a-1 lost its lease; …\njob b done\n";
        assert!(is_lost_by(log, "a-1"));
        assert!(!is_lost_by(log, "a"));
        assert!(!is_lost_by(log, "b"));
        assert!(is_lost_by("job b could not be completed: stale_token", "b"));
    }
}
