//! The leader's ticks: entries without commands, which only let time pass, so that what is due
//! happens although nobody asks for anything.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    gather::Work,
    open::Node,
    routing::{Route, Standing},
};
use crate::queue::{ClockMs, Deadlines, Stamp};

/// While any deadline is outstanding the replicated clock is never older than this, ms, so that a
/// change of leader forgets no more than this (guarantees, rule 4).
const TICK_MS_MAX: u64 = 1_000;
/// How long a tick may take to be applied.
const TICK_PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a tick that was not applied.
const PAUSE: Duration = Duration::from_millis(20);

/// Ticks while this node leads, until it stops.
pub(super) async fn run(node: Arc<Node>) {
    let mut standing = node.standing.subscribe();
    loop {
        let in_office =
            standing.wait_for(|standing| matches!(standing.route(), Route::Here { .. }));
        let Ok(Route::Here { term }) = in_office.await.map(|standing| standing.route()) else {
            return;
        };
        let is_over = |standing: &Standing| standing.route() != Route::Here { term };
        tokio::select! {
            biased;
            _ = standing.wait_for(is_over) => {}
            () = tick_for(&node, term) => {}
        }
    }
}

/// Ticks for one term, for ever.
async fn tick_for(node: &Node, term: u64) {
    let mut deadlines = node.bells.deadlines();
    loop {
        let outstanding = *deadlines.borrow_and_update();
        let replicated = node.look(|machine| machine.state().clock());
        let wait =
            node.cluster_clock.stamp(term).and_then(|now| until_tick(outstanding, replicated, now));
        match wait {
            None => {
                let _ = deadlines.changed().await;
            }
            Some(0) => tick(node).await,
            Some(wait_ms) => {
                tokio::select! {
                    biased;
                    _ = deadlines.changed() => {}
                    () = sleep(Duration::from_millis(wait_ms)) => {}
                }
            }
        }
    }
}

async fn tick(node: &Node) {
    let deadline = Instant::now() + TICK_PATIENCE;
    if node.proposer.submit(Work::tick(), deadline).await.is_err() {
        sleep(PAUSE).await;
    }
}

/// How long until the next tick, ms; `None` when no deadline is outstanding.
fn until_tick(outstanding: Deadlines, replicated: ClockMs, now: Stamp) -> Option<u64> {
    if outstanding.is_behind {
        return Some(0);
    }
    let by_clock = outstanding.clock.map(|due| due.0.saturating_sub(now.clock.0));
    let by_wall = outstanding.wall.map(|due| due.0.saturating_sub(now.wall.0));
    let due = by_clock.into_iter().chain(by_wall).min()?;
    let stale = replicated.0.saturating_add(TICK_MS_MAX).saturating_sub(now.clock.0);
    Some(due.min(stale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::samples::{add, claim, complete, entry, queue},
        queue::{Action, Command, Limits, Operation, Patch, RequestId, SetQueue, State, WallMs},
    };

    fn now(clock: u64, wall: u64) -> Stamp {
        Stamp { clock: ClockMs(clock), wall: WallMs(wall) }
    }

    fn lease(due: u64) -> Deadlines {
        Deadlines { clock: Some(ClockMs(due)), ..Deadlines::default() }
    }

    #[test]
    fn without_deadlines_nothing_ticks() {
        assert_eq!(until_tick(Deadlines::default(), ClockMs(0), now(60_000, 0)), None);
    }

    #[test]
    fn a_tick_comes_when_the_first_deadline_is_due() {
        assert_eq!(until_tick(lease(130), ClockMs(100), now(100, 0)), Some(30));
        assert_eq!(until_tick(lease(130), ClockMs(100), now(131, 0)), Some(0));
        let both = Deadlines { wall: Some(WallMs(7_010)), ..lease(130) };
        assert_eq!(until_tick(both, ClockMs(100), now(100, 7_000)), Some(10));
    }

    #[test]
    fn while_a_deadline_is_outstanding_the_replicated_clock_is_at_most_a_second_old() {
        assert_eq!(until_tick(lease(90_000), ClockMs(100), now(100, 0)), Some(1_000));
        assert_eq!(until_tick(lease(90_000), ClockMs(100), now(700, 0)), Some(400));
        assert_eq!(until_tick(lease(90_000), ClockMs(100), now(1_100, 0)), Some(0));
    }

    #[test]
    fn work_left_over_ticks_at_once() {
        let behind = Deadlines { is_behind: true, ..Deadlines::default() };
        assert_eq!(until_tick(behind, ClockMs(100), now(100, 0)), Some(0));
    }

    /// Ticks as a leader of an idle cluster does, until nothing is outstanding any more or that much
    /// time is over. Returns how many entries that took, and at which clock the last was.
    fn idle(state: &mut State, for_ms: u64) -> (u64, u64) {
        let started = state.clock().0;
        let (mut clock, mut entries) = (started, 0);
        while let Some(wait) =
            until_tick(state.deadlines(), state.clock(), now(clock, state.wall().0))
        {
            clock += wait;
            if clock > started + for_ms {
                break;
            }
            state.apply(&entry(clock, Vec::new()));
            entries += 1;
        }
        (entries, state.clock().0)
    }

    fn operate(request: &str, action: Action) -> Command {
        let request_id = RequestId::parse(request).unwrap();
        Command::Operate(Operation { request_id, action })
    }

    /// Everything but what a test names comes after a day.
    fn limits() -> Limits {
        let day = 86_400_000;
        Limits { retention_ms: day, memory_ms: day, worker_ms: day, ..Limits::default() }
    }

    fn rate_of_one() -> Command {
        operate(
            "set",
            Action::SetQueue(SetQueue {
                rate_per_second: Patch::Set(1),
                ..SetQueue::unchanged(queue("default"))
            }),
        )
    }

    /// A tick a second while something is outstanding, one as it falls due, and no more: whatever is
    /// due is done by the entry that lets its time pass.
    #[test]
    fn an_idle_cluster_writes_no_more_entries_than_its_deadlines_need() {
        let granted = || vec![add("a"), Command::Claim(claim("w", "r"))];
        let cases: [(&str, Limits, Vec<Command>, u64, u64); 6] = [
            ("a lease and nothing after it", limits(), granted(), 30_000, 30),
            (
                "an operation that is remembered",
                Limits { memory_ms: 5_500, ..limits() },
                vec![rate_of_one()],
                5_500,
                6,
            ),
            (
                "a worker that holds nothing",
                Limits { worker_ms: 3_500, retention_ms: 2_000, tombstone_floor_ms: 0, ..limits() },
                [granted(), vec![complete("a", 2)]].concat(),
                3_500,
                4,
            ),
            (
                "a worker that holds a job is looked at once in a while",
                Limits { worker_ms: 1, ..limits() },
                granted(),
                50,
                50,
            ),
            ("a full window", limits(), [vec![rate_of_one()], granted()].concat(), 1_000, 1),
            ("nothing but a ready job", limits(), vec![add("a")], 60_000, 0),
        ];
        for (what, limits, commands, for_ms, expected) in cases {
            let mut state = State::with_limits(limits);
            state.apply(&entry(1_000, commands));
            let (entries, clock) = idle(&mut state, for_ms);
            assert_eq!(entries, expected, "{what}");
            assert!(!state.deadlines().is_behind, "{what}");
            assert!(expected == 0 || clock == 1_000 + for_ms, "{what} ended at {clock}");
        }
    }

    #[test]
    fn finished_jobs_that_wait_for_room_among_tombstones_tick_no_faster() {
        let limits =
            Limits { retention_ms: 100, tombstone_floor_ms: 5_000, tombstones_max: 1, ..limits() };
        let mut state = State::with_limits(limits);
        let cancel =
            |name| Command::Cancel(crate::queue::Cancel { job: crate::node::samples::id(name) });
        state.apply(&entry(1_000, vec![add("a"), add("b"), cancel("a"), cancel("b")]));
        let (entries, clock) = idle(&mut state, 60_000);
        assert_eq!(
            (entries, clock),
            (6, 6_100),
            "at 1.1 s, and by the second until the room is free"
        );
    }

    #[test]
    fn what_a_purge_leaves_over_is_ticked_away_at_once_and_then_no_more() {
        let mut state = State::with_limits(Limits { steps_max: 1, ..limits() });
        let names: Vec<String> = (0..20).map(|number| format!("j{number}")).collect();
        state.apply(&entry(1_000, names.iter().map(|name| add(name)).collect()));
        state.apply(&entry(1_000, vec![operate("p", Action::PurgeQueue(queue("default")))]));
        let (entries, clock) = idle(&mut state, 0);
        assert!((18..=20).contains(&entries), "{entries} entries for 20 jobs, a job each");
        assert_eq!(clock, 1_000);
        assert!(!state.deadlines().is_behind);
    }
}
