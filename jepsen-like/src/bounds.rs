//! How much earlier than promised something may seem to happen by the clock of the host that recorded it.

use std::time::Duration;

/// How fast a clock of the cluster may go wrong, parts in a million (guarantees S8).
const RATE_PPM: u32 = 200;
/// What is left to scheduling and to reading clocks.
const SLACK: Duration = Duration::from_millis(100);

/// How long the id of a job that has ended is known at least (guarantees S3).
const TOMBSTONE: Duration = Duration::from_mins(5);

/// Whether an add at `t`, ns, may make a job anew that had ended at `ended`.
pub(crate) fn may_make_anew(t: u64, ended: u64) -> bool {
    t >= not_before(ended, u64::try_from(TOMBSTONE.as_millis()).unwrap_or(u64::MAX))
}

/// The time of the recording host, ns, before which nothing that was to take `ms` from `t` on may be over.
pub(crate) fn not_before(t: u64, ms: u64) -> u64 {
    let least = Duration::from_millis(ms);
    let drift = least * RATE_PPM / 1_000_000;
    let least = least.saturating_sub(drift).saturating_sub(SLACK);
    t.saturating_add(u64::try_from(least.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds as milliseconds, for people.
pub(crate) fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_and_slack_are_granted_and_no_more() {
        assert_eq!(ms(not_before(0, 10_000)), 9_898);
        assert_eq!(ms(not_before(5_000_000, 10_000)), 9_903);
        assert_eq!(not_before(7, 50), 7, "nothing is over before it has begun");
        assert_eq!(not_before(0, u64::MAX), u64::MAX);
    }
}
