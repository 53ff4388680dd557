//! `loss`: a share of all datagrams is lost while TCP is clean. Gossip is advice, so nobody loses a vote
//! or the leadership by it; who lives keeps its leases, and who dies is found out all the same.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Check, LossArgs, Report,
    check::{as_number, percent},
    leases::Leases,
    traffic::{Orders, Traffic},
    wait::pause,
};
use crate::{
    chance::Chance,
    cluster::{Agent, Cluster, Process},
    exit::Failure,
    failover::{Fault, Outcome, Setting, Trial, handover, prove_nothing},
    measure::Distribution,
    network::{Effect, Rule},
    setup::{Setup, print, tell},
    traffic::Numbers,
};

/// Between two writes of the writer.
const WRITE_EVERY: Duration = Duration::from_millis(20);
/// Between the handover of a killed agent's job and the next kill.
const KILL_EVERY: Duration = Duration::from_secs(5);
/// Up to this loss, living agents keep all but 1 % of their leases, and a dead one is found out.
const BOUNDED_UP_TO: u8 = 60;
/// So many datagrams must have been under the rules for their share to say anything …
const DATAGRAMS_MIN: u64 = 300;
/// … and it is to be as near to what was asked, in percent of all.
const SHARE_OFF_MAX: f64 = 4.0;

/// The exit code.
pub(crate) fn loss(arguments: &LossArgs) -> Result<u8, Failure> {
    let setup = Setup::begin(&arguments.cluster, true)?;
    let (checks, seconds) = setup.with_cluster(|cluster| run(cluster, &setup, arguments))?;
    let name = format!("loss, {} % of all datagrams", arguments.udp);
    let report = Report { name, seconds, circumstances: setup.circumstances(), checks };
    print(&report, || report.text(), arguments.cluster.output)?;
    Ok(report.verdict().code())
}

fn run(
    cluster: &mut Cluster,
    setup: &Setup,
    arguments: &LossArgs,
) -> Result<(Vec<Check>, f64), Failure> {
    let leader = cluster.wait_settled("the cluster is settled before the run")?;
    handover::start_agents(cluster)?;
    let first_living = cluster.agents.len();
    let mut leases = Leases::start(cluster, arguments.agents, arguments.slots)?;
    cluster.wait_gossip()?;
    let writer = (leader + 1) % cluster.nodes.len();
    let orders = Orders { writers: vec![writer], every: WRITE_EVERY, load: arguments.load };
    let traffic = Traffic::start(cluster, setup.seed, &orders)?;

    let begun = Instant::now();
    lose(cluster, arguments.udp)?;
    leases.feed(cluster, setup.seed, arguments.minutes)?;
    let handovers = kill_again_and_again(cluster, setup, arguments, begun + arguments.minutes)?;
    let datagrams = evidence(cluster, arguments.udp)?;
    let leases = leases.read(cluster)?;
    let living = living(cluster, first_living);
    let seconds = begun.elapsed().as_secs_f64();
    cluster.hub.as_mut().expect("the run has a hub").heal()?;
    let outcome = traffic.finish();

    let is_bounded = arguments.udp <= BOUNDED_UP_TO;
    let twice = handovers.iter().filter(|trial| trial.completed_twice).count();
    let members = &outcome.seen.members;
    let mut checks = vec![
        outcome.voters(cluster),
        outcome.elections(0),
        leases.lost_check(is_bounded.then_some(1.0)),
        leases.completed_twice_check(),
        Check::at_most("handed-over jobs completed twice", twice as u64, 0),
        detection(&handovers, is_bounded),
        outcome.failed_requests(),
        Check::figure("members' states, changes", as_number(members.count()), members.story()),
    ];
    checks.extend(outcome.latency());
    checks.extend(outcome.load(arguments.load));
    checks.extend([datagrams, living, outcome.looks(cluster)]);
    Ok((checks, seconds))
}

/// Kills the agent that holds a job, and sees how long it takes until the next one has it.
fn kill_again_and_again(
    cluster: &mut Cluster,
    setup: &Setup,
    arguments: &LossArgs,
    deadline: Instant,
) -> Result<Vec<Trial>, Failure> {
    let setting = Setting {
        epoch: Instant::now(),
        seed: setup.seed,
        load: 0,
        numbers: Arc::new(Numbers::default()),
        // Under such a loss it may never be whole.
        waits_for_gossip: false,
    };
    let mut chance = Chance::of(setup.seed);
    let mut trials = vec![];
    for number in 1..=u16::MAX {
        let trial = handover::run(cluster, &setting, Fault::Kill, number, &mut chance)?;
        if arguments.cluster.verbose {
            tell(&format!("  handover {number}: {:?} ms, {:?}", trial.gap_ms, trial.cause));
        }
        trials.push(trial);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        pause(left.min(KILL_EVERY));
    }
    Ok(trials)
}

fn lose(cluster: &mut Cluster, percent: u8) -> Result<(), Failure> {
    let all = cluster.addresses();
    let count = Rule::between(&all, &all, Effect::CountUdp);
    let lose = Rule::between(&all, &all, Effect::LoseUdp(percent));
    cluster.hub.as_mut().expect("the run has a hub").set([count, lose].concat())
}

/// How many datagrams there were, and how many of them were lost.
fn evidence(cluster: &Cluster, asked: u8) -> Result<Check, Failure> {
    let packets = cluster.hub.as_ref().expect("the run has a hub").packets()?;
    let sum = |counted: fn(Effect) -> bool| -> u64 {
        packets.iter().filter(|(rule, _)| counted(rule.effect)).map(|(_, packets)| packets).sum()
    };
    let all = sum(|effect| effect == Effect::CountUdp);
    let lost = sum(|effect| matches!(effect, Effect::LoseUdp(_)));
    Ok(loss_check(all, lost, asked))
}

fn loss_check(all: u64, lost: u64, asked: u8) -> Check {
    let share = percent(lost, all);
    let is_there = all >= DATAGRAMS_MIN && (share - f64::from(asked)).abs() <= SHARE_OFF_MAX;
    let told = format!("{lost} of {all} ({share:.1} %)");
    let asked = format!("{asked} ± {SHARE_OFF_MAX} % of {DATAGRAMS_MIN} or more");
    Check::evidence("datagrams lost", told, asked, is_there).valued(share)
}

/// The agents that nobody killed live.
fn living(cluster: &mut Cluster, first: usize) -> Check {
    let agents = &cluster.agents[first..];
    let lives = |agent: &&Agent| agent.process.as_ref().is_some_and(Process::lives);
    let count = agents.iter().filter(lives).count();
    let asked = format!("all {}", agents.len());
    Check::evidence("agents that live", count, asked, count == agents.len())
}

/// Of each killed agent the job was handed on: before its lease's end, as far as that is asked.
fn detection(trials: &[Trial], is_bounded: bool) -> Check {
    let measured: Vec<&Trial> =
        trials.iter().filter(|trial| trial.outcome == Outcome::Measured).collect();
    let found_out =
        measured.iter().filter(|trial| trial.cause.as_deref() == Some("worker_down")).count();
    let gaps: Distribution = measured
        .iter()
        .filter_map(|trial| trial.gap_ms)
        .map(|ms| Duration::from_secs_f64(ms / 1000.0))
        .collect();
    let ms = |gap: Option<Duration>| gap.map_or(0, |gap| gap.as_millis());
    let told = format!(
        "{} of {} handed over, {found_out} as worker_down, p50 / max {} / {} ms",
        measured.len(),
        trials.len(),
        ms(gaps.median()),
        ms(gaps.max())
    );
    let has_failed = trials.iter().any(|trial| matches!(trial.outcome, Outcome::Failed(_)));
    let holds = !has_failed && (!is_bounded || found_out == measured.len());
    let asked = if is_bounded { "all, as worker_down" } else { "all" };
    Check::must("jobs of killed agents", told, asked, holds).if_tested(!prove_nothing(trials))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{traffic::Tally, verdict::Verdict};

    fn trial(outcome: Outcome, cause: &str) -> Trial {
        Trial {
            number: 1,
            fault: Fault::Kill,
            node: "w1".to_owned(),
            writer_at: "n1".to_owned(),
            outcome,
            gap_ms: Some(400.0),
            first_write_ms: None,
            gap_after_heal_ms: None,
            gap_before_ms: None,
            writer_late_ms: None,
            load_rate: 0.0,
            calls: Tally::default(),
            successor: None,
            cause: Some(cause.to_owned()),
            told_gap_ms: None,
            completed_twice: false,
        }
    }

    #[test]
    fn a_lease_that_had_to_run_out_was_not_detected() {
        let trials = [trial(Outcome::Measured, "worker_down"), trial(Outcome::Measured, "expired")];
        assert_eq!(detection(&trials, true).verdict, Verdict::Missed);
        assert_eq!(detection(&trials, false).verdict, Verdict::Met);
        assert_eq!(detection(&trials[..1], true).verdict, Verdict::Met);
    }

    #[test]
    fn a_job_that_nobody_got_is_a_miss_and_no_kill_is_unknown() {
        let failed = trial(Outcome::Failed("nobody".to_owned()), "worker_down");
        assert_eq!(detection(&[failed], false).verdict, Verdict::Missed);
        assert_eq!(detection(&[], true).verdict, Verdict::Unknown);
        let void = trial(Outcome::Void("it lives".to_owned()), "worker_down");
        let mut trials = vec![void.clone()];
        assert_eq!(detection(&trials, true).verdict, Verdict::Unknown);
        trials.extend(vec![trial(Outcome::Measured, "worker_down"); 9]);
        assert_eq!(detection(&trials, true).verdict, Verdict::Met, "one of ten is borne");
        trials.push(void);
        assert_eq!(detection(&trials, true).verdict, Verdict::Unknown, "two of eleven are not");
    }

    #[test]
    fn the_share_that_was_lost_is_to_be_the_one_asked_for() {
        assert_eq!(loss_check(1000, 620, 60).verdict, Verdict::Met);
        assert_eq!(loss_check(1000, 500, 60).verdict, Verdict::Unknown);
        assert_eq!(loss_check(10, 6, 60).verdict, Verdict::Unknown);
    }
}
