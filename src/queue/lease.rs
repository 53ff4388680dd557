//! A lease: who may settle a job, under which token, until when.

use serde::{Deserialize, Serialize};

use super::{ClockMs, LEASE_MS_MAX, LEASE_MS_MIN, Token};

/// A lease as it stands. Its holder is the worker of the job's last attempt.
///
/// It is valid until its end is *applied*: a lease whose deadline has passed, but whose expiry an
/// entry left over, still holds. That is safe, since nobody else can hold the job until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// The revision of the grant.
    pub(super) token: Token,
    /// When it ends, on the cluster clock.
    pub(super) deadline: ClockMs,
    /// The length granted, ms; what a heartbeat extends it by unless it asks otherwise.
    pub(super) granted_ms: u64,
    /// Whether the worker has said, by `start` or a heartbeat, that it runs the job.
    pub(super) is_running: bool,
    /// The incarnation of the agent that claimed: its end is this lease's.
    pub(super) session: Option<u64>,
}

impl Lease {
    /// What is left of it, ms; 0 when its end is due and not yet applied.
    pub(super) fn remaining_ms(&self, clock: ClockMs) -> u64 {
        self.deadline.0.saturating_sub(clock.0)
    }

    /// Extends it to `clock + lease_ms`. It never shortens.
    pub(super) fn extend(&mut self, clock: ClockMs, lease_ms: Option<u64>) {
        let lease_ms = lease_ms.map_or(self.granted_ms, in_range);
        self.deadline = self.deadline.max(clock.after(lease_ms));
    }
}

/// The nearest lease that is allowed, ms.
pub(super) fn in_range(lease_ms: u64) -> u64 {
    lease_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX)
}
