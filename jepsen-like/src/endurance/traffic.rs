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
    verdict::Verdict,
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
        let completed_twice = self.numbers.completed_twice();
        Outcome { seen, writes, calls, load_rate, completed_twice, from: self.begun, until }
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
        let mut all: Vec<String> = cluster.nodes.iter().map(|node| node.label.clone()).collect();
        all.sort_unstable();
        let seen = self.seen.elections.voters();
        let told: Vec<String> = seen.iter().map(|voters| voters.join(", ")).collect();
        let holds = seen.len() == 1 && seen.contains(&all);
        Check::must("voters", told.join("; then "), all.join(", "), holds)
    }

    /// How often the nodes answered the watch, and how often they named no leader.
    pub(super) fn looks(&self) -> Check {
        let (answers, silences) = self.seen.elections.looks();
        let leaderless = self.seen.elections.leaderless();
        let seen = format!("{answers} answered, {silences} not; {leaderless} named no leader");
        Check::evidence("looks at the nodes", seen, "at least half answered", answers > silences)
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

    /// Jobs of the load of which two completions were acknowledged.
    pub(super) fn completed_twice(&self) -> Check {
        Check::at_most("jobs of the load completed twice", self.completed_twice, 0)
    }

    /// How fast the load went. A load that got nothing done was none.
    pub(super) fn load(&self, clients: u16) -> Check {
        let seen = format!("{:.0} calls/s of {clients} clients", self.load_rate);
        Check::evidence("load", seen, "some succeed", self.calls.ok > 0).valued(self.load_rate)
    }

    /// How long acknowledged writes took from the moment when they were due, and for how long none was
    /// acknowledged at worst.
    pub(super) fn latency(&self) -> [Check; 2] {
        let acknowledged = || {
            let writes = self.writes.iter().flat_map(|(_, writes)| writes);
            writes.filter(|write| write.failure.is_none())
        };
        let latency: Distribution =
            acknowledged().map(|write| write.ended.saturating_sub(write.intended)).collect();
        let ms = |value: Option<Duration>| value.map_or(0.0, |value| value.as_secs_f64() * 1000.0);
        let [median, p99, max] = [latency.median(), latency.percentile(99), latency.max()].map(ms);
        let gaps = self.writes.iter().filter_map(|(_, writes)| {
            longest_gap(writes, self.from, self.until).map(|gap| gap.length())
        });
        let gap = ms(gaps.max());
        let told =
            format!("{median:.1} / {p99:.1} / {max:.1} ms of {} writes", acknowledged().count());
        [
            Check::figure("latency p50 / p99 / max", p99, told),
            Check::figure(
                "longest time without an acknowledged write",
                gap,
                format!("{gap:.1} ms"),
            ),
        ]
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
    let check = Check::at_most(what, failures, 0).told(told);
    // Of no request at all nothing is known.
    if all == 0 { Check { verdict: Verdict::Unknown, ..check } } else { check }
}
