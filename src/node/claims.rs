//! Claims and long polls. They wait at the leader; a follower sends a claim there with what is left
//! of its wait, and again to the next leader.
//!
//! A claim's caller may go away at any moment. The claim therefore runs as a task of its own, which
//! notices, gives up its place, and gives back what it was granted too late.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Unavailable,
    calls::{Claiming, Request, Response},
    clock::whole_ms,
    gather::{Setback, Work},
    open::Node,
    parked::Settled,
    routing::Route,
    tries::{ATTEMPT_PATIENCE, Pace, Tries},
    waiters::Place,
};
use crate::queue::{Answer, Claim, Claimed, Command, Grant, Holding, Outcome, Release};

/// How long the giving back of a grant nobody took is tried.
const GIVE_BACK_PATIENCE: Duration = Duration::from_secs(10);
/// The bytes of payloads and tags of one answer; a single job may have more. What is granted beyond them is
/// given back.
const ANSWER_BYTES: usize = 8 << 20;
/// How much longer than its wait a claim that is parked at the leader may go without word from
/// there.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);
/// How often the claim of a worker that is to drain looks whether it still is: nothing rings for it.
const DRAINING_PAUSE: Duration = Duration::from_secs(1);
/// How long telling the leader to forget a claim may take.
const FORGET_PATIENCE: Duration = Duration::from_secs(1);

/// Who waits for a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client of this node: it waits no longer when this node is about to stop.
    Client,
    /// Another node: it finds the next leader by itself when this one has handed over.
    Peer,
}

/// One claim on its way; `E` is how its caller hears that it came to nothing.
pub(super) struct Claimant<E> {
    /// Who waits for it.
    pub(super) origin: Origin,
    /// The claim.
    pub(super) claim: Arc<Claim>,
    /// The claim as it stands in an entry.
    pub(super) work: Work,
    /// Until when it waits for a job.
    pub(super) wait_until: Instant,
    /// How long it is held without a leader.
    pub(super) hold: Duration,
    /// Not proposed from then on.
    pub(super) deadline: Instant,
    /// Where its caller waits.
    pub(super) reply: oneshot::Sender<Result<Delivery, E>>,
    /// Told when the claim has to wait for a job.
    pub(super) parked: Option<oneshot::Sender<()>>,
    /// Whether the last attempt had it wait for a job.
    pub(super) was_parked: bool,
    /// Whether its client named it and may send it again.
    pub(super) may_come_again: bool,
    /// Set when the node that it came from has sent it again: what it is granted is that one's.
    pub(super) is_superseded: Arc<AtomicBool>,
}

impl<E> Claimant<E> {
    /// Whether its caller has gone.
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Whether it still waits for a job.
    fn has_wait_left(&self) -> bool {
        !self.is_abandoned() && Instant::now() < self.wait_until
    }
}

/// An outcome on its way to its caller. What was granted is given back unless somebody takes it.
pub(super) struct Delivery {
    outcome: Option<Outcome>,
    unwanted: Unwanted,
    is_superseded: Arc<AtomicBool>,
    node: Arc<Node>,
}

impl Delivery {
    /// The outcome, to tell somebody of it.
    pub(super) fn outcome(&self) -> &Outcome {
        self.outcome.as_ref().expect("an outcome is taken once, by value")
    }

    /// Takes the outcome: from here on it is the caller's.
    pub(super) fn take(mut self) -> Outcome {
        self.outcome.take().expect("an outcome is taken once, by value")
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // Who sent the claim again gets the same grants, and may have told its client by now.
        if self.is_superseded.load(Ordering::Acquire) {
            return;
        }
        if let Some(Answer::Claimed(jobs)) = self.outcome.take().and_then(|it| it.result.ok()) {
            self.node.give_back(granted(&jobs).filter(|grant| self.unwanted.includes(grant)));
        }
    }
}

/// Which grants are given back when nobody takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unwanted {
    /// None: the client named the claim and may send it again, and may have had its answer
    /// elsewhere. Ending the lease could take it from a worker that runs the job (S8).
    Nothing,
    /// Those that this very answer made.
    Fresh,
    /// All: it repeats an attempt of our own, whose answer was lost.
    All,
}

impl Unwanted {
    fn includes(self, grant: &Grant) -> bool {
        match self {
            Self::Nothing => false,
            Self::Fresh => is_fresh(grant),
            Self::All => true,
        }
    }
}

/// Whether this answer made the grant, rather than repeat one that its worker may well run by now.
fn is_fresh(grant: &Grant) -> bool {
    grant.lease_expires_in_ms >= grant.lease_ms
}

fn granted(jobs: &[Claimed]) -> impl Iterator<Item = &Grant> {
    jobs.iter().filter_map(|job| match job {
        Claimed::Granted(grant) => Some(grant),
        Claimed::Lost { .. } => None,
    })
}

/// What one look at the queue came to.
enum Look {
    /// There is nothing for this claim.
    Nothing,
    /// There was something, and others were faster.
    Beaten,
    /// This is the claim's answer.
    Answer(Outcome),
}

/// Carries a claim to its end, at whoever leads, whether or not its caller stays.
pub(super) async fn run(node: Arc<Node>, mut claimant: Claimant<Unavailable>) {
    let mut tries = Tries::default();
    let result = node.claim_somewhere(&mut claimant, &mut tries).await;
    let unwanted = if tries.may_be_proposed() { Unwanted::All } else { Unwanted::Fresh };
    deliver(node, claimant, result, unwanted);
}

/// Carries a claim to its end at this node, for another that takes it for the leader.
pub(super) async fn run_here(node: Arc<Node>, mut claimant: Claimant<Setback>) {
    let route = node.standing.borrow().route();
    let result = match route {
        Route::Here { .. } => node.claim_here(&route, &mut claimant).await,
        Route::Nowhere | Route::There { .. } => Err(Setback::NotProposed),
    };
    // The node that asked knows whether it asked before, and gives back what it does not want.
    deliver(node, claimant, result, Unwanted::Fresh);
}

fn deliver<E>(
    node: Arc<Node>,
    claimant: Claimant<E>,
    result: Result<Outcome, E>,
    unwanted: Unwanted,
) {
    let unwanted = if claimant.may_come_again { Unwanted::Nothing } else { unwanted };
    let is_superseded = claimant.is_superseded;
    let delivery =
        result.map(|outcome| Delivery { outcome: Some(outcome), unwanted, is_superseded, node });
    // What cannot be sent is dropped here, and so given back.
    let _ = claimant.reply.send(delivery);
}

impl Node {
    /// Claims at whoever leads, again and again, until there is an outcome or the time is up.
    async fn claim_somewhere(
        self: &Arc<Self>,
        claimant: &mut Claimant<Unavailable>,
        tries: &mut Tries,
    ) -> Result<Outcome, Unavailable> {
        let mut pace = Pace::default();
        let mut held_since = Instant::now();
        loop {
            if !self.lets_wait() {
                claimant.wait_until = claimant.wait_until.min(Instant::now());
            }
            let held_until = (held_since + claimant.hold).min(claimant.deadline);
            let Some(route) = self.route_by(held_until).await else {
                return Err(self.give_up(*tries));
            };
            let attempt = match &route {
                Route::Nowhere => Err(Setback::NotProposed),
                Route::Here { .. } => self.claim_here(&route, claimant).await,
                Route::There { .. } => self.claim_there(&route, claimant).await,
            };
            match attempt {
                Ok(outcome) => return Ok(outcome),
                Err(setback) => tries.note(setback)?,
            }
            // `hold` bounds each stretch without a leader; the wait for a job is apart from it.
            if mem::take(&mut claimant.was_parked) {
                held_since = Instant::now();
                pace = Pace::default();
            }
            // One that was sent home early has a last look, and its answer, whatever its hold.
            let is_sent_home = !self.lets_wait() && claimant.has_wait_left();
            let is_held_too_long = !is_sent_home && held_since.elapsed() >= claimant.hold;
            // An abandoned claim is repeated only to learn what there is to give back.
            let is_pointless =
                claimant.is_abandoned() && (!tries.may_be_proposed() || claimant.may_come_again);
            if is_pointless || is_held_too_long || Instant::now() >= claimant.deadline {
                return Err(self.give_up(*tries));
            }
            pace.pause(self, &route).await;
        }
    }

    /// Claims at this node, the leader, and parks the claim while there is nothing for it.
    async fn claim_here<E>(
        self: &Arc<Self>,
        route: &Route,
        claimant: &mut Claimant<E>,
    ) -> Result<Outcome, Setback> {
        if let Look::Answer(outcome) = self.look_for(claimant, None).await? {
            return Ok(outcome);
        }
        if !claimant.has_wait_left() {
            return self.answer_nothing(claimant).await;
        }
        let mut place = self.bells.waiters().join(&claimant.claim)?;
        claimant.was_parked = true;
        if let Some(parked) = claimant.parked.take() {
            // Whoever asked may be gone: that shows soon enough.
            let _ = parked.send(());
        }
        while claimant.has_wait_left() {
            place.park();
            match self.look_for(claimant, Some(&place)).await? {
                Look::Answer(outcome) => {
                    leave(place, &outcome);
                    return Ok(outcome);
                }
                Look::Beaten => {}
                Look::Nothing => {
                    let mut until = claimant.wait_until;
                    if self.look(|machine| machine.state().is_draining(&claimant.claim.worker)) {
                        place.stand_aside();
                        until = until.min(Instant::now() + DRAINING_PAUSE);
                    } else {
                        place.stay();
                    }
                    self.wait_for_bell(&place, route, claimant, until).await?;
                }
            }
        }
        drop(place);
        self.answer_nothing(claimant).await
    }

    /// Proposes the claim if there is something for it. Meanwhile it is out of the line, so that
    /// jobs that come now ring others.
    async fn look_for<E>(
        self: &Arc<Self>,
        claimant: &Claimant<E>,
        place: Option<&Place>,
    ) -> Result<Look, Setback> {
        if !self.look(|machine| machine.state().would_grant(&claimant.claim)) {
            return Ok(Look::Nothing);
        }
        if let Some(place) = place {
            place.step_out();
        }
        let outcome = self.propose_claim(claimant).await?;
        let is_empty = matches!(&outcome.result, Ok(Answer::Claimed(jobs)) if jobs.is_empty());
        Ok(if is_empty { Look::Beaten } else { Look::Answer(outcome) })
    }

    /// Waits until a parked claim should look again, at the latest then.
    async fn wait_for_bell<E>(
        &self,
        place: &Place,
        route: &Route,
        claimant: &mut Claimant<E>,
        until: Instant,
    ) -> Result<(), Setback> {
        let is_clients = claimant.origin == Origin::Client;
        tokio::select! {
            biased;
            () = self.rerouted(route) => Err(Setback::NotProposed),
            () = self.stopping(), if is_clients => Err(Setback::NotProposed),
            () = claimant.reply.closed() => Ok(()),
            () = place.rung() => Ok(()),
            () = sleep_until(until) => Ok(()),
        }
    }

    /// The empty answer, from a linearizable read: it never enters the log.
    async fn answer_nothing<E>(
        self: &Arc<Self>,
        claimant: &Claimant<E>,
    ) -> Result<Outcome, Setback> {
        let barrier = timeout_at(claimant.deadline, self.reach_barrier_here()).await;
        if barrier != Ok(true) {
            return Err(Setback::NotProposed);
        }
        let (would_grant, rev) = self
            .look(|machine| (machine.state().would_grant(&claimant.claim), machine.state().rev()));
        if would_grant && !claimant.is_abandoned() {
            return self.propose_claim(claimant).await;
        }
        Ok(Outcome { rev, result: Ok(Answer::Claimed(Vec::new())) })
    }

    async fn propose_claim<E>(
        self: &Arc<Self>,
        claimant: &Claimant<E>,
    ) -> Result<Outcome, Setback> {
        let outcomes = self.proposer.submit(claimant.work.clone(), claimant.deadline).await?;
        let mut outcome =
            outcomes.into_iter().next().expect("an entry answers each of its commands");
        if let Ok(Answer::Claimed(jobs)) = &mut outcome.result {
            let excess = split_excess(jobs);
            self.give_back(granted(&excess));
        }
        Ok(outcome)
    }

    /// Claims at the leader, which parks the claim while there is nothing for it, and says later
    /// what it came to. When the caller goes away, so does its place there.
    async fn claim_there(
        self: &Arc<Self>,
        route: &Route,
        claimant: &mut Claimant<Unavailable>,
    ) -> Result<Outcome, Setback> {
        let now = Instant::now();
        let wait_until = if claimant.is_abandoned() { now } else { claimant.wait_until };
        let remaining = claimant.deadline.saturating_duration_since(now);
        let mut settled = self.tickets.issue();
        let claiming = Claiming {
            claim: Claim::clone(&claimant.claim),
            wait_ms: whole_ms(wait_until.saturating_duration_since(now)),
            remaining_ms: whole_ms(remaining),
            ticket: settled.ticket,
            may_come_again: claimant.may_come_again,
        };
        let patience = claimant.hold.max(ATTEMPT_PATIENCE).min(remaining);
        match self.ask(route, &Request::Claim(claiming), patience).await? {
            Response::Claimed(outcome) => return Ok(outcome?),
            Response::Parked => claimant.was_parked = true,
            Response::Declined => return Err(Setback::NotProposed),
            _ => return Err(Setback::Unknown),
        }
        tokio::select! {
            biased;
            outcome = settled.outcome() => Ok(outcome?),
            () = claimant.reply.closed() => self.call_off(route, settled),
            // What it may be granted there meanwhile, the last look of it is told.
            () = self.stopping() => settled.close().map_or(Err(Setback::Unknown), |it| Ok(it?)),
            () = self.rerouted(route) => Err(Setback::Unknown),
            () = sleep_until(wait_until + SETTLE_PATIENCE) => Err(Setback::Unknown),
        }
    }

    /// Takes a claim back from the leader, which gives back whatever it grants to nobody.
    fn call_off(self: &Arc<Self>, route: &Route, mut settled: Settled) -> Result<Outcome, Setback> {
        if let Some(outcome) = settled.close() {
            return Ok(outcome?);
        }
        let (node, route, ticket) = (Arc::clone(self), route.clone(), settled.ticket);
        self.spawn(async move {
            // When this is lost the claim stands in line there until its wait is over; what it is
            // granted is not wanted here, and so given back.
            let _ = node.ask(&route, &Request::Forget { ticket }, FORGET_PATIENCE).await;
        });
        Err(Setback::NotProposed)
    }

    /// Releases grants that nobody holds; their attempts do not count.
    fn give_back<'a>(self: &Arc<Self>, grants: impl Iterator<Item = &'a Grant>) {
        let releases: Vec<Command> = grants
            .map(|grant| Holding { job: grant.job.clone(), token: grant.token })
            .map(|holding| Command::Release(Release { holding, delay_ms: 0 }))
            .collect();
        if releases.is_empty() {
            return;
        }
        let node = Arc::clone(self);
        self.spawn(async move {
            let deadline = Instant::now() + GIVE_BACK_PATIENCE;
            for work in Work::cut(&releases) {
                if let Err(reason) = node.carry_out(work, deadline).await {
                    tracing::warn!(%reason, "grants that nobody took wait for their leases to end");
                }
            }
        });
    }
}

/// Leaves the line with what was granted.
fn leave(place: Place, outcome: &Outcome) {
    if let Ok(Answer::Claimed(jobs)) = &outcome.result {
        place.leave_with(granted(jobs).map(|grant| (&grant.queue, &grant.work_type)));
    }
}

/// What a grant takes of an answer, about.
fn answer_bytes(grant: &Grant) -> usize {
    let tags = grant.tags.iter().map(|(key, value)| key.len() + value.len());
    grant.payload.bytes.len() + tags.sum::<usize>()
}

/// Cuts off what does not fit in one answer.
fn split_excess(jobs: &mut Vec<Claimed>) -> Vec<Claimed> {
    let mut bytes = 0;
    let fits = |job: &&Claimed| {
        if let Claimed::Granted(grant) = job {
            bytes += answer_bytes(grant);
        }
        bytes <= ANSWER_BYTES
    };
    let fitting = jobs.iter().take_while(fits).count();
    jobs.split_off(fitting.max(1).min(jobs.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::samples::{claim, new_job},
        queue::{Add, Entry, NewJob, Payload, Stamp, State},
    };

    /// What a claim for these payloads is granted.
    fn granted_payloads(bytes: &[usize]) -> Vec<Claimed> {
        let jobs = bytes.iter().enumerate().map(|(number, bytes)| NewJob {
            payload: Payload { bytes: vec![b'x'; *bytes].into(), content_type: "a/b".into() },
            ..new_job(&format!("j{number}"))
        });
        let add = Command::Add(Add { jobs: jobs.collect() });
        let claim = Command::Claim(Claim { max: 100, ..claim("w", "r") });
        let entry = Entry { stamp: Stamp::default(), commands: vec![add, claim] };
        let mut outcomes = State::default().apply(&entry).outcomes;
        match outcomes.pop().unwrap().result {
            Ok(Answer::Claimed(jobs)) => jobs,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_does_not_fit_in_an_answer_is_cut_off_its_end() {
        const MIB: usize = 1 << 20;
        for (payloads, fitting) in [
            (&[MIB; 8][..], 8),
            (&[MIB; 9], 8),
            (&[9 * MIB, 1], 1),
            (&[0, 0, 9 * MIB], 2),
            (&[7 * MIB, 2 * MIB, 1], 1),
        ] {
            let mut jobs = granted_payloads(payloads);
            let excess = split_excess(&mut jobs);
            assert_eq!((jobs.len(), excess.len()), (fitting, payloads.len() - fitting));
        }
    }

    #[test]
    fn tags_count_among_the_bytes_of_an_answer() {
        let mut jobs = granted_payloads(&[0, 0]);
        for job in &mut jobs {
            let Claimed::Granted(grant) = job else { panic!("{job:?}") };
            grant.tags = [("k".to_owned(), "v".repeat(ANSWER_BYTES / 2))].into();
        }
        assert_eq!(split_excess(&mut jobs).len(), 1);
    }

    #[test]
    fn only_a_grant_made_by_this_very_answer_is_fresh() {
        let mut jobs = granted_payloads(&[1]);
        assert!(granted(&jobs).all(is_fresh));
        let Claimed::Granted(grant) = &mut jobs[0] else { panic!("{jobs:?}") };
        grant.lease_expires_in_ms -= 1;
        assert!(!granted(&jobs).any(is_fresh));
    }
}
