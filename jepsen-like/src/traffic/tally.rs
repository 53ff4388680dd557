//! What became of many calls.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

/// Calls that succeeded, and those that failed by what they are counted under.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    pub(crate) ok: u64,
    pub(crate) failed: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, failure: Option<String>) {
        match failure {
            None => self.ok += 1,
            Some(failure) => *self.failed.entry(failure).or_default() += 1,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        for (failure, count) in &other.failed {
            *self.failed.entry(failure.clone()).or_default() += count;
        }
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.failures())?;
        for (number, (failure, count)) in self.failed.iter().enumerate() {
            write!(f, "{}{count} × {failure}", if number == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_what_they_are() {
        let mut tally = Tally::default();
        tally.count(None);
        tally.count(Some("timed out".to_owned()));
        let mut sum = Tally::default();
        sum.count(Some("503 no_leader".to_owned()));
        sum.add(&tally);
        sum.add(&tally);
        assert_eq!((sum.ok, sum.failures()), (2, 3));
        assert_eq!(sum.to_string(), "3: 1 × 503 no_leader, 2 × timed out");
        assert_eq!(Tally::default().to_string(), "0");
    }
}
