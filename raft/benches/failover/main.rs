//! For how long writes stop when a leader dies or hangs: three processes, real signals, real disks.
//!
//! `cargo bench -p raft --bench failover -- [--trials N] [--load WRITERS] [--fault kill|stop] [--plain]`
//! prints a row for each fault, idle and under load: half of the gaps were not longer than p50. The gap
//! is the time between the last write acknowledged before the signal and the first after it. `--plain`
//! switches the lifeline off. Load is so many writers of 256 bytes, each waiting for its answer.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on may panic")]

mod cluster;
mod node;
#[path = "../../tests/replica/register.rs"]
mod register;
mod writers;

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    thread::sleep,
    time::{Duration, Instant},
};

use cluster::{Cluster, Signal};
use writers::Writers;

/// Between two trials, so that each finds a cluster that is at rest.
const REST: Duration = Duration::from_secs(2);

struct Arguments {
    trials: usize,
    load: usize,
    faults: Vec<Signal>,
    has_lifeline: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "node") {
        return node::run(&arguments[2..]);
    }
    let Arguments { trials, load, faults, has_lifeline } = parse(&arguments);
    println!(
        "{:<6} {:>7} {:>6} {:>8} {:>8} {:>8}   suspicions (term by term: elections of timers)",
        "fault", "writers", "trials", "p50 ms", "p90 ms", "max ms"
    );
    for fault in faults {
        for writers in [0, load] {
            let mut gaps = Vec::new();
            let mut causes = BTreeMap::new();
            let mut cluster = Cluster::start(has_lifeline);
            for _ in 0..trials {
                let (gap, cause) = trial(&mut cluster, fault, writers);
                gaps.push(gap);
                *causes.entry(cause).or_insert(0) += 1;
            }
            gaps.sort();
            let at = |share: usize| gaps[(gaps.len() - 1) * share / 100].as_secs_f64() * 1e3;
            println!(
                "{:<6} {writers:>7} {trials:>6} {:>8.1} {:>8.1} {:>8.1}   {causes:?}",
                format!("{fault:?}").to_lowercase(),
                at(50),
                at(90),
                at(100)
            );
            if std::env::var_os("GAPS").is_some() {
                println!("       {gaps:.0?}");
            }
        }
    }
}

fn parse(arguments: &[String]) -> Arguments {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, default| value(name).map_or(default, |text| text.parse().unwrap());
    let faults = match value("--fault").as_deref() {
        Some("kill") => vec![Signal::Kill],
        Some("stop") => vec![Signal::Stop],
        _ => vec![Signal::Kill, Signal::Stop],
    };
    Arguments {
        trials: number("--trials", 20),
        load: number("--load", 64),
        faults,
        has_lifeline: !arguments.iter().any(|argument| argument == "--plain"),
    }
}

/// One leader fails: how long no write was acknowledged, and what the next leader said of it.
fn trial(cluster: &mut Cluster, fault: Signal, load: usize) -> (Duration, String) {
    let (leader, term) = cluster.settled();
    let writers = Writers::start(cluster, load);
    sleep(REST);
    assert_eq!(cluster.settled(), (leader, term), "an election that nobody caused");
    let signalled = Instant::now();
    cluster.signal(leader, fault);
    let first = writers.first_elsewhere(leader, signalled);
    let last = writers.last_before(signalled + Duration::from_millis(1), leader);
    writers.is_over.store(true, Ordering::Relaxed);
    let cause = cluster.cause();
    cluster.repair(leader, fault);
    writers.stop();
    (first - last, cause)
}
