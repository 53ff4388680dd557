//! Queues: what each is held to, and whether claims are granted its jobs now.

use serde::{Deserialize, Serialize};

use super::{Answer, Change, ClockMs, QueueName, Rejection, SetQueue, State, purge::Purge};

/// What is kept of a queue. Opaque outside the rules: [`super::QueueView`] is what others see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    pub(super) name: QueueName,
    /// `false`: it was deleted, and stands here only while finished jobs of it are kept.
    pub(super) exists: bool,
    pub(super) settings: QueueSettings,
    /// The purges whose jobs are not all cleared away, oldest first.
    pub(super) purges: Vec<Purge>,
    /// The second that its rate counts in; `None`: none has begun.
    pub(super) window: Option<Window>,
}

/// What a queue is held to. `None` is no limit, or the default of all queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueueSettings {
    /// Whether claims pass it over.
    pub is_paused: bool,
    /// The most unfinished jobs; an add beyond is refused.
    pub max_jobs: Option<u64>,
    /// The most payload bytes of unfinished jobs; an add beyond is refused.
    pub max_bytes: Option<u64>,
    /// The lease of its jobs that name none, ms.
    pub default_lease_ms: Option<u64>,
    /// The attempts of its jobs that name no number.
    pub max_attempts: Option<u32>,
    /// The most leased jobs; a claim beyond finds nothing.
    pub max_leased: Option<u64>,
    /// The most grants within a second that begins with one; a claim beyond finds nothing.
    pub rate_per_second: Option<u32>,
}

/// One second of a queue's rate. It begins with a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) ends_at: ClockMs,
    pub(super) granted: u32,
}

impl QueueRecord {
    /// A queue that nothing was said about.
    pub(super) fn new(name: QueueName) -> Self {
        Self {
            name,
            exists: true,
            settings: QueueSettings::default(),
            purges: Vec::new(),
            window: None,
        }
    }
}

pub(super) struct Room;

impl Room {
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Rejection> {
        let _ = (self, bytes);
        Ok(())
    }
}

impl State {
    pub(super) fn room(&self, queue: &QueueName) -> Room {
        let _ = (self, queue);
        Room
    }

    pub(super) fn set_queue(
        &mut self,
        set: &SetQueue,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let _ = (set, changes);
        unreachable!("not written yet")
    }

    pub(super) fn pause_queue(
        &mut self,
        queue: &QueueName,
        is_paused: bool,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let _ = (queue, is_paused, changes);
        unreachable!("not written yet")
    }

    pub(super) fn delete_queue(&mut self, queue: &QueueName) -> Result<Answer, Rejection> {
        let _ = queue;
        unreachable!("not written yet")
    }
}
