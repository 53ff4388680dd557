//! Time as data. Two clocks ride on every entry; neither is ever read in here.

use serde::{Deserialize, Serialize};

/// The cluster clock, ms: monotonic, replicated, counted from the cluster's first leader. Leases,
/// delays and backoff live on it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ClockMs(pub u64);

/// A leader's wall clock, ms since the Unix epoch. Shown to people, and what `run_at_ms` waits for;
/// no lease ends by it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct WallMs(pub u64);

/// What the leader stamps on each entry as it proposes it (guarantees, rule 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// The cluster clock. Apply keeps the greatest seen: it never goes back.
    pub clock: ClockMs,
    /// The wall clock. Not kept as a maximum.
    pub wall: WallMs,
}

impl ClockMs {
    /// This much later, ms; the end of time when that is beyond it.
    pub(super) fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl WallMs {
    /// This much later, ms; the end of time when that is beyond it.
    pub(super) fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}
