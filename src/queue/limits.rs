//! The numbers that bound the queue, and the defaults of a job. They are part of the replicated
//! state: every replica must hold the same ones.

use serde::{Deserialize, Serialize};

/// The lease of a job that names none, ms.
pub const LEASE_MS_DEFAULT: u64 = 30_000;
/// The shortest lease, ms. A shorter one that a claim or heartbeat asks for is raised to it.
pub const LEASE_MS_MIN: u64 = 100;
/// The longest lease, ms (12 h). A longer one that a claim or heartbeat asks for is cut to it.
pub const LEASE_MS_MAX: u64 = 43_200_000;
/// The attempts of a job that names no number.
pub const MAX_ATTEMPTS_DEFAULT: u32 = 3;
/// The greatest number of attempts a job may name.
pub const MAX_ATTEMPTS_MAX: u32 = 1000;
/// The queue and the kind of a job that names none.
pub const NAME_DEFAULT: &str = "default";
/// The priority of a job that names none.
pub const PRIORITY_DEFAULT: u8 = 50;
/// The greatest priority.
pub const PRIORITY_MAX: u8 = 100;
/// The greatest number of tags of a job.
pub const TAGS_MAX: usize = 16;
/// The greatest number of jobs that one bulk retry puts back.
pub const RETRY_MAX: u32 = 1000;
/// The greatest rate of a queue, grants per second.
pub const RATE_MAX: u32 = 1_000_000;
/// How exactly it is known when a worker was last heard of, ms: not every heartbeat is written down.
pub const SEEN_GRAIN_MS: u64 = 10_000;
/// The greatest number of jobs that one claim is granted.
pub const CLAIM_MAX: u32 = 1000;
/// How many attempts a job remembers; the oldest is forgotten first.
pub const ATTEMPTS_KEPT: usize = 32;

/// The bounds of one queue state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// How long a finished job stays before a tombstone takes its place, ms.
    pub retention_ms: u64,
    /// A tombstone stays as long as this or as `retention_ms`, whichever is longer, ms.
    pub tombstone_floor_ms: u64,
    /// How many tombstones there may be. At that number adds are refused and finished jobs wait in
    /// the state for room: no tombstone goes before its time.
    pub tombstones_max: u64,
    /// How many jobs time alone may change in one entry (guarantees, rule 9); the rest waits for the
    /// next one.
    pub steps_max: u32,
    /// How long an operation is known again by its request id, ms.
    pub memory_ms: u64,
    /// How much of operations may be remembered at once: each counts one, and one more for every job
    /// that it put back. At that number further operations are refused.
    pub memory_max: u64,
    /// A worker is forgotten after this long without a grant or a heartbeat, ms, unless it holds jobs.
    pub worker_ms: u64,
    /// How many workers are listed; one more is granted jobs all the same.
    pub workers_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retention_ms: 3_600_000,
            tombstone_floor_ms: 300_000,
            tombstones_max: 5_000_000,
            steps_max: 2_000,
            memory_ms: 300_000,
            memory_max: 1_000_000,
            worker_ms: 3_600_000,
            workers_max: 100_000,
        }
    }
}

impl Limits {
    /// How long a tombstone stays, ms.
    pub(super) fn tombstone_ms(&self) -> u64 {
        self.retention_ms.max(self.tombstone_floor_ms)
    }
}
