//! The traffic of a run: writers through nodes of choice, a load on all, and a watch of every node.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Check,
    check::percent,
    watch::{Seen, Watch},
};
use crate::{
    cluster::Cluster,
    exit::Failure,
    measure::{Distribution, Write, longest_gap},
    traffic::{Load, Numbers, Tally, Writer},
};

/// What is to go on.
pub(super) struct Orders {
    /// The nodes that a writer talks to each.
    pub(super) writers: Vec<usize>,
    /// Between two writes of a writer.
    pub(super) every: Duration,
    /// Clients of the load, spread over all nodes; 0: none.
    pub(super) load: u16,
}

/// Running traffic.
pub(super) struct Traffic {
    epoch: Instant,
    begun: Duration,
    writers: Vec<(String, Writer)>,
    load: Option<Load>,
    numbers: Arc<Numbers>,
    watch: Watch,
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) seen: Seen,
    /// Each writer's, by the label of the node that it talked to.
    writes: Vec<(String, Vec<Write>)>,
    calls: Tally,
    load_rate: f64,
    completed: u64,
    completed_twice: u64,
    from: Duration,
    until: Duration,
}

impl Traffic {
    /// Starts all of it. What happens from now on counts.
    pub(super) fn start(cluster: &Cluster, seed: u64, orders: &Orders) -> Result<Self, Failure> {
        let epoch = Instant::now();
        let numbers = Arc::new(Numbers::default());
        let watch = Watch::start(cluster)?;
        let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.http).collect();
        let load = (orders.load > 0)
            .then(|| Load::start(orders.load.into(), nodes, Arc::clone(&numbers)))
            .transpose()?;
        let mut writers = vec![];
        for index in &orders.writers {
            let node = &cluster.nodes[*index];
            let prefix = format!("w{seed}-{}", node.label);
            let writer = Writer::start(epoch, node.http, orders.every, prefix)?;
            writers.push((node.label.clone(), writer));
        }
        Ok(Self { epoch, begun: epoch.elapsed(), writers, load, numbers, watch })
    }

    pub(super) const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Ends it, and waits for what is under way.
    pub(super) fn finish(self) -> Outcome {
        let until = self.epoch.elapsed();
        let seen = self.watch.finish();
        let load_rate = self.load.as_ref().map_or(0.0, Load::rate);
        let writes =
            self.writers.into_iter().map(|(label, writer)| (label, writer.finish())).collect();
        let calls = self.load.map(Load::finish).unwrap_or_default();
        let (completed, completed_twice) =
            (self.numbers.completed(), self.numbers.completed_twice());
        let from = self.begun;
        Outcome { seen, writes, calls, load_rate, completed, completed_twice, from, until }
    }
}

impl Outcome {
    /// No more terms were begun than this.
    pub(super) fn elections(&self, bound: u64) -> Check {
        let (count, story) = (self.seen.elections.count(), self.seen.elections.story());
        let told = if story.is_empty() { count.to_string() } else { format!("{count}: {story}") };
        Check::at_most("elections beyond the first", count, bound).told(told)
    }

    /// Every node named these voters at all times.
    pub(super) fn voters(&self, cluster: &Cluster) -> Check {
        self.voters_are(cluster.nodes.iter().map(|node| node.label.clone()).collect())
    }

    fn voters_are(&self, mut all: Vec<String>) -> Check {
        all.sort_unstable();
        let seen = self.seen.elections.voters();
        let told: Vec<String> = seen.iter().map(|voters| voters.join(", ")).collect();
        let holds = seen.len() == 1 && seen.contains(&all);
        Check::must("voters", told.join("; then "), all.join(", "), holds)
    }

    /// How often the nodes answered the watch, and how often they named no leader.
    pub(super) fn looks(&self, cluster: &Cluster) -> Check {
        self.looks_at(cluster.nodes.iter().map(|node| node.label.as_str()))
    }

    fn looks_at<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) -> Check {
        let answered = &self.seen.answered;
        let leaderless = self.seen.elections.leaderless();
        let told = format!("answered {}; {leaderless} named no leader", answered.story());
        let asked = "each node half of the time";
        Check::evidence("looks at the nodes", told, asked, answered.cover(nodes))
    }

    /// What clients were refused, those that spoke to these nodes only.
    pub(super) fn failed_writes(&self, through: &[&str]) -> Check {
        let mut calls = Tally::default();
        let counted = self.writes.iter().filter(|(label, _)| through.contains(&label.as_str()));
        for write in counted.flat_map(|(_, writes)| writes) {
            calls.count(write.failure.clone());
        }
        let what = format!("failed writes through {}", through.join(", "));
        failed(what, &calls)
    }

    /// What clients were refused, whoever they spoke to.
    pub(super) fn failed_requests(&self) -> Check {
        let mut calls = self.calls.clone();
        for write in self.writes.iter().flat_map(|(_, writes)| writes) {
            calls.count(write.failure.clone());
        }
        failed("failed requests".to_owned(), &calls)
    }

    /// What the load of so many clients did: how fast it went, and the jobs of which two completions were
    /// acknowledged. A load that got nothing done was none; of none that was asked for nothing is said.
    pub(super) fn load(&self, clients: u16) -> Vec<Check> {
        if clients == 0 {
            return vec![];
        }
        let told = format!("{} of {} completions", self.completed_twice, self.completed);
        let twice = Check::at_most("jobs of the load completed twice", self.completed_twice, 0)
            .told(told)
            .if_tested(self.completed > 0);
        let told = format!("{:.0} calls/s of {clients} clients", self.load_rate);
        let load = Check::evidence("load", told, "some succeed", self.calls.ok > 0);
        vec![twice, load.valued(self.load_rate)]
    }

    /// How long acknowledged writes took from the moment when they were due, and for how long none was
    /// acknowledged at worst.
    pub(super) fn latency(&self) -> Vec<Check> {
        let acknowledged = self.writes.iter().flat_map(|(_, writes)| writes);
        let latency: Distribution = acknowledged
            .filter(|write| write.failure.is_none())
            .map(|write| write.ended.saturating_sub(write.intended))
            .collect();
        let gaps = self.writes.iter().filter_map(|(_, writes)| {
            longest_gap(writes, self.from, self.until).map(|gap| gap.length())
        });
        let figures = [
            ("write latency p50, ms", latency.median()),
            ("write latency p99, ms", latency.percentile(99)),
            ("write latency max, ms", latency.max()),
            ("longest without an acknowledged write, ms", gaps.max()),
        ];
        let told = |(what, value): (&str, Option<Duration>)| {
            let ms = value?.as_secs_f64() * 1000.0;
            Some(Check::figure(what, ms, format!("{ms:.1}")))
        };
        figures.into_iter().filter_map(told).collect()
    }
}

fn failed(what: String, calls: &Tally) -> Check {
    let (failures, all) = (calls.failures(), calls.ok + calls.failures());
    let mut told = format!("{failures} of {all}");
    if failures > 0 {
        let causes: Vec<String> =
            calls.failed.iter().map(|(cause, count)| format!("{count} × {cause}")).collect();
        told = format!("{told} ({:.2} %): {}", percent(failures, all), causes.join(", "));
    }
    Check::at_most(what, failures, 0).told(told).if_tested(all > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::Verdict;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn write(intended: u64, ended: u64, failure: Option<&str>) -> Write {
        let failure = failure.map(str::to_owned);
        Write { intended: ms(intended), sent: ms(intended), ended: ms(ended), failure }
    }

    fn outcome() -> Outcome {
        let writes = vec![
            ("n1".to_owned(), vec![write(0, 10, None), write(20, 50, None)]),
            ("n2".to_owned(), vec![write(0, 900, Some("503 no_leader"))]),
        ];
        Outcome {
            seen: Seen::default(),
            writes,
            calls: Tally { ok: 7, ..Tally::default() },
            load_rate: 70.0,
            completed: 2,
            completed_twice: 0,
            from: ms(0),
            until: ms(60),
        }
    }

    #[test]
    fn failures_count_by_whom_was_asked() {
        let outcome = outcome();
        assert_eq!(outcome.failed_writes(&["n1"]).seen, "0 of 2");
        assert_eq!(outcome.failed_writes(&["n1"]).verdict, Verdict::Met);
        assert_eq!(outcome.failed_writes(&["n2"]).verdict, Verdict::Missed);
        let all = outcome.failed_requests();
        assert_eq!(all.seen, "1 of 10 (10.00 %): 1 × 503 no_leader");
        assert_eq!((all.value, all.verdict), (Some(1.0), Verdict::Missed));
        assert_eq!(outcome.failed_writes(&["n3"]).verdict, Verdict::Unknown, "nothing was asked");
    }

    #[test]
    fn latency_is_that_of_acknowledged_writes() {
        let values: Vec<_> =
            outcome().latency().iter().map(|check| check.value.unwrap().round()).collect();
        assert_eq!(values, [10.0, 30.0, 30.0, 40.0]);
    }

    #[test]
    fn one_voter_fewer_for_a_moment_is_a_miss() {
        let mut outcome = outcome();
        let all = || vec!["n2".to_owned(), "n1".to_owned()];
        assert_eq!(outcome.voters_are(all()).verdict, Verdict::Missed, "nobody named them");
        outcome.seen.elections.on_voters(&json!({"voters": ["n1", "n2"]}));
        assert_eq!(outcome.voters_are(all()).verdict, Verdict::Met);
        outcome.seen.elections.on_voters(&json!({"voters": ["n1"]}));
        assert_eq!(outcome.voters_are(all()).verdict, Verdict::Missed);
    }

    #[test]
    fn a_node_that_mostly_does_not_answer_is_not_watched_whatever_the_others_do() {
        let mut outcome = outcome();
        let nodes = ["n1", "n2"];
        assert_eq!(outcome.looks_at(nodes).verdict, Verdict::Unknown);
        let answered = &mut outcome.seen.answered;
        for (node, is_answered) in [("n1", true), ("n2", true), ("n1", true), ("n2", false)] {
            answered.note(node, ms(100), is_answered);
        }
        assert_eq!(outcome.looks_at(nodes).verdict, Verdict::Unknown);
        outcome.seen.answered.note("n2", ms(100), true);
        let check = outcome.looks_at(nodes);
        assert_eq!(check.verdict, Verdict::Met);
        assert_eq!(check.seen, "answered 2 of 2 at n1, 2 of 3 at n2; 0 named no leader");
    }

    #[test]
    fn a_load_that_got_nothing_done_was_none() {
        let verdicts = |outcome: &Outcome| -> Vec<Verdict> {
            outcome.load(8).iter().map(|check| check.verdict).collect()
        };
        assert_eq!(verdicts(&outcome()), [Verdict::Met, Verdict::Met]);
        let idle = Outcome { calls: Tally::default(), completed: 0, ..outcome() };
        assert_eq!(verdicts(&idle), [Verdict::Unknown, Verdict::Unknown]);
        assert_eq!(outcome().load(0), [], "none was asked for");
        let twice = Outcome { completed_twice: 1, ..outcome() };
        assert_eq!(verdicts(&twice), [Verdict::Missed, Verdict::Met]);
    }
}
