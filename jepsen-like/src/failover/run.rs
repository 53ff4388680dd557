//! A run: rows, each on a cluster of its own.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{
    Fault, GapGoal, Target, handover,
    report::{Report, line},
    row::{Row, VOID_PERCENT_MAX, voids},
    trial::{self, Outcome, Setting, Trial},
};
use crate::{
    arguments::{ClusterArgs, FailoverArgs, MatrixArgs},
    chance::Chance,
    cluster::Cluster,
    exit::Failure,
    setup::{Setup, print, tell},
    traffic::Numbers,
};

/// The faults of the table, each of which a row has.
const ALL: [&[Fault]; 6] = [
    &[Fault::Kill],
    &[Fault::Stop],
    &[Fault::Partition],
    &[Fault::OneWayOut, Fault::OneWayIn],
    &[Fault::TcpCut],
    &[Fault::Term],
];

/// One row to be.
#[derive(Debug, Clone)]
struct Order {
    faults: Vec<Fault>,
    target: Target,
    load: u16,
    trials: u16,
    goal: GapGoal,
}

/// `failover`: the exit code.
pub(crate) fn failover(arguments: &FailoverArgs) -> Result<u8, Failure> {
    let FailoverArgs { cluster, fault, target, load, trials, gap_goal } = arguments;
    let Some((faults, is_of_workers)) = fault.faults() else {
        let load = if *load == 0 { 64 } else { *load };
        let (cluster, trials, gap_goal) = (cluster.clone(), *trials, *gap_goal);
        return matrix(&MatrixArgs { cluster, load, trials, quick: false, gap_goal });
    };
    let target = if is_of_workers { Target::Worker } else { *target };
    let order = Order { faults, target, load: *load, trials: *trials, goal: *gap_goal };
    run(cluster, &[order])
}

/// `failover-matrix`: the exit code.
pub(crate) fn matrix(arguments: &MatrixArgs) -> Result<u8, Failure> {
    let trials = if arguments.quick { 3 } else { arguments.trials };
    let mut orders = vec![];
    for target in [Target::Leader, Target::Follower] {
        for faults in ALL {
            for load in [0, arguments.load] {
                let (faults, goal) = (faults.to_vec(), arguments.gap_goal);
                orders.push(Order { faults, target, load, trials, goal });
            }
        }
    }
    for fault in [Fault::Kill, Fault::Stop, Fault::Partition, Fault::Restart, Fault::Twin] {
        let (faults, goal) = (vec![fault], arguments.gap_goal);
        orders.push(Order { faults, target: Target::Worker, load: 0, trials, goal });
    }
    // The same network under every row, so that they can be compared.
    let cluster = ClusterArgs { netns: true, ..arguments.cluster.clone() };
    run(&cluster, &orders)
}

fn run(arguments: &ClusterArgs, orders: &[Order]) -> Result<u8, Failure> {
    let needs_hub = orders.iter().flat_map(|order| &order.faults).any(|f| f.is_of_the_network());
    let setup = Setup::begin(arguments, needs_hub)?;
    let mut rows = vec![];
    for order in orders {
        rows.push(row(&setup, arguments.verbose, order)?);
    }
    let report = Report { circumstances: setup.circumstances(), rows };
    print(&report, || report.text(), arguments.output)?;
    Ok(report.verdict().code())
}

/// Starts a cluster and runs the trials of one row on it.
fn row(setup: &Setup, is_verbose: bool, order: &Order) -> Result<Row, Failure> {
    setup.with_cluster(|cluster| {
        let setting = Setting {
            epoch: Instant::now(),
            seed: setup.seed,
            load: order.load,
            numbers: Arc::new(Numbers::default()),
            waits_for_gossip: true,
        };
        tell(&format!(
            "{:?} of the {:?}, {} clients, {} trials",
            order.faults, order.target, order.load, order.trials
        ));
        let trials = trials(cluster, &setting, is_verbose, order)?;
        let (fault, is_loaded) = (order.faults[0], order.load > 0);
        Ok(Row {
            faults: order.faults.clone(),
            target: order.target,
            load: order.load,
            trials,
            load_completed_twice: setting.numbers.completed_twice(),
            goal: order.goal.of(fault, order.target, is_loaded),
        })
    })
}

fn trials(
    cluster: &mut Cluster,
    setting: &Setting,
    is_verbose: bool,
    order: &Order,
) -> Result<Vec<Trial>, Failure> {
    let mut chance = Chance::of(setting.seed);
    if order.target == Target::Worker {
        handover::start_agents(cluster)?;
    }
    let mut trials: Vec<Trial> = vec![];
    let mut faults = order.faults.iter().copied().cycle();
    // A void trial goes to the end of the line: another takes its fault.
    let mut again = VecDeque::new();
    for number in 1..=u16::MAX {
        if trials.len() >= due(order.trials.into(), voids(&trials)) {
            break;
        }
        let next = if number <= order.trials { faults.next() } else { again.pop_front() };
        let Some(fault) = next else { break };
        let trial = match order.target {
            Target::Worker => handover::run(cluster, setting, fault, number, &mut chance)?,
            target => trial::run(cluster, setting, (fault, target), number, &mut chance)?,
        };
        if is_verbose {
            tell(&line(&trial, order.trials));
        }
        if matches!(trial.outcome, Outcome::Void(_)) {
            again.push_back(fault);
        }
        trials.push(trial);
    }
    Ok(trials)
}

/// How many trials there are to be in all. Void ones are repeated, unless there are so many of them that
/// the run proves nothing: more trials must not make their share smaller.
const fn due(asked: usize, voids: usize) -> usize {
    if voids * 100 > asked * VOID_PERCENT_MAX { asked } else { asked + voids }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn void_trials_are_repeated_as_long_as_the_run_may_prove_something() {
        assert_eq!(due(20, 0), 20);
        assert_eq!(due(20, 2), 22);
        assert_eq!(due(20, 3), 20, "over a tenth: no repeating thins them out");
        assert_eq!(due(5, 1), 5);
    }
}
