//! Percentiles of a few dozen to a few hundred values.

use std::time::Duration;

/// Values in order. Nearest rank: a percentile is always one of them, and of 20 values the 99th is the
/// greatest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Distribution(Vec<Duration>);

impl FromIterator<Duration> for Distribution {
    fn from_iter<I: IntoIterator<Item = Duration>>(values: I) -> Self {
        let mut values: Vec<Duration> = values.into_iter().collect();
        values.sort_unstable();
        Self(values)
    }
}

impl Distribution {
    /// The value that this many percent of the values do not exceed; `None` of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    pub(crate) fn median(&self) -> Option<Duration> {
        self.percentile(50)
    }

    pub(crate) fn max(&self) -> Option<Duration> {
        self.0.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Distribution {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_values_by_nearest_rank() {
        let hundred = of((1..=100).rev());
        assert_eq!(hundred.percentile(50), Some(Duration::from_millis(50)));
        assert_eq!(hundred.percentile(99), Some(Duration::from_millis(99)));
        assert_eq!(hundred.percentile(100), hundred.max());
        let twenty = of(1..=20);
        assert_eq!(twenty.percentile(99), twenty.max());
        assert_eq!(twenty.percentile(90), Some(Duration::from_millis(18)));
        assert_eq!(of([7]).median(), Some(Duration::from_millis(7)));
        assert_eq!(of([1, 2, 3]).median(), Some(Duration::from_millis(2)));
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(of([]).median(), None);
        assert_eq!(of([]).max(), None);
    }
}
