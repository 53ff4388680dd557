//! How long a suspicion waits, so that voters which suspect wrongly do not elect for ever.

use std::time::Duration;

use tokio::time::Instant;

/// What the suspicion after an election waits; doubled by each further one.
const FIRST: Duration = Duration::from_millis(100);
/// Doubled so often at most: 3.2 s. The timers are long done by then.
const LEVEL_MAX: u32 = 6;
/// So long after an election the wait is halved, and again after as long.
const QUIET: Duration = Duration::from_secs(5);

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

    /// This voter stood because of a suspicion.
    pub(crate) fn on_election(&mut self, now: Instant) {
        self.wait(now);
        self.level = (self.level + 1).min(LEVEL_MAX);
        self.since = Some(now);
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
