//! A run: rows, each on a cluster of its own.

use std::{
    io::{self, Write as _},
    sync::Arc,
    time::Instant,
};

use super::{
    Fault, GapGoal, Target, handover,
    report::{Report, line},
    row::{Row, Verdict},
    trial::{self, Setting, Trial},
};
use crate::{
    arguments::{ClusterArgs, FailoverArgs, Format, MatrixArgs},
    chance::{Chance, fresh_seed},
    cluster::{Binary, Cluster, Plan},
    exit::{self, Failure},
    measure::Machine,
    network,
    sweeper::Sweeper,
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
    let order = Order { faults, target: *target, load: *load, trials: *trials, goal: *gap_goal };
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
    for fault in [Fault::Kill, Fault::Stop, Fault::Partition] {
        let (faults, goal) = (vec![fault], arguments.gap_goal);
        orders.push(Order { faults, target: Target::Worker, load: 0, trials, goal });
    }
    // The same network under every row, so that they can be compared.
    let cluster = ClusterArgs { netns: true, ..arguments.cluster.clone() };
    run(&cluster, &orders)
}

fn run(arguments: &ClusterArgs, orders: &[Order]) -> Result<u8, Failure> {
    let needs_hub = orders.iter().flat_map(|order| &order.faults).any(|f| f.is_of_the_network());
    let in_namespaces = arguments.netns || needs_hub;
    let binary = Binary::find(arguments.queue_bin.as_deref())?;
    if in_namespaces {
        network::enter()?;
    }
    let folder = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let machine = Machine::look(&folder)?;
    let sweeper = Arc::new(Sweeper::start()?);
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    tell(&format!("{}: {}", binary.path.display(), binary.version));
    tell(&format!("{machine}; seed {seed}"));
    let plan = Plan {
        nodes: arguments.nodes,
        binary,
        in_namespaces,
        folder: Some(folder),
        serve_flags: arguments.serve_flag.clone(),
    };
    let mut rows = vec![];
    for order in orders {
        rows.push(row(&plan, &sweeper, arguments, order, seed)?);
    }
    let report = Report {
        seed,
        nodes: plan.nodes,
        binary: plan.binary.version.clone(),
        machine,
        network: if in_namespaces { "a network namespace each" } else { "loopback" },
        reproduce: reproduce(seed),
        rows,
    };
    print(&report, arguments.output)?;
    Ok(match report.verdict() {
        Verdict::Met => exit::VALID,
        Verdict::Unknown => exit::UNKNOWN,
        Verdict::Missed => exit::VIOLATED,
    })
}

/// Starts a cluster and runs the trials of one row on it.
fn row(
    plan: &Plan,
    sweeper: &Arc<Sweeper>,
    arguments: &ClusterArgs,
    order: &Order,
    seed: u64,
) -> Result<Row, Failure> {
    let mut cluster = Cluster::start(plan, sweeper)?;
    let setting = Setting {
        epoch: Instant::now(),
        seed,
        load: order.load,
        numbers: Arc::new(Numbers::default()),
    };
    tell(&format!(
        "{:?} of the {:?}, {} clients, {} trials",
        order.faults, order.target, order.load, order.trials
    ));
    let trials = trials(&mut cluster, &setting, arguments, order);
    if arguments.keep || trials.is_err() {
        tell(&format!("kept: {}", cluster.keep_directory().display()));
    }
    let (fault, is_loaded) = (order.faults[0], order.load > 0);
    Ok(Row {
        faults: order.faults.clone(),
        target: order.target,
        load: order.load,
        trials: trials?,
        load_completed_twice: setting.numbers.completed_twice(),
        goal: order.goal.of(fault, order.target, is_loaded),
    })
}

fn trials(
    cluster: &mut Cluster,
    setting: &Setting,
    arguments: &ClusterArgs,
    order: &Order,
) -> Result<Vec<Trial>, Failure> {
    let mut chance = Chance::of(setting.seed);
    if order.target == Target::Worker {
        handover::start_agents(cluster)?;
    }
    let mut trials = vec![];
    for (number, fault) in (1..=order.trials).zip(order.faults.iter().cycle()) {
        let trial = match order.target {
            Target::Worker => handover::run(cluster, setting, *fault, number, &mut chance)?,
            target => trial::run(cluster, setting, (*fault, target), number, &mut chance)?,
        };
        if arguments.verbose {
            tell(&line(&trial, order.trials));
        }
        trials.push(trial);
    }
    Ok(trials)
}

fn print(report: &Report, format: Format) -> Result<(), Failure> {
    let text = match format {
        Format::Table => report.text(),
        Format::Json => {
            let mut text = serde_json::to_string_pretty(report).expect("a report serializes");
            text.push('\n');
            text
        }
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::harness("printing the report"))
}

/// Progress, beside the report.
fn tell(line: &str) {
    // Nobody to tell is no reason to stop.
    drop(writeln!(io::stderr(), "{line}"));
}

/// The command that makes the same choices.
fn reproduce(seed: u64) -> String {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--seed" || word.starts_with("--seed=")) {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    format!("cargo run --release -p jepsen-like -- {}", words.join(" "))
}
