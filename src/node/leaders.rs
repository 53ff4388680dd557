//! Who led, as this node saw it: the last changes, how long each took, and why.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, MutexGuard},
    time::Duration,
};

use raft::{CallError, Peer, Suspicion};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::{
    LeaderChange,
    calls::{Request, Response},
    clock::whole_ms,
    events::Happening,
    open::Node,
    routing::Route,
};

/// How many changes are remembered.
const CHANGES_MAX: usize = 32;
/// How long the new leader may take to say why it leads, how often it is asked, and the pause between.
const ASK_PATIENCE: Duration = Duration::from_millis(300);
const ASK_TRIES: usize = 5;
const ASK_PAUSE: Duration = Duration::from_millis(50);
/// How long a former leader has to answer a ping.
const PING_PATIENCE: Duration = Duration::from_millis(300);
/// A leader that has not gone so long after it said that it would did not find anybody to hand over to, ms:
/// a transfer takes 2 s at most.
const RESIGNATION_MS: u64 = 5_000;
/// A connection that fails sooner than this was refused: nothing listens there any more.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);

/// Why the leader has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// It is the first leader that this node knew.
    Start,
    /// The leader before said that it would go.
    Transfer,
    /// The process of the leader before is gone, or was started anew.
    Crash,
    /// The leader before answers nothing, and its machine goes on taking connections.
    Hang,
    /// The leader before, or its machine, is out of reach.
    Partition,
    /// It fell silent, and nobody can tell why.
    Unknown,
}

impl Cause {
    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Transfer => "transfer",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Partition => "partition",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Suspicion> for Cause {
    fn from(suspicion: Suspicion) -> Self {
        match suspicion {
            Suspicion::Refused | Suspicion::Restarted => Self::Crash,
            Suspicion::Silent { takes_connections: true } => Self::Hang,
            Suspicion::Silent { takes_connections: false } => Self::Partition,
        }
    }
}

/// Who led, as this node saw it.
#[derive(Debug, Default)]
pub(super) struct Leaders {
    /// The last leader seen and its term; kept while there is none.
    last: Option<(u64, Peer)>,
    /// Since when this node knows of no leader, by its monotonic clock, ms.
    missing_since_ms: Option<u64>,
    /// The term whose leader said that it would hand over, and when, by this node's monotonic clock, ms.
    /// `None` again when it failed to, as far as this node knows.
    resigned: Option<(u64, u64)>,
    /// The last changes, the newest first.
    changes: VecDeque<LeaderChange>,
    /// How many changes there were, by their cause; one whose cause is looked for counts when it is
    /// known.
    counts: BTreeMap<&'static str, u64>,
    /// Changes whose cause was settled since they were last taken.
    settled: Vec<LeaderChange>,
}

/// A leader that is seen now.
struct Seen<'a> {
    term: u64,
    leader: &'a Peer,
    /// How long ago the leader before was last heard, ms, if that is known.
    silent_ms: Option<u64>,
    now_ms: u64,
    wall_ms: u64,
}

impl Leaders {
    /// Notes that there is no leader now.
    fn miss(&mut self, now_ms: u64) {
        self.missing_since_ms.get_or_insert(now_ms);
    }

    /// Who led last, if that is another than this.
    fn before(&self, term: u64, leader: &Peer) -> Option<&Peer> {
        let (last, peer) = self.last.as_ref()?;
        (*last != term || peer.id != leader.id).then_some(peer)
    }

    /// Notes who leads now. Returns the leader before it when this is a change that needs a cause.
    fn see(&mut self, seen: &Seen<'_>) -> Option<Peer> {
        let Seen { term, leader, silent_ms, now_ms, wall_ms } = *seen;
        let missing_since_ms = self.missing_since_ms.take();
        if self.last.is_some() && self.before(term, leader).is_none() {
            return None;
        }
        let before = self.last.replace((term, leader.clone()));
        let has_resigned = |led: u64| {
            self.resigned.is_some_and(|(term, at_ms)| {
                term == led && now_ms.saturating_sub(at_ms) <= RESIGNATION_MS
            })
        };
        let cause = match &before {
            None => Cause::Start,
            Some((term, _)) if has_resigned(*term) => Cause::Transfer,
            Some(_) => Cause::Unknown,
        };
        let missing_ms = missing_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms));
        let gap_ms = silent_ms.unwrap_or(0).max(missing_ms);
        let from = before.as_ref().map_or("", |(_, peer)| peer.label.as_str());
        let name = cause.as_str();
        tracing::info!(
            term,
            from,
            to = leader.label,
            gap_ms,
            cause = name,
            "the leader has changed"
        );
        let leader = leader.label.clone();
        let change = LeaderChange { term, leader, at_ms: wall_ms, gap_ms, cause };
        self.changes.push_front(change.clone());
        self.changes.truncate(CHANGES_MAX);
        if cause != Cause::Unknown {
            self.count(cause);
            self.settled.push(change);
            return None;
        }
        before.map(|(_, peer)| peer)
    }

    fn count(&mut self, cause: Cause) {
        *self.counts.entry(cause.as_str()).or_default() += 1;
    }

    /// How many changes of leader this node saw, by their cause.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.clone()
    }

    /// The last changes, the newest first.
    pub(super) fn changes(&self) -> Vec<LeaderChange> {
        self.changes.iter().cloned().collect()
    }

    /// Names the cause of the change to `term`, which was looked for.
    fn explain(&mut self, term: u64, cause: Cause) {
        self.count(cause);
        let change = self.changes.iter_mut().find(|change| change.term == term);
        let Some(change) = change else { return };
        if change.cause != cause {
            tracing::info!(term, cause = cause.as_str(), "why the leader has changed");
            change.cause = cause;
        }
        self.settled.push(change.clone());
    }

    /// The changes whose cause is known, or was looked for in vain, since this was last asked.
    fn take_settled(&mut self) -> Vec<LeaderChange> {
        std::mem::take(&mut self.settled)
    }

    /// Why that term has the leader that it has, if that is known here.
    pub(super) fn cause_of(&self, term: u64) -> Option<Cause> {
        let change = self.changes.iter().find(|change| change.term == term)?;
        // That this node knew no leader before says nothing to those that did.
        Some(change.cause).filter(|cause| !matches!(cause, Cause::Unknown | Cause::Start))
    }
}

impl Node {
    /// Notes the leader of a status.
    pub(super) fn note_leader(self: &Arc<Self>, status: &raft::Status) {
        let now_ms = self.clock.monotonic_ms();
        let Some(leader) = &status.leader else {
            self.leaders().miss(now_ms);
            return;
        };
        let mut leaders = self.leaders();
        let before = leaders.before(status.term, leader).map(|peer| peer.id);
        let silent = before.and_then(|id| self.replica.last_heard_of(id));
        let seen = Seen {
            term: status.term,
            leader,
            silent_ms: silent.map(|at| whole_ms(at.elapsed())),
            now_ms,
            wall_ms: self.clock.wall_ms(),
        };
        let before = leaders.see(&seen);
        drop(leaders);
        self.tell_of_leaders();
        if let Some(before) = before {
            self.spawn(explain(Arc::clone(self), status.term, before));
        }
    }

    /// Notes that the leader of `term` is about to hand over.
    pub(super) fn note_resignation(&self, term: u64) {
        let now_ms = self.clock.monotonic_ms();
        self.leaders().resigned = Some((term, now_ms));
    }

    /// Notes that this node, which has failed to hand over, leads on in the same term, if it does.
    pub(super) fn withdraw_resignation(&self) {
        let Route::Here { term } = self.standing.borrow().route() else { return };
        let mut leaders = self.leaders();
        leaders.resigned = leaders.resigned.filter(|(resigned, _)| *resigned != term);
    }

    /// Makes events of the changes that are settled.
    fn tell_of_leaders(&self) {
        let settled = self.leaders().take_settled();
        for change in settled {
            self.bells.events().record_one(change.at_ms, Happening::LeaderElected(change));
        }
    }

    pub(super) fn leaders(&self) -> MutexGuard<'_, Leaders> {
        self.leaders.lock().expect("nothing panics while the leaders are locked")
    }

    /// Why this replica stood for election in that term before its timer told it to, if it did.
    pub(super) fn stood_because(&self, term: u64) -> Option<Cause> {
        let stood = self.replica.status().borrow().stood?;
        (stood.term == term).then(|| stood.suspicion.into())
    }
}

/// Says why the leadership changed. The new leader knows best; where it does not, a former leader that
/// refuses a connection has crashed, and one that does not was silent for a while.
async fn explain(node: Arc<Node>, term: u64, before: Peer) {
    let cause = match told_by_leader(&node, term).await {
        Some(cause) => cause,
        None if refuses_connections(&node, &before).await => Cause::Crash,
        None => Cause::Unknown,
    };
    node.leaders().explain(term, cause);
    node.tell_of_leaders();
}

/// What the leader of that term says, this node or another.
async fn told_by_leader(node: &Node, term: u64) -> Option<Cause> {
    if let Some(cause) = node.stood_because(term) {
        return Some(cause);
    }
    let me = node.replica.status().borrow().me.id;
    for _ in 0..ASK_TRIES {
        let status = node.replica.status().borrow().clone();
        let leader = status.leader.filter(|leader| status.term == term && leader.id != me)?;
        let request = Request::Cause { term }.encode();
        let answer = node.replica.call(&leader, request, ASK_PATIENCE).await;
        if let Ok(Response::Cause(cause)) =
            answer.map_or(Ok(Response::Declined), |bytes| Response::decode(&bytes))
        {
            return cause;
        }
        sleep(ASK_PAUSE).await;
    }
    None
}

async fn refuses_connections(node: &Node, peer: &Peer) -> bool {
    if peer.id == node.replica.status().borrow().me.id {
        return false;
    }
    let asked_at = Instant::now();
    let answer = node.replica.call(peer, Request::Ping.encode(), PING_PATIENCE).await;
    answer == Err(CallError::Unreachable) && asked_at.elapsed() < REFUSED_WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64) -> Peer {
        Peer { id, label: format!("n{id}"), address: String::new() }
    }

    fn see(leaders: &mut Leaders, term: u64, id: u64, now_ms: u64) -> Option<Peer> {
        let leader = peer(id);
        leaders.see(&Seen { term, leader: &leader, silent_ms: None, now_ms, wall_ms: 9_000 })
    }

    #[test]
    fn the_first_leader_seen_is_a_start() {
        let mut leaders = Leaders::default();
        leaders.miss(100);
        assert_eq!(see(&mut leaders, 1, 1, 140), None);
        let expected = LeaderChange {
            term: 1,
            leader: "n1".into(),
            at_ms: 9_000,
            gap_ms: 40,
            cause: Cause::Start,
        };
        assert_eq!(leaders.changes(), [expected]);
    }

    #[test]
    fn a_resigned_leader_is_a_transfer_and_an_unexplained_change_is_looked_into() {
        let mut leaders = Leaders::default();
        see(&mut leaders, 1, 1, 0);
        leaders.resigned = Some((1, 4));
        assert_eq!(see(&mut leaders, 2, 2, 5), None);
        assert_eq!(leaders.cause_of(2), Some(Cause::Transfer));
        assert_eq!(see(&mut leaders, 3, 3, 5), Some(peer(2)));
        assert_eq!(leaders.cause_of(3), None);
        leaders.explain(3, Cause::Crash);
        assert_eq!(leaders.cause_of(3), Some(Cause::Crash));
        assert_eq!(
            leaders.changes().iter().map(|change| change.term).collect::<Vec<_>>(),
            [3, 2, 1]
        );
        let counts = [("crash", 1), ("start", 1), ("transfer", 1)];
        assert_eq!(leaders.counts(), counts.into_iter().collect());
        let settled = leaders.take_settled();
        let told: Vec<_> = settled.iter().map(|change| (change.term, change.cause)).collect();
        assert_eq!(told, [(1, Cause::Start), (2, Cause::Transfer), (3, Cause::Crash)], "each once");
        assert_eq!(leaders.take_settled(), []);
    }

    // Situation: a leader says that it will hand over, finds nobody, leads on, and crashes a little later.
    #[test]
    fn a_resignation_that_came_to_nothing_explains_nothing() {
        let mut leaders = Leaders::default();
        see(&mut leaders, 1, 1, 0);
        leaders.resigned = Some((1, 1_000));
        assert_eq!(see(&mut leaders, 2, 2, 1_001 + RESIGNATION_MS), Some(peer(1)));
        leaders.resigned = Some((2, 8_000));
        assert_eq!(see(&mut leaders, 3, 3, 8_000 + RESIGNATION_MS), None);
    }

    #[test]
    fn a_leader_that_was_missed_and_came_back_in_its_term_is_no_change() {
        let mut leaders = Leaders::default();
        see(&mut leaders, 1, 1, 0);
        let before = leaders.changes();
        leaders.miss(10);
        assert_eq!(see(&mut leaders, 1, 1, 30), None);
        assert_eq!(leaders.changes(), before);
    }

    #[test]
    fn a_gap_begins_when_the_leader_before_was_last_heard() {
        let mut leaders = Leaders::default();
        see(&mut leaders, 1, 1, 0);
        leaders.miss(1_000);
        let leader = peer(2);
        let seen =
            Seen { term: 2, leader: &leader, silent_ms: Some(150), now_ms: 1_010, wall_ms: 0 };
        leaders.see(&seen);
        assert_eq!(leaders.changes()[0].gap_ms, 150, "its detection is part of it");
    }

    #[test]
    fn the_last_changes_are_kept_and_no_more() {
        let mut leaders = Leaders::default();
        for term in 1..=CHANGES_MAX as u64 + 5 {
            see(&mut leaders, term, term, term);
        }
        assert_eq!(leaders.changes().len(), CHANGES_MAX);
        assert_eq!(leaders.changes()[0].term, CHANGES_MAX as u64 + 5);
    }

    #[test]
    fn what_a_voter_saw_of_the_leader_is_the_cause() {
        assert_eq!(Cause::from(Suspicion::Refused), Cause::Crash);
        assert_eq!(Cause::from(Suspicion::Restarted), Cause::Crash);
        assert_eq!(Cause::from(Suspicion::Silent { takes_connections: true }), Cause::Hang);
        assert_eq!(Cause::from(Suspicion::Silent { takes_connections: false }), Cause::Partition);
    }
}
