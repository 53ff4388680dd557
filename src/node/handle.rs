//! What HTTP (and anyone else in the process) holds of a node.

use std::{collections::BTreeSet, future, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};
use ulid::Ulid;

use super::{
    Cause, Gossip,
    claims::{self, Claimant, Origin},
    gather::Work,
    open::{Node, Phase},
    routing::Route,
    tries::{ATTEMPT_PATIENCE, Pace, Tries},
};
use crate::queue::{Answer, Claim, Claimed, Command, JobId, Outcome, RequestId, Rev, State};

/// How often a stopping leader tries to find a successor, and for how long each time and until it leads
/// again: nothing is written meanwhile, so a try that fails should fail soon, and all of them within the 5 s
/// for which requests are held unless told otherwise (3 × 2 × 700 ms).
const HAND_OVER_TRIES: usize = 3;
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(700);
/// How long a stopping node finishes what is under way.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// A cheap handle on a running node; clones share it. Every call works on any node: a follower
/// forwards to the leader, and without a leader the call is held, up to its `hold`.
#[derive(Debug, Clone)]
pub struct Handle {
    life: Arc<Life>,
}

/// Ends the node with its last handle.
#[derive(Debug)]
struct Life {
    node: Arc<Node>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if *self.node.phase.borrow() != Phase::Stopped {
            let node = Arc::clone(&self.node);
            self.node.runtime.spawn(async move { node.shut().await });
        }
    }
}

/// Why a call was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Certainly not applied, now or later.
    #[error("{0}")]
    NotApplied(Reason),
    /// It was proposed and its answer was lost: it may have been applied.
    #[error("the outcome is unknown: the command was proposed and its answer was lost")]
    OutcomeUnknown,
}

/// Why a call was certainly not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// No leader was found in time.
    #[error("no leader was found in time")]
    NoLeader,
    /// This node is in no cluster yet, or has not caught up.
    #[error("this node is not ready yet")]
    NotReady,
    /// This node is stopping.
    #[error("this node is shutting down")]
    ShuttingDown,
    /// The leader's disk is (nearly) full: adds are refused.
    #[error("the disk is full")]
    DiskFull,
    /// Too many commands wait for the log.
    #[error("too many requests are waiting")]
    Overloaded {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
    /// Too many long polls wait for a job.
    #[error("too many claims are waiting")]
    TooManyWaiters {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Sees every write acknowledged before it (`ReadIndex`).
    #[default]
    Linearizable,
    /// Whatever this replica has applied.
    Stale,
}

/// A view of the state and the revision it was taken at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<T> {
    /// What was seen.
    pub value: T,
    /// When.
    pub rev: Rev,
}

impl Handle {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { life: Arc::new(Life { node }) }
    }

    pub(super) fn node(&self) -> &Arc<Node> {
        &self.life.node
    }

    pub(super) fn must_run(&self) -> Result<(), Unavailable> {
        let is_open = self.node().takes_requests();
        is_open.then_some(()).ok_or(Unavailable::NotApplied(Reason::ShuttingDown))
    }

    /// Carries out commands, each on its own but in one entry where they fit; outcomes in their
    /// order. Safe to repeat inside: each command has its identity.
    pub async fn submit(
        &self,
        commands: Vec<Command>,
        hold: Duration,
    ) -> Result<Vec<Outcome>, Unavailable> {
        self.must_run()?;
        self.node().note_signs_of_life(&commands);
        let deadline = Instant::now() + hold;
        let admission = &self.node().admission;
        let pieces = Work::cut(&commands).into_iter().map(|piece| piece.admit(admission));
        let pieces: Vec<Work> =
            pieces.collect::<Result<_, _>>().map_err(Unavailable::NotApplied)?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for piece in pieces {
            match self.node().carry_out(piece, deadline).await {
                Ok(more) => outcomes.extend(more),
                Err(reason) if outcomes.is_empty() => return Err(reason),
                // An earlier piece was applied: nothing is certain of the whole.
                Err(_) => return Err(Unavailable::OutcomeUnknown),
            }
        }
        Ok(outcomes)
    }

    /// Claims, waiting up to `wait` for a job (`hold` is apart from it). Nobody else knows the
    /// claim's request id. Dropping the future gives the place up; a grant that comes too late for
    /// it is released, its attempt not counted. The answer holds no lost jobs: who claims for the
    /// first time has none to lose.
    pub async fn claim(
        &self,
        mut claim: Claim,
        wait: Duration,
        hold: Duration,
    ) -> Result<Outcome, Unavailable> {
        let wait_until = Instant::now() + wait;
        loop {
            let mut outcome = self.claim_as(claim.clone(), wait_until, hold, false).await?;
            // An attempt of our own was granted these and gave them back, and a later one was told
            // so. That id is used up.
            if !drop_lost(&mut outcome) || Instant::now() >= claimed_by(wait_until, hold) {
                return Ok(outcome);
            }
            claim.request_id = RequestId::parse(&self.fresh_id()).expect("a fresh id is a name");
        }
    }

    /// As [`Handle::claim`], for a caller that named the request id and may send the claim again,
    /// here or elsewhere. A grant that comes too late for this call is kept for that one: to release
    /// it could end a lease that its holder believes in (S8).
    pub async fn claim_named(
        &self,
        claim: Claim,
        wait: Duration,
        hold: Duration,
    ) -> Result<Outcome, Unavailable> {
        self.claim_as(claim, Instant::now() + wait, hold, true).await
    }

    async fn claim_as(
        &self,
        claim: Claim,
        wait_until: Instant,
        hold: Duration,
        may_come_again: bool,
    ) -> Result<Outcome, Unavailable> {
        self.must_run()?;
        self.node().signs.note_claim(&claim, self.node().clock.wall_ms());
        let work = Work::one(&Command::Claim(claim.clone()));
        let permit = self.node().admission.admit_claim(work.bytes);
        let _permit = permit.map_err(Unavailable::NotApplied)?;
        let (reply, answer) = oneshot::channel();
        let claimant = Claimant {
            origin: Origin::Client,
            work,
            claim: Arc::new(claim),
            wait_until,
            hold,
            deadline: claimed_by(wait_until, hold),
            reply,
            parked: None,
            was_parked: false,
            may_come_again,
            is_superseded: Arc::default(),
        };
        let node = self.node();
        node.spawn(claims::run(Arc::clone(node), claimant));
        // The task always answers, unless its runtime ended under it.
        Ok(answer.await.map_err(|_| Unavailable::OutcomeUnknown)??.take())
    }

    /// Looks at the state. `view` runs under its lock: keep it short.
    pub async fn read<T: Send>(
        &self,
        consistency: Consistency,
        hold: Duration,
        view: impl FnOnce(&State) -> T + Send,
    ) -> Result<View<T>, Unavailable> {
        self.must_run()?;
        let node = self.node();
        if consistency == Consistency::Linearizable && !raft::mutant::is_planted("M4") {
            let _permit = node.admission.admit_read().map_err(Unavailable::NotApplied)?;
            let deadline = Instant::now() + hold;
            let mut pace = Pace::default();
            while !node.reach_barrier(deadline.max(Instant::now() + ATTEMPT_PATIENCE)).await {
                let route = node.route_by(deadline).await;
                if Instant::now() >= deadline || route.is_none() {
                    return Err(node.give_up(Tries::default()));
                }
                pace.pause(node, &route.unwrap_or(Route::Nowhere)).await;
            }
        }
        Ok(node.look(|machine| View { value: view(machine.state()), rev: machine.state().rev() }))
    }

    /// Waits until a job is in a terminal state or gone, or `wait` has passed, or nobody is to wait
    /// here any more ([`Handle::lets_wait`]), whichever is first; then the caller reads. Costs one
    /// place among the waiters.
    pub async fn ended(&self, job: &JobId, wait: Duration) -> Result<(), Unavailable> {
        self.must_run()?;
        let node = self.node();
        let wait_until = Instant::now() + wait;
        let watch =
            node.bells.ended().watch(job, node.limits.ended).map_err(Unavailable::NotApplied)?;
        while !node.look(|machine| machine.has_ended(job)) {
            tokio::select! {
                biased;
                () = node.stopping() => return Ok(()),
                () = watch.rung() => {}
                () = sleep_until(wait_until) => return Ok(()),
            }
        }
        Ok(())
    }

    /// A fresh unique id (ULID), for jobs and requests whose caller gave none.
    pub fn fresh_id(&self) -> String {
        Ulid::from_parts(self.node().clock.wall_ms(), self.node().random()).to_string()
    }

    /// Who leads, as far as this node knows: its label. Cheaper than [`Handle::status`].
    pub fn leader(&self) -> Option<String> {
        self.node().standing.borrow().leader.as_ref().map(|leader| leader.label.clone())
    }

    /// The revision that this replica has applied. Cheaper than [`Handle::status`].
    pub fn rev(&self) -> Rev {
        self.node().look(|machine| machine.state().rev())
    }

    /// The member that this node is; `None`: it does not gossip.
    pub fn gossip(&self) -> Option<Gossip> {
        self.node().gossip.clone()
    }

    /// This node's wall clock, ms since the Unix epoch.
    pub fn wall_ms(&self) -> u64 {
        self.node().clock.wall_ms()
    }

    /// This node's standing.
    pub fn status(&self) -> Status {
        self.node().status()
    }

    /// Waits until this node cannot go on (its disk failed, or it met an entry that it does not
    /// know) and says why. Never returns while it runs, nor after [`Handle::stop`]. The process
    /// must exit then.
    pub async fn failed(&self) -> String {
        let mut status = self.node().replica.status();
        let failure = match status.wait_for(|status| status.failure.is_some()).await {
            Ok(status) => status.failure.clone(),
            Err(_) => None,
        };
        match failure {
            Some(failure) => failure,
            None if self.node().takes_requests() => "the replica has ended".to_owned(),
            None => future::pending().await,
        }
    }

    /// Hands leadership to another voter. `false` when this node does not lead, or nobody took over
    /// within `patience`; then this node may still lead.
    pub async fn hand_over(&self, patience: Duration) -> bool {
        self.node().resign(patience, &mut BTreeSet::new()).await
    }

    /// Writes a snapshot of this replica now. Returns the last log index in it.
    pub async fn snapshot(&self) -> Result<u64, Unavailable> {
        let written = self.node().replica.snapshot().await;
        written.map_err(|_| Unavailable::NotApplied(Reason::NotReady))
    }

    /// The first step of a stop that no client notices: this node is not ready any more and hands its
    /// leadership over. It serves as before all the while, and afterwards through its successor.
    pub async fn leave(&self) {
        if self.node().advance(Phase::Leaving).is_some() {
            self.hand_over_at_last(HAND_OVER_TRIES).await;
        }
    }

    /// The second step: nobody waits here any more, neither for work nor for a job's end. Who waits
    /// is answered with what there is, now and later; everything else is served as before.
    pub fn end_waits(&self) {
        self.node().advance(Phase::Draining);
    }

    /// Whether requests still wait here for something to happen; see [`Handle::end_waits`].
    pub fn lets_wait(&self) -> bool {
        self.node().lets_wait()
    }

    /// Whether this node is on its way out, be it that it still serves.
    pub fn is_leaving(&self) -> bool {
        *self.node().phase.borrow() > Phase::Running
    }

    /// Gives up leadership, answers what it has, and stops. Later calls answer `ShuttingDown`.
    pub async fn stop(&self) {
        let node = self.node();
        let Some(before) = node.advance(Phase::Stopping) else {
            let mut phase = node.phase.subscribe();
            let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
            return;
        };
        let drained_by = Instant::now() + DRAIN_PATIENCE;
        // Who has left may have been elected again since, and is told of it once.
        let tries = if before == Phase::Running { HAND_OVER_TRIES } else { 1 };
        self.hand_over_at_last(tries).await;
        if let Some(gossip) = &node.gossip {
            gossip.leave().await;
        }
        if timeout_at(drained_by, node.admission.drained()).await.is_err() {
            tracing::warn!("stopping with requests unanswered");
        }
        node.shut().await;
    }

    /// Hands leadership over, if there is any and anyone to have it.
    async fn hand_over_at_last(&self, tries: usize) {
        let node = self.node();
        let mut route = node.route_now();
        let mut in_vain = BTreeSet::new();
        for _ in 0..tries {
            let is_alone = node.replica.status().borrow().voters.len() < 2;
            let leads = matches!(route, Route::Here { .. });
            if is_alone || !leads || node.resign(HAND_OVER_PATIENCE, &mut in_vain).await {
                break;
            }
            // After a try that failed it stands for election again.
            let found = node.route_by(Instant::now() + HAND_OVER_PATIENCE).await;
            route = found.unwrap_or(Route::Nowhere);
        }
    }
}

/// When a claim has had all its time.
fn claimed_by(wait_until: Instant, hold: Duration) -> Instant {
    wait_until + hold.max(ATTEMPT_PATIENCE)
}

/// Drops what was granted and is held no more. `true` when there was something and nothing is left.
fn drop_lost(outcome: &mut Outcome) -> bool {
    let Ok(Answer::Claimed(jobs)) = &mut outcome.result else { return false };
    let had_some = !jobs.is_empty();
    jobs.retain(|job| matches!(job, Claimed::Granted(_)));
    had_some && jobs.is_empty()
}

/// A node's standing, for `/status`, `/ready` and `/election/status`.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// What Raft says.
    pub raft: raft::Status,
    /// The queue's revision here.
    pub rev: Rev,
    /// The queue's hash chain here.
    pub state_hash: u128,
    /// Since the node started, ms.
    pub uptime_ms: u64,
    /// Whether this node takes requests: every check holds, but for a disk that has little room left,
    /// beside which everything but adds goes on, and a wall clock for whose sake it does not lead.
    pub is_ready: bool,
    /// Whether a leader is known, this replica has caught up with it, and its disk and clock are well.
    pub checks: Vec<Check>,
    /// The last changes of leader that this node saw, the newest first.
    pub changes: Vec<LeaderChange>,
}

/// One thing that must hold before a node is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name: `bootstrapped`, `leader_known`, `caught_up`, `disk`, `wall_clock`.
    pub name: &'static str,
    /// Whether it holds.
    pub is_ok: bool,
    /// What is the case, for people.
    pub detail: String,
}

/// A change of leader as a node saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderChange {
    /// The new term.
    pub term: u64,
    /// The new leader's label.
    pub leader: String,
    /// When it was seen, by this node's wall clock.
    pub at_ms: u64,
    /// From the last sign of the leader before to the first of this one, as this node saw them, ms.
    pub gap_ms: u64,
    /// Why.
    pub cause: Cause,
}

#[cfg(test)]
mod tests;
