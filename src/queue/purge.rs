//! Purging: a watermark that takes effect at once, and is cleared away in bounded steps
//! (guarantees §11).
//!
//! A purge raises the revision by one, whatever the number of its jobs. From then on each of them
//! *is* cancelled: in every answer, view and count. What is left to do about a job (its place in the
//! order of claims and in its group, its timer, those that wait for it) is done as it is *cleared*,
//! which changes nothing about its state and raises no revision.

use serde::{Deserialize, Serialize};

use super::{Answer, Change, ClockMs, JobNumber, QueueName, Rejection, State, WallMs};

/// One purge of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Purge {
    /// It cancelled the unfinished jobs with lesser numbers.
    pub(super) below: JobNumber,
    /// When.
    pub(super) at: WallMs,
    /// When tombstones may take their places.
    pub(super) reap_at: ClockMs,
}

impl State {
    pub(super) fn spare(&mut self, number: JobNumber, changes: &mut Vec<Change>) {
        let _ = (&self.jobs, number, changes);
    }

    pub(super) fn purge_queue(
        &mut self,
        queue: &QueueName,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let _ = (queue, changes);
        unreachable!("not written yet")
    }
}
