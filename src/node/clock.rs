//! Where time and chance enter the server; simulation and fault injection bring their own.
//!
//! Two clocks come out of it. The wall clock is shown to people. The *cluster clock* is what leases
//! live on: it is replicated with the entries, and a new leader goes on from the replicated value
//! plus its own monotonic time (guarantees, rule 4), so that no wall clock ever ends a lease.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::queue::{ClockMs, Stamp, WallMs};

/// The machine's two clocks.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Never goes back; from an arbitrary zero, ms.
    fn monotonic_ms(&self) -> u64;
    /// Since the Unix epoch, ms.
    fn wall_ms(&self) -> u64;
}

/// The clocks of the machine that the process runs on.
#[derive(Debug)]
pub struct MachineClock {
    zero: Instant,
}

impl MachineClock {
    /// Monotonic time counts from this call.
    pub fn start() -> Self {
        Self { zero: Instant::now() }
    }
}

impl Clock for MachineClock {
    fn monotonic_ms(&self) -> u64 {
        whole_ms(self.zero.elapsed())
    }

    fn wall_ms(&self) -> u64 {
        // A machine whose clock stands before 1970 shows 1970: nothing but what people see, and
        // `run_at_ms`, depends on it.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_ms)
    }
}

/// A duration in ms, rounded down; `u64::MAX` beyond that.
pub(super) fn whole_ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What this node stamps on the entries that it proposes while it leads.
#[derive(Debug)]
pub(super) struct ClusterClock {
    machine: Arc<dyn Clock>,
    base: Mutex<Option<Base>>,
}

/// Where a leader's clock starts: what was replicated, and when this leader saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Base {
    term: u64,
    clock: ClockMs,
    since_ms: u64,
}

impl Base {
    /// The cluster clock at a moment of this node's monotonic clock. It never runs ahead of real
    /// time: `clock` was reached no later than `since_ms`.
    fn at(&self, monotonic_ms: u64) -> ClockMs {
        ClockMs(self.clock.0.saturating_add(monotonic_ms.saturating_sub(self.since_ms)))
    }
}

impl ClusterClock {
    pub(super) fn new(machine: Arc<dyn Clock>) -> Self {
        Self { machine, base: Mutex::new(None) }
    }

    /// Starts a term, once: `replicated` is the clock of a machine that has applied every entry of
    /// earlier terms. The leaderless time is thereby counted against no holder. A second base in a
    /// term would set its clock back behind stamps that are in flight.
    pub(super) fn begin(&self, term: u64, replicated: ClockMs) {
        let since_ms = self.machine.monotonic_ms();
        let mut base = self.lock();
        if base.is_none_or(|base| base.term < term) {
            *base = Some(Base { term, clock: replicated, since_ms });
        }
    }

    /// The stamp of an entry that is proposed now; `None` unless this node has begun that term.
    pub(super) fn stamp(&self, term: u64) -> Option<Stamp> {
        let base = (*self.lock()).filter(|base| base.term == term)?;
        let clock = base.at(self.machine.monotonic_ms());
        Some(Stamp { clock, wall: WallMs(self.machine.wall_ms()) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Base>> {
        self.base.lock().expect("nothing panics while the base is locked")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that a test moves.
    #[derive(Debug, Default)]
    pub(in crate::node) struct HandClock {
        pub(in crate::node) monotonic: AtomicU64,
        pub(in crate::node) wall: AtomicU64,
    }

    impl Clock for HandClock {
        fn monotonic_ms(&self) -> u64 {
            self.monotonic.load(Ordering::Relaxed)
        }

        fn wall_ms(&self) -> u64 {
            self.wall.load(Ordering::Relaxed)
        }
    }

    fn at(monotonic: u64, wall: u64) -> (Arc<HandClock>, ClusterClock) {
        let machine = Arc::new(HandClock { monotonic: monotonic.into(), wall: wall.into() });
        (machine.clone(), ClusterClock::new(machine))
    }

    #[test]
    fn a_new_leader_goes_on_from_the_replicated_clock() {
        let (machine, clock) = at(500_000, 1_000);
        clock.begin(3, ClockMs(70));
        machine.monotonic.fetch_add(25, Ordering::Relaxed);
        assert_eq!(clock.stamp(3), Some(Stamp { clock: ClockMs(95), wall: WallMs(1_000) }));
    }

    #[test]
    fn no_wall_clock_moves_the_cluster_clock() {
        let (machine, clock) = at(10, 1_000);
        clock.begin(1, ClockMs(0));
        for wall in [0, 5_000_000_000, 7] {
            machine.wall.store(wall, Ordering::Relaxed);
            assert_eq!(clock.stamp(1), Some(Stamp { clock: ClockMs(0), wall: WallMs(wall) }));
        }
    }

    #[test]
    fn nothing_is_stamped_before_the_base_of_that_term_is_known() {
        let (_, clock) = at(10, 1_000);
        assert_eq!(clock.stamp(1), None);
        clock.begin(1, ClockMs(5));
        assert_eq!(clock.stamp(2), None, "the base of an earlier term is not this term's");
    }

    #[test]
    fn a_term_begins_once() {
        let (machine, clock) = at(0, 0);
        clock.begin(2, ClockMs(100));
        machine.monotonic.store(50, Ordering::Relaxed);
        clock.begin(2, ClockMs(100));
        clock.begin(1, ClockMs(0));
        assert_eq!(clock.stamp(2).map(|stamp| stamp.clock), Some(ClockMs(150)));
    }

    #[test]
    fn a_leader_without_entries_does_not_go_back_in_its_next_term() {
        let (machine, clock) = at(0, 0);
        clock.begin(1, ClockMs(100));
        machine.monotonic.store(50, Ordering::Relaxed);
        clock.begin(3, ClockMs(130));
        assert_eq!(clock.stamp(3).map(|stamp| stamp.clock), Some(ClockMs(130)));
    }
}
