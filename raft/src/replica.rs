//! One replica of a state machine, and everything that a caller may ask of it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use openraft::{
    ReadPolicy,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError},
    raft::responder::ProgressResponder,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    CallError, CallHandler, Change, ChangeError, ChangeState, Environment, LogIndex, OpenError,
    Options, Peer, PeerId, ProposeError, Quorum, ReadError, Role, StateMachine, Status,
    bootstrap::Bootstrapper,
    change::{Changer, Changes},
    codec,
    consensus::{
        Raft,
        blocking::Blocking,
        machine_store::MachineStore,
        observe, seeded,
        types::{Command, TypeConfig},
    },
    directory::DataDirectory,
    lifeline::Lifelines,
    log::{BACKLOG_BYTES_MAX, Log},
    open, tasks,
    transport::{
        caller::{Callers, call_body},
        frame::Kind,
        heard::Heard,
        hello::Channel,
        link::Dialer,
    },
};

/// The largest entry that can be proposed, bytes: with its header it must fit one frame.
pub const ENTRY_BYTES_MAX: usize = 15 << 20;
const _: () = assert!((ENTRY_BYTES_MAX as u64) < codec::LIMIT_BYTES - (64 << 10));

/// How many KiB of entries may be on their way at a time. They wait in the log for its disk, whose
/// backlog has a bound beyond which the disk counts as failed.
pub(crate) const ROOM_KIB: usize = 64 << 10;
const _: () = assert!((ROOM_KIB as u64) * 1024 * 2 < BACKLOG_BYTES_MAX);

/// A cheap handle on one running replica; clones share it. It runs until [`Replica::stop`].
#[derive(Debug)]
pub struct Replica<S: StateMachine> {
    inner: Arc<Inner<S>>,
}

/// What the handles share.
pub(crate) struct Inner<S: StateMachine> {
    pub(crate) me: Peer,
    pub(crate) raft: Raft<S>,
    pub(crate) machine: MachineStore<S>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) dialer: Arc<Dialer>,
    /// The change of the voters that is being made here.
    pub(crate) changes: Changes,
    /// `None` when they are switched off.
    pub(crate) lifelines: Option<Arc<Lifelines<S>>>,
    /// When appends and heartbeats have come.
    pub(crate) heard: Arc<Heard>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) applied: watch::Receiver<LogIndex>,
    pub(crate) log: Log,
    /// Room for entries that are proposed and not answered, KiB. Further proposals wait.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) bootstrapper: Arc<Bootstrapper>,
    /// Held for its lock.
    pub(crate) directory: Arc<Mutex<Option<DataDirectory>>>,
    pub(crate) blocking: Blocking,
    /// The next caller's seed: a caller's task carries none of its own (simulation).
    pub(crate) seeds: AtomicU64,
    /// Taken by the first [`Replica::stop`].
    pub(crate) running: Mutex<Option<Running>>,
}

/// What runs besides openraft.
pub(crate) struct Running {
    pub(crate) server: JoinHandle<()>,
    /// Dropped, it ends the server.
    pub(crate) stop: watch::Sender<()>,
    /// Aborted.
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl<S: StateMachine> std::fmt::Debug for Inner<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inner").field("me", &self.me).finish_non_exhaustive()
    }
}

impl<S: StateMachine> Clone for Replica<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// The calls of a replica.
impl<S: StateMachine> Replica<S> {
    /// Opens the directory, recovers, listens, and starts to take part; the bootstrap of a fresh
    /// directory goes on after this has returned (see [`Status::role`]). Runs on the caller's
    /// runtime, which should be the replica's own: a blocked thread there is an election.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is left running.
    pub async fn open(
        options: Options,
        environment: Environment,
        machine: S,
        calls: Arc<dyn CallHandler>,
    ) -> Result<Self, OpenError> {
        let seed = environment.seed;
        let inner = seeded(seed, open::open(options, environment, machine, calls)).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Proposes one entry and waits until it is durable on a majority and applied here. Sets no
    /// deadline: who drops the future knows as much as [`ProposeError::Unknown`] says.
    ///
    /// # Errors
    /// See [`ProposeError`]; each variant says whether the entry may yet be applied.
    pub async fn propose(&self, entry: Bytes) -> Result<S::Outcome, ProposeError> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: entry.len(), limit: ENTRY_BYTES_MAX });
        }
        // openraft's queue counts entries, and a few large ones would be too many.
        let weight = u32::try_from(entry.len() / 1024 + 1).expect("the limit is far below");
        let room = self.inner.room.clone().acquire_many_owned(weight).await;
        let room = room.map_err(|_| ProposeError::Stopped)?;
        let (responder, answer) = ProgressResponder::complete_only();
        let sent = self.inner.raft.client_write_ff(Command(entry), Some(responder)).await;
        // openraft's queue was closed: the entry never got into it.
        sent.map_err(|_| ProposeError::Stopped)?;
        // From here on openraft answers, or dies with the entry in an unknown place.
        let Some(Ok(answered)) = keep_until(room, answer).await else {
            return Err(ProposeError::Unknown);
        };
        match answered {
            Ok(response) => {
                let outcome = response.data.take();
                Ok(outcome.expect("apply answers a proposed entry with the machine's outcome"))
            }
            // Judged before the entry was appended to any log (openraft, `write_entries`).
            Err(ClientWriteError::ForwardToLeader(forward)) => {
                Err(ProposeError::NotLeader { leader: known_leader(forward) })
            }
            // A new leader's log displaced it here; it may live on elsewhere and be committed yet.
            Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// `ReadIndex` (Raft §6.4): an index such that a machine that has applied it shows every write
    /// acknowledged before this call. Only a leader that a quorum confirms answers. Does not wait
    /// for this replica to apply it: see [`Replica::wait_applied`].
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_index(&self) -> Result<LogIndex, ReadError> {
        // Never by the leader's lease: a fast failover elects a successor within it.
        let linearizer = self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match self.in_scope(linearizer).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(ReadError::NotLeader { leader: known_leader(forward) })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ReadError::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
        }
    }

    /// Waits until this replica has applied `index`. The caller sets the deadline.
    ///
    /// # Errors
    /// [`ReadError::Stopped`].
    pub async fn wait_applied(&self, index: LogIndex) -> Result<(), ReadError> {
        let mut applied = self.inner.applied.clone();
        let mut status = self.inner.status.clone();
        tokio::select! { biased;
            reached = applied.wait_for(|applied| *applied >= index) => {
                reached.map(drop).map_err(|_| ReadError::Stopped)
            }
            _ = status.wait_for(|status| status.failure.is_some()) => Err(ReadError::Stopped),
        }
    }

    /// Looks at this replica's machine, between two entries. Keep it short: `apply` waits.
    pub fn look<T>(&self, view: impl FnOnce(&S) -> T) -> T {
        self.inner.machine.look(view)
    }

    /// Asks a peer something; its [`CallHandler`] answers within `timeout`. A peer whose id is 0 is
    /// known by its label and its address alone.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(
        &self,
        peer: &Peer,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        if request.len() > ENTRY_BYTES_MAX {
            return Err(CallError::Unreachable);
        }
        let body = call_body(request, timeout);
        let deadline = Instant::now() + timeout;
        self.inner.callers.ask(peer, Channel::Calls, Kind::Call, body, deadline).await
    }

    /// Names addresses (`host:port`) at which other nodes may be, instead of those named so before. A
    /// fresh replica under [`crate::Bootstrap::Expect`] asks there too whether somebody is a candidate,
    /// or in a cluster; whoever is wrong about an address costs it a connection and no more. Nothing
    /// happens once this replica is in a cluster, or barred from founding one.
    pub fn learn_seeds(&self, seeds: Vec<String>) {
        self.inner.bootstrapper.learn_seeds(seeds);
    }

    /// The standing, and every change of it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// How this replica stands with its quorum now; `None` while it does not lead.
    pub fn quorum(&self) -> Option<Quorum> {
        observe::quorum(&self.inner.raft.metrics().borrow_watched(), &self.inner.me)
    }

    /// Another detector of this same node doubts the voter of this label. When that one leads, and
    /// this replica's own pings stay unanswered from here on, too, it is suspected a little earlier
    /// than by its silence alone; under the same rules, since only a quorum of voters that do not
    /// hear a leader gives it up. Without a lifeline nothing follows.
    pub fn witness(&self, label: &str) {
        if let Some(lifelines) = &self.inner.lifelines {
            lifelines.witness(label);
        }
    }

    /// The other voters that answer this one's pings at present. A leader that is not among them and
    /// never was is replaced by the timers alone. `None` without a lifeline.
    pub fn lifelines(&self) -> Option<BTreeSet<PeerId>> {
        self.inner.lifelines.as_ref().map(|lifelines| lifelines.heard())
    }

    /// Hands leadership to the caught-up voter with the longest log and waits (up to `timeout`)
    /// until it leads. `false` when this replica does not lead or nobody took over in time; this
    /// replica has then tried to be elected again.
    pub async fn hand_over(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.in_scope(tasks::hand_over(&self.inner.raft, self.inner.me.id, None, deadline)).await
    }

    /// Hands leadership to the voter of this label, once it has all that is committed, and waits (up to
    /// `timeout`) until another leads. As [`Replica::hand_over`] otherwise.
    ///
    /// # Errors
    /// [`ChangeError::NotLeader`], [`ChangeError::NoSuchVoter`] and [`ChangeError::NoSuccessor`].
    pub async fn hand_over_to(&self, label: &str, timeout: Duration) -> Result<(), ChangeError> {
        let deadline = Instant::now() + timeout;
        let (leads, leader, to) = {
            let status = self.inner.status.borrow();
            let to = status.voters.iter().find(|voter| voter.label == label).cloned();
            (status.role == Role::Leader, status.leader.clone(), to)
        };
        let to = to.ok_or_else(|| ChangeError::NoSuchVoter { label: label.to_owned() })?;
        if !leads {
            return Err(ChangeError::NotLeader { leader });
        }
        if to.id == self.inner.me.id {
            return Ok(());
        }
        let (raft, me) = (&self.inner.raft, self.inner.me.id);
        let is_over = self.in_scope(tasks::hand_over(raft, me, Some(to.id), deadline)).await;
        is_over.then_some(()).ok_or(ChangeError::NoSuccessor)
    }

    /// Begins a change of the voters, or follows the same one that is being made, and returns at once;
    /// the change goes on whether anybody watches or not. Each of its steps does what is missing, so
    /// that the same change may be asked for again, of any leader.
    ///
    /// # Errors
    /// [`ChangeError::InProgress`]; every other comes as [`ChangeState::Ended`].
    pub fn change_voters(
        &self,
        change: Change,
    ) -> Result<watch::Receiver<ChangeState>, ChangeError> {
        let (place, state) = self.inner.changes.begin(&change)?;
        if let Some(place) = place {
            let changer = Changer {
                raft: self.inner.raft.clone(),
                me: self.inner.me.clone(),
                dialer: self.inner.dialer.clone(),
            };
            let seed = self.inner.seeds.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(seeded(seed, changer.run(change, place)));
        }
        Ok(state)
    }

    /// Has this voter stand for election now; for a cluster that has no leader. A live leader's voters
    /// refuse it: who wants to lead instead of one has it hand over.
    pub async fn stand(&self) {
        // An error says that openraft has ended, which the status tells.
        drop(self.in_scope(self.inner.raft.trigger().elect(true)).await);
    }

    /// When an append or a heartbeat last came from this peer, if it is the last leader that was heard
    /// or the one before it.
    pub fn last_heard_of(&self, peer: PeerId) -> Option<Instant> {
        self.inner.heard.last_of(peer)
    }

    /// Whether this replica stands in elections: one that stands aside goes on voting, replicating and,
    /// if it leads, leading, until it has handed over. It may still be handed the leadership.
    pub fn stand_aside(&self, is_aside: bool) {
        self.inner.raft.runtime_config().elect(!is_aside);
        if let Some(lifelines) = &self.inner.lifelines {
            lifelines.set_aside(is_aside);
        }
    }

    /// Writes a snapshot now and purges the log behind it, as far as [`Options::kept_entries`] lets.
    /// Returns the snapshot's last index.
    ///
    /// # Errors
    /// [`ReadError::Stopped`]; [`ReadError::NoQuorum`] when nothing was applied yet.
    pub async fn snapshot(&self) -> Result<LogIndex, ReadError> {
        self.in_scope(tasks::snapshot(&self.inner.raft)).await
    }

    /// Stops: no proposal is taken after this, the log is synced, the port is free when it returns.
    pub async fn stop(&self) {
        let running = self.inner.running.lock().expect("held for this only").take();
        let Some(Running { server, stop, tasks }) = running else { return };
        drop(stop);
        self.inner.room.close();
        self.inner.callers.close();
        for task in tasks {
            task.abort();
            // Aborted or ended: either way it holds nothing any more.
            let _ = task.await;
        }
        if let Some(lifelines) = &self.inner.lifelines {
            lifelines.stop().await;
        }
        if let Err(error) = server.await {
            tracing::error!(%error, "the listener ended badly");
        }
        if let Err(error) = self.in_scope(self.inner.raft.shutdown()).await {
            tracing::error!(%error, "openraft ended badly");
        }
        let log = self.inner.log.clone();
        if let Err(error) = self.inner.blocking.run(move || log.close()).await {
            tracing::error!(%error, "the log was not closed cleanly");
        }
        // Last, so that whoever gets the lock finds all in its place.
        *self.inner.directory.lock().expect("held for moments only") = None;
    }

    /// Runs a call of openraft in a caller's task.
    async fn in_scope<F: Future>(&self, call: F) -> F::Output {
        seeded(self.inner.seeds.fetch_add(1, Ordering::Relaxed), call).await
    }
}

/// Keeps `room` until `answer` has come, also when the caller gives up: the entry is on its way all
/// the same, and callers without patience must not fill the log's backlog.
async fn keep_until<F>(room: OwnedSemaphorePermit, answer: F) -> Option<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    // Not `consensus::spawn`: it never calls openraft.
    let kept = tokio::spawn(async move {
        let answer = answer.await;
        drop(room);
        answer
    });
    kept.await.ok()
}

/// Whom openraft names, if it leads: one that leadership is being handed to does not yet.
fn known_leader(forward: ForwardToLeader<TypeConfig>) -> Option<Peer> {
    match forward.reason {
        ForwardReason::NotLeader => forward.leader_node,
        ForwardReason::LeadershipTransfer | ForwardReason::LeaseExpired => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn an_entry_keeps_its_room_until_it_is_answered_though_its_caller_gave_up() {
        let room = Arc::new(Semaphore::new(1));
        let held = room.clone().acquire_owned().await.unwrap();
        let (answer, answered) = oneshot::channel::<()>();
        let given_up = timeout(Duration::ZERO, keep_until(held, answered)).await;
        assert!(given_up.is_err());
        tokio::task::yield_now().await;
        assert_eq!(room.available_permits(), 0);
        answer.send(()).unwrap();
        drop(timeout(PATIENCE, room.acquire()).await.expect("not in time: room").unwrap());
    }
}
