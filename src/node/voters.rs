//! Changes of the voters and of the leader, by whoever leads: asked for anywhere, held while there is no
//! leader, and asked for again when the leader changes, since each step of a change does what is missing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use raft::{Change, ChangeError, ChangeState};
use tokio::time::{Instant, timeout};

use super::{
    Reason, Unavailable,
    calls::{Request, Response},
    clock::whole_ms,
    handle::Handle,
    open::Node,
    routing::Route,
    tries::{ATTEMPT_PATIENCE, Pace},
};

/// How long one try to hand the leadership to a certain voter may take.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(2);
/// How much longer a call may take than what it asks for: the way back.
const WAY_BACK: Duration = Duration::from_millis(500);

impl Handle {
    /// Makes a change of the voters, or finds it made; answers how far it is when `wait` is over. The same
    /// change may be asked for again, here or elsewhere: it is followed, or goes on where it stands.
    ///
    /// # Errors
    /// See [`Unavailable`]. What the cluster refuses is a [`ChangeState::Ended`].
    pub async fn change_voters(
        &self,
        change: Change,
        wait: Duration,
        hold: Duration,
    ) -> Result<ChangeState, Unavailable> {
        self.must_run()?;
        let node = self.node();
        let wait_until = Instant::now() + wait;
        let deadline = Instant::now() + hold.max(wait).max(ATTEMPT_PATIENCE);
        let mut pace = Pace::default();
        let mut seen = None;
        while let Some(route) = node.route_by(deadline).await {
            let left = wait_until.saturating_duration_since(Instant::now());
            let state = match &route {
                Route::Nowhere => None,
                Route::Here { .. } => Some(node.change_here(change.clone(), left).await),
                Route::There { .. } => {
                    let request =
                        Request::ChangeVoters { change: change.clone(), wait_ms: whole_ms(left) };
                    match node.ask(&route, &request, left + WAY_BACK).await {
                        Ok(Response::VotersChanged(state)) => Some(state),
                        Ok(_) | Err(_) => None,
                    }
                }
            };
            match state {
                // Its leader is gone: the next one goes on.
                Some(ChangeState::Ended(Err(ChangeError::NotLeader { .. }))) | None => {}
                Some(ChangeState::Underway(_)) if Instant::now() < wait_until => seen = state,
                Some(state) => return Ok(state),
            }
            if Instant::now() >= deadline {
                break;
            }
            pace.pause(node, &route).await;
        }
        seen.ok_or(Unavailable::NotApplied(Reason::NoLeader))
    }

    /// Has the leader hand over to this voter; `true` when it led already.
    ///
    /// # Errors
    /// See [`Unavailable`]; within, why nobody was handed the leadership.
    pub async fn transfer(
        &self,
        to: &str,
        hold: Duration,
    ) -> Result<Result<bool, ChangeError>, Unavailable> {
        self.must_run()?;
        let node = self.node();
        let deadline = Instant::now() + hold.max(TRANSFER_PATIENCE);
        let mut pace = Pace::default();
        let mut is_first = true;
        while let Some(route) = node.route_by(deadline).await {
            if self.leader().as_deref() == Some(to) {
                return Ok(Ok(is_first));
            }
            is_first = false;
            let handed = match &route {
                Route::Nowhere => None,
                Route::Here { .. } => Some(node.hand_over_to(to).await),
                Route::There { .. } => {
                    let request = Request::HandOver { to: to.to_owned() };
                    match node.ask(&route, &request, TRANSFER_PATIENCE + WAY_BACK).await {
                        Ok(Response::HandedOver(handed)) => Some(handed),
                        Ok(_) | Err(_) => None,
                    }
                }
            };
            match handed {
                Some(Err(ChangeError::NotLeader { .. }) | Ok(())) | None => {}
                Some(Err(refused)) => return Ok(Err(refused)),
            }
            if Instant::now() >= deadline {
                break;
            }
            pace.pause(node, &route).await;
        }
        Err(Unavailable::NotApplied(Reason::NoLeader))
    }

    /// Has this node lead: a live leader hands over to it, and without one it stands for election.
    ///
    /// # Errors
    /// As [`Handle::transfer`].
    pub async fn stand(&self, hold: Duration) -> Result<Result<bool, ChangeError>, Unavailable> {
        self.must_run()?;
        let node = self.node();
        let me = self.status().raft.me.label;
        if node.route_now() == Route::Nowhere {
            node.replica.stand().await;
        }
        self.transfer(&me, hold).await
    }
}

impl Node {
    pub(super) fn route_now(&self) -> Route {
        self.standing.borrow().route()
    }

    /// Makes a change as the leader; how far it is when `wait` is over.
    pub(super) async fn change_here(
        self: &Arc<Self>,
        change: Change,
        wait: Duration,
    ) -> ChangeState {
        if !matches!(self.route_now(), Route::Here { .. }) {
            return ChangeState::Ended(Err(ChangeError::NotLeader { leader: None }));
        }
        if self.is_own_removal(&change)
            && self.resign(TRANSFER_PATIENCE, &mut BTreeSet::new()).await
        {
            return ChangeState::Ended(Err(ChangeError::NotLeader { leader: None }));
        }
        let mut state = match self.replica.change_voters(change) {
            Ok(state) => state,
            Err(refused) => return ChangeState::Ended(Err(refused)),
        };
        let is_over = |state: &ChangeState| matches!(state, ChangeState::Ended(_));
        // Either way the state says how far it is.
        drop(timeout(wait, state.wait_for(is_over)).await.map(drop));
        ChangeState::clone(&state.borrow())
    }

    fn is_own_removal(&self, change: &Change) -> bool {
        let status = self.replica.status();
        let status = status.borrow();
        let is_own = matches!(change, Change::Remove { label } if *label == status.me.label);
        is_own && status.voters.len() > 1
    }

    /// Hands the leadership to a voter, as the leader.
    pub(super) async fn hand_over_to(self: &Arc<Self>, to: &str) -> Result<(), ChangeError> {
        let is_voter = {
            let status = self.replica.status();
            let status = status.borrow();
            status.voters.iter().any(|voter| voter.label == to)
        };
        if !is_voter {
            return Err(ChangeError::NoSuchVoter { label: to.to_owned() });
        }
        if self.announce_resignation().await.is_none() {
            return Err(ChangeError::NotLeader { leader: None });
        }
        let handed = self.replica.hand_over_to(to, TRANSFER_PATIENCE).await;
        if handed.is_err() {
            self.withdraw_resignation();
        }
        handed
    }
}
