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
/// change of leader forgets no more than this (guarantees §5).
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
    use crate::queue::WallMs;

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
}
