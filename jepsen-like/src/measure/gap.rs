//! For how long no write was acknowledged.
//!
//! ```text
//!            fault begun   in force            healed
//!  ack ack ack │              │   ack ack ack    │
//!  ─┴───┴───┴──┼──────────────┼────┴───┴───┴─────┼──▶
//!           ◀──── longest gap ────▶                    between two acknowledgements
//!              ◀─── first after ───▶                   of a write sent after "in force"
//! ```
//! All times are since the run began, on one monotonic clock.

use std::time::Duration;

use serde::Serialize;

/// One write of the open-loop writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// When it was to be sent.
    pub(crate) intended: Duration,
    /// When it was.
    pub(crate) sent: Duration,
    /// When its answer was complete, or it was known that there will be none.
    pub(crate) ended: Duration,
    /// What it is counted under when it was not acknowledged.
    pub(crate) failure: Option<String>,
}

/// An interval without acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    /// Whether nothing was acknowledged at its end either: it was at least so long.
    pub(crate) is_open: bool,
}

impl Gap {
    pub(crate) const fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }
}

/// The longest interval between consecutive acknowledgements that overlaps `from..until`. `None` when
/// nothing was ever acknowledged before `until`.
pub(crate) fn longest_gap(writes: &[Write], from: Duration, until: Duration) -> Option<Gap> {
    let mut ends: Vec<Duration> = acknowledged(writes).map(|write| write.ended).collect();
    ends.sort_unstable();
    let closed = ends.windows(2).map(|pair| Gap { start: pair[0], end: pair[1], is_open: false });
    let last = ends.last().filter(|last| **last < until);
    let open = last.map(|last| Gap { start: *last, end: until, is_open: true });
    closed.chain(open).filter(|gap| gap.end > from && gap.start < until).max_by_key(Gap::length)
}

/// The longest interval between two acknowledgements that were both there by `until`: what a writer sees
/// that nobody provokes.
pub(crate) fn longest_gap_before(writes: &[Write], until: Duration) -> Option<Gap> {
    let early: Vec<Write> = writes.iter().filter(|write| write.ended <= until).cloned().collect();
    let last = acknowledged(&early).map(|write| write.ended).max()?;
    longest_gap(&early, Duration::ZERO, last)
}

/// From `begun` to the first acknowledgement of a write that was sent after `in_force`.
pub(crate) fn first_after(
    writes: &[Write],
    begun: Duration,
    in_force: Duration,
) -> Option<Duration> {
    let sent_after = acknowledged(writes).filter(|write| write.sent > in_force);
    Some(sent_after.map(|write| write.ended).min()?.saturating_sub(begun))
}

fn acknowledged(writes: &[Write]) -> impl Iterator<Item = &Write> {
    writes.iter().filter(|write| write.failure.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn write(sent: u64, ended: u64) -> Write {
        Write { intended: ms(sent), sent: ms(sent), ended: ms(ended), failure: None }
    }

    fn failed(sent: u64, ended: u64) -> Write {
        Write { failure: Some("503 no_leader".to_owned()), ..write(sent, ended) }
    }

    // Situation: acknowledgements every 5 ms, none between 20 and 320. Claim: that is the gap, whatever
    // the order in which they were recorded.
    #[test]
    fn the_gap_is_between_the_last_acknowledgement_before_and_the_first_after() {
        let writes = [write(25, 321), write(5, 10), write(10, 15), write(15, 20), write(20, 320)];
        let gap = longest_gap(&writes, ms(22), ms(1000)).unwrap();
        assert_eq!(gap, Gap { start: ms(321), end: ms(1000), is_open: true });
        let gap = longest_gap(&writes, ms(22), ms(321)).unwrap();
        assert_eq!(gap, Gap { start: ms(20), end: ms(320), is_open: false });
        assert_eq!(gap.length(), ms(300));
    }

    #[test]
    fn what_ended_before_the_fault_or_began_after_the_window_does_not_count() {
        let writes =
            [write(0, 1), write(1, 500), write(501, 506), write(506, 510), write(511, 900)];
        let gap = longest_gap(&writes, ms(502), ms(508)).unwrap();
        assert_eq!((gap.start, gap.end), (ms(500), ms(506)));
    }

    #[test]
    fn failed_writes_acknowledge_nothing() {
        let writes = [write(0, 1), failed(5, 100), write(200, 210)];
        assert_eq!(longest_gap(&writes, ms(2), ms(210)).unwrap().length(), ms(209));
        assert_eq!(longest_gap(&[failed(0, 1)], ms(0), ms(9)), None);
        assert_eq!(longest_gap(&[], ms(0), ms(9)), None);
    }

    #[test]
    fn a_gap_that_does_not_end_is_open() {
        let gap = longest_gap(&[write(0, 1)], ms(5), ms(30_000)).unwrap();
        assert_eq!(gap, Gap { start: ms(1), end: ms(30_000), is_open: true });
    }

    #[test]
    fn before_the_fault_only_what_had_ended_by_then_counts() {
        let writes = [write(0, 1), write(5, 14), write(10, 20), write(15, 400)];
        let gap = longest_gap_before(&writes, ms(100)).unwrap();
        assert_eq!((gap.start, gap.end, gap.is_open), (ms(1), ms(14), false));
        assert_eq!(longest_gap_before(&writes, ms(1)), None, "one acknowledgement is no interval");
    }

    // A write that was under way when the fault came may be acknowledged after it: it says nothing of
    // how soon the cluster took new ones.
    #[test]
    fn the_first_write_after_was_sent_while_the_fault_was_in_force() {
        let writes = [write(95, 104), write(101, 103), write(106, 140), write(111, 139)];
        assert_eq!(first_after(&writes, ms(100), ms(105)), Some(ms(39)));
        assert_eq!(first_after(&writes[..2], ms(100), ms(105)), None);
    }
}
