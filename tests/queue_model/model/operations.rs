//! What is known again by its request id.

use quorate::queue::{Action, Answer, Once, Operation, Rejection};

use super::{Memory, Model};

impl Model {
    pub(super) fn operate(&mut self, operation: &Operation) -> Result<Answer, Rejection> {
        let Operation { request_id, action } = operation;
        if let Some(memory) = self.memories.iter().find(|it| it.request_id == *request_id) {
            if memory.action != *action {
                self.encounter("conflict of operations");
                return Err(Rejection::RequestIdConflict);
            }
            return Ok(again(memory.answer.clone()));
        }
        let needed = match action {
            Action::RetryJobs(retry) => 1 + u64::from(retry.limit),
            Action::RetryJob(_) => 2,
            _ => 1,
        };
        let held: u64 = self.memories.iter().map(|memory| weight(&memory.answer)).sum();
        if held + needed > self.limits.memory_max {
            self.encounter("full memory of operations");
            let oldest = self.memories.iter().map(|memory| memory.until).min();
            return Err(Rejection::Full {
                reason: "too many operations are remembered by their request ids".into(),
                retry_after_ms: oldest.map_or(1, |until| until.saturating_sub(self.clock).max(1)),
            });
        }
        let answer = match action {
            Action::RetryJob(job) => self.retry_job(job),
            Action::RetryJobs(retry) => self.retry_jobs(retry),
            Action::SetQueue(set) => self.set_queue(set),
            Action::PauseQueue { queue, is_paused } => self.pause(queue, *is_paused),
            Action::PurgeQueue(queue) => self.purge(queue),
            Action::DeleteQueue(queue) => self.delete(queue),
            Action::DrainWorker { worker, is_draining } => self.drain(worker, *is_draining),
        }?;
        self.memories.push(Memory {
            request_id: request_id.clone(),
            action: action.clone(),
            answer: answer.clone(),
            until: self.clock + self.limits.memory_ms,
        });
        Ok(answer)
    }

    pub(super) fn one_memory_gone(&mut self) -> bool {
        let due = self.memories.iter().filter(|memory| memory.until <= self.clock);
        let first = due.map(|memory| (memory.until, memory.request_id.clone())).min();
        let Some((_, request_id)) = first else { return false };
        self.memories.retain(|memory| memory.request_id != request_id);
        true
    }
}

fn weight(answer: &Answer) -> u64 {
    match answer {
        Answer::Retried { jobs, .. } => 1 + jobs.len() as u64,
        _ => 1,
    }
}

fn again(answer: Answer) -> Answer {
    let once = Once::Duplicate;
    match answer {
        Answer::Retried { jobs, .. } => Answer::Retried { once, jobs },
        Answer::QueueSet { is_new, .. } => Answer::QueueSet { once, is_new },
        Answer::Purged { count, .. } => Answer::Purged { once, count },
        Answer::QueueDeleted(_) => Answer::QueueDeleted(once),
        Answer::DrainSet(_) => Answer::DrainSet(once),
        other => panic!("{other:?} is not the answer to an operation"),
    }
}
