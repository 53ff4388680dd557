//! `refuse-pair`: two voters refuse each other's TCP, everybody else hears both. One election is no
//! surprise when the leader is one of them; a second is: nobody is to depose a leader that a quorum hears.

use std::time::{Duration, Instant};

use super::{
    Check, Pair, RefusePairArgs, Report,
    traffic::{Orders, Traffic},
    wait::last,
};
use crate::{
    cluster::{Cluster, Victim},
    exit::Failure,
    network::{Effect, Rule},
    setup::{Setup, print},
};

/// Between two writes of each writer; there is one for each node.
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// The exit code.
pub(crate) fn refuse_pair(arguments: &RefusePairArgs) -> Result<u8, Failure> {
    if arguments.cluster.nodes < 3 {
        return Err(Failure::Unable("a pair and somebody else: at least 3 nodes".to_owned()));
    }
    let setup = Setup::begin(&arguments.cluster, true)?;
    let (checks, seconds, pair) = setup.with_cluster(|cluster| {
        let leader = cluster.wait_settled("the cluster is settled before the run")?;
        let pair = chosen(leader, cluster.nodes.len(), arguments.pair);
        let everyone = (0..cluster.nodes.len()).collect();
        let orders = Orders { writers: everyone, every: WRITE_EVERY, load: arguments.load };
        let traffic = Traffic::start(cluster, setup.seed, &orders)?;
        let begun = Instant::now();
        set(cluster, pair)?;
        last(arguments.minutes, &traffic, arguments.cluster.verbose);
        let seconds = begun.elapsed().as_secs_f64();
        let refused = evidence(cluster)?;
        let outcome = traffic.finish();
        cluster.hub.as_mut().expect("the run has a hub").heal()?;
        let label = |index: usize| cluster.nodes[index].label.as_str();
        let labels = |is_in_pair: bool| -> Vec<&str> {
            let all = 0..cluster.nodes.len();
            all.filter(|index| pair.contains(index) == is_in_pair).map(label).collect()
        };
        let inside = outcome.failed_writes(&labels(true));
        let mut checks = vec![
            outcome.elections(1),
            outcome.voters(cluster),
            outcome.failed_writes(&labels(false)),
            // A node that reaches no leader has to refuse.
            Check::figure(inside.what, inside.value.unwrap_or(0.0), inside.seen),
        ];
        checks.extend(outcome.latency());
        checks.push(refused);
        checks.push(outcome.looks(cluster));
        checks.extend(outcome.load(arguments.load));
        Ok((checks, seconds, pair.map(|index| label(index).to_owned())))
    })?;
    let of = match arguments.pair {
        Pair::Leader => "the leader and a follower",
        Pair::Followers => "two followers",
    };
    let name = format!("refuse-pair, {of}: {} and {}", pair[0], pair[1]);
    let report = Report { name, seconds, circumstances: setup.circumstances(), checks };
    print(&report, || report.text(), arguments.cluster.output)?;
    Ok(report.verdict().code())
}

/// The two, among so many nodes.
fn chosen(leader: usize, nodes: usize, pair: Pair) -> [usize; 2] {
    let follower = |number: usize| (leader + number) % nodes;
    match pair {
        Pair::Leader => [leader, follower(1)],
        Pair::Followers => [follower(1), follower(2)],
    }
}

fn set(cluster: &mut Cluster, pair: [usize; 2]) -> Result<(), Failure> {
    let [one, other] = pair.map(|index| [cluster.address_of(Victim::Node(index))]);
    let rules = [
        Rule::between(&one, &other, Effect::ResetTcp),
        Rule::between(&other, &one, Effect::ResetTcp),
    ];
    cluster.hub.as_mut().expect("the run has a hub").set(rules.concat())
}

/// Each of the two went on trying, and was refused.
fn evidence(cluster: &Cluster) -> Result<Check, Failure> {
    let refused = cluster.hub.as_ref().expect("the run has a hub").packets()?;
    let told: Vec<String> =
        refused.iter().map(|(rule, packets)| format!("{} of {}", packets, rule.from)).collect();
    let is_there = refused.iter().all(|(_, packets)| *packets > 0);
    Ok(Check::evidence("segments refused", told.join(", "), "> 0 each way", is_there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_with_or_without_the_leader() {
        assert_eq!(chosen(2, 3, Pair::Leader), [2, 0]);
        assert_eq!(chosen(2, 3, Pair::Followers), [0, 1]);
        assert_eq!(chosen(0, 5, Pair::Followers), [1, 2]);
    }
}
