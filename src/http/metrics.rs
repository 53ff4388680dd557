//! `GET /metrics`: everything that is worth an alert or a graph, as `OpenMetrics` text.
//! `docs/metrics.md` describes each, and a test compares the two.

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::{answer::Failure, call::Call};
use crate::{
    node::{Consistency, EventFigures, Figures, GossipFigures, Handle, Kind, MemberState, Status},
    queue::{JobState, QueueName, QueueTotals, Rev, Totals, WallMs},
};

/// The media type of the answer.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The most queues with series of their own, in the order of their names. The jobs of further ones
/// are summed under [`OTHER_QUEUES`].
const QUEUES_MAX: usize = 1000;
/// The label of the queues beyond [`QUEUES_MAX`]; of a queue of that name as well.
const OTHER_QUEUES: &str = "other";

type Labels<const N: usize> = [(&'static str, String); N];
/// A gauge that may have a fraction.
type Decimal = Gauge<f64, AtomicU64>;

pub(super) async fn metrics(call: Call) -> Result<Response, Failure> {
    call.no_query()?;
    let handle = &call.site.handle;
    let seen = handle.read(Consistency::Stale, call.hold, |state| (state.totals(), state.wall()));
    let view = seen.await?;
    let mut registry = Registry::with_prefix("queue");
    register_node(&mut registry, handle);
    // An idle queue applies nothing, and its oldest job waits on.
    let now = view.value.1.max(WallMs(handle.wall_ms()));
    register_jobs(&mut registry, view.value.0, now, view.rev);
    call.site.meters.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes everything");
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))], text).into_response())
}

/// Numbers that fit no float exactly are far beyond what they count.
#[expect(clippy::cast_precision_loss, reason = "a graph shows 53 bits")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

fn number(value: impl TryInto<i64>) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(value.try_into().unwrap_or(i64::MAX));
    gauge
}

fn truth(is_true: bool) -> Gauge {
    number(i64::from(is_true))
}

fn register_node(registry: &mut Registry, handle: &Handle) {
    let (status, figures) = (&handle.status(), &handle.figures());
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The binary", build);
    let uptime = Decimal::default();
    uptime.set(seconds(status.uptime_ms));
    registry.register_with_unit("uptime", "Since the node started", Unit::Seconds, uptime);
    registry.register(
        "ready",
        "Whether GET /ready answers 200",
        truth(status.is_ready && !handle.is_leaving()),
    );
    if let Some(bytes) = figures.disk_free_bytes {
        let help = "Free on the data directory's disk, as of the last look";
        registry.register_with_unit("disk_free", help, Unit::Bytes, number(bytes));
    }
    register_wall_clock(registry, figures);
    register_raft(registry, status);
    if let Some(lifelines) = figures.lifelines {
        registry.register("lifelines", "The other voters that answer pings", number(lifelines));
    }
    let changes = Family::<Labels<1>, Counter>::default();
    for (cause, count) in &figures.leader_changes {
        changes.get_or_create(&[("cause", (*cause).to_owned())]).inc_by(*count);
    }
    let help = "Changes of leader that this node saw since it started, by their cause";
    registry.register("leader_changes", help, changes);
    let gap = Decimal::default();
    gap.set(seconds(status.changes.first().map_or(0, |change| change.gap_ms)));
    let help =
        "From the last sign of the leader before to the first of its successor, at the last change";
    registry.register_with_unit("write_gap", help, Unit::Seconds, gap);
    register_under_way(registry, figures);
    register_events(registry, &figures.events);
    if let Some(gossip) = &figures.gossip {
        register_gossip(registry, gossip);
    }
}

fn register_events(registry: &mut Registry, figures: &EventFigures) {
    let listeners = number(figures.listeners);
    registry.register("event_listeners", "Who listens to GET /events of this node", listeners);
    let recorded = Counter::<u64>::default();
    recorded.inc_by(figures.recorded);
    let help = "Events recorded since the node started; none are while nobody listens";
    registry.register("events", help, recorded);
    let gaps = Family::<Labels<1>, Counter>::default();
    for (reason, count) in &figures.gaps {
        gaps.get_or_create(&[("reason", (*reason).to_owned())]).inc_by(*count);
    }
    let help = "Gaps that listeners were told of, by their reason";
    registry.register("event_gaps", help, gaps);
    let missed = Counter::<u64>::default();
    missed.inc_by(figures.missed);
    let help = "Events that listeners missed in gaps, as far as that is known";
    registry.register("events_missed", help, missed);
}

fn register_gossip(registry: &mut Registry, figures: &GossipFigures) {
    let members = Family::<Labels<2>, Gauge>::default();
    for state in MemberState::ALL {
        for kind in Kind::ALL.map(Some).into_iter().chain([None]) {
            let count = figures.members.get(&(state, kind)).copied().unwrap_or(0);
            let kind = kind.map_or("unknown", Kind::as_str);
            let labels = [("state", state.as_str().to_owned()), ("kind", kind.to_owned())];
            members.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    let help = "Members that gossip knows, by their state and kind";
    registry.register("member_state", help, members);
    let datagrams = Family::<Labels<1>, Counter>::default();
    for (fate, count) in figures.datagrams() {
        datagrams.get_or_create(&[("fate", fate.to_owned())]).inc_by(count);
    }
    let help = "Datagrams of gossip since the node started, by what became of them";
    registry.register("gossip_datagrams", help, datagrams);
    let failed = Counter::<u64>::default();
    failed.inc_by(figures.probes_failed());
    let help = "Probes of this node that a member did not answer, directly or through others";
    registry.register("gossip_failed_probes", help, failed);
    let rejoins = Counter::<u64>::default();
    rejoins.inc_by(figures.rejoins());
    let help = "How often others declared this node down, and it went on";
    registry.register("gossip_rejoins", help, rejoins);
    let unreadable = Counter::<u64>::default();
    unreadable.inc_by(figures.unreadable_cards);
    let help = "What members said of themselves and this version cannot read";
    registry.register("gossip_unreadable_cards", help, unreadable);
}

fn register_wall_clock(registry: &mut Registry, figures: &Figures) {
    if let Some(ahead_ms) = figures.wall_clock.ahead_ms {
        let ahead = Decimal::default();
        let size = seconds(ahead_ms.unsigned_abs());
        ahead.set(if ahead_ms < 0 { -size } else { size });
        let help = "How far the wall clock is ahead of the median of the voters'";
        registry.register_with_unit("wall_clock_ahead", help, Unit::Seconds, ahead);
    }
    let help = "Whether this node does not lead for the sake of its wall clock";
    registry.register("wall_clock_aside", help, truth(figures.wall_clock.is_aside));
}

fn register_raft(registry: &mut Registry, status: &Status) {
    let raft = &status.raft;
    let is_leader = raft.leader.as_ref().is_some_and(|leader| leader.id == raft.me.id);
    let numbers = [
        ("raft_term", "The Raft term", raft.term),
        ("raft_last_log_index", "The last index in the log", raft.last_log_index),
        ("raft_commit_index", "The last index known to be committed", raft.commit_index),
        ("raft_applied_index", "The last index applied", raft.applied_index),
        ("raft_snapshot_index", "The last index in the newest snapshot", raft.snapshot_index),
        ("raft_voters", "The voters of the configuration", raft.voters.len() as u64),
        ("raft_learners", "The learners of the configuration", raft.learners.len() as u64),
    ];
    for (name, help, value) in numbers {
        registry.register(name, help, number(value));
    }
    registry.register("raft_is_leader", "Whether this node leads", truth(is_leader));
    let help = "Whether this node knows of a leader";
    registry.register("raft_leader_known", help, truth(raft.leader.is_some()));
}

fn register_under_way(registry: &mut Registry, figures: &Figures) {
    let (commands, bytes) = (Family::<Labels<1>, Gauge>::default(), Family::default());
    for load in figures.lanes {
        let lane = [("lane", load.lane.to_owned())];
        commands.get_or_create_owned(&lane).set(i64::try_from(load.commands).unwrap_or(i64::MAX));
        let gauge: Gauge = bytes.get_or_create_owned(&lane);
        gauge.set(i64::try_from(load.bytes).unwrap_or(i64::MAX));
    }
    let help = "Commands that wait for the log or for their answer, by admission lane";
    registry.register("commands_under_way", help, commands);
    let help = "The bytes of the commands that are under way, by admission lane";
    registry.register_with_unit("commands_under_way", help, Unit::Bytes, bytes);
    let help = "Claims under way, those that wait for work among them";
    registry.register("claims_under_way", help, number(figures.claims));
    let help = "Claims that wait on this node for work";
    registry.register("claims_parked", help, number(figures.claims_parked));
    let help = "Linearizable reads under way";
    registry.register("reads_under_way", help, number(figures.reads));
}

fn register_jobs(registry: &mut Registry, totals: Totals, now: WallMs, Rev(rev): Rev) {
    registry.register("rev", "The queue's revision as applied here", number(rev));
    registry.register("queues", "Queues that exist", number(totals.queues.len()));
    let help = "Finished jobs that left and are remembered by their ids";
    registry.register("tombstones", help, number(totals.tombstones));
    let (jobs, oldest) =
        (Family::<Labels<2>, Gauge>::default(), Family::<Labels<1>, Decimal>::default());
    for (queue, totals) in bounded(totals.queues) {
        for state in JobState::ALL {
            let labels = [("queue", queue.clone()), ("state", state.as_str().to_owned())];
            let count = totals.by_status.get(&state).copied().unwrap_or(0);
            jobs.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let age_ms = totals.oldest_pending.map_or(0, |added| now.0.saturating_sub(added.0));
        oldest.get_or_create(&[("queue", queue)]).set(seconds(age_ms));
    }
    registry.register("jobs", "Jobs by queue and state, from kept counts", jobs);
    let help = "How long the oldest pending job of a queue has waited; 0 when none waits";
    registry.register_with_unit("oldest_pending_age", help, Unit::Seconds, oldest);
}

/// At most [`QUEUES_MAX`] queues, and all others as one.
fn bounded(queues: BTreeMap<QueueName, QueueTotals>) -> BTreeMap<String, QueueTotals> {
    let mut bounded: BTreeMap<String, QueueTotals> = BTreeMap::new();
    for (place, (name, totals)) in queues.into_iter().enumerate() {
        let label = if place < QUEUES_MAX { name.as_str() } else { OTHER_QUEUES };
        let sum = bounded.entry(label.to_owned()).or_default();
        for (state, count) in totals.by_status {
            *sum.by_status.entry(state).or_default() += count;
        }
        sum.oldest_pending =
            [sum.oldest_pending, totals.oldest_pending].into_iter().flatten().min();
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_beyond_the_bound_are_summed_and_none_is_lost() {
        let totals = |added| QueueTotals {
            by_status: [(JobState::Pending, 2)].into(),
            oldest_pending: Some(WallMs(added)),
            ..QueueTotals::default()
        };
        let name = |place| QueueName::parse(&format!("q{place:05}")).unwrap();
        let queues = (0..1_500).map(|place| (name(place), totals(9_000 - place)));
        let bounded = bounded(queues.collect());
        assert_eq!(bounded.len(), QUEUES_MAX + 1);
        assert_eq!(bounded["q00999"].by_status[&JobState::Pending], 2);
        assert_eq!(bounded["other"].by_status[&JobState::Pending], 1_000);
        assert_eq!(bounded["other"].oldest_pending, Some(WallMs(9_000 - 1_499)));
    }
}
