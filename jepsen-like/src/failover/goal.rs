//! What is asked of the gaps.

use std::{fmt, str::FromStr, time::Duration};

use super::{Fault, Target};
use crate::measure::Distribution;

/// The goal of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GapGoal {
    /// The project's own, by fault.
    Table,
    /// This one, whatever the fault.
    Given(Goal),
    /// No goal: figures only.
    None,
}

/// Bounds on the gaps of one row; `None`: no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Goal {
    pub(crate) median: Option<Duration>,
    pub(crate) p99: Option<Duration>,
    pub(crate) max: Option<Duration>,
}

impl GapGoal {
    /// What is asked of these trials; `None` when nothing is.
    pub(crate) const fn of(self, fault: Fault, target: Target, is_loaded: bool) -> Option<Goal> {
        match self {
            Self::Table => Some(of_table(fault, target, is_loaded)),
            Self::Given(goal) => Some(goal),
            Self::None => None,
        }
    }
}

/// The goals that the project has set itself, ms: median and maximum, idle and under load.
const fn of_table(fault: Fault, target: Target, is_loaded: bool) -> Goal {
    let (idle, loaded) = match (target, fault) {
        (Target::Worker, _) => {
            let p99 = Some(Duration::from_secs(1));
            return Goal { median: None, p99, max: None };
        }
        (Target::Follower, _) => return Goal::at_most(if is_loaded { 100 } else { 50 }),
        (Target::Leader, Fault::Kill) => ((50, 250), (100, 400)),
        (Target::Leader, Fault::Stop) => ((200, 500), (250, 600)),
        (Target::Leader, Fault::Term) => ((20, 100), (50, 150)),
        (Target::Leader, _) => ((250, 600), (300, 800)),
    };
    let (median, max) = if is_loaded { loaded } else { idle };
    let [median, max] = [Some(Duration::from_millis(median)), Some(Duration::from_millis(max))];
    Goal { median, p99: None, max }
}

impl Goal {
    const fn at_most(max_ms: u64) -> Self {
        Self { median: None, p99: None, max: Some(Duration::from_millis(max_ms)) }
    }

    /// Whether these gaps are within it; of no gaps none is.
    pub(crate) fn is_met_by(&self, gaps: &Distribution) -> bool {
        let within = |value: Option<Duration>, bound: Option<Duration>| {
            value.is_some_and(|value| bound.is_none_or(|bound| value <= bound))
        };
        within(gaps.median(), self.median)
            && within(gaps.percentile(99), self.p99)
            && within(gaps.max(), self.max)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |bound: Option<Duration>| {
            bound.map_or("-".to_owned(), |bound| bound.as_millis().to_string())
        };
        match *self {
            Self { median: None, p99: Some(p99), max: None } => {
                write!(f, "p99 ≤ {} ms", p99.as_millis())
            }
            Self { median, max, .. } => write!(f, "≤ {} / {} ms", bound(median), bound(max)),
        }
    }
}

impl FromStr for GapGoal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bound = |text: &str| match text {
            "-" => Ok(None),
            text => text.parse().map(|ms| Some(Duration::from_millis(ms))),
        };
        match text {
            "table" => Ok(Self::Table),
            "none" => Ok(Self::None),
            text => text
                .split_once('/')
                .and_then(|(median, max)| {
                    let (median, max) = (bound(median).ok()?, bound(max).ok()?);
                    Some(Self::Given(Goal { median, p99: None, max }))
                })
                .ok_or_else(|| "`table`, `none`, or `MEDIAN/MAX` in ms, `-` for no bound".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaps(values: &[u64]) -> Distribution {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn median_and_maximum_are_both_asked() {
        let goal = GapGoal::Table.of(Fault::Kill, Target::Leader, false).unwrap();
        assert_eq!(goal.to_string(), "≤ 50 / 250 ms");
        assert!(goal.is_met_by(&gaps(&[10, 50, 250])));
        assert!(!goal.is_met_by(&gaps(&[51, 51, 60])));
        assert!(!goal.is_met_by(&gaps(&[1, 1, 251])));
        assert!(!goal.is_met_by(&gaps(&[])), "nothing measured is no success");
    }

    #[test]
    fn a_followers_loss_has_one_bound() {
        let goal = GapGoal::Table.of(Fault::Stop, Target::Follower, true).unwrap();
        assert_eq!(goal.to_string(), "≤ - / 100 ms");
        assert!(goal.is_met_by(&gaps(&[99, 100])));
    }

    #[test]
    fn a_handover_is_asked_of_99_in_100() {
        let goal = GapGoal::Table.of(Fault::Stop, Target::Worker, false).unwrap();
        assert_eq!(goal.to_string(), "p99 ≤ 1000 ms");
        let hundred = |slow: usize| gaps(&[&[400; 100][slow..], &[1500; 100][..slow]].concat());
        assert!(goal.is_met_by(&hundred(1)));
        assert!(!goal.is_met_by(&hundred(2)));
    }

    #[test]
    fn goals_are_read_as_they_are_written() {
        assert_eq!("table".parse(), Ok(GapGoal::Table));
        assert_eq!("none".parse(), Ok(GapGoal::None));
        assert_eq!("-/50".parse(), Ok(GapGoal::Given(Goal::at_most(50))));
        for wrong in ["", "50", "50/", "a/b", "50/60/70"] {
            assert!(wrong.parse::<GapGoal>().is_err(), "{wrong}");
        }
    }
}
