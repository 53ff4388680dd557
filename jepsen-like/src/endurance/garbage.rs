//! `garbage`: datagrams that are none of the cluster's, in its members' names, at a high rate. No
//! member's state changes, and no memory is taken for good.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use super::{
    Check, GarbageArgs, Report,
    check::{as_number, percent},
    flood::{self, Flood, Sent},
    forgery::Kind,
    memory::Memory,
    metrics,
    traffic::{Orders, Traffic},
    wait::{last_looking, pause},
    watch::Seen,
};
use crate::{
    cluster::{Cluster, Node, Process, Stranger, Victim, resident_bytes},
    exit::Failure,
    network::Tap,
    setup::{Setup, print},
};

/// Between two writes of the writer: few, for what is written is memory too.
const WRITE_EVERY: Duration = Duration::from_millis(40);
/// For how long it is listened before the flood, at most, and to how many datagrams.
const LISTEN_LIMIT: Duration = Duration::from_secs(20);
const HEARD_MIN: usize = 100;
/// How long the traffic goes on before memory is first looked at.
const WARM_UP: Duration = Duration::from_secs(3);
/// Of what was sent so much must have come to the nodes' sockets, in percent.
const ARRIVED_MIN: f64 = 90.0;
/// Of the rate so much must have been reached, in percent.
const RATE_MIN: f64 = 90.0;

/// The exit code.
pub(crate) fn garbage(arguments: &GarbageArgs) -> Result<u8, Failure> {
    let setup = Setup::begin(&arguments.cluster, true)?;
    let (checks, seconds) = setup.with_cluster(|cluster| run(cluster, &setup, arguments))?;
    let name = format!("garbage, {}/s to each node", arguments.rate);
    let report = Report { name, seconds, circumstances: setup.circumstances(), checks };
    print(&report, || report.text(), arguments.cluster.output)?;
    Ok(report.verdict().code())
}

fn run(
    cluster: &mut Cluster,
    setup: &Setup,
    arguments: &GarbageArgs,
) -> Result<(Vec<Check>, f64), Failure> {
    let nodes: Vec<SocketAddrV4> = (0..cluster.nodes.len())
        .map(|index| {
            let address = cluster.address_of(Victim::Node(index));
            SocketAddrV4::new(address, cluster.nodes[index].peer.port())
        })
        .collect();
    let tap = Tap::start(nodes[0].port())?;
    let stranger = cluster.add_stranger()?;
    let leader = cluster.wait_settled("the cluster is settled before the run")?;
    listen(&tap, &nodes, &stranger);
    let writer = (leader + 1) % cluster.nodes.len();
    let orders = Orders { writers: vec![writer], every: WRITE_EVERY, load: 0 };
    let traffic = Traffic::start(cluster, setup.seed, &orders)?;
    pause(WARM_UP);

    let before = look(cluster);
    let mut memories: Vec<Memory> = resident(cluster).map(Memory::begin).collect();
    let begun = Instant::now();
    let orders = flood::Orders {
        nodes: nodes.clone(),
        stranger: stranger.address,
        rate: arguments.rate,
        seed: setup.seed,
    };
    let flood = Flood::start(orders, tap)?;
    let time = Duration::from_secs(arguments.seconds.into());
    let mut look_at_memory = || {
        memories.iter_mut().zip(resident(cluster)).for_each(|(memory, bytes)| memory.look(bytes));
    };
    last_looking(time, &traffic, arguments.cluster.verbose, &mut look_at_memory);
    let sent = flood.finish();
    look_at_memory();
    let seconds = begun.elapsed().as_secs_f64();
    let after = look(cluster);
    let outcome = traffic.finish();

    let labels: Vec<&str> = cluster.nodes.iter().map(|node| node.label.as_str()).collect();
    let mut checks = vec![
        changes(&outcome.seen, &labels),
        strangers(&outcome.seen, &labels, stranger.name),
        outcome.elections(0),
        outcome.voters(cluster),
        outcome.failed_requests(),
    ];
    for (index, node) in nodes.iter().enumerate() {
        let label = &cluster.nodes[index].label;
        let sent = sent.by_node.get(node.ip()).copied().unwrap_or(0);
        checks.push(memories[index].check(label));
        checks.push(arrival(label, sent, &before[index], &after[index]));
    }
    checks.push(rate(&sent, nodes.len(), arguments.rate, seconds));
    checks.push(kinds(&sent));
    checks.push(lives(&stranger));
    checks.extend(outcome.latency());
    checks.push(outcome.looks(cluster));
    Ok((checks, seconds))
}

/// Waits until there is something of everybody to make forgeries of, or patience ends: what is missing
/// then shows in what was sent.
fn listen(tap: &Tap, nodes: &[SocketAddrV4], stranger: &Stranger) {
    let senders = || nodes.iter().map(|node| *node.ip()).chain([stranger.address]);
    let deadline = Instant::now() + LISTEN_LIMIT;
    while senders().any(|sender| tap.of(sender).len() < HEARD_MIN) && Instant::now() < deadline {
        pause(Duration::from_millis(50));
    }
}

/// A node, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
struct Look {
    /// Datagrams that came to sockets of its namespace, and those for which a socket had no room.
    datagrams: u64,
    overflows: u64,
    /// What became of datagrams, in the node's own words.
    fates: BTreeMap<&'static str, u64>,
}

/// What a node does to a datagram, but for sending it.
const FATES: [&str; 7] =
    ["taken", "malformed", "unopened", "stale", "replayed", "copies", "refused"];

fn look(cluster: &Cluster) -> Vec<Look> {
    let of_node = |node: &Node| {
        let pid = node.process.as_ref().map(Process::pid)?;
        let snmp = fs::read_to_string(format!("/proc/{pid}/net/snmp")).unwrap_or_default();
        let text = cluster.control.text(node.http, "/metrics").unwrap_or_default();
        let fate = |fate: &'static str| {
            let count = metrics::sum(&text, "queue_gossip_datagrams_total", &[("fate", fate)]);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            count.map(|count| (fate, count as u64))
        };
        Some(Look {
            datagrams: udp_count(&snmp, "InDatagrams").unwrap_or(0),
            overflows: udp_count(&snmp, "RcvbufErrors").unwrap_or(0),
            fates: FATES.into_iter().filter_map(fate).collect(),
        })
    };
    cluster.nodes.iter().map(|node| of_node(node).unwrap_or_default()).collect()
}

/// What each node's memory is now.
fn resident(cluster: &Cluster) -> impl Iterator<Item = Option<u64>> {
    let pid = |node: &Node| node.process.as_ref().map(Process::pid);
    cluster.nodes.iter().map(move |node| pid(node).and_then(resident_bytes))
}

/// One of the counts of UDP in `/proc/net/snmp`: a line of names, then one of numbers.
fn udp_count(snmp: &str, name: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let place = names.split(' ').position(|found| found == name)?;
    numbers.split(' ').nth(place)?.parse().ok()
}

/// No member's state changed, in views that every node showed most of the time.
fn changes(seen: &Seen, nodes: &[&str]) -> Check {
    let members = &seen.members;
    let told = if members.count() == 0 { "0".to_owned() } else { members.story() };
    Check::at_most("changes of members' states", members.count(), 0)
        .told(told)
        .if_tested(seen.whole_views.cover(nodes.iter().copied()))
}

/// The stranger was in none of these views.
fn strangers(seen: &Seen, nodes: &[&str], stranger: &str) -> Check {
    let is_known = seen.members.names().contains(stranger);
    Check::at_most("views with the stranger in them", u64::from(is_known), 0)
        .if_tested(seen.whole_views.cover(nodes.iter().copied()))
}

/// What was sent came to the node: its kernel counted it, and the node says what became of it.
fn arrival(label: &str, sent: u64, before: &Look, after: &Look) -> Check {
    let grown = |count: fn(&Look) -> u64| count(after).saturating_sub(count(before));
    let (read, overflows) = (grown(|look| look.datagrams), grown(|look| look.overflows));
    let fates: BTreeMap<&str, u64> = after
        .fates
        .iter()
        .map(|(fate, count)| {
            (*fate, count.saturating_sub(before.fates.get(fate).copied().unwrap_or(0)))
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    let judged: u64 = fates.values().sum();
    let fates: Vec<String> = fates.iter().map(|(fate, count)| format!("{count} {fate}")).collect();
    let share = percent(read + overflows, sent);
    let told = format!(
        "{sent} sent; {read} read, {overflows} beyond its socket's room; {}",
        fates.join(", ")
    );
    let asked = format!("≥ {ARRIVED_MIN} % of what was sent, and a fate of what was read");
    let is_there = sent > 0 && share >= ARRIVED_MIN && percent(judged, read) >= ARRIVED_MIN;
    Check::evidence(format!("arrived at {label}"), told, asked, is_there).valued(share)
}

fn rate(sent: &Sent, nodes: usize, asked: u32, seconds: f64) -> Check {
    let all: u64 = sent.by_node.values().sum();
    let nodes = as_number(u64::try_from(nodes).unwrap_or(u64::MAX));
    let rate = as_number(all) / nodes / seconds.max(0.001);
    let told = format!("{rate:.0}/s to each; {} not taken by the kernel", sent.refused);
    let is_there = rate * 100.0 >= f64::from(asked) * RATE_MIN;
    let asked = format!("≥ {RATE_MIN} % of {asked}/s");
    Check::evidence("rate", told, asked, is_there).valued(rate)
}

/// Each kind was among what was sent.
fn kinds(sent: &Sent) -> Check {
    let count = |kind: &Kind| sent.by_kind.get(kind).copied().unwrap_or(0);
    let told: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("{} {}", count(kind), kind.name())).collect();
    let is_there = Kind::ALL.iter().all(|kind| count(kind) > 0);
    Check::evidence("kinds", told.join(", "), "some of each", is_there)
}

/// The stranger lived to the end: it is an enemy as long as it does.
fn lives(stranger: &Stranger) -> Check {
    let is_there = stranger.lives();
    let told = if is_there { "lives" } else { "is dead" };
    Check::evidence(format!("the {}", stranger.name), told, "lives to the end", is_there)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verdict::Verdict;

    #[test]
    fn counts_of_udp_are_found_by_name() {
        let snmp = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors\n\
                    Udp: 100 1 7 90 6\nUdpLite: InDatagrams\nUdpLite: 5\n";
        assert_eq!(udp_count(snmp, "InDatagrams"), Some(100));
        assert_eq!(udp_count(snmp, "RcvbufErrors"), Some(6));
        assert_eq!(udp_count(snmp, "Nothing"), None);
        assert_eq!(udp_count("", "InDatagrams"), None);
    }

    fn seen(whole_at: &[&str], members: &[&str]) -> Seen {
        let mut seen = Seen::default();
        let alive = |name: &&str| json!({"node_id": name, "state": "alive"});
        let peers: Vec<_> = members.iter().map(alive).collect();
        seen.members.on_peers("n1", &json!({"peers": peers}), []);
        seen.members.begin();
        for node in [whole_at, whole_at].concat() {
            seen.whole_views.note(node, Duration::from_millis(100), true);
        }
        seen
    }

    #[test]
    fn no_change_in_no_view_is_unknown_and_a_change_is_a_miss() {
        let nodes = ["n1", "n2"];
        let mut seen = seen(&nodes, &nodes);
        assert_eq!(changes(&seen, &nodes).verdict, Verdict::Met);
        assert_eq!(changes(&seen, &["n1", "n2", "n3"]).verdict, Verdict::Unknown);
        assert_eq!(changes(&Seen::default(), &nodes).verdict, Verdict::Unknown);
        seen.members.on_peers("n1", &json!({"peers": []}), []);
        let check = changes(&seen, &["n1", "n2", "n3"]);
        let told = "1 × n1: alive → nothing, 1 × n2: alive → nothing";
        assert_eq!((check.verdict, check.seen.as_str()), (Verdict::Missed, told));
    }

    #[test]
    fn a_stranger_in_no_view_is_unknown_and_in_one_it_is_a_miss() {
        let check = |seen: &Seen| strangers(seen, &["n1"], "stranger").verdict;
        assert_eq!(check(&seen(&["n1"], &["n1"])), Verdict::Met);
        assert_eq!(check(&seen(&[], &["n1"])), Verdict::Unknown);
        assert_eq!(check(&seen(&[], &["n1", "stranger"])), Verdict::Missed);
    }

    #[test]
    fn what_did_not_arrive_put_nothing_to_the_test() {
        let after = |datagrams, overflows, copies| Look {
            datagrams,
            overflows,
            fates: BTreeMap::from([("copies", copies)]),
        };
        let check = |sent, after| arrival("n1", sent, &Look::default(), &after).verdict;
        assert_eq!(check(1000, after(800, 150, 800)), Verdict::Met);
        assert_eq!(check(1000, after(800, 0, 800)), Verdict::Unknown);
        assert_eq!(check(0, after(800, 0, 800)), Verdict::Unknown);
        assert_eq!(check(1000, after(800, 150, 10)), Verdict::Unknown, "nobody looked at the rest");
    }

    #[test]
    fn the_rate_and_every_kind_must_have_been_reached() {
        let all = Kind::ALL.map(|kind| (kind, 100));
        let mut sent = Sent {
            by_kind: BTreeMap::from(all),
            by_node: BTreeMap::from([([10, 77, 1, 1].into(), 600)]),
            refused: 0,
        };
        assert_eq!(rate(&sent, 1, 600, 1.0).verdict, Verdict::Met);
        assert_eq!(rate(&sent, 1, 1000, 1.0).verdict, Verdict::Unknown);
        assert_eq!(kinds(&sent).verdict, Verdict::Met);
        sent.by_kind.remove(&Kind::WrongKey);
        assert_eq!(kinds(&sent).verdict, Verdict::Unknown);
    }
}
