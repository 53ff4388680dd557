//! Who carries requests out: this node, another, or nobody yet.
//!
//! A node that Raft elects does not lead the queue at once: it first takes office, which is to
//! apply every entry of earlier terms and to take the replicated clock from there (guarantees, rule 4).

use std::{mem, sync::Arc, time::Duration};

use raft::{Peer, Role};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::open::{Node, Phase};

/// How long a newly elected leader waits between two tries to reach its quorum.
const OFFICE_PAUSE: Duration = Duration::from_millis(5);
/// How long one such try may take.
const OFFICE_PATIENCE: Duration = Duration::from_secs(1);

/// Who leads, as far as this node knows. Changes with the leader only, not with every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The term.
    pub(super) term: u64,
    /// What this node does in it.
    pub(super) role: Role,
    /// The leader, this node included.
    pub(super) leader: Option<Peer>,
    /// Whether this node leads and may stamp entries.
    pub(super) is_in_office: bool,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Nowhere: there is no leader, or none that may stamp entries yet.
    Nowhere,
    /// To this node's own proposer.
    Here {
        /// The term that it leads.
        term: u64,
    },
    /// To the leader.
    There {
        /// The term that it leads.
        term: u64,
        /// Where it is.
        leader: Peer,
    },
}

impl Standing {
    /// What Raft's status says now. Office lasts as long as the term is led: a leader that no quorum
    /// acknowledges for a moment is named no more, and goes on in office when it is named again.
    fn followed_by(&self, status: &raft::Status) -> Self {
        let leads_on = self.leads(status.term) && status.role == Role::Leader;
        Self {
            term: status.term,
            role: status.role,
            leader: status.leader.clone(),
            is_in_office: self.is_in_office && leads_on,
        }
    }

    /// Whether this node leads that term, whatever its quorum says of it at the moment.
    fn leads(&self, term: u64) -> bool {
        self.term == term && self.role == Role::Leader
    }

    fn is_same_rule(&self, status: &raft::Status) -> bool {
        self.term == status.term && self.role == status.role && self.leader == status.leader
    }

    /// Where requests go now.
    pub(super) fn route(&self) -> Route {
        match (&self.leader, self.role) {
            (Some(_), Role::Leader) if self.is_in_office => Route::Here { term: self.term },
            (None, _) | (_, Role::Leader) => Route::Nowhere,
            (Some(leader), _) => Route::There { term: self.term, leader: leader.clone() },
        }
    }
}

/// Follows Raft's status until the replica stops; the one task that changes the [`Standing`].
pub(super) async fn follow(node: Arc<Node>) {
    let mut statuses = node.replica.status();
    let mut phase = node.phase.subscribe();
    let mut generation = None;
    loop {
        let before = {
            // A copy: who holds the status up while it waits for something else may wait for itself.
            let status = statuses.borrow_and_update().clone();
            node.note_leader(&status);
            let mut before = None;
            node.standing.send_if_modified(|standing| {
                if !standing.is_same_rule(&status) {
                    let next = standing.followed_by(&status);
                    before = Some(mem::replace(standing, next));
                }
                before.is_some()
            });
            before
        };
        if let Some(before) = before {
            enter(&node, &before);
        }
        node.note_machine(&mut generation);
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => return,
            changed = statuses.changed() => if changed.is_err() { return },
        }
    }
}

/// Begins what the standing after this one calls for.
fn enter(node: &Arc<Node>, before: &Standing) {
    let standing = node.standing.borrow().clone();
    tracing::info!(
        term = standing.term,
        role = ?standing.role,
        leader = standing.leader.as_ref().map_or("", |leader| leader.label.as_str()),
        "the standing has changed"
    );
    if standing.role == Role::Leader {
        // Else it is in this term's office, or on its way there.
        if !before.leads(standing.term) {
            node.spawn(take_office(Arc::clone(node), standing.term));
        }
    } else if standing.leader.is_some() {
        node.spawn(super::standing::catch_up(Arc::clone(node), standing));
    }
}

/// Applies what earlier terms left, takes the replicated clock, and opens the door; gives up when
/// the term is over.
async fn take_office(node: Arc<Node>, term: u64) {
    let mut standing = node.standing.subscribe();
    let is_over = |standing: &Standing| !standing.leads(term);
    loop {
        tokio::select! {
            biased;
            _ = standing.wait_for(is_over) => return,
            clock = node.replicated_clock() => if let Some(clock) = clock {
                node.cluster_clock.begin(term, clock);
                break;
            },
        }
        sleep(OFFICE_PAUSE).await;
    }
    node.standing.send_if_modified(|standing| {
        let still_leads = !is_over(standing);
        standing.is_in_office |= still_leads;
        still_leads
    });
    node.has_caught_up.send_replace(true);
}

impl Node {
    /// The clock after every entry of earlier terms; `None` when no quorum confirmed this leader.
    async fn replicated_clock(&self) -> Option<crate::queue::ClockMs> {
        let deadline = Instant::now() + OFFICE_PATIENCE;
        let index = timeout_at(deadline, self.replica.read_index()).await.ok()?.ok()?;
        timeout_at(deadline, self.replica.wait_applied(index)).await.ok()?.ok()?;
        Some(self.look(|machine| {
            machine.publish_deadlines();
            machine.state().clock()
        }))
    }

    /// The route, as soon as there is one; `None` at the deadline or when this node has stopped.
    pub(super) async fn route_by(&self, deadline: Instant) -> Option<Route> {
        let mut standing = self.standing.subscribe();
        let has_route = |standing: &Standing| standing.route() != Route::Nowhere;
        let mut phase = self.phase.subscribe();
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => None,
            found = timeout_at(deadline, standing.wait_for(has_route)) => {
                found.ok()?.ok().map(|standing| standing.route())
            }
        }
    }

    /// Waits until requests go elsewhere than to `route`.
    pub(super) async fn rerouted(&self, route: &Route) {
        let _ = rerouted(self.standing.subscribe(), route).await;
    }
}

async fn rerouted(
    mut standing: watch::Receiver<Standing>,
    route: &Route,
) -> Result<(), watch::error::RecvError> {
    standing.wait_for(|standing| standing.route() != *route).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(term: u64, role: Role, leader: Option<u64>) -> raft::Status {
        let peer = |id| Peer { id, label: format!("n{id}"), address: String::new() };
        raft::Status { term, role, leader: leader.map(peer), ..raft::Status::default() }
    }

    fn in_office(term: u64) -> Standing {
        let standing = Standing::default().followed_by(&status(term, Role::Leader, Some(1)));
        assert_eq!(standing.route(), Route::Nowhere, "it has yet to take office");
        Standing { is_in_office: true, ..standing }
    }

    #[test]
    fn a_leader_that_is_not_named_for_a_moment_keeps_its_office() {
        let before = in_office(3);
        let silent = before.followed_by(&status(3, Role::Leader, None));
        assert_eq!(silent.route(), Route::Nowhere);
        assert!(silent.leads(3), "it takes office once a term");
        assert_eq!(silent.followed_by(&status(3, Role::Leader, Some(1))), before);
    }

    #[test]
    fn office_ends_with_the_term_or_the_role() {
        let before = in_office(3);
        let elected_again = before.followed_by(&status(5, Role::Leader, Some(1)));
        let follower = before.followed_by(&status(3, Role::Follower, Some(1)));
        assert!(!elected_again.is_in_office && !follower.is_in_office);
    }

    #[test]
    fn a_follower_finds_its_way_back_to_a_leader_that_was_silent() {
        let follows = status(3, Role::Follower, Some(2));
        let before = Standing::default().followed_by(&follows);
        let silent = before.followed_by(&status(3, Role::Follower, None));
        assert_eq!(silent.route(), Route::Nowhere);
        assert_eq!(silent.followed_by(&follows).route(), before.route());
    }
}
