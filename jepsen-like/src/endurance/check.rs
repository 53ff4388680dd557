//! One thing that is asked of a run: what was seen, and whether it is what was to be.

use std::fmt;

use serde::Serialize;

use crate::verdict::Verdict;

/// A line of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    /// For programs; absent where it is no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// For people.
    pub(crate) seen: String,
    /// What was to be; absent of a mere figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
    pub(crate) verdict: Verdict,
}

impl Check {
    /// A figure of which nothing is asked.
    pub(crate) fn figure(what: impl Into<String>, value: f64, seen: impl fmt::Display) -> Self {
        Self {
            what: what.into(),
            value: Some(value),
            seen: seen.to_string(),
            asked: None,
            verdict: Verdict::Met,
        }
    }

    /// A count that must not exceed a bound.
    pub(crate) fn at_most(what: impl Into<String>, count: u64, bound: u64) -> Self {
        let asked = if bound == 0 { "0".to_owned() } else { format!("≤ {bound}") };
        Self {
            what: what.into(),
            value: Some(as_number(count)),
            seen: count.to_string(),
            asked: Some(asked),
            verdict: Verdict::when(count <= bound),
        }
    }

    /// Whether a fault was in force, or a load was there. Without it the run says nothing.
    pub(crate) fn evidence(
        what: impl Into<String>,
        seen: impl fmt::Display,
        asked: impl Into<String>,
        is_there: bool,
    ) -> Self {
        Self {
            what: what.into(),
            value: None,
            seen: seen.to_string(),
            asked: Some(asked.into()),
            verdict: if is_there { Verdict::Met } else { Verdict::Unknown },
        }
    }

    /// Something else that must hold.
    pub(crate) fn must(
        what: impl Into<String>,
        seen: impl fmt::Display,
        asked: impl Into<String>,
        holds: bool,
    ) -> Self {
        Self {
            what: what.into(),
            value: None,
            seen: seen.to_string(),
            asked: Some(asked.into()),
            verdict: Verdict::when(holds),
        }
    }

    /// The same, unknown unless it was put to the test. What is broken is so all the same.
    pub(crate) fn if_tested(mut self, is_tested: bool) -> Self {
        if !is_tested {
            self.verdict = self.verdict.max(Verdict::Unknown);
        }
        self
    }

    /// The same with words in place of the mere number.
    pub(crate) fn told(mut self, seen: impl fmt::Display) -> Self {
        self.seen = seen.to_string();
        self
    }

    /// The same with a number for programs.
    pub(crate) fn valued(mut self, value: f64) -> Self {
        self.value = Some(value);
        self
    }
}

/// Counts here are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a run have fewer than 53 bits")]
pub(crate) const fn as_number(count: u64) -> f64 {
    count as f64
}

/// `part` of `whole` in percent; 0 of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { as_number(part) * 100.0 / as_number(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_up_to_itself() {
        assert_eq!(Check::at_most("elections", 1, 1).verdict, Verdict::Met);
        assert_eq!(Check::at_most("elections", 2, 1).verdict, Verdict::Missed);
        assert_eq!(Check::at_most("elections", 0, 0).asked.as_deref(), Some("0"));
    }

    #[test]
    fn what_was_not_there_is_unknown_and_what_is_broken_is_missed() {
        assert_eq!(Check::evidence("packets", 0, "> 0", false).verdict, Verdict::Unknown);
        assert_eq!(Check::must("voters", "n1", "n1, n2", false).verdict, Verdict::Missed);
    }

    #[test]
    fn what_was_not_put_to_the_test_is_unknown_unless_it_is_broken() {
        let check = |count, is_tested| Check::at_most("changes", count, 0).if_tested(is_tested);
        assert_eq!(check(0, true).verdict, Verdict::Met);
        assert_eq!(check(0, false).verdict, Verdict::Unknown);
        assert_eq!(check(1, false).verdict, Verdict::Missed);
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert!(percent(3, 0).abs() < f64::EPSILON);
        assert!((percent(1, 4) - 25.0).abs() < 1e-9);
    }
}
