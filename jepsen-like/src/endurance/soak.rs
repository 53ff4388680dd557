//! `soak`: full load for a long time, with the cores burnt by others if need be. Nobody is to be elected.

use std::time::{Duration, Instant};

use super::{
    Report, SoakArgs,
    burners::Burners,
    traffic::{Orders, Traffic},
    wait::last,
};
use crate::{
    exit::Failure,
    setup::{Setup, print},
};

/// Between two writes of the one whose latency is told.
const WRITE_EVERY: Duration = Duration::from_millis(5);

/// The exit code.
pub(crate) fn soak(arguments: &SoakArgs) -> Result<u8, Failure> {
    let setup = Setup::begin(&arguments.cluster, false)?;
    let (checks, seconds) = setup.with_cluster(|cluster| {
        let leader = cluster.wait_settled("the cluster is settled before the run")?;
        // Through a follower, so that its latency has the way to the leader in it.
        let writer = (leader + 1) % cluster.nodes.len();
        let orders = Orders { writers: vec![writer], every: WRITE_EVERY, load: arguments.load };
        let traffic = Traffic::start(cluster, setup.seed, &orders)?;
        let burners = Burners::start(arguments.burn, &setup.sweeper)?;
        let begun = Instant::now();
        last(arguments.minutes, &traffic, arguments.cluster.verbose);
        let seconds = begun.elapsed().as_secs_f64();
        let burnt = burners.check();
        drop(burners);
        let outcome = traffic.finish();
        let mut checks = vec![outcome.elections(0), outcome.failed_requests()];
        checks.extend(outcome.load(arguments.load));
        checks.extend(outcome.latency());
        checks.extend([outcome.voters(cluster), outcome.looks(cluster)]);
        checks.extend(burnt);
        Ok((checks, seconds))
    })?;
    let name = format!("soak, {} clients, {} cores burnt", arguments.load, arguments.burn);
    let report = Report { name, seconds, circumstances: setup.circumstances(), checks };
    print(&report, || report.text(), arguments.cluster.output)?;
    Ok(report.verdict().code())
}
