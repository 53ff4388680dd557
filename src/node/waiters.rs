//! Parked claims. One job that becomes ready rings one bell: that of the oldest claim that it fits.
//!
//! No wake-up is lost, by four rules that `claims` follows:
//! 1. park first, look at the queue after: a job that comes in between rings;
//! 2. whoever was rung parks again at its old place, and looks again; its bell is spent when it finds
//!    nothing then;
//! 3. whoever was rung and took something else, or left, passes the bell on;
//! 4. so does whoever may not claim (a worker that is to drain), and stands aside.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::Reason;
use crate::queue::{Claim, QueueName, WorkType};

/// The pairs of a queue and a kind that one claim may wait for.
const CLAIM_KEYS_MAX: usize = 10_000;
/// The pairs that all parked claims may wait for together: about 200 MB of index.
const LINE_KEYS_MAX: usize = 1_000_000;
/// What a client is told to wait when the line is full, ms.
const RETRY_AFTER_MS: u64 = 1_000;

/// What became ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// Where.
    pub(super) queue: QueueName,
    /// Of which kind.
    pub(super) work_type: WorkType,
}

/// A queue and a kind that a claim waits for; `None` is any.
type Key = (Option<QueueName>, Option<WorkType>);
/// When a claim first parked: its place in the line, kept for as long as it waits.
type Turn = u64;

/// The line of parked claims on this node.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    line: Mutex<Line>,
}

impl Waiters {
    /// Rings the oldest claim that this fits, if any.
    pub(super) fn ring(&self, call: &Call) {
        self.lock().ring(call);
    }

    /// Rings every claim that takes jobs of this queue: how many of them find one is not known.
    pub(super) fn ring_all_of(&self, queue: &QueueName) {
        self.lock().ring_all_of(queue);
    }

    /// A place at the end of the line, not yet parked.
    pub(super) fn join(self: &Arc<Self>, claim: &Claim) -> Result<Place, Reason> {
        let is_too_wide =
            claim.queues.len().max(1) * claim.work_types.len().max(1) > CLAIM_KEYS_MAX;
        let mut line = self.lock();
        if is_too_wide || line.keys >= LINE_KEYS_MAX {
            return Err(Reason::TooManyWaiters { retry_after_ms: RETRY_AFTER_MS });
        }
        line.next_turn += 1;
        Ok(Place {
            waiters: Arc::clone(self),
            turn: line.next_turn,
            keys: keys_of(claim),
            bell: Arc::new(Notify::new()),
            heard: None,
        })
    }

    /// How many stand in line.
    pub(super) fn parked(&self) -> usize {
        self.lock().parked.len()
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("nothing panics while the line is locked")
    }
}

/// One claim's place in the line. Dropping it gives the place up and passes an unused bell on.
#[derive(Debug)]
pub(super) struct Place {
    waiters: Arc<Waiters>,
    turn: Turn,
    keys: Arc<[Key]>,
    bell: Arc<Notify>,
    /// The bell that it was rung by before it parked, until it is known what came of it.
    heard: Option<Call>,
}

impl Place {
    /// Stands in line, at its old place if it stood there before. The caller looks at the queue after
    /// this, and then says what came of that.
    pub(super) fn park(&mut self) {
        let mut line = self.waiters.lock();
        if let Some(call) = line.rung.remove(&self.turn)
            && let Some(before) = self.heard.replace(call)
        {
            line.ring(&before);
        }
        line.park(self.turn, &self.keys, &self.bell);
    }

    /// Stays in line: it looked after it had parked and there was nothing. The bell of before is spent.
    pub(super) fn stay(&mut self) {
        self.heard = None;
    }

    /// Steps out of the line, and passes on the bells that were meant for it: that of before, and one
    /// that has rung since.
    pub(super) fn stand_aside(&mut self) {
        self.let_go(|_| false);
    }

    /// Steps out of the line to try its luck; jobs that come now ring others.
    pub(super) fn step_out(&self) {
        self.waiters.lock().unpark(self.turn);
    }

    /// Waits for the bell.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Leaves with `taken`, what it was granted. A bell that it was rung by is spent by one of those
    /// of the kind that rang; else it is passed on.
    pub(super) fn leave_with<'a>(
        mut self,
        taken: impl Iterator<Item = (&'a QueueName, &'a WorkType)>,
    ) {
        let mut taken: Vec<_> = taken.collect();
        self.let_go(|call| {
            let spends = |taken: &(&QueueName, &WorkType)| {
                *taken.0 == call.queue && *taken.1 == call.work_type
            };
            let place = taken.iter().position(spends);
            place.map(|place| taken.swap_remove(place)).is_some()
        });
    }

    /// Steps out of the line, and passes on each bell of its that is not spent.
    fn let_go(&mut self, mut is_spent: impl FnMut(&Call) -> bool) {
        let mut line = self.waiters.lock();
        line.unpark(self.turn);
        let since = line.rung.remove(&self.turn);
        for call in self.heard.take().into_iter().chain(since) {
            if !is_spent(&call) {
                line.ring(&call);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.let_go(|_| false);
    }
}

/// Every pair of a queue and a kind that a claim takes.
fn keys_of(claim: &Claim) -> Arc<[Key]> {
    let queues = any_or(&claim.queues);
    let work_types = any_or(&claim.work_types);
    let keys: BTreeSet<Key> = queues
        .iter()
        .flat_map(|queue| work_types.iter().map(|work_type| (queue.clone(), work_type.clone())))
        .collect();
    keys.into_iter().collect()
}

fn any_or<T: Clone>(listed: &[T]) -> Vec<Option<T>> {
    if listed.is_empty() { vec![None] } else { listed.iter().cloned().map(Some).collect() }
}

/// Who stands in line, by what they wait for.
#[derive(Debug, Default)]
struct Line {
    next_turn: Turn,
    /// The keys of all who are parked.
    keys: usize,
    parked: BTreeMap<Turn, Parked>,
    by_key: BTreeMap<Key, BTreeSet<Turn>>,
    /// Who was rung, out of the line, and has not yet said what came of it.
    rung: BTreeMap<Turn, Call>,
}

#[derive(Debug)]
struct Parked {
    keys: Arc<[Key]>,
    bell: Arc<Notify>,
}

impl Line {
    fn park(&mut self, turn: Turn, keys: &Arc<[Key]>, bell: &Arc<Notify>) {
        for key in &**keys {
            self.by_key.entry(key.clone()).or_default().insert(turn);
        }
        self.keys += keys.len();
        self.parked.insert(turn, Parked { keys: Arc::clone(keys), bell: Arc::clone(bell) });
    }

    fn unpark(&mut self, turn: Turn) -> Option<Parked> {
        let parked = self.parked.remove(&turn)?;
        self.keys -= parked.keys.len();
        for key in &*parked.keys {
            if let Some(turns) = self.by_key.get_mut(key) {
                turns.remove(&turn);
                if turns.is_empty() {
                    self.by_key.remove(key);
                }
            }
        }
        Some(parked)
    }

    fn ring(&mut self, call: &Call) {
        if self.parked.is_empty() {
            return;
        }
        let (queue, work_type) = (&call.queue, &call.work_type);
        let keys: [Key; 4] = [
            (Some(queue.clone()), Some(work_type.clone())),
            (Some(queue.clone()), None),
            (None, Some(work_type.clone())),
            (None, None),
        ];
        let first = keys.iter().filter_map(|key| self.by_key.get(key)?.first().copied()).min();
        if let Some(turn) = first
            && let Some(parked) = self.unpark(turn)
        {
            self.rung.insert(turn, call.clone());
            parked.bell.notify_one();
        }
    }

    /// No bell of these is passed on: everyone was rung.
    fn ring_all_of(&mut self, queue: &QueueName) {
        let named = (Some(queue.clone()), None);
        let of_queue =
            self.by_key.range(named..).take_while(|(key, _)| key.0.as_ref() == Some(queue));
        let of_any = self.by_key.iter().take_while(|(key, _)| key.0.is_none());
        let turns: BTreeSet<Turn> =
            of_any.chain(of_queue).flat_map(|(_, turns)| turns).copied().collect();
        for turn in turns {
            if let Some(parked) = self.unpark(turn) {
                parked.bell.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests;
