//! Parked claims. One job that becomes ready rings one bell: that of the oldest claim that it fits.
//!
//! No wake-up is lost, by three rules that `claims` follows:
//! 1. park first, look at the queue after: a job that comes in between rings;
//! 2. whoever was rung and found nothing parks again at its old place, and looks again;
//! 3. whoever was rung and took something else, or left, passes the bell on.

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
}

impl Place {
    /// Stands in line, at its old place if it stood there before. A bell that rang for it before is
    /// spent: the caller looks at the queue after this.
    pub(super) fn park(&self) {
        let mut line = self.waiters.lock();
        line.rung.remove(&self.turn);
        line.park(self.turn, &self.keys, &self.bell);
    }

    /// Steps out of the line to try its luck; jobs that come now ring others.
    pub(super) fn step_out(&self) {
        self.waiters.lock().unpark(self.turn);
    }

    /// Waits for the bell.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Leaves with `taken`, what it was granted. The bell it was rung by is spent if one of those
    /// is of the kind that rang; else it is passed on.
    pub(super) fn leave_with<'a>(
        self,
        mut taken: impl Iterator<Item = (&'a QueueName, &'a WorkType)>,
    ) {
        let mut line = self.waiters.lock();
        if let Some(call) = line.rung.get(&self.turn)
            && taken.any(|(queue, work_type)| *queue == call.queue && *work_type == call.work_type)
        {
            line.rung.remove(&self.turn);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.waiters.lock();
        line.unpark(self.turn);
        if let Some(call) = line.rung.remove(&self.turn) {
            line.ring(&call);
        }
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
        let takes = |key: &Key| key.0.as_ref().is_none_or(|named| named == queue);
        let fitting = self.parked.iter().filter(|(_, parked)| parked.keys.iter().any(takes));
        let turns: Vec<Turn> = fitting.map(|(turn, _)| *turn).collect();
        for turn in turns {
            if let Some(parked) = self.unpark(turn) {
                parked.bell.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests;
