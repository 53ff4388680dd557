//! The steps of a change, each of which does what is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{
    ChangeMembers, ServerState,
    async_runtime::WatchReceiver,
    errors::{ChangeMembershipError, ClientWriteError, RaftError},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Change, ChangeError, ChangePhase, ChangeProgress, Changed,
    progress::{Changes, Place},
};
use crate::{
    Peer, PeerId, Progress, StateMachine,
    consensus::{Raft, observe, spawn},
    options::VOTERS_MAX,
    tasks,
    transport::{
        hello::{Channel, Refusal},
        link::{DialError, Dialer},
    },
};

/// How long a configuration may take to be committed.
const COMMIT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a newcomer is dialled.
const MEET_PATIENCE: Duration = Duration::from_secs(3);
/// A newcomer that has never answered an append for so long is given up.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// A newcomer whose log does not grow for so long is given up: it answers nothing while it installs
/// a snapshot, which may take 60 s.
const STALL: Duration = Duration::from_secs(75);
/// Raft §4.2.1: a newcomer has caught up when the entries of a round reached it within this.
const ROUND: Duration = Duration::from_secs(1);
/// Raft §4.2.1: one that has not after so many rounds is too slow.
const ROUNDS_MAX: usize = 60;
/// A voter that has acknowledged something within this is heard of.
const HEARD: Duration = Duration::from_secs(1);
/// How long a new leader, or a voter that hiccups, may take to be heard of.
const HEARD_PATIENCE: Duration = Duration::from_secs(3);
/// How long a voter that is removed is given to learn of it.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a leader that is removed looks for a successor.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);
// A change is over within 30 s of the newcomer's catching up.
const _: () =
    assert!(2 * HEARD_PATIENCE.as_secs() + 2 * COMMIT_PATIENCE.as_secs() + FAREWELL.as_secs() < 30);

type Members = ChangeMembers<PeerId, Peer>;

/// Makes the changes of one replica.
pub(crate) struct Changer<S: StateMachine> {
    pub(crate) raft: Raft<S>,
    pub(crate) me: Peer,
    pub(crate) dialer: Arc<Dialer>,
}

impl<S: StateMachine> Changer<S> {
    /// Makes a change, to its end.
    pub(crate) async fn run(self, change: Change, place: Place) {
        let made = match &change {
            Change::Add { label, address } => self.add(label, address, &place).await,
            Change::Remove { label } => self.remove(label, &place).await,
            Change::Replace { label, address } => {
                self.replace(label, address.as_deref(), &place).await
            }
        };
        match &made {
            Ok(Changed { is_duplicate: true }) => {}
            Ok(_) => tracing::info!(%change, "the voters were changed"),
            Err(error) => tracing::warn!(%change, %error, "the voters were not changed"),
        }
        place.end(made);
    }

    async fn add(&self, label: &str, address: &str, place: &Place) -> Result<Changed, ChangeError> {
        self.settle().await?;
        let peers = self.peers()?;
        let voter = peers.iter().find(|known| known.is_voter && known.peer.label == label);
        let newcomer = match (self.meet(label, address).await, voter) {
            (Ok(newcomer), Some(voter)) if newcomer.id == voter.peer.id => {
                return Ok(Changed { is_duplicate: true });
            }
            (Ok(_), Some(_)) => {
                let (label, address) = (label.to_owned(), address.to_owned());
                return Err(ChangeError::LabelTaken { label, address });
            }
            (Err(_), Some(voter)) if voter.peer.address == address => {
                return Ok(Changed { is_duplicate: true });
            }
            (met, _) => met?,
        };
        let voters = peers.iter().filter(|known| known.is_voter).count();
        if voters >= VOTERS_MAX {
            return Err(ChangeError::TooMany { limit: VOTERS_MAX });
        }
        self.take_in(&newcomer, place).await?;
        let promoted = async {
            self.must_have_quorum(|ids| ids.insert(newcomer.id)).await?;
            place.report(ChangeProgress { phase: ChangePhase::Committing, ..Default::default() });
            self.commit(Members::AddVoterIds(BTreeSet::from([newcomer.id]))).await
        };
        self.or_let_go(&newcomer, promoted.await).await
    }

    async fn replace(
        &self,
        label: &str,
        address: Option<&str>,
        place: &Place,
    ) -> Result<Changed, ChangeError> {
        self.settle().await?;
        let peers = self.peers()?;
        let no_such = || ChangeError::NoSuchVoter { label: label.to_owned() };
        let old = peers.iter().find(|known| known.is_voter && known.peer.label == label);
        let old = old.ok_or_else(no_such)?.peer.clone();
        let newcomer = self.meet(label, address.unwrap_or(&old.address)).await?;
        if newcomer.id == old.id {
            // A leader that was lost between the two commits left the old one as a learner.
            let had_one = self.let_namesakes_go(&newcomer).await?;
            return Ok(Changed { is_duplicate: !had_one });
        }
        self.must_not_be_heard(&old).await?;
        self.take_in(&newcomer, place).await?;
        let replaced = async {
            // Catching up may take minutes, in which it may have come back.
            self.must_not_be_heard(&old).await?;
            self.must_have_quorum(|ids| {
                ids.remove(&old.id);
                ids.insert(newcomer.id)
            })
            .await?;
            place.report(ChangeProgress { phase: ChangePhase::Committing, ..Default::default() });
            self.commit(Members::Batch(vec![
                Members::AddVoterIds(BTreeSet::from([newcomer.id])),
                Members::RemoveVoters(BTreeSet::from([old.id])),
            ]))
            .await
        };
        let changed = self.or_let_go(&newcomer, replaced.await).await?;
        self.commit(Members::RemoveNodes(BTreeSet::from([old.id]))).await?;
        Ok(changed)
    }

    async fn remove(&self, label: &str, place: &Place) -> Result<Changed, ChangeError> {
        self.settle().await?;
        let peers = self.peers()?;
        let ids = |is_voter| {
            let of_label = peers
                .iter()
                .filter(move |known| known.is_voter == is_voter && known.peer.label == label);
            of_label.map(|known| known.peer.id).collect::<BTreeSet<_>>()
        };
        let (voters, mut gone) = (ids(true), ids(false));
        if voters.is_empty() && gone.is_empty() {
            return Ok(Changed { is_duplicate: true });
        }
        if !voters.is_empty() {
            if peers.iter().filter(|known| known.is_voter).count() == voters.len() {
                return Err(ChangeError::LastVoter { label: label.to_owned() });
            }
            self.must_have_quorum(|ids| {
                ids.retain(|id| !voters.contains(id));
                true
            })
            .await?;
            if voters.contains(&self.me.id) {
                return Err(self.hand_over().await);
            }
            place.report(ChangeProgress { phase: ChangePhase::Committing, ..Default::default() });
            self.commit(Members::RemoveVoters(voters.clone())).await?;
            self.bid_farewell(&voters).await;
            gone.extend(voters);
        }
        self.commit(Members::RemoveNodes(gone)).await?;
        Ok(Changed { is_duplicate: false })
    }

    /// Lets another lead, which can then remove this one.
    async fn hand_over(&self) -> ChangeError {
        let deadline = Instant::now() + HAND_OVER_PATIENCE;
        if tasks::hand_over(&self.raft, self.me.id, None, deadline).await {
            let metrics = self.raft.metrics();
            let leader = observe::status(&metrics.borrow_watched(), 1, &self.me).leader;
            return ChangeError::NotLeader { leader };
        }
        ChangeError::NoSuccessor
    }

    /// Asks the node there who it is. It is fresh, or already of this cluster.
    async fn meet(&self, label: &str, address: &str) -> Result<Peer, ChangeError> {
        let wanted = Peer { id: 0, label: label.to_owned(), address: address.to_owned() };
        let deadline = Instant::now() + MEET_PATIENCE;
        let unreachable = |error: &DialError| ChangeError::Unreachable {
            label: label.to_owned(),
            address: address.to_owned(),
            reason: error.to_string(),
        };
        let link = loop {
            match self.dialer.dial(&wanted, Channel::Bootstrap).await {
                Ok(link) => break link,
                Err(DialError::Refused(
                    refusal @ (Refusal::Cluster { .. } | Refusal::ClusterId { .. }),
                )) => {
                    let (address, reason) = (address.to_owned(), refusal.to_string());
                    return Err(ChangeError::OtherCluster { address, reason });
                }
                Err(error @ DialError::Refused(_)) => return Err(unreachable(&error)),
                Err(error) if Instant::now() >= deadline => return Err(unreachable(&error)),
                Err(_) => sleep(5 * PAUSE).await,
            }
        };
        let (ours, theirs) = (self.dialer.identity.cluster_id(), link.welcome.cluster_id);
        if theirs != 0 && theirs != ours {
            let reason = format!("its cluster id is {theirs:016x}, not {ours:016x}");
            return Err(ChangeError::OtherCluster { address: address.to_owned(), reason });
        }
        Ok(Peer { id: link.welcome.me.id, ..wanted })
    }

    /// Has the newcomer replicate until it has caught up; one that does not is let go.
    async fn take_in(&self, newcomer: &Peer, place: &Place) -> Result<(), ChangeError> {
        self.let_namesakes_go(newcomer).await?;
        let node = BTreeMap::from([(newcomer.id, newcomer.clone())]);
        self.commit(Members::AddNodes(node)).await?;
        let caught_up = self.wait_until_caught_up(newcomer, place).await;
        self.or_let_go(newcomer, caught_up).await.map(drop)
    }

    /// Lets the learners go that have the label of `peer` and are not it. Whether there were any.
    async fn let_namesakes_go(&self, peer: &Peer) -> Result<bool, ChangeError> {
        let stale: BTreeSet<PeerId> = self
            .peers()?
            .into_iter()
            .filter(|known| !known.is_voter && known.peer.label == peer.label)
            .filter(|known| known.peer != *peer)
            .map(|known| known.peer.id)
            .collect();
        if stale.is_empty() {
            return Ok(false);
        }
        self.commit(Members::RemoveNodes(stale)).await?;
        Ok(true)
    }

    async fn wait_until_caught_up(
        &self,
        newcomer: &Peer,
        place: &Place,
    ) -> Result<(), ChangeError> {
        let behind = |reason: &str| ChangeError::Behind {
            label: newcomer.label.clone(),
            reason: reason.to_owned(),
        };
        let mut moved = (0, Instant::now());
        let mut was_heard = false;
        for _ in 0..ROUNDS_MAX {
            let began = Instant::now();
            let target = self.raft.metrics().borrow_watched().last_log_index.unwrap_or(0);
            loop {
                let known = self.peers()?.into_iter().find(|known| known.peer.id == newcomer.id);
                // Another leader's change may have taken it out.
                let known = known.ok_or(ChangeError::Unknown)?;
                let matched = known.match_index;
                let phase = ChangePhase::CatchingUp;
                place.report(ChangeProgress { phase, matched, target });
                was_heard |= known.acknowledged_ms_ago.is_some() || matched > 0;
                if matched >= target {
                    break;
                }
                if matched > moved.0 {
                    moved = (matched, Instant::now());
                }
                if !was_heard && moved.1.elapsed() > FIRST_ANSWER {
                    return Err(behind("it does not answer"));
                }
                if moved.1.elapsed() > STALL {
                    return Err(behind("its log does not grow"));
                }
                sleep(PAUSE).await;
            }
            if began.elapsed() < ROUND {
                return Ok(());
            }
        }
        Err(behind("it is slower than the leader"))
    }

    /// Lets a newcomer go, unless all went well: a change that failed leaves nothing behind. What is
    /// unknown stays as it is.
    async fn or_let_go(
        &self,
        newcomer: &Peer,
        went: Result<(), ChangeError>,
    ) -> Result<Changed, ChangeError> {
        if let Err(
            ChangeError::Behind { .. }
            | ChangeError::NoQuorum { .. }
            | ChangeError::StillHeard { .. },
        ) = &went
        {
            let gone = Members::RemoveNodes(BTreeSet::from([newcomer.id]));
            if let Err(error) = self.commit(gone).await {
                tracing::warn!(label = newcomer.label, %error, "a learner could not be let go");
            }
        }
        went.map(|()| Changed { is_duplicate: false })
    }

    /// Waits until a quorum of the voters that `change` makes have answered something that was sent
    /// after the call: one that died a moment ago must not count.
    async fn must_have_quorum(
        &self,
        change: impl Fn(&mut BTreeSet<PeerId>) -> bool,
    ) -> Result<(), ChangeError> {
        let began = Instant::now();
        let deadline = began + HEARD_PATIENCE;
        let has_answered = |known: &&Progress| {
            let ago = known.acknowledged_ms_ago.map(Duration::from_millis);
            known.peer.id == self.me.id || ago.is_some_and(|ago| ago < began.elapsed())
        };
        loop {
            let peers = self.peers()?;
            let mut ids: BTreeSet<PeerId> =
                peers.iter().filter(|known| known.is_voter).map(|known| known.peer.id).collect();
            change(&mut ids);
            let counted = peers.iter().filter(|known| ids.contains(&known.peer.id));
            let heard = counted.filter(has_answered).count();
            if 2 * heard > ids.len() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ChangeError::NoQuorum { heard, voters: ids.len() });
            }
            sleep(PAUSE).await;
        }
    }

    /// Waits until the voter has not been heard of for a while.
    async fn must_not_be_heard(&self, old: &Peer) -> Result<(), ChangeError> {
        let deadline = Instant::now() + HEARD_PATIENCE;
        let mut silent_since = None;
        loop {
            let peers = self.peers()?;
            if peers.iter().any(|known| known.peer.id == old.id && is_heard(known)) {
                silent_since = None;
            } else if silent_since.get_or_insert_with(Instant::now).elapsed() >= HEARD {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ChangeError::StillHeard { label: old.label.clone() });
            }
            sleep(PAUSE).await;
        }
    }

    /// Gives those who lost their vote a moment to learn of it.
    async fn bid_farewell(&self, removed: &BTreeSet<PeerId>) {
        let Ok(peers) = self.peers() else { return };
        let Some(told) = self.raft.metrics().borrow_watched().last_log_index else { return };
        let heard: BTreeSet<PeerId> = peers
            .iter()
            .filter(|known| removed.contains(&known.peer.id) && is_heard(known))
            .map(|known| known.peer.id)
            .collect();
        let learned = async {
            while let Ok(peers) = self.peers() {
                let mut waits = peers.iter().filter(|known| heard.contains(&known.peer.id));
                if waits.all(|known| known.match_index >= told) {
                    return;
                }
                sleep(PAUSE).await;
            }
        };
        // Too late is no harm: see the module.
        drop(timeout(FAREWELL, learned).await);
    }

    /// Finishes a joint configuration that was left here.
    async fn settle(&self) -> Result<(), ChangeError> {
        let is_joint = is_joint(&self.raft);
        if is_joint { self.commit(Members::AddVoterIds(BTreeSet::new())).await } else { Ok(()) }
    }

    /// Commits a change of the configuration, in two steps when it needs them.
    async fn commit(&self, members: Members) -> Result<(), ChangeError> {
        let deadline = Instant::now() + COMMIT_PATIENCE;
        loop {
            let changing = self.raft.change_membership(members.clone(), true);
            let refused = match timeout_at(deadline, changing).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(refused)) => refused,
                Err(_) => return Err(ChangeError::Unknown),
            };
            match refused {
                RaftError::Fatal(_) => return Err(ChangeError::Stopped),
                RaftError::APIError(
                    ClientWriteError::ForwardToLeader(forward)
                    | ClientWriteError::LogEntryDiscarded(forward),
                ) => return Err(ChangeError::NotLeader { leader: forward.leader_node }),
                // One that was appended before is not committed yet, or the leader is new.
                RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_)
                    | ChangeMembershipError::UncommittedLeaderLog(_),
                )) if Instant::now() < deadline => sleep(PAUSE).await,
                RaftError::APIError(error) => {
                    tracing::warn!(%error, "a configuration was refused");
                    return Err(ChangeError::Unknown);
                }
            }
        }
    }

    /// Everybody in the configuration, and how far each is.
    fn peers(&self) -> Result<Vec<Progress>, ChangeError> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.running_state.is_err() {
            return Err(ChangeError::Stopped);
        }
        let not_leader =
            || ChangeError::NotLeader { leader: observe::status(&metrics, 1, &self.me).leader };
        observe::quorum(&metrics, &self.me).map(|quorum| quorum.peers).ok_or_else(not_leader)
    }
}

fn is_heard(known: &Progress) -> bool {
    known.acknowledged_ms_ago.is_some_and(|ms| Duration::from_millis(ms) < HEARD)
}

fn is_joint<S: StateMachine>(raft: &Raft<S>) -> bool {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    metrics.membership_config.membership().get_joint_config().len() > 1
}

/// Finishes the joint configuration that an earlier leader left, as soon as this replica leads.
pub(crate) fn finish_interrupted<S: StateMachine>(
    steps: Changer<S>,
    changes: Changes,
) -> JoinHandle<()> {
    spawn(async move {
        let mut metrics = steps.raft.metrics();
        loop {
            let leads = metrics.borrow_watched().state == ServerState::Leader;
            if leads && is_joint(&steps.raft) && !changes.is_busy() {
                match steps.settle().await {
                    Ok(()) => {
                        tracing::info!("finished a change of the voters that was interrupted");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot finish an interrupted change of the voters");
                        sleep(HEARD).await;
                    }
                }
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    })
}
