//! The voters' wall clocks, compared (guarantees §5). The leader's wall clock decides when `run_at_ms`
//! has come, so a voter whose clock is more than a second from the median of the voters' clocks does
//! not lead, and says so until it is mended. Leases never depend on any of this.

use std::{sync::Arc, time::Duration};

use raft::Peer;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    calls::{Request, Response},
    clock::whole_ms,
    open::Node,
    routing::Route,
};

/// A voter further than this from the median does not lead, ms.
const ASIDE_MS: u64 = 1_000;
/// And leads again once it is no further than this, ms: a clock on the edge must not cost an election
/// a second.
const BACK_MS: u64 = 500;
const _: () = assert!(BACK_MS < ASIDE_MS);
/// How often the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An answer that took longer says too little of when it was given: half of this is far below
/// [`ASIDE_MS`].
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
/// How long a leader tries to hand over, a time.
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(700);
/// Between two lines of the log about the same fault.
const REMINDER: Duration = Duration::from_mins(1);

/// How this node's wall clock stands among the voters'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WallClock {
    /// How far it is ahead of the median of the clocks that were heard, its own among them, ms;
    /// `None` while no other voter's was heard.
    pub ahead_ms: Option<i64>,
    /// Whether this node therefore does not lead.
    pub is_aside: bool,
}

impl WallClock {
    /// Judges anew. `others` is how far each other voter's clock is ahead of this one, ms; `None` when
    /// there are others and none was heard, or this node is no voter: then the verdict stays. With an even
    /// number of clocks there are two medians, and the nearer one counts: of two clocks that disagree
    /// nobody can say which is wrong, and somebody has to lead.
    fn judged(self, others: Option<&[i64]>) -> Self {
        let Some(others) = others else { return Self { ahead_ms: None, ..self } };
        let mut clocks: Vec<i64> = others.iter().copied().chain([0]).collect();
        clocks.sort_unstable();
        let medians = [clocks[(clocks.len() - 1) / 2], clocks[clocks.len() / 2]];
        let nearest = medians.into_iter().min_by_key(|median| median.unsigned_abs());
        let ahead_ms = nearest.unwrap_or(0).saturating_neg();
        let limit = if self.is_aside { BACK_MS } else { ASIDE_MS };
        Self { ahead_ms: Some(ahead_ms), is_aside: ahead_ms.unsigned_abs() > limit }
    }
}

/// Compares the clocks once a second, and keeps this node from leading while its own is far off.
pub(super) async fn watch(node: Arc<Node>) {
    let mut reminded_at: Option<Instant> = None;
    loop {
        let before = *node.wall_clock.borrow();
        let now = before.judged(others(&node).await.as_deref());
        node.wall_clock.send_replace(now);
        node.replica.stand_aside(now.is_aside);
        if now.is_aside {
            if reminded_at.is_none_or(|at| at.elapsed() >= REMINDER) {
                reminded_at = Some(Instant::now());
                let ahead_ms = now.ahead_ms;
                tracing::error!(
                    ahead_ms,
                    "this machine's wall clock is more than a second from those of the other voters: \
                     this node does not lead; set the clock"
                );
            }
            if matches!(node.standing.borrow().route(), Route::Here { .. }) {
                node.resign(HAND_OVER_PATIENCE).await;
            }
        } else if before.is_aside {
            reminded_at = None;
            tracing::info!("this machine's wall clock agrees with the other voters' again");
        }
        sleep(LOOK_EVERY).await;
    }
}

/// See [`WallClock::judged`].
async fn others(node: &Arc<Node>) -> Option<Vec<i64>> {
    let status = node.replica.status().borrow().clone();
    let me = status.me.id;
    status.voters.iter().find(|voter| voter.id == me)?;
    let is_alone = status.voters.len() == 1;
    let mut asked = JoinSet::new();
    for voter in status.voters.into_iter().filter(|voter| voter.id != me) {
        let node = Arc::clone(node);
        asked.spawn(async move { ahead_of_mine(&node, &voter).await });
    }
    let heard: Vec<i64> = asked.join_all().await.into_iter().flatten().collect();
    (is_alone || !heard.is_empty()).then_some(heard)
}

async fn ahead_of_mine(node: &Node, voter: &Peer) -> Option<i64> {
    let (asked_ms, asked_at) = (node.clock.wall_ms(), Instant::now());
    let answer = node.replica.call(voter, Request::WallClock.encode(), ANSWER_WITHIN).await;
    let round_trip = asked_at.elapsed();
    let Ok(Response::WallClock { wall_ms }) = Response::decode(&answer.ok()?) else { return None };
    let mine_ms = asked_ms.saturating_add(whole_ms(round_trip / 2));
    Some(i64::try_from(i128::from(wall_ms) - i128::from(mine_ms)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(others: &[i64]) -> WallClock {
        WallClock::default().judged(Some(others))
    }

    #[test]
    fn a_clock_far_from_the_median_does_not_lead_and_the_other_two_may() {
        assert_eq!(judged(&[-5_000, -5_010]), WallClock { ahead_ms: Some(5_000), is_aside: true });
        assert_eq!(judged(&[5_000, 10]), WallClock { ahead_ms: Some(-10), is_aside: false });
        assert_eq!(judged(&[4_990, -10]), WallClock { ahead_ms: Some(0), is_aside: false });
    }

    #[test]
    fn of_two_clocks_that_disagree_either_may_lead() {
        assert_eq!(judged(&[60_000]), WallClock { ahead_ms: Some(0), is_aside: false });
        assert_eq!(judged(&[-60_000]), WallClock { ahead_ms: Some(0), is_aside: false });
    }

    #[test]
    fn a_second_is_near_enough_and_more_is_not() {
        assert!(!judged(&[1_000, 1_000]).is_aside);
        assert!(judged(&[1_001, 1_001]).is_aside);
        assert!(judged(&[-1_001, -1_001]).is_aside);
    }

    #[test]
    fn a_clock_that_was_off_must_come_well_within_to_lead_again() {
        let aside = judged(&[2_000, 2_000]);
        assert!(aside.judged(Some(&[501, 501])).is_aside);
        assert!(!aside.judged(Some(&[500, 500])).is_aside);
    }

    #[test]
    fn a_node_that_hears_nobody_keeps_its_verdict() {
        let unheard = WallClock { ahead_ms: None, is_aside: true };
        assert_eq!(judged(&[2_000, 2_000]).judged(None), unheard);
        assert_eq!(WallClock::default().judged(None), WallClock::default());
    }

    #[test]
    fn the_only_voter_has_the_right_time() {
        assert_eq!(judged(&[]), WallClock { ahead_ms: Some(0), is_aside: false });
    }

    #[test]
    fn a_clock_beyond_reason_is_far_off_and_no_overflow() {
        assert!(judged(&[i64::MIN, i64::MIN]).is_aside);
        assert!(judged(&[i64::MAX, i64::MAX]).is_aside);
    }
}
