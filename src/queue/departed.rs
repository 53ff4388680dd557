//! Finished jobs that have left the state, for whoever keeps them longer. Nothing in the rules looks
//! at them again.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    ClockMs, Job, JobView, State,
    job::{Attempt, Phase},
};

/// The jobs that an entry sent away. What stays of them is replicated as their tombstones, so these
/// are no part of what replicas compare: any two are equal, and their hash is that of nothing.
#[derive(Debug, Clone, Default)]
pub struct Departed(pub Vec<Arc<Job>>);

impl PartialEq for Departed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Departed {}

impl Hash for Departed {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What can be seen of a job without its state.
impl Job {
    /// The end of its retention, on the cluster clock: jobs depart in the order of this, then of their
    /// numbers. `None` while it is not finished.
    pub fn retained_until(&self) -> Option<ClockMs> {
        match self.phase {
            Phase::Ended(ending) => Some(ending.reap_at),
            _ => None,
        }
    }

    /// The whole job, as it was when it departed. (A finished job has no lease, and nothing else
    /// depends on the clock.)
    pub fn view(&self) -> JobView {
        State::view_at(ClockMs::default(), self)
    }

    /// What its clients wrote in it, bytes: most of what it takes in memory.
    pub fn content_bytes(&self) -> usize {
        let tags = self.tags.iter().flat_map(|tags| tags.iter());
        let tags: usize = tags.map(|(key, value)| key.len() + value.len()).sum();
        let bonds = self.bonds.iter().flat_map(|bonds| &bonds.depends_on);
        let bonds: usize = bonds.map(|job| job.as_str().len()).sum();
        let reported = self.report.as_ref().map_or(0, |report| {
            let parts = [&report.progress, &report.result];
            parts.into_iter().flatten().map(bytes::Bytes::len).sum()
        });
        let errors: usize = self.attempts.iter().map(error_bytes).sum();
        self.payload.bytes.len() + tags + bonds + reported + errors
    }
}

fn error_bytes(attempt: &Attempt) -> usize {
    let error = attempt.ended.as_ref().and_then(|ended| ended.error.as_ref());
    error.map_or(0, |error| error.len())
}
