//! What this node says of itself: how it stands, and whether it is ready.

use std::{sync::Arc, time::Duration};

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
    /// guess why it changed, and hands it over.
    pub(super) async fn resign(self: &Arc<Self>, patience: Duration) -> bool {
        let Some(answered) = self.announce_resignation().await else { return false };
        let others = self.replica.status().borrow().voters.len().saturating_sub(1);
        // Of an idle cluster one that hangs has as long a log as any, and would take nothing over.
        match answered.first() {
            Some(label) if answered.len() < others => {
                self.replica.hand_over_to(label, patience).await.is_ok()
            }
            _ => self.replica.hand_over(patience).await,
        }
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
