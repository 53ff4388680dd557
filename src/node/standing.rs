//! What this node says of itself: readiness, and who led when, and why that changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use raft::{CallError, Peer, Role};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Check, LeaderChange, Status,
    calls::{Request, Response},
    open::Node,
    routing::{Route, Standing},
    space::Lack,
    wall_clock::WallClock,
};

/// The check of the log and its disk.
const DISK: &str = "disk";
/// The check of the wall clock. A node that does not lead for its sake still takes every request.
const WALL_CLOCK: &str = "wall_clock";

/// A replica this many entries behind what it knows committed is not ready.
const LAG_MAX: u64 = 1_000;
/// How long a former leader has to answer a ping.
const PING_PATIENCE: Duration = Duration::from_millis(300);
/// A connection that fails sooner than this was refused: nothing listens there any more.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);
/// How long each peer has to hear that this node is about to hand over.
const NOTICE_PATIENCE: Duration = Duration::from_millis(500);
/// How long one try to catch up with the leader may take, and the pause after it.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(5);
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);

/// Who led, as this node saw it.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    /// The last leader seen and its term; kept while there is none.
    last: Option<(u64, Peer)>,
    /// Since when this node knows of no leader, by its monotonic clock, ms.
    missing_since_ms: Option<u64>,
    /// The term whose leader said that it would hand over.
    resigned_term: Option<u64>,
    /// See [`Status::last_change`].
    change: Option<LeaderChange>,
    /// How many changes there were, by their cause; one whose cause is looked for counts when it is
    /// known.
    counts: BTreeMap<&'static str, u64>,
}

impl Leaders {
    /// Notes that there is no leader now.
    fn miss(&mut self, now_ms: u64) {
        self.missing_since_ms.get_or_insert(now_ms);
    }

    /// Notes who leads now. Returns the leader before it when this is a change that needs a cause.
    fn see(&mut self, term: u64, leader: &Peer, now_ms: u64, wall_ms: u64) -> Option<Peer> {
        let missing_since_ms = self.missing_since_ms.take();
        if self.last.as_ref().is_some_and(|(last, peer)| *last == term && peer.id == leader.id) {
            return None;
        }
        let before = self.last.replace((term, leader.clone()));
        let cause = match &before {
            None => "start",
            Some((term, _)) if self.resigned_term == Some(*term) => "transfer",
            Some(_) => "unknown",
        };
        let gap_ms = missing_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        let from = before.as_ref().map_or("", |(_, peer)| peer.label.as_str());
        tracing::info!(term, from, to = leader.label, gap_ms, cause, "the leader has changed");
        let leader = leader.label.clone();
        self.change = Some(LeaderChange { term, leader, at_ms: wall_ms, gap_ms, cause });
        if cause != "unknown" {
            self.count(cause);
            return None;
        }
        before.map(|(_, peer)| peer)
    }

    fn count(&mut self, cause: &'static str) {
        *self.counts.entry(cause).or_default() += 1;
    }

    /// How many changes of leader this node saw, by their cause.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    /// Names the cause of the change to `term`, which was looked for; it is told when that is still the
    /// last change.
    fn explain(&mut self, term: u64, cause: &'static str) {
        self.count(cause);
        if let Some(change) =
            self.change.as_mut().filter(|change| change.term == term && change.cause != cause)
        {
            tracing::info!(term, cause, "why the leader has changed");
            change.cause = cause;
        }
    }
}

impl Node {
    /// Notes the leader of a status.
    pub(super) fn note_leader(self: &Arc<Self>, status: &raft::Status) {
        let now_ms = self.clock.monotonic_ms();
        let Some(leader) = &status.leader else {
            self.leaders().miss(now_ms);
            return;
        };
        let before = self.leaders().see(status.term, leader, now_ms, self.clock.wall_ms());
        if let Some(before) = before {
            self.spawn(explain(Arc::clone(self), status.term, before));
        }
    }

    /// Notes that the leader of `term` is about to hand over.
    pub(super) fn note_resignation(&self, term: u64) {
        self.leaders().resigned_term = Some(term);
    }

    /// Tells everyone that this node is about to hand its leadership over, so that nobody has to
    /// guess why it changed, and hands it over.
    pub(super) async fn resign(self: &Arc<Self>, patience: Duration) -> bool {
        let Route::Here { term } = self.standing.borrow().route() else { return false };
        self.note_resignation(term);
        let status = self.replica.status().borrow().clone();
        let mut notices = tokio::task::JoinSet::new();
        for peer in status.voters.into_iter().chain(status.learners) {
            if peer.id != status.me.id {
                let (node, request) = (Arc::clone(self), Request::Resigning { term }.encode());
                let notice =
                    async move { node.replica.call(&peer, request, NOTICE_PATIENCE).await.is_ok() };
                notices.spawn_on(notice, &self.runtime);
            }
        }
        notices.join_all().await;
        self.replica.hand_over(patience).await
    }

    /// Publishes what a machine that replaced the former one changed: anything.
    pub(super) fn note_machine(&self, generation: &mut Option<u64>) {
        let current = self.look(|machine| {
            let current = machine.generation();
            if *generation != Some(current) {
                machine.publish_deadlines();
            }
            current
        });
        if generation.replace(current) != Some(current) {
            self.bells.ended().ring_all();
        }
    }

    /// See [`Status`].
    pub(super) fn status(&self) -> Status {
        let raft = self.replica.status().borrow().clone();
        let (rev, state_hash) =
            self.look(|machine| (machine.state().rev(), machine.state().hash()));
        let wall_clock = *self.wall_clock.borrow();
        let checks = checks(&raft, *self.has_caught_up.borrow(), self.room.lack(), wall_clock);
        let lacks_room_alone = raft.failure.is_none();
        let is_ready = checks.iter().all(|check| {
            check.is_ok
                || match check.name {
                    DISK => lacks_room_alone,
                    name => name == WALL_CLOCK,
                }
        });
        Status {
            raft,
            rev,
            state_hash,
            uptime_ms: self.clock.monotonic_ms().saturating_sub(self.started_ms),
            is_ready,
            checks,
            last_change: self.leaders().change.clone(),
        }
    }

    pub(super) fn leaders(&self) -> MutexGuard<'_, Leaders> {
        self.leaders.lock().expect("nothing panics while the leaders are locked")
    }
}

/// Says why the leadership changed, as far as one node can tell. A former leader that neither
/// refuses a connection nor said that it would go was silent for a while: hung or cut off, which
/// look alike from here.
async fn explain(node: Arc<Node>, term: u64, before: Peer) {
    let has_crashed = before.id != node.replica.status().borrow().me.id
        && refuses_connections(&node, &before).await;
    node.leaders().explain(term, if has_crashed { "crash" } else { "unknown" });
}

async fn refuses_connections(node: &Node, peer: &Peer) -> bool {
    let asked_at = Instant::now();
    let answer = node.replica.call(peer, Request::Ping.encode(), PING_PATIENCE).await;
    answer == Err(CallError::Unreachable) && asked_at.elapsed() < REFUSED_WITHIN
}

/// Applies what the leader knew committed, once; until then a restarted replica is not ready.
pub(super) async fn catch_up(node: Arc<Node>, seen: Standing) {
    let route = seen.route();
    while !*node.has_caught_up.borrow() && node.standing.borrow().route() == route {
        let asked = node.ask(&route, &Request::ReadIndex, CATCH_UP_PATIENCE).await;
        if let Ok(Response::ReadIndex(Ok(index))) = asked {
            let applied = timeout(CATCH_UP_PATIENCE, node.replica.wait_applied(index)).await;
            if matches!(applied, Ok(Ok(()))) {
                node.has_caught_up.send_replace(true);
                return;
            }
        }
        sleep(CATCH_UP_PAUSE).await;
    }
}

fn checks(
    raft: &raft::Status,
    has_caught_up: bool,
    lack: Option<Lack>,
    wall_clock: WallClock,
) -> Vec<Check> {
    let is_member = raft.role != Role::Fresh;
    let lag = raft.commit_index.saturating_sub(raft.applied_index);
    let leader =
        raft.leader.as_ref().map(|leader| format!("{} leads term {}", leader.label, raft.term));
    vec![
        Check {
            name: "bootstrapped",
            is_ok: is_member,
            detail: if is_member {
                format!("a member of a cluster of {} voters", raft.voters.len())
            } else {
                "in no cluster yet".to_owned()
            },
        },
        Check {
            name: "leader_known",
            is_ok: leader.is_some(),
            detail: leader.unwrap_or_else(|| format!("no leader is known in term {}", raft.term)),
        },
        Check {
            name: "caught_up",
            is_ok: has_caught_up && lag <= LAG_MAX,
            detail: if has_caught_up {
                format!("{lag} entries behind what is known committed")
            } else {
                "has not yet applied what the leader had committed".to_owned()
            },
        },
        Check {
            name: DISK,
            is_ok: raft.failure.is_none() && lack.is_none(),
            detail: match (&raft.failure, lack) {
                (Some(failure), _) => failure.clone(),
                (None, Some(lack)) => lack.to_string(),
                (None, None) => "the log is writable".to_owned(),
            },
        },
        Check {
            name: WALL_CLOCK,
            is_ok: !wall_clock.is_aside,
            detail: match wall_clock.ahead_ms {
                None => "no other voter's was heard".to_owned(),
                Some(ahead_ms) if wall_clock.is_aside => {
                    format!("{ahead_ms} ms ahead of the voters' median: this node does not lead")
                }
                Some(ahead_ms) => format!("{ahead_ms} ms ahead of the voters' median"),
            },
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64) -> Peer {
        Peer { id, label: format!("n{id}"), address: String::new() }
    }

    #[test]
    fn the_first_leader_seen_is_a_start() {
        let mut leaders = Leaders::default();
        leaders.miss(100);
        assert_eq!(leaders.see(1, &peer(1), 140, 9_000), None);
        let expected =
            LeaderChange { term: 1, leader: "n1".into(), at_ms: 9_000, gap_ms: 40, cause: "start" };
        assert_eq!(leaders.change, Some(expected));
    }

    #[test]
    fn a_resigned_leader_is_a_transfer_and_an_unexplained_change_is_looked_into() {
        let mut leaders = Leaders::default();
        leaders.see(1, &peer(1), 0, 0);
        leaders.resigned_term = Some(1);
        assert_eq!(leaders.see(2, &peer(2), 5, 0), None);
        assert_eq!(leaders.change.as_ref().unwrap().cause, "transfer");
        assert_eq!(leaders.see(3, &peer(3), 5, 0), Some(peer(2)));
        leaders.explain(2, "crash");
        assert_eq!(leaders.change.as_ref().unwrap().cause, "unknown", "that was another change");
        leaders.explain(3, "crash");
        assert_eq!(leaders.change.as_ref().unwrap().cause, "crash");
        let counts = [("crash", 2), ("start", 1), ("transfer", 1)];
        assert_eq!(leaders.counts(), counts.into_iter().collect());
    }

    #[test]
    fn a_leader_that_was_missed_and_came_back_in_its_term_is_no_change() {
        let mut leaders = Leaders::default();
        leaders.see(1, &peer(1), 0, 0);
        let before = leaders.change.clone();
        leaders.miss(10);
        assert_eq!(leaders.see(1, &peer(1), 30, 50), None);
        assert_eq!(leaders.change, before);
    }
}
