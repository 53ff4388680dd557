//! Workers, as far as the queue must remember them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answer, ClockMs, Rejection, State, WallMs, WorkerId};

/// What is kept of a worker. Opaque outside the rules: [`super::WorkerView`] is what others see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerRecord {
    pub(super) id: WorkerId,
    /// From its last claim that was granted something.
    pub(super) labels: BTreeMap<String, String>,
    /// Likewise.
    pub(super) session: Option<u64>,
    /// Whether it is told to claim no more.
    pub(super) is_draining: bool,
    /// Its last grant, heartbeat or drain, to [`super::SEEN_GRAIN_MS`].
    pub(super) seen: ClockMs,
    /// The same, as people read it.
    pub(super) seen_at: WallMs,
}

impl State {
    pub(super) fn drain_worker(
        &mut self,
        worker: &WorkerId,
        is_draining: bool,
    ) -> Result<Answer, Rejection> {
        let _ = (worker, is_draining);
        unreachable!("not written yet")
    }
}
