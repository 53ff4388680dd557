//! What this node says of itself: how it stands, and whether it is ready.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc, time::Duration};

use raft::{Peer, Role};
use tokio::time::{sleep, timeout};

use super::{
    Check, Status,
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
/// How long each peer has to hear that this node is about to hand over.
const NOTICE_PATIENCE: Duration = Duration::from_millis(50);
/// How long one try to catch up with the leader may take, and the pause after it.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(5);
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);

impl Node {
    /// Tells everyone that this node is about to hand its leadership over, so that nobody has to
    /// guess why it changed, and hands it over to the best voter that is not among the `tried`. One that
    /// does not take it is `tried` afterwards.
    pub(super) async fn resign(
        self: &Arc<Self>,
        patience: Duration,
        tried: &mut BTreeSet<String>,
    ) -> bool {
        let Some(answered) = self.announce_resignation().await else { return false };
        let Some(to) = successor(self.candidates(&answered), tried) else {
            self.withdraw_resignation();
            return false;
        };
        let is_over = self.replica.hand_over_to(&to, patience).await.is_ok();
        if !is_over {
            tried.insert(to);
            self.withdraw_resignation();
        }
        is_over
    }

    /// The other voters, those that `answered` first, in that order.
    fn candidates(&self, answered: &[String]) -> Vec<Candidate> {
        let me = self.replica.status().borrow().me.id;
        let peers = self.replica.quorum().map(|quorum| quorum.peers).unwrap_or_default();
        let voters = peers.into_iter().filter(|known| known.is_voter && known.peer.id != me);
        let mut candidates: Vec<_> = voters
            .map(|known| Candidate {
                place: answered.iter().position(|label| *label == known.peer.label),
                label: known.peer.label,
                match_index: known.match_index,
            })
            .collect();
        candidates.sort_by_key(|candidate| candidate.place.unwrap_or(usize::MAX));
        candidates
    }

    /// The first half of [`Node::resign`]: the labels of the voters that answered. `None` when this node
    /// does not lead.
    pub(super) async fn announce_resignation(self: &Arc<Self>) -> Option<Vec<String>> {
        let Route::Here { term } = self.standing.borrow().route() else { return None };
        self.note_resignation(term);
        let status = self.replica.status().borrow().clone();
        let voters = status.voters.into_iter().map(|peer| (peer, true));
        let peers = voters.chain(status.learners.into_iter().map(|peer| (peer, false)));
        let mut notices = tokio::task::JoinSet::new();
        for (peer, is_voter) in peers.filter(|(peer, _)| peer.id != status.me.id) {
            let (node, request) = (Arc::clone(self), Request::Resigning { term }.encode());
            let notice = async move {
                let answer = node.replica.call(&peer, request, NOTICE_PATIENCE).await;
                (answer.is_ok() && is_voter).then_some(peer.label)
            };
            notices.spawn_on(notice, &self.runtime);
        }
        Some(notices.join_all().await.into_iter().flatten().collect())
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
            changes: self.leaders().changes(),
        }
    }
}

/// A voter that may take the leadership over.
#[derive(Debug)]
struct Candidate {
    label: String,
    /// Whether it answered that this node resigns: as which one.
    place: Option<usize>,
    /// The last index that it is known to share with this node.
    match_index: u64,
}

/// Who is to take the leadership over: one that answers, for of an idle cluster one that hangs has as long
/// a log as any; rather one that was not tried in vain; then the longest log; then whoever comes first.
fn successor(candidates: Vec<Candidate>, tried: &BTreeSet<String>) -> Option<String> {
    let best = candidates.into_iter().min_by_key(|candidate| {
        let is_tried = tried.contains(&candidate.label);
        (candidate.place.is_none(), is_tried, Reverse(candidate.match_index))
    });
    best.map(|candidate| candidate.label)
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
                let Peer { label, address, .. } = &raft.me;
                format!(
                    "in no cluster yet; to join one that exists: \
                     `queue add-voter {label} --peer-addr {address}`, or replace-voter in place of a \
                     voter {label} whose directory is lost"
                )
            },
        },
        Check {
            name: "leader_known",
            is_ok: leader.is_some(),
            detail: leader.unwrap_or_else(|| match raft.role {
                Role::Learner => {
                    "it has no vote and hears no leader: it was removed, or is about to be added"
                        .to_owned()
                }
                _ => format!("no leader is known in term {}", raft.term),
            }),
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

    fn candidate(label: &str, place: Option<usize>, match_index: u64) -> Candidate {
        Candidate { label: label.to_owned(), place, match_index }
    }

    // Situation: of four others two answer. Claim: each of these is tried before either is tried again, and
    // before those that do not answer, whatever their logs.
    #[test]
    fn a_leader_that_leaves_tries_the_next_best_after_one_that_did_not_take_over() {
        let four = || {
            vec![
                candidate("fast", Some(0), 10),
                candidate("slow", Some(1), 9),
                candidate("hangs", None, 10),
                candidate("away", None, 3),
            ]
        };
        let mut tried = BTreeSet::new();
        let mut order = Vec::new();
        for _ in 0..3 {
            let to = successor(four(), &tried).unwrap();
            tried.insert(to.clone());
            order.push(to);
        }
        assert_eq!(order, ["fast", "slow", "fast"]);
    }

    #[test]
    fn the_longest_log_takes_over_then_the_first_to_answer() {
        let none = BTreeSet::new();
        let of = |candidates| successor(candidates, &none);
        let longer = vec![candidate("first", Some(0), 9), candidate("longer", Some(1), 10)];
        assert_eq!(of(longer).as_deref(), Some("longer"));
        let equal = vec![candidate("first", Some(0), 10), candidate("second", Some(1), 10)];
        assert_eq!(of(equal).as_deref(), Some("first"));
        let silent = vec![candidate("a", None, 3), candidate("b", None, 10)];
        assert_eq!(of(silent).as_deref(), Some("b"), "nobody answered in time");
        assert_eq!(of(Vec::new()), None);
    }
}
