//! A host's two clocks, made from simulated time: wrong by a seeded amount, as real ones are.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use quorate::node::Clock;
use rand::{RngExt, rngs::StdRng};

/// When every simulation starts, ms since the Unix epoch (2026-01-01): part of every trace.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

/// How far a wall clock is off at the most, ms. Below the second beyond which a voter does not lead.
const WALL_ERROR_MS_MAX: u64 = 400;
/// How fast a monotonic clock drifts at the most, parts in a million (guarantees S8: 200 ppm).
const DRIFT_PPM_MAX: u64 = 200;

/// One host's clocks; they go on while the host is down.
#[derive(Debug, Clone)]
pub struct SimClock {
    zero_ms: u64,
    rate_ppm: u64,
    wall_zero_ms: u64,
    jump_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// Clocks with an arbitrary zero, a drift and a wall clock that is off.
    pub fn new(rng: &mut StdRng) -> Self {
        Self {
            zero_ms: rng.random_range(1..1_000_000),
            rate_ppm: rng.random_range(1_000_000 - DRIFT_PPM_MAX..=1_000_000 + DRIFT_PPM_MAX),
            wall_zero_ms: EPOCH_MS - WALL_ERROR_MS_MAX
                + rng.random_range(0..=2 * WALL_ERROR_MS_MAX),
            jump_ms: Arc::default(),
        }
    }

    /// From now on the wall clock is off by so much more.
    pub fn jump(&self, ms: i64) {
        self.jump_ms.store(ms, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        let ppm_ns = elapsed.as_nanos() * u128::from(self.rate_ppm);
        u64::try_from(ppm_ns / 1_000_000_000_000).unwrap_or(u64::MAX)
    }
}

impl Clock for SimClock {
    fn monotonic_ms(&self) -> u64 {
        self.zero_ms + self.elapsed_ms()
    }

    fn wall_ms(&self) -> u64 {
        let wall_ms = self.wall_zero_ms + self.elapsed_ms();
        wall_ms.saturating_add_signed(self.jump_ms.load(Ordering::Relaxed))
    }
}
