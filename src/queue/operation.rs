//! Operations: known again by their request ids, for a while.

use serde::{Deserialize, Serialize};

use super::{Action, Answer, Change, ClockMs, Operation, Rejection, RequestId, State};

/// An operation that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub(super) request_id: RequestId,
    /// The hash of its action: another one under the same id is a conflict.
    pub(super) action: u64,
    /// What a repeat answers.
    pub(super) answer: Answer,
    /// It is forgotten when the cluster clock has reached this.
    pub(super) until: ClockMs,
}

impl State {
    /// Carries an operation out, unless it was before.
    pub(super) fn operate(
        &mut self,
        operation: &Operation,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        // Memory, then:
        match &operation.action {
            Action::RetryJob(job) => self.retry_job(job, changes),
            Action::RetryJobs(retry) => self.retry_jobs(retry, changes),
            Action::SetQueue(set) => self.set_queue(set, changes),
            Action::PauseQueue { queue, is_paused } => self.pause_queue(queue, *is_paused, changes),
            Action::PurgeQueue(queue) => self.purge_queue(queue, changes),
            Action::DeleteQueue(queue) => self.delete_queue(queue),
            Action::DrainWorker { worker, is_draining } => self.drain_worker(worker, *is_draining),
        }
    }
}
