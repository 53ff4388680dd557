//! Operations: known again by their request ids, for a while.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Action, Answer, Change, ClockMs, Once, Operation, Rejection, RequestId, State, chain};

/// An operation that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    pub(super) request_id: RequestId,
    /// The hash of its action: another one under the same id is a conflict.
    pub(super) action: u64,
    /// What it answered. A repeat answers the same, as a duplicate.
    pub(super) answer: Answer,
    /// It is forgotten when the cluster clock has reached this.
    pub(super) until: ClockMs,
}

/// What is remembered, by when it is forgotten, and how much it is. Derived; rebuilt at load.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Memories {
    by_until: BTreeSet<(ClockMs, RequestId)>,
    weight: u64,
}

impl Memories {
    pub(super) fn enter(&mut self, remembered: &Remembered) {
        self.by_until.insert((remembered.until, remembered.request_id.clone()));
        self.weight += remembered.weight();
    }

    fn leave(&mut self, remembered: &Remembered) {
        self.by_until.remove(&(remembered.until, remembered.request_id.clone()));
        self.weight -= remembered.weight();
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_until.len()
    }

    /// One for each, and one more for each job that it put back.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// When the first is forgotten.
    pub(super) fn next_until(&self) -> Option<ClockMs> {
        self.by_until.first().map(|first| first.0)
    }

    /// The first that is to be forgotten by now.
    fn due(&self, clock: ClockMs) -> Option<&RequestId> {
        self.by_until.first().filter(|first| first.0 <= clock).map(|first| &first.1)
    }
}

impl State {
    /// Carries an operation out, unless it was before.
    pub(super) fn operate(
        &mut self,
        operation: &Operation,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let action = chain::hash_of(&operation.action);
        if let Some(known) = self.memory.get(&operation.request_id) {
            return if known.action == action {
                Ok(known.answer.repeated())
            } else {
                Err(Rejection::RequestIdConflict)
            };
        }
        self.check_memory(&operation.action)?;
        let answer = self.act(&operation.action, changes)?;
        let remembered = Remembered {
            request_id: operation.request_id.clone(),
            action,
            answer: answer.clone(),
            until: self.clock.after(self.limits.memory_ms),
        };
        self.recall(remembered);
        Ok(answer)
    }

    /// Takes a memory in; returns the one that stood in its place, if any.
    pub(super) fn recall(&mut self, remembered: Remembered) -> Option<Remembered> {
        self.indexes.memories.enter(&remembered);
        self.memory.insert(remembered.request_id.clone(), remembered)
    }

    fn act(&mut self, action: &Action, changes: &mut Vec<Change>) -> Result<Answer, Rejection> {
        match action {
            Action::RetryJob(job) => self.retry_job(job, changes),
            Action::RetryJobs(retry) => self.retry_jobs(retry, changes),
            Action::SetQueue(set) => self.set_queue(set, changes),
            Action::PauseQueue { queue, is_paused } => self.pause_queue(queue, *is_paused, changes),
            Action::PurgeQueue(queue) => self.purge_queue(queue, changes),
            Action::DeleteQueue(queue) => self.delete_queue(queue),
            Action::DrainWorker { worker, is_draining } => self.drain_worker(worker, *is_draining),
        }
    }

    /// Whether the memory of this action would find room, whatever it will have done.
    fn check_memory(&self, action: &Action) -> Result<(), Rejection> {
        let jobs_max = match action {
            Action::RetryJob(_) => 1,
            Action::RetryJobs(retry) => u64::from(retry.limit),
            _ => 0,
        };
        let memories = &self.indexes.memories;
        if memories.weight() + 1 + jobs_max <= self.limits.memory_max {
            return Ok(());
        }
        let room_at = memories.next_until().unwrap_or(self.clock);
        Err(Rejection::Full {
            reason: "too many operations are remembered by their request ids".into(),
            retry_after_ms: room_at.0.saturating_sub(self.clock.0).max(1),
        })
    }

    /// Forgets the first operation that is due to be; false when there is none.
    pub(super) fn forget_operation(&mut self) -> bool {
        let Some(due) = self.indexes.memories.due(self.clock).cloned() else { return false };
        let forgotten = self.memory.remove(&due).expect("indexes name only what is remembered");
        self.indexes.memories.leave(&forgotten);
        true
    }
}

impl Remembered {
    fn weight(&self) -> u64 {
        match &self.answer {
            Answer::Retried { jobs, .. } => 1 + jobs.len() as u64,
            _ => 1,
        }
    }
}

impl Answer {
    /// The answer to a repeat of the operation that this one answered.
    fn repeated(&self) -> Self {
        let mut repeated = self.clone();
        match &mut repeated {
            Self::Started(once)
            | Self::Completed { once, .. }
            | Self::Retrying { once, .. }
            | Self::Failed(once)
            | Self::Released(once)
            | Self::Cancelled(once)
            | Self::Retried { once, .. }
            | Self::QueueSet { once, .. }
            | Self::Purged { once, .. }
            | Self::QueueDeleted(once)
            | Self::DrainSet(once)
            | Self::WorkerDown(once) => *once = Once::Duplicate,
            Self::Added(_) | Self::Claimed(_) | Self::Heartbeat { .. } => {}
        }
        repeated
    }
}

#[cfg(test)]
mod tests;
