//! How long a job waits after a failed attempt: integers only, the same on every replica.

use super::{Backoff, JobId, chain};

/// The wait after failed attempt `attempt` (from 1), ms: `initial · factorⁿ⁻¹`, each step rounded
/// down, at most `max`; then up to `jitter` of it more or less, drawn from the job and the attempt.
pub(super) fn wait_ms(backoff: &Backoff, job: &JobId, attempt: u32) -> u64 {
    let wait = without_jitter(backoff, attempt);
    let spread = thousandths(wait, backoff.jitter_thousandths.min(1000)).min(wait);
    let earliest = wait - spread;
    earliest.saturating_add(chain::draw(job, attempt, spread.saturating_mul(2)))
}

fn without_jitter(backoff: &Backoff, attempt: u32) -> u64 {
    let mut wait = backoff.initial_ms;
    for _ in 1..attempt {
        let next = thousandths(wait, backoff.factor_thousandths);
        // Settled, or growing beyond the maximum: further factors change nothing.
        if next == wait || (next > wait && wait >= backoff.max_ms) {
            break;
        }
        wait = next;
    }
    wait.min(backoff.max_ms)
}

/// `value · factor / 1000`, rounded down; the greatest value when it would be greater.
fn thousandths(value: u64, factor: u32) -> u64 {
    u64::try_from(u128::from(value) * u128::from(factor) / 1000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(initial_ms: u64, factor_thousandths: u32, max_ms: u64) -> Backoff {
        Backoff { initial_ms, factor_thousandths, max_ms, jitter_thousandths: 0 }
    }

    fn job() -> JobId {
        JobId::parse("job").unwrap()
    }

    fn waits(backoff: &Backoff) -> Vec<u64> {
        (1..=5).map(|attempt| wait_ms(backoff, &job(), attempt)).collect()
    }

    #[test]
    fn doubling_backoff_doubles_up_to_its_maximum() {
        assert_eq!(waits(&plain(1000, 2000, 7000)), [1000, 2000, 4000, 7000, 7000]);
    }

    #[test]
    fn factor_counts_in_thousandths_and_rounds_down() {
        assert_eq!(waits(&plain(10, 1500, 1000)), [10, 15, 22, 33, 49]);
    }

    #[test]
    fn shrinking_backoff_comes_down_from_above_its_maximum() {
        assert_eq!(waits(&plain(100, 500, 80)), [80, 50, 25, 12, 6]);
        assert_eq!(waits(&plain(100, 500, 100_000)), [100, 50, 25, 12, 6]);
    }

    #[test]
    fn the_greatest_numbers_saturate() {
        let backoff = Backoff {
            initial_ms: u64::MAX,
            factor_thousandths: u32::MAX,
            max_ms: u64::MAX,
            jitter_thousandths: u32::MAX,
        };
        for attempt in [1, 2, 1000, u32::MAX] {
            wait_ms(&backoff, &job(), attempt);
        }
    }

    #[test]
    fn jitter_stays_within_its_share_and_depends_on_the_attempt() {
        let backoff = Backoff { factor_thousandths: 1000, ..Backoff::default() };
        let waits: Vec<u64> = (1..=200).map(|attempt| wait_ms(&backoff, &job(), attempt)).collect();
        assert!(waits.iter().all(|wait| (900..=1100).contains(wait)), "{waits:?}");
        let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
        assert!(distinct.len() > 50, "{} distinct waits of 200", distinct.len());
    }
}
