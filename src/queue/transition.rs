//! What became of which job, for whoever watches. Nothing in the rules looks at it again, and nothing of
//! it is built while nobody watches.

use super::{
    Applied, AttemptEnd, Entry, JobId, JobState, QueueName, Rev, State, Token, WorkType, WorkerId,
    job::{Attempt, Job},
};

/// One thing that happened to one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// What happened.
    pub kind: TransitionKind,
    /// To which job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub work_type: WorkType,
    /// Its state since then.
    pub state: JobState,
    /// The revision that it made. A purge makes one for all of its jobs: each of them shows the revision
    /// at which it was cleared away.
    pub rev: Rev,
    /// The attempt that began, started or ended with it; `None`: it is about no attempt.
    pub attempt: Option<WatchedAttempt>,
}

/// The attempt that a transition is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedAttempt {
    /// Which it is, from 1.
    pub number: u32,
    /// Its fencing token.
    pub token: Token,
    /// Who holds or held it.
    pub worker: WorkerId,
    /// How it ended, if it did.
    pub end: Option<AttemptEnd>,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransitionKind {
    /// It was added.
    Added,
    /// It is no longer blocked, and waits for its time.
    Scheduled,
    /// Its time has come, or the last of its dependencies has ended: it may be claimed.
    Pending,
    /// It was leased to a worker.
    Claimed,
    /// Its worker has said that it runs it.
    Started,
    /// It is completed.
    Completed,
    /// An attempt failed; another one follows.
    Retrying,
    /// Its worker gave it back.
    Released,
    /// Its lease ran out; another attempt follows.
    LeaseExpired,
    /// Its worker's session ended; another attempt follows.
    WorkerDown,
    /// It is a dead letter.
    Failed,
    /// It was called off, alone or by a purge.
    Cancelled,
    /// It was not claimed in time.
    Expired,
    /// It had finished and was put back.
    Retried,
}

impl State {
    /// As [`State::apply`], and says what became of which job: first what time did, then the commands'
    /// doing, in the order of the revisions.
    pub fn apply_watched(&mut self, entry: &Entry) -> (Applied, Vec<Transition>) {
        self.watched = Some(Vec::new());
        let applied = self.apply(entry);
        (applied, self.watched.take().unwrap_or_default())
    }
}

impl Transition {
    /// What has become of a job that was added just now.
    pub(super) fn of_added(job: &Job, rev: Rev) -> impl Iterator<Item = Self> {
        // One that depends on what has failed already never waits.
        let ended = job.state().is_terminal().then_some(TransitionKind::Failed);
        let kinds = [Some(TransitionKind::Added), ended].into_iter().flatten();
        kinds.map(move |kind| Self::new(kind, job, rev, None))
    }

    /// What has become of a job that was in that state.
    pub(super) fn of_change(before: JobState, job: &Job, rev: Rev) -> Self {
        let was_leased = matches!(before, JobState::Claimed | JobState::Running);
        let is_leased = job.lease().is_some();
        let attempt = job.attempts.last().filter(|_| was_leased || is_leased);
        Self::new(kind_of(before, job.state(), attempt), job, rev, attempt)
    }

    fn new(kind: TransitionKind, job: &Job, rev: Rev, attempt: Option<&Attempt>) -> Self {
        Self {
            kind,
            job: job.id.clone(),
            queue: job.queue.clone(),
            work_type: job.work_type.clone(),
            state: job.state(),
            rev,
            attempt: attempt.map(|attempt| WatchedAttempt {
                number: attempt.number,
                token: attempt.token,
                worker: attempt.worker.clone(),
                end: attempt.ended.as_ref().map(|ended| ended.how),
            }),
        }
    }
}

/// What led from one state to another; `attempt` is the one that was or is under way.
fn kind_of(before: JobState, after: JobState, attempt: Option<&Attempt>) -> TransitionKind {
    match after {
        JobState::Completed => TransitionKind::Completed,
        JobState::Failed => TransitionKind::Failed,
        JobState::Cancelled => TransitionKind::Cancelled,
        JobState::Expired => TransitionKind::Expired,
        JobState::Claimed => TransitionKind::Claimed,
        JobState::Running => TransitionKind::Started,
        _ if before.is_terminal() => TransitionKind::Retried,
        JobState::Scheduled | JobState::Blocked | JobState::Pending => {
            let ended = attempt.and_then(|attempt| attempt.ended.as_ref());
            match ended.map(|ended| ended.how) {
                Some(AttemptEnd::Failed) => TransitionKind::Retrying,
                Some(AttemptEnd::Released) => TransitionKind::Released,
                Some(AttemptEnd::Expired) => TransitionKind::LeaseExpired,
                Some(AttemptEnd::WorkerDown) => TransitionKind::WorkerDown,
                _ if after == JobState::Scheduled => TransitionKind::Scheduled,
                _ => TransitionKind::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests;
