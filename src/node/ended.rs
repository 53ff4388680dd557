//! Who waits for a job's end, on this replica's own applies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::Reason;
use crate::queue::JobId;

/// What a client is told to wait when all places are taken, ms.
const RETRY_AFTER_MS: u64 = 1_000;

/// The places of those who wait, by job.
#[derive(Debug, Default)]
pub(super) struct Ended {
    watches: Mutex<Watches>,
}

#[derive(Debug, Default)]
struct Watches {
    next: u64,
    by_job: BTreeMap<(JobId, u64), Arc<Notify>>,
}

impl Ended {
    /// Takes one of `places` places. Look at the job after this: an end that comes in between
    /// rings.
    pub(super) fn watch(self: &Arc<Self>, job: &JobId, places: usize) -> Result<Watch, Reason> {
        let mut watches = self.lock();
        if watches.by_job.len() >= places {
            return Err(Reason::TooManyWaiters { retry_after_ms: RETRY_AFTER_MS });
        }
        watches.next += 1;
        let key = (job.clone(), watches.next);
        let bell = Arc::new(Notify::new());
        watches.by_job.insert(key.clone(), Arc::clone(&bell));
        Ok(Watch { ended: Arc::clone(self), key, bell })
    }

    /// Rings everyone who waits for that job.
    pub(super) fn ring(&self, job: &JobId) {
        let watches = self.lock();
        if watches.by_job.is_empty() {
            return;
        }
        for (_, bell) in watches.by_job.range((job.clone(), 0)..=(job.clone(), u64::MAX)) {
            bell.notify_one();
        }
    }

    /// Rings everyone: a purge or a new state as a whole, so anything may have ended.
    pub(super) fn ring_all(&self) {
        self.lock().by_job.values().for_each(|bell| bell.notify_one());
    }

    fn lock(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().expect("nothing panics while the watches are locked")
    }
}

/// One place, given up when dropped.
#[derive(Debug)]
pub(super) struct Watch {
    ended: Arc<Ended>,
    key: (JobId, u64),
    bell: Arc<Notify>,
}

impl Watch {
    /// Waits for the bell. It may ring early: look, and wait again.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.lock().by_job.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> JobId {
        JobId::parse(name).unwrap()
    }

    #[tokio::test]
    async fn an_end_rings_everyone_who_waits_for_that_job_and_nobody_else() {
        let ended = Arc::new(Ended::default());
        let [first, second] = [(); 2].map(|()| ended.watch(&job("a"), 9).unwrap());
        let other = ended.watch(&job("ab"), 9).unwrap();
        ended.ring(&job("a"));
        first.rung().await;
        second.rung().await;
        assert!(tokio::time::timeout(std::time::Duration::ZERO, other.rung()).await.is_err());
        ended.ring_all();
        other.rung().await;
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let ended = Arc::new(Ended::default());
        let place = ended.watch(&job("a"), 1).unwrap();
        assert!(matches!(ended.watch(&job("b"), 1), Err(Reason::TooManyWaiters { .. })));
        drop(place);
        ended.watch(&job("b"), 1).unwrap();
    }
}
