//! What a replica does beside openraft: it watches it, gets it bootstrapped, has it write snapshots
//! and hand over leadership.

use std::{sync::Arc, time::Duration};

use openraft::{
    RaftMetrics, ServerState,
    async_runtime::WatchReceiver,
    errors::{InitializeError, RaftError},
    raft::TransferLeaderRequest,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    LogIndex, PeerId, ReadError, StateMachine, Status, Stood,
    bootstrap::{Bootstrapper, Ended},
    consensus::{
        Raft, observe, spawn,
        types::{TypeConfig, Vote, VoteRequest},
    },
    log::Log,
    snapshots::SnapshotStore,
    transport::{caller::Callers, link::Identity},
};

/// When a restarted replica shows again all that it ever showed.
///
/// openraft's `wait_for_recovery` compares the cluster's commit with the *present* end of the log,
/// which under steady load is always ahead of it; here it is the end at the restart.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// The last index that this replica had when it opened: it can have applied none beyond.
    tail: LogIndex,
    /// What was committed when that was first known to cover the tail.
    target: Option<LogIndex>,
}

impl Recovery {
    /// Of a replica that opened with this last index.
    pub(crate) fn up_to(tail: LogIndex) -> Self {
        Self { tail, target: None }
    }

    /// Whether it is over. `last` may be below the tail, once a leader has displaced what was never
    /// committed.
    fn is_over(
        &mut self,
        cluster_committed: Option<LogIndex>,
        last: Option<LogIndex>,
        applied: Option<LogIndex>,
    ) -> bool {
        let needed = self.tail.min(last.unwrap_or(0));
        let covering = cluster_committed.filter(|committed| *committed >= needed);
        self.target = self.target.or(covering);
        self.target.is_some_and(|target| applied.unwrap_or(0) >= target)
    }
}

/// Whether the leader has been heard of lately.
#[derive(Debug)]
pub(crate) struct Silence {
    /// Who last sent an append or a heartbeat, and when it came. Not when it was answered: that
    /// waits for this replica's disk, whose slowness is no silence of the leader.
    last_heard: watch::Receiver<Option<(PeerId, Instant)>>,
    /// From here on a leader that sends nothing counts as silent.
    limit: Duration,
    /// From here on a leader that no quorum acknowledges counts as cut off. More than `limit`: an
    /// acknowledgement is as old as its request, and so waits for the disks of a quorum.
    quorum_limit: Duration,
    /// The term that this replica leads, and since when.
    leads: Option<(u64, Instant)>,
}

impl Silence {
    /// Of a replica that has not led yet.
    pub(crate) fn new(
        last_heard: watch::Receiver<Option<(PeerId, Instant)>>,
        limit: Duration,
        quorum_limit: Duration,
    ) -> Self {
        Self { last_heard, limit, quorum_limit, leads: None }
    }

    fn is_broken(&mut self, metrics: &RaftMetrics<TypeConfig>, now: Instant) -> bool {
        if metrics.state == ServerState::Leader {
            let term = metrics.current_term;
            let known = self.leads.filter(|(led, _)| *led == term);
            let (_, since) = *self.leads.insert(known.unwrap_or((term, now)));
            return observe::unacknowledged_for(metrics, since, now) < self.quorum_limit;
        }
        let heard = *self.last_heard.borrow();
        heard
            .is_some_and(|(from, at)| metrics.current_leader == Some(from) && now < at + self.limit)
    }
}

/// Keeps a [`Status`] up to date. The leader is hidden until this replica has recovered: before
/// that, its machine may show an older state than it did before its restart. It is hidden too while
/// it is silent: openraft goes on naming a leader that nobody can reach.
pub(crate) fn observe<S: StateMachine>(
    raft: &Raft<S>,
    identity: Arc<Identity>,
    mut recovery: Recovery,
    mut silence: Silence,
    mut stood: watch::Receiver<Option<Stood>>,
    mut failed: watch::Receiver<Option<String>>,
) -> (watch::Receiver<Status>, JoinHandle<()>) {
    let mut metrics = raft.metrics();
    let first = observe::status(&metrics.borrow_watched(), identity.cluster_id(), &identity.me);
    let (sender, receiver) = watch::channel(Status { leader: None, ..first });
    let task = spawn(async move {
        let mut cluster_id = identity.cluster_id.subscribe();
        let mut has_recovered = false;
        loop {
            let id = *cluster_id.borrow_and_update();
            let mut status = {
                let metrics = metrics.borrow_watched();
                has_recovered = has_recovered
                    || recovery.is_over(
                        metrics.cluster_committed.map(|id| id.index),
                        metrics.last_log_index,
                        metrics.last_applied.map(|id| id.index),
                    );
                let mut status = observe::status(&metrics, id, &identity.me);
                status.leader = status
                    .leader
                    .filter(|_| has_recovered && silence.is_broken(&metrics, Instant::now()));
                status
            };
            status.stood = *stood.borrow_and_update();
            status.failure = status.failure.or_else(|| failed.borrow().clone());
            sender.send_if_modified(|known| {
                let changed = *known != status;
                *known = status;
                changed
            });
            tokio::select! { biased;
                changed = metrics.changed() => if changed.is_err() { return },
                _ = cluster_id.changed() => {}
                Ok(()) = stood.changed() => {}
                Ok(()) = failed.changed() => {}
                () = sleep(silence.limit / 2) => {}
            }
        }
    });
    (receiver, task)
}

/// Takes part in the bootstrap, and initialises the cluster if that falls to this replica.
pub(crate) fn bootstrap<S: StateMachine>(
    bootstrapper: Arc<Bootstrapper>,
    raft: Raft<S>,
    callers: Arc<Callers>,
    seed: u64,
    failure: watch::Sender<Option<String>>,
) -> JoinHandle<()> {
    spawn(async move {
        let founded = match bootstrapper.run(&callers, seed).await {
            Ok(Ended::Founder(set)) => set,
            // After an error the bootstrapper has said why this replica cannot go on.
            Ok(Ended::Follower) | Err(_) => return,
        };
        let voters: std::collections::BTreeMap<_, _> =
            founded.voters.into_iter().map(|voter| (voter.id, voter)).collect();
        match raft.initialize(voters).await {
            // Not allowed any more: it was done before a restart.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => {
                tracing::error!(%error, "cannot initialise the cluster");
                failure.send_replace(Some(format!("cannot initialise the cluster: {error}")));
            }
        }
    })
}

/// How often the log's growth is looked at.
const DUE_CHECK: Duration = Duration::from_millis(500);

/// Has a snapshot written when the log since the last one has outgrown both `log_bytes` and that
/// snapshot: writing snapshots then never costs more than writing the log.
pub(crate) fn snapshot_when_due<S: StateMachine>(
    raft: Raft<S>,
    log: Log,
    snapshots: SnapshotStore,
    status: watch::Receiver<Status>,
    log_bytes: u64,
) -> JoinHandle<()> {
    spawn(async move {
        let mut asked_at = 0;
        loop {
            sleep(DUE_CHECK).await;
            let (taken, applied) = {
                let status = status.borrow();
                (status.snapshot_index, status.applied_index)
            };
            let last_bytes = snapshots.latest().map_or(0, |snapshot| snapshot.len);
            let is_due = log.bytes_since(taken.max(asked_at)) > log_bytes.max(last_bytes);
            if is_due && applied > taken {
                // One that is under way is not asked for again until the log has outgrown it, too.
                asked_at = applied;
                if raft.trigger().snapshot().await.is_err() {
                    return;
                }
            }
        }
    })
}

/// Writes a snapshot that covers all that is applied at the call.
pub(crate) async fn snapshot<S: StateMachine>(raft: &Raft<S>) -> Result<LogIndex, ReadError> {
    let mut metrics = raft.metrics();
    let wanted = metrics.borrow_watched().last_applied.ok_or(ReadError::NoQuorum)?;
    loop {
        let taken = {
            let metrics = metrics.borrow_watched();
            if metrics.running_state.is_err() {
                return Err(ReadError::Stopped);
            }
            metrics.snapshot
        };
        if let Some(taken) = taken.filter(|taken| *taken >= wanted) {
            return Ok(taken.index);
        }
        raft.trigger().snapshot().await.map_err(|_| ReadError::Stopped)?;
        // One that was under way may be older than what is wanted: then it is asked for again.
        let changed = async {
            while metrics.borrow_watched().snapshot == taken {
                metrics.changed().await.map_err(|_| ReadError::Stopped)?;
                if metrics.borrow_watched().running_state.is_err() {
                    return Err(ReadError::Stopped);
                }
            }
            Ok(())
        };
        changed.await?;
    }
}

/// Hands leadership over; see [`crate::Replica::hand_over`]. A certain voter is waited for until it
/// could take it.
pub(crate) async fn hand_over<S: StateMachine>(
    raft: &Raft<S>,
    me: PeerId,
    to: Option<PeerId>,
    deadline: Instant,
) -> bool {
    let mut metrics = raft.metrics();
    // The vote and the successor are of one moment: under load the next may have another.
    let found = async {
        loop {
            let (vote, successor, leads) = {
                let metrics = metrics.borrow_watched();
                (metrics.vote, successor(&metrics, me, to), metrics.replication.is_some())
            };
            match successor {
                Some(successor) => return Some((vote, successor)),
                None if leads && to.is_some() => metrics.changed().await.ok()?,
                None => return None,
            }
        }
    };
    let Ok(Some((vote, successor))) = timeout_at(deadline, found).await else { return false };
    if raft.trigger().transfer_leader(successor).await.is_err() {
        return false;
    }
    let taken_over = async {
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if leader.is_some_and(|leader| leader != me) {
                return true;
            }
            if metrics.changed().await.is_err() {
                return false;
            }
        }
    };
    if timeout_at(deadline, taken_over).await == Ok(true) {
        return true;
    }
    if let Err(error) = take_back(raft, me, successor, vote).await {
        tracing::warn!(%error, "a failed transfer of leadership could not be undone");
    }
    false
}

/// Undoes a transfer of the leadership that `vote` stands for.
///
/// openraft never takes one back (its issues #1747 and #2088): the leader refuses writes and sends
/// no heartbeats until there is an election, and it does not stand in one while it leads. So it
/// first gives its vote of the next term to the successor, unasked, which ends its leadership, and
/// then stands in the term after as if it had been told to. If anybody was elected meanwhile, the
/// vote is refused, and that was all.
async fn take_back<S: StateMachine>(
    raft: &Raft<S>,
    me: PeerId,
    successor: PeerId,
    vote: Vote,
) -> Result<(), RaftError<TypeConfig>> {
    let next = Vote::new(vote.leader_id.term + 1, successor);
    let mut request = VoteRequest { leadership_transfer: true, ..VoteRequest::new(next, None) };
    // A vote for an empty log is refused with the log that it would have to have.
    request.last_log_id = raft.vote(request.clone()).await?.last_log_id;
    if raft.vote(request).await?.is_granted_to(&next) {
        let stand = TransferLeaderRequest::new(next, me, None);
        if let Err(refused) = raft.handle_transfer_leader(stand).await? {
            tracing::info!(%refused, "somebody else was elected");
        }
    }
    Ok(())
}

/// The voter with the longest log, or the one that is wanted, if this replica leads and that log has
/// all that is committed.
fn successor(metrics: &RaftMetrics<TypeConfig>, me: PeerId, to: Option<PeerId>) -> Option<PeerId> {
    let replication = metrics.replication.as_ref()?;
    let membership = metrics.membership_config.membership();
    let matched = |id: &PeerId| replication.get(id).copied().flatten();
    let is_eligible = |id: &PeerId| *id != me && to.is_none_or(|to| to == *id);
    let best = membership.voter_ids().filter(is_eligible).max_by_key(matched)?;
    // What is committed suffices to be elected by a quorum; what it lacks beyond, it loses.
    (matched(&best) >= metrics.local_committed && matched(&best).is_some()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_over_although_the_log_keeps_growing_ahead_of_the_commit() {
        let mut recovery = Recovery::up_to(50);
        assert!(!recovery.is_over(None, Some(50), Some(40)), "no leader was heard");
        assert!(!recovery.is_over(Some(49), Some(60), Some(49)), "50 may have been shown before");
        assert!(!recovery.is_over(Some(58), Some(64), Some(50)), "58 is what is waited for");
        assert!(recovery.is_over(Some(70), Some(80), Some(58)));
    }

    #[test]
    fn a_restart_does_not_wait_for_entries_that_a_leader_displaced() {
        let mut recovery = Recovery::up_to(50);
        assert!(recovery.is_over(Some(45), Some(45), Some(45)));
    }

    const LIMIT: Duration = Duration::from_millis(300);

    fn metrics(state: ServerState, leader: PeerId) -> RaftMetrics<TypeConfig> {
        let mut metrics = RaftMetrics::new_initial(1);
        (metrics.state, metrics.current_leader) = (state, Some(leader));
        metrics
    }

    #[test]
    fn a_leader_is_silent_when_nothing_came_from_it_whatever_came_from_others() {
        let (heard, last_heard) = watch::channel(None);
        let mut silence = Silence::new(last_heard, LIMIT, 2 * LIMIT);
        let follower = metrics(ServerState::Follower, 7);
        let now = Instant::now();
        assert!(!silence.is_broken(&follower, now), "nothing came yet");
        heard.send_replace(Some((7, now)));
        assert!(silence.is_broken(&follower, now + LIMIT / 2));
        assert!(!silence.is_broken(&follower, now + LIMIT));
        heard.send_replace(Some((8, now + LIMIT)));
        assert!(!silence.is_broken(&follower, now + LIMIT), "it was another that spoke");
    }

    #[test]
    fn a_leader_whom_no_quorum_has_ever_acknowledged_is_cut_off_in_time() {
        let (_heard, last_heard) = watch::channel(None);
        let mut silence = Silence::new(last_heard, LIMIT, 2 * LIMIT);
        let mut leader = metrics(ServerState::Leader, 1);
        leader.current_term = 4;
        let now = Instant::now();
        assert!(silence.is_broken(&leader, now), "it was elected just now");
        assert!(
            silence.is_broken(&leader, now + LIMIT),
            "the disks of a quorum may take this long"
        );
        assert!(!silence.is_broken(&leader, now + 2 * LIMIT));
        leader.current_term = 5;
        assert!(silence.is_broken(&leader, now + 2 * LIMIT), "it was elected anew");
    }
}
