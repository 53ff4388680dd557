//! When an agent's death ends its leases (guarantees, rule 7).
//!
//! ```text
//!   gossip: w is down ─▶ does its session hold jobs? ─▶ fell many at once? ── yes ─▶ leases decide
//!                                                            │ no
//!                        every voter: is it down for you, ◀──┘
//!                        and has it asked nothing since? ── a majority, and no objection ─▶ the log
//! ```
//!
//! Gossip is advice: what ends the leases is a command like any other, for that session alone. A false
//! alarm costs a repeat of the job; the token keeps it from being completed twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::error::RecvError,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Gossip, MemberState, WorkerMember,
    calls::{Request, Response},
    gather::Work,
    open::Node,
    routing::Route,
};
use crate::queue::{Claim, Command, Holding, WorkerDown, WorkerId};

/// Sessions that fall within this of each other fall together, ms.
const TOGETHER_MS: u64 = 5_000;
/// Fewer are never too many to fall together.
const STORM_MIN: usize = 3;
/// More than one in so many is a storm, if it is at least [`STORM_MIN`].
const STORM_SHARE: usize = 4;
/// How long a voter may take to say how it sees an agent.
const ASK_PATIENCE: Duration = Duration::from_millis(250);
/// Between two looks while some session's end is not agreed on, and when nothing was heard.
const AGAIN: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the command may take; it is proposed again at the next look.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);
/// The most sessions that are decided on in one look.
const DECIDED_MAX: usize = 256;
/// The most workers whose last request is remembered.
const SIGNS_MAX: usize = 100_000;

/// How a voter sees a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// It is down, and has asked nothing since.
    Down,
    /// It is not down, not known, or another session of that worker is what is known.
    NotDown,
    /// It is down, and yet it has asked for something since.
    Asked,
}

/// When each worker's session last asked this node for something, by this node's wall clock. What another
/// node sends on does not count: that one has noted it when it came, and may repeat it to a new leader
/// long after its worker has died. Every voter is asked before a session ends.
#[derive(Debug, Default)]
pub(super) struct Signs(Mutex<BTreeMap<WorkerId, (u64, u64)>>);

impl Signs {
    fn note(&self, worker: &WorkerId, session: u64, now_ms: u64) {
        let mut signs = self.0.lock().expect("nothing panics while the signs are locked");
        if let Some(sign) = signs.get_mut(worker) {
            *sign = (session, now_ms);
            return;
        }
        if signs.len() >= SIGNS_MAX {
            // Whoever has been still the longest is forgotten: a sign that is older than its session's
            // end says nothing anyway.
            let newest = signs.values().map(|sign| sign.1).max().unwrap_or(now_ms);
            let oldest = signs.values().map(|sign| sign.1).min().unwrap_or(now_ms);
            signs.retain(|_, sign| sign.1 > oldest + (newest - oldest) / 2);
        }
        signs.insert(worker.clone(), (session, now_ms));
    }

    /// A claim has come from a client.
    pub(super) fn note_claim(&self, claim: &Claim, now_ms: u64) {
        if let Some(session) = claim.session {
            self.note(&claim.worker, session, now_ms);
        }
    }

    /// Whether that session has asked for something since then.
    pub(super) fn has_asked_since(&self, worker: &WorkerId, session: u64, since_ms: u64) -> bool {
        let signs = self.0.lock().expect("nothing panics while the signs are locked");
        signs.get(worker).is_some_and(|(asked, at_ms)| *asked == session && *at_ms > since_ms)
    }
}

impl Node {
    /// Notes that the holders of these commands' tokens are alive.
    pub(super) fn note_signs_of_life(&self, commands: &[Command]) {
        if self.gossip.is_none() {
            return;
        }
        let holders: BTreeSet<_> = self.look(|machine| {
            let named = commands.iter().flat_map(holdings);
            named.filter_map(|holding| machine.state().session_under(holding)).collect()
        });
        for (worker, session) in holders {
            self.signs.note(&worker, session, self.clock.wall_ms());
        }
    }

    /// How this node sees a session of a worker.
    pub(super) fn verdict_on(&self, worker: &WorkerId, session: u64) -> Verdict {
        let Some(gossip) = &self.gossip else { return Verdict::NotDown };
        let found = gossip
            .workers()
            .into_iter()
            .find(|member| member.name == worker.as_str() && member.session == session);
        match found {
            Some(WorkerMember { state: MemberState::Down, since_wall_ms, .. }) => {
                if self.signs.has_asked_since(worker, session, since_wall_ms) {
                    Verdict::Asked
                } else {
                    Verdict::Down
                }
            }
            Some(_) | None => Verdict::NotDown,
        }
    }

    /// Whether a majority of voters sees the session down, and none has heard of it since.
    async fn is_agreed_down(self: &Arc<Self>, worker: &WorkerId, session: u64) -> bool {
        let status = self.replica.status().borrow().clone();
        let voters = status.voters.len();
        let mut asked = JoinSet::new();
        for voter in status.voters.into_iter().filter(|voter| voter.id != status.me.id) {
            let (node, worker) = (Arc::clone(self), worker.clone());
            let request = Request::WorkerDown { worker, session }.encode();
            asked.spawn(async move {
                let answer = node.replica.call(&voter, request, ASK_PATIENCE).await.ok()?;
                match Response::decode(&answer) {
                    Ok(Response::WorkerDown(verdict)) => Some(verdict),
                    Ok(_) | Err(_) => None,
                }
            });
        }
        let mut verdicts = vec![self.verdict_on(worker, session)];
        verdicts.extend(asked.join_all().await.into_iter().flatten());
        is_agreed(&verdicts, voters)
    }
}

/// Whether so many voters' verdicts end a session.
fn is_agreed(verdicts: &[Verdict], voters: usize) -> bool {
    let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    count(Verdict::Asked) == 0 && count(Verdict::Down) > voters / 2
}

/// The tokens that a call of a holder carries. Of those of a heartbeat any may be lost already.
fn holdings(command: &Command) -> impl Iterator<Item = &Holding> {
    let (one, beats) = match command {
        Command::Heartbeat(heartbeat) => (None, &heartbeat.items[..]),
        Command::Start(holding) => (Some(holding), &[][..]),
        Command::Complete(complete) => (Some(&complete.holding), &[][..]),
        Command::Fail(fail) => (Some(&fail.holding), &[][..]),
        Command::Release(release) => (Some(&release.holding), &[][..]),
        Command::Add(_)
        | Command::Claim(_)
        | Command::Cancel(_)
        | Command::Operate(_)
        | Command::WorkerDown(_) => (None, &[][..]),
    };
    one.into_iter().chain(beats.iter().map(|beat| &beat.holding))
}

/// The agents that are down and did not fall in a storm. A storm is more than a quarter of the agents
/// that were there, and at least three, within five seconds: then something else is wrong. One that is
/// suspected counts as falling, so that the first of many does not pass for one that fell alone.
fn fallen(workers: &[WorkerMember]) -> Vec<&WorkerMember> {
    let in_state = |state| workers.iter().filter(move |worker| worker.state == state);
    let alive = in_state(MemberState::Alive).count();
    let fell_alone = |one: &&WorkerMember| {
        let is_beside =
            |other: &&WorkerMember| one.since_wall_ms.abs_diff(other.since_wall_ms) <= TOGETHER_MS;
        let suspected = in_state(MemberState::Suspect);
        let (falling, steady): (Vec<_>, Vec<_>) = suspected.partition(is_beside);
        let together = in_state(MemberState::Down).filter(is_beside).count() + falling.len();
        let there = alive + steady.len() + together;
        together < STORM_MIN || together * STORM_SHARE <= there
    };
    in_state(MemberState::Down).filter(fell_alone).collect()
}

/// While this node leads: ends the sessions of agents that have died, as soon as a majority agrees.
pub(super) async fn watch(node: Arc<Node>, gossip: Gossip) {
    let mut events = gossip.worker_events();
    let mut standing = node.standing.subscribe();
    loop {
        let is_settled = decide(&node, &gossip).await;
        let pause = if is_settled { LOOK_EVERY } else { AGAIN };
        tokio::select! {
            biased;
            event = events.recv() => if event == Err(RecvError::Closed) { return },
            changed = standing.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

/// Looks at every agent that is down and holds jobs. `false` when one's end is not agreed on.
async fn decide(node: &Arc<Node>, gossip: &Gossip) -> bool {
    if !matches!(node.standing.borrow().route(), Route::Here { .. }) {
        return true;
    }
    let workers = gossip.workers();
    let fallen = fallen(&workers);
    if fallen.is_empty() {
        return true;
    }
    let holding = node.look(|machine| machine.state().sessions());
    let holds = |member: &&&WorkerMember| {
        let is_its = |session: &crate::queue::SessionView| {
            session.worker.as_str() == member.name && session.session == member.session
        };
        holding.iter().any(is_its)
    };
    let mut deciding = JoinSet::new();
    for member in fallen.iter().filter(holds).take(DECIDED_MAX) {
        let Ok(worker) = WorkerId::parse(&member.name) else { continue };
        let (node, session) = (Arc::clone(node), member.session);
        deciding.spawn(async move {
            if !node.is_agreed_down(&worker, session).await {
                return false;
            }
            tracing::info!(%worker, session, "an agent is down: its jobs are handed on");
            let down = Command::WorkerDown(WorkerDown { worker, session });
            let deadline = Instant::now() + COMMIT_PATIENCE;
            let done = timeout(COMMIT_PATIENCE, node.carry_out(Work::one(&down), deadline)).await;
            matches!(done, Ok(Ok(_)))
        });
    }
    deciding.join_all().await.into_iter().all(|is_decided| is_decided)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        node::samples::{complete, heartbeat, holding, worker},
        queue::Beat,
    };

    fn member(name: &str, state: MemberState, since_wall_ms: u64) -> WorkerMember {
        WorkerMember { name: name.into(), session: 1, state, since_wall_ms }
    }

    fn names(workers: &[WorkerMember]) -> Vec<&str> {
        fallen(workers).into_iter().map(|worker| worker.name.as_str()).collect()
    }

    #[test]
    fn a_majority_of_all_voters_must_see_it_down_and_none_may_have_heard_of_it_since() {
        use Verdict::{Asked, Down, NotDown};
        assert!(is_agreed(&[Down], 1));
        assert!(is_agreed(&[Down, Down], 3), "the third did not answer");
        assert!(is_agreed(&[Down, Down, NotDown], 3));
        assert!(!is_agreed(&[Down], 3));
        assert!(!is_agreed(&[Down, NotDown, NotDown], 3));
        assert!(!is_agreed(&[Down, Down, Asked], 3));
        assert!(!is_agreed(&[Down, Down], 4), "half is no majority");
    }

    #[test]
    fn agents_that_fall_one_by_one_fall_and_those_that_fall_in_a_storm_do_not() {
        use MemberState::{Alive, Down, Suspect};
        let few = [member("a", Down, 1_000), member("b", Down, 1_100)];
        assert_eq!(names(&few), ["a", "b"], "two are no storm, even of two");
        let mut many = vec![
            member("a", Down, 1_000),
            member("b", Down, 2_000),
            member("c", Down, 6_000),
            member("early", Down, 996_000),
            member("x", Suspect, 500_000),
        ];
        assert_eq!(names(&many), ["early"], "three within five seconds, of four");
        many.extend((0..8).map(|number| member(&format!("w{number}"), Alive, 0)));
        assert_eq!(
            names(&many),
            ["a", "b", "c", "early"],
            "three of twelve are a quarter, not more"
        );
    }

    // Three of four agents die at once; gossip says so of one a little before the others.
    #[test]
    fn the_first_of_a_storm_is_known_by_those_that_are_suspected_beside_it() {
        use MemberState::{Alive, Down, Suspect};
        let mut workers = [
            member("a", Down, 10_400),
            member("b", Suspect, 10_150),
            member("c", Suspect, 10_200),
            member("d", Alive, 0),
        ];
        assert!(names(&workers).is_empty());
        workers[2].state = Alive;
        assert_eq!(names(&workers), ["a"], "one of them has refuted it");
        workers[2] = member("c", Suspect, 4_000);
        assert_eq!(names(&workers), ["a"], "that is another matter");
    }

    #[test]
    fn a_request_after_the_fall_is_an_objection_and_one_before_or_of_another_session_is_not() {
        let signs = Signs::default();
        signs.note(&worker("w"), 7, 1_000);
        assert!(signs.has_asked_since(&worker("w"), 7, 999));
        assert!(!signs.has_asked_since(&worker("w"), 7, 1_000));
        assert!(!signs.has_asked_since(&worker("w"), 8, 0));
        assert!(!signs.has_asked_since(&worker("v"), 7, 0));
    }

    // The job of a heartbeat's first token may have ended while the others are still held.
    #[test]
    fn every_token_of_a_heartbeat_is_a_sign_of_its_holder() {
        let Command::Heartbeat(mut beats) = heartbeat("a", 1) else { unreachable!() };
        let second = Beat { holding: holding("b", 2), lease_ms: None, progress: None };
        beats.items.push(second);
        let named = |command: &Command| holdings(command).cloned().collect::<Vec<_>>();
        let both = [holding("a", 1), holding("b", 2)];
        assert_eq!(named(&Command::Heartbeat(beats)), both);
        assert_eq!(named(&complete("a", 1)), [holding("a", 1)]);
    }

    #[test]
    fn no_number_of_workers_makes_the_signs_grow_beyond_their_bound() {
        let signs = Signs::default();
        for number in 0..=SIGNS_MAX {
            signs.note(&worker(&format!("w{number}")), 1, number as u64);
        }
        let kept = signs.0.lock().unwrap();
        assert!(kept.len() <= SIGNS_MAX / 2 + 1);
        assert!(kept.contains_key(&worker(&format!("w{SIGNS_MAX}"))));
    }
}
