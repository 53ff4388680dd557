//! The voters' wall clocks, compared (guarantees, rule 4). The leader's wall clock decides when `run_at_ms`
//! has come, so a voter whose clock is more than a second from the median of the voters' clocks does
//! not lead, and says so until it is mended. Leases never depend on any of this.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

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
    /// Judges anew. `others` is how far each other voter's clock is ahead of this one, ms; `None` when it was
    /// not heard. With an even number of clocks there are two medians, and the nearer one counts: of two
    /// clocks that disagree nobody can say which is wrong, and somebody has to lead. The median is that of
    /// all the voters' clocks: while those that were not heard may place it on either side of the limit,
    /// the verdict stays.
    fn judged(self, others: &[Option<i64>]) -> Self {
        let heard: Vec<i64> = others.iter().flatten().copied().collect();
        let with_unheard = |clock: i64| {
            let all = others.iter().map(move |heard| heard.unwrap_or(clock));
            nearest_median(all.chain([0]).collect())
        };
        let (least, greatest) = (with_unheard(i64::MIN), with_unheard(i64::MAX));
        let limit = if self.is_aside { BACK_MS } else { ASIDE_MS };
        let is_far = |median: i64| median.unsigned_abs() > limit;
        let is_one_side = least.signum() == greatest.signum();
        let verdict = match (is_far(least), is_far(greatest)) {
            (true, true) if is_one_side => Some(true),
            (false, false) => Some(false),
            _ => None,
        };
        let ahead_ms = match verdict {
            // What the verdict rests on.
            None if self.is_aside => self.ahead_ms,
            None | Some(_) if heard.is_empty() && !others.is_empty() => None,
            None | Some(_) => {
                Some(nearest_median(heard.into_iter().chain([0]).collect()).saturating_neg())
            }
        };
        Self { ahead_ms, is_aside: verdict.unwrap_or(self.is_aside) }
    }
}

/// The median of these clocks, of two the one nearer to 0.
fn nearest_median(mut clocks: Vec<i64>) -> i64 {
    clocks.sort_unstable();
    let medians = [clocks[(clocks.len() - 1) / 2], clocks[clocks.len() / 2]];
    medians.into_iter().min_by_key(|median| median.unsigned_abs()).unwrap_or(0)
}

/// Compares the clocks once a second, and keeps this node from leading while its own is far off.
pub(super) async fn watch(node: Arc<Node>) {
    let mut reminded_at: Option<Instant> = None;
    let mut tried = BTreeSet::new();
    loop {
        let before = *node.wall_clock.borrow();
        let now = match others(&node).await {
            Some(others) => before.judged(&others),
            None => WallClock { ahead_ms: None, ..before },
        };
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
            if !matches!(node.standing.borrow().route(), Route::Here { .. })
                || node.resign(HAND_OVER_PATIENCE, &mut tried).await
            {
                tried.clear();
            }
        } else if before.is_aside {
            reminded_at = None;
            tracing::info!("this machine's wall clock agrees with the other voters' again");
        }
        sleep(LOOK_EVERY).await;
    }
}

/// See [`WallClock::judged`]; `None` when this node is no voter.
async fn others(node: &Arc<Node>) -> Option<Vec<Option<i64>>> {
    let status = node.replica.status().borrow().clone();
    let me = status.me.id;
    status.voters.iter().find(|voter| voter.id == me)?;
    let mut asked = JoinSet::new();
    for voter in status.voters.into_iter().filter(|voter| voter.id != me) {
        let node = Arc::clone(node);
        asked.spawn(async move { ahead_of_mine(&node, &voter).await });
    }
    Some(asked.join_all().await)
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
        WallClock::default().judged(&heard(others))
    }

    fn heard(others: &[i64]) -> Vec<Option<i64>> {
        others.iter().copied().map(Some).collect()
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
        assert!(aside.judged(&heard(&[501, 501])).is_aside);
        assert!(!aside.judged(&heard(&[500, 500])).is_aside);
    }

    #[test]
    fn a_node_that_hears_nobody_keeps_its_verdict() {
        let aside = judged(&[2_000, 2_000]);
        assert!(aside.judged(&[None, None]).is_aside);
        assert_eq!(WallClock::default().judged(&[None, None]), WallClock::default());
    }

    // Situation: not every voter's clock is heard. Claim: the verdict changes only when it would whatever
    // the others' clocks say.
    #[test]
    fn clocks_that_were_not_heard_may_be_on_either_side() {
        let fine = WallClock::default();
        assert!(!fine.judged(&[Some(60_000), None]).is_aside, "the third may agree with this one");
        let two_of_five = [Some(60_000), Some(60_000), None, None];
        assert!(!fine.judged(&two_of_five).is_aside, "two more may agree with this one");
        let three_of_five = [Some(60_000), Some(60_000), Some(60_000), None];
        assert!(fine.judged(&three_of_five).is_aside, "three of five are a majority");
        assert!(!fine.judged(&[Some(60_000), Some(-60_000), None]).is_aside);
        let aside = judged(&[60_000, 60_000]);
        assert_eq!(aside.judged(&[Some(60_000), None]), aside, "nothing speaks for this one");
        assert_eq!(
            aside.judged(&[Some(100), None]),
            WallClock { ahead_ms: Some(0), is_aside: false },
            "two of three agree"
        );
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
