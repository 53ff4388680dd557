//! How long a suspicion waits, so that voters which suspect wrongly do not elect for ever.
//!
//! Every election that a suspicion caused doubles the wait of that voter's next one. It is taken back
//! when the suspicion proves right: when the leader is still not heard at a time at which the timers
//! would have given it up as well.

use std::time::Duration;

use tokio::time::Instant;

/// What the suspicion after an election waits; doubled by each further one.
const FIRST: Duration = Duration::from_millis(100);
/// Doubled so often at most: 3.2 s. The timers are long done by then.
const LEVEL_MAX: u32 = 6;
/// So long after an election the wait is halved, and again after as long.
const QUIET: Duration = Duration::from_secs(10);

/// One voter's patience with leaders that it suspects.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// 0: a suspicion acts at once. Each election that one caused adds 1.
    level: u32,
    /// When `level` last changed.
    since: Option<Instant>,
}

impl Patience {
    /// For how long a suspicion must stand before it acts.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        while self.level > 0
            && let Some(since) = self.since
            && now >= since + QUIET
        {
            self.level -= 1;
            self.since = Some(since + QUIET);
        }
        match self.level {
            0 => Duration::ZERO,
            level => FIRST * (1 << (level - 1)),
        }
    }

    /// There is an election because of a suspicion of this voter's.
    pub(crate) fn on_election(&mut self, now: Instant) {
        self.wait(now);
        self.level = (self.level + 1).min(LEVEL_MAX);
        self.since = Some(now);
    }

    /// The suspicion that led to the last election was right.
    pub(crate) fn on_proof(&mut self) {
        self.level = self.level.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_election_doubles_the_wait_up_to_a_limit() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        let mut waits = vec![patience.wait(now).as_millis()];
        for _ in 0..8 {
            patience.on_election(now);
            waits.push(patience.wait(now).as_millis());
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 3200, 3200]);
    }

    #[test]
    fn a_suspicion_that_was_right_costs_nothing() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        for _ in 0..3 {
            patience.on_election(now);
            assert_eq!(patience.wait(now), FIRST);
            patience.on_proof();
            assert_eq!(patience.wait(now), Duration::ZERO);
        }
    }

    #[test]
    fn quiet_halves_the_wait_step_by_step() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        patience.on_election(now);
        patience.on_election(now);
        assert_eq!(patience.wait(now + QUIET / 2), 2 * FIRST);
        assert_eq!(patience.wait(now + QUIET), FIRST);
        assert_eq!(patience.wait(now + QUIET.mul_f64(1.9)), FIRST);
        assert_eq!(patience.wait(now + 2 * QUIET), Duration::ZERO);
        patience.on_election(now + 9 * QUIET);
        assert_eq!(patience.wait(now + 9 * QUIET), FIRST);
    }
}
