//! The last events of a run, by their numbers.

use std::collections::VecDeque;

use super::Happening;

/// The last events, at most `capacity` of them.
#[derive(Debug)]
pub(super) struct Ring {
    capacity: usize,
    /// The number of the first that is kept, or of the next when none is.
    first: u64,
    /// Numbers below this were given before a time in which nothing was recorded.
    recorded_from: u64,
    kept: VecDeque<Kept>,
}

/// An event without its number.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) at_ms: u64,
    pub(super) what: Happening,
}

/// Where reading can begin for whoever has had everything up to some number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// There: nothing is missing.
    At(u64),
    /// There at the earliest, and so many are missing; `None`: nobody knows.
    Behind { first: u64, missed: Option<u64> },
    /// No event of this run has such a number yet.
    Unknown,
}

impl Ring {
    /// # Panics
    /// When it is to keep nothing.
    pub(super) fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a ring keeps something");
        Self { capacity, first: 1, recorded_from: 1, kept: VecDeque::new() }
    }

    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    pub(super) fn push(&mut self, event: Kept) {
        if self.kept.len() == self.capacity {
            self.kept.pop_front();
            self.first += 1;
        }
        self.kept.push_back(event);
    }

    /// Forgets what it has, as nothing is recorded from now on. The numbers go on with a hole, so that
    /// nobody takes what comes after it for the next.
    pub(super) fn interrupt(&mut self) {
        self.first = self.next() + 1;
        self.recorded_from = self.first;
        self.kept.clear();
    }

    /// Where to begin after that number.
    pub(super) fn after(&self, number: u64) -> Start {
        let wanted = number.saturating_add(1);
        if wanted > self.next() {
            return Start::Unknown;
        }
        if wanted >= self.first {
            return Start::At(wanted);
        }
        let missed = (wanted >= self.recorded_from).then(|| self.first - wanted);
        Start::Behind { first: self.first, missed }
    }

    /// The event of that number, if it is kept.
    pub(super) fn get(&self, number: u64) -> Option<&Kept> {
        let place = number.checked_sub(self.first)?;
        self.kept.get(usize::try_from(place).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Host, MemberState};

    fn event(number: u64) -> Kept {
        let host = Host {
            name: number.to_string(),
            kind: None,
            state: MemberState::Alive,
            incarnation: number,
        };
        Kept { at_ms: number, what: Happening::Host(host) }
    }

    fn ring(capacity: usize, events: u64) -> Ring {
        let mut ring = Ring::new(capacity);
        (1..=events).for_each(|number| ring.push(event(number)));
        ring
    }

    #[test]
    fn numbers_begin_at_one_and_the_last_events_are_kept() {
        let ring = ring(3, 5);
        assert_eq!(ring.next(), 6);
        let kept: Vec<_> =
            (0..8).filter_map(|number| ring.get(number)).map(|kept| kept.at_ms).collect();
        assert_eq!(kept, [3, 4, 5]);
    }

    #[test]
    fn who_has_had_what_is_kept_goes_on_and_who_has_not_is_told_how_many_are_missing() {
        let ring = ring(3, 5);
        assert_eq!(ring.after(5), Start::At(6));
        assert_eq!(ring.after(2), Start::At(3));
        assert_eq!(ring.after(1), Start::Behind { first: 3, missed: Some(1) });
        assert_eq!(ring.after(0), Start::Behind { first: 3, missed: Some(2) });
        assert_eq!(ring.after(6), Start::Unknown);
        assert_eq!(ring.after(u64::MAX), Start::Unknown);
        assert_eq!(Ring::new(3).after(0), Start::At(1));
    }

    #[test]
    fn nobody_takes_what_comes_after_an_interruption_for_the_next() {
        let mut ring = ring(3, 2);
        ring.interrupt();
        assert_eq!(ring.after(2), Start::Behind { first: 4, missed: None });
        ring.push(event(4));
        assert_eq!(ring.get(4).map(|kept| kept.at_ms), Some(4));
        assert_eq!(ring.after(2), Start::Behind { first: 4, missed: None });
        assert_eq!(ring.after(4), Start::At(5));
        (5..=8).for_each(|number| ring.push(event(number)));
        assert_eq!(ring.after(3), Start::Behind { first: 6, missed: Some(2) });
        assert_eq!(ring.after(4), Start::Behind { first: 6, missed: Some(1) });
    }
}
