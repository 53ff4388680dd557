//! One trial.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Fault, Target, fault::Evidence, fault::Injected};
use crate::{
    chance::Chance,
    cluster::{Cluster, Victim},
    exit::Failure,
    measure::{Write, first_after, longest_gap, longest_gap_before},
    traffic::{Load, Numbers, Tally, Writer},
};

/// Between two writes of the writer.
const WRITE_EVERY: Duration = Duration::from_millis(5);
/// Acknowledged writes before a fault: half a second of them.
const WRITES_BEFORE: usize = 100;
/// Up to so much longer, drawn from the seed, so that faults do not keep step with anybody's timers.
const JITTER_MS: u64 = 250;
/// When nothing is acknowledged for so long, the fault is healed and the trial has failed.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How long a fault stays after the first write under it, to see whether what came then is stable.
const STABLE_FOR: Duration = Duration::from_millis(1500);
/// How long traffic goes on after every node is ready again.
const AFTER_HEAL: Duration = Duration::from_millis(500);
/// A writer that was later than this did not see what it was to see: the machine was elsewhere.
const LATE_MAX: Duration = Duration::from_millis(100);
/// Between two looks at the writer's record.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What all trials of a run share.
pub(crate) struct Setting {
    /// What all times are since.
    pub(crate) epoch: Instant,
    pub(crate) seed: u64,
    /// Clients of the load; 0: none.
    pub(crate) load: u16,
    pub(crate) numbers: Arc<Numbers>,
    /// Whether a trial of a worker begins with gossip that knows all agents alive.
    pub(crate) waits_for_gossip: bool,
}

/// What one trial saw. Lengths are in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    pub(crate) number: u16,
    pub(crate) fault: Fault,
    /// The node that was faulted.
    pub(crate) node: String,
    /// The surviving node that the writer talked to, or that was asked.
    pub(crate) writer_at: String,
    pub(crate) outcome: Outcome,
    /// The longest interval between two acknowledgements that overlaps the fault; of a worker, from the
    /// fault to the moment when the job was the next one's.
    pub(crate) gap_ms: Option<f64>,
    /// From the fault to the first acknowledgement of a write that was sent under it.
    pub(crate) first_write_ms: Option<f64>,
    /// The longest interval that overlaps the time from the healing on.
    pub(crate) gap_after_heal_ms: Option<f64>,
    /// The longest interval before the fault: what this machine does unprovoked.
    pub(crate) gap_before_ms: Option<f64>,
    /// How late the writer was at worst under the fault: what the harness itself adds.
    pub(crate) writer_late_ms: Option<f64>,
    /// Calls of the load that succeeded before the fault, a second.
    pub(crate) load_rate: f64,
    /// Calls of the writer and the load.
    pub(crate) calls: Tally,
    /// Who leads, or holds the job, afterwards; and why, in the words of the surviving nodes.
    pub(crate) successor: Option<String>,
    pub(crate) cause: Option<String>,
    /// Whether a job was recorded as completed twice.
    pub(crate) completed_twice: bool,
}

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "why")]
pub(crate) enum Outcome {
    /// The fault was in force, and writes went on.
    Measured,
    /// The fault was in force, and the cluster did what it must not.
    Failed(String),
    /// There is no evidence of the fault: the trial says nothing.
    Void(String),
}

/// Runs one: from a settled cluster to a settled cluster.
pub(crate) fn run(
    cluster: &mut Cluster,
    setting: &Setting,
    (fault, target): (Fault, Target),
    number: u16,
    chance: &mut Chance,
) -> Result<Trial, Failure> {
    let leader = cluster.wait_settled("the cluster is settled before a trial")?;
    let everyone: Vec<usize> = (0..cluster.nodes.len()).collect();
    let node = match target {
        Target::Leader => leader,
        Target::Follower => {
            let followers = everyone.iter().copied().filter(|node| *node != leader);
            *chance.one_of(&followers.collect::<Vec<_>>())
        }
        Target::Worker => unreachable!("a worker's trial is a handover"),
    };
    let survivors: Vec<usize> = everyone.into_iter().filter(|other| *other != node).collect();
    let writer_at = *chance.one_of(&survivors);

    let load = start_load(cluster, setting, &survivors)?;
    let prefix = format!("w{}-{number}-{}", setting.seed, setting.epoch.elapsed().as_millis());
    let writer_node = cluster.nodes[writer_at].http;
    let writer = Writer::start(setting.epoch, writer_node, WRITE_EVERY, prefix)?;
    cluster.eventually("writes are acknowledged before the fault", || {
        writer.have(|writes| acknowledged(writes) >= WRITES_BEFORE).then_some(())
    })?;
    pause(Duration::from_millis(chance.below(JITTER_MS)));
    let load_rate = load.as_ref().map_or(0.0, Load::rate);

    let leads = cluster.leader_among(&survivors);
    let injected = fault.inject(cluster, Victim::Node(node), setting.epoch)?;
    let has_recovered = observe(&writer, &injected, setting.epoch);
    let (successor, cause) = what_survivors_say(cluster, &survivors);
    let evidence = injected.evidence(cluster)?;
    let healed = setting.epoch.elapsed();
    injected.heal(cluster)?;
    cluster.wait_ready("every node is ready after the fault was healed")?;
    pause(AFTER_HEAL);
    let over = setting.epoch.elapsed();
    let written = writer.finish();
    let mut calls = load.map(Load::finish).unwrap_or_default();
    for write in &written {
        calls.count(write.failure.clone());
    }

    let is_still_led = target == Target::Leader
        && successor.as_ref() == Some(&cluster.nodes[node].label)
        && fault != Fault::Term;
    let late = latest(&written, injected.begun, healed);
    let outcome = match outcome(evidence, has_recovered, is_still_led, late) {
        Outcome::Measured if leads != Some(leader) => {
            Outcome::Void("the leader was another when the fault was made".to_owned())
        }
        outcome => outcome,
    };
    let gap =
        |from, until| longest_gap(&written, from, until).map(|gap| milliseconds(gap.length()));
    Ok(Trial {
        number,
        fault,
        node: cluster.nodes[node].label.clone(),
        writer_at: cluster.nodes[writer_at].label.clone(),
        outcome,
        gap_ms: gap(injected.begun, healed),
        first_write_ms: first_after(&written, injected.begun, injected.in_force).map(milliseconds),
        gap_after_heal_ms: gap(healed, over),
        gap_before_ms: longest_gap_before(&written, injected.begun)
            .map(|gap| milliseconds(gap.length())),
        writer_late_ms: Some(milliseconds(late)),
        load_rate,
        calls,
        successor,
        cause,
        completed_twice: false,
    })
}

pub(super) fn start_load(
    cluster: &Cluster,
    setting: &Setting,
    survivors: &[usize],
) -> Result<Option<Load>, Failure> {
    if setting.load == 0 {
        return Ok(None);
    }
    let nodes: Vec<SocketAddr> = survivors.iter().map(|index| cluster.nodes[*index].http).collect();
    Load::start(setting.load.into(), nodes, Arc::clone(&setting.numbers)).map(Some)
}

/// Waits for the first acknowledgement of a write that was sent under the fault, and a while longer.
fn observe(writer: &Writer, injected: &Injected, epoch: Instant) -> bool {
    let Injected { begun, in_force, .. } = *injected;
    let has_recovered = loop {
        if writer.have(|writes| first_after(writes, begun, in_force).is_some()) {
            break true;
        }
        if epoch.elapsed() > in_force + STALL_LIMIT {
            break false;
        }
        pause(LOOK_EVERY);
    };
    pause(STABLE_FOR);
    has_recovered
}

/// The leader that the surviving nodes agree on, and why the last change was, in their own words.
fn what_survivors_say(cluster: &Cluster, survivors: &[usize]) -> (Option<String>, Option<String>) {
    let leader = cluster.leader_among(survivors).map(|index| cluster.nodes[index].label.clone());
    let election = survivors.iter().find_map(|index| cluster.election(*index));
    let cause =
        election.and_then(|election| election["last_change"]["cause"].as_str().map(str::to_owned));
    (leader, cause)
}

fn outcome(evidence: Evidence, has_recovered: bool, is_still_led: bool, late: Duration) -> Outcome {
    match evidence {
        Evidence::None(why) => Outcome::Void(why),
        Evidence::Misbehaved(why) => Outcome::Failed(why),
        Evidence::InForce if !has_recovered => {
            Outcome::Failed(format!("no write was acknowledged for {} s", STALL_LIMIT.as_secs()))
        }
        Evidence::InForce if is_still_led => {
            Outcome::Void("the surviving nodes still follow the node that was faulted".to_owned())
        }
        Evidence::InForce if late > LATE_MAX => Outcome::Void(format!(
            "the writer itself was kept from the processor for {} ms",
            late.as_millis()
        )),
        Evidence::InForce => Outcome::Measured,
    }
}

fn acknowledged(writes: &[Write]) -> usize {
    writes.iter().filter(|write| write.failure.is_none()).count()
}

/// How late the writer was at worst with what was due in this time.
fn latest(writes: &[Write], from: Duration, until: Duration) -> Duration {
    let due = writes.iter().filter(|write| write.intended > from && write.intended < until);
    due.map(|write| write.sent.saturating_sub(write.intended)).max().unwrap_or_default()
}

/// To a tenth.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

/// Lets time pass: traffic goes on meanwhile.
pub(super) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    #[test]
    fn a_trial_without_evidence_is_void_whatever_it_measured() {
        let no = || Evidence::None("state S".to_owned());
        assert_eq!(outcome(no(), true, false, SOON), Outcome::Void("state S".to_owned()));
        assert_eq!(outcome(no(), false, false, SOON), Outcome::Void("state S".to_owned()));
        assert!(matches!(outcome(Evidence::InForce, true, true, SOON), Outcome::Void(_)));
    }

    #[test]
    fn a_writer_that_was_not_scheduled_measured_the_machine() {
        let late = LATE_MAX + SOON;
        assert!(matches!(outcome(Evidence::InForce, true, false, late), Outcome::Void(_)));
        assert!(matches!(outcome(Evidence::InForce, false, false, late), Outcome::Failed(_)));
    }

    #[test]
    fn lateness_counts_while_the_fault_is_in_force() {
        let at = Duration::from_millis;
        let write = |intended, sent| Write {
            intended: at(intended),
            sent: at(sent),
            ended: at(sent + 1),
            failure: None,
        };
        let writes = [write(0, 400), write(500, 507), write(510, 511), write(900, 999)];
        assert_eq!(latest(&writes, at(450), at(800)), at(7));
    }

    #[test]
    fn a_stall_under_a_fault_that_was_in_force_is_a_failure() {
        assert!(matches!(outcome(Evidence::InForce, false, true, SOON), Outcome::Failed(_)));
        assert_eq!(outcome(Evidence::InForce, true, false, SOON), Outcome::Measured);
        let misbehaved = Evidence::Misbehaved("goes on".to_owned());
        assert_eq!(outcome(misbehaved, true, false, SOON), Outcome::Failed("goes on".to_owned()));
    }

    #[test]
    fn milliseconds_have_one_decimal() {
        assert_eq!(milliseconds(Duration::from_micros(12_345)).to_string(), "12.3");
    }
}
