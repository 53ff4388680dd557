//! The trials of one fault on one target under one load, and what they come to.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    Fault, Target,
    goal::Goal,
    trial::{Outcome, Trial},
};
use crate::{measure::Distribution, traffic::Tally, verdict::Verdict};

/// Above this share of void trials, in percent, a run proves nothing.
pub(super) const VOID_PERCENT_MAX: usize = 10;
/// How long after the healing nothing may be acknowledged (L6).
const AFTER_HEAL_MAX: Duration = Duration::from_secs(1);

/// Whether so many trials are void that the others prove nothing; no trial proves nothing either.
pub(crate) fn prove_nothing(trials: &[Trial]) -> bool {
    trials.is_empty() || voids(trials) * 100 > trials.len() * VOID_PERCENT_MAX
}

pub(super) fn voids(trials: &[Trial]) -> usize {
    trials.iter().filter(|trial| matches!(trial.outcome, Outcome::Void(_))).count()
}

/// Several trials of the same.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The faults that the trials took in turn: one, or the two one-way cuts.
    pub(crate) faults: Vec<Fault>,
    pub(crate) target: Target,
    pub(crate) load: u16,
    pub(crate) trials: Vec<Trial>,
    /// Completions acknowledged to the load of jobs of which one had been already.
    pub(crate) load_completed_twice: u64,
    #[serde(skip)]
    pub(crate) goal: Option<Goal>,
}

impl Row {
    /// The faults, as the command line says them.
    pub(crate) fn fault_name(&self) -> &'static str {
        match (self.target, &self.faults[..]) {
            (Target::Worker, [Fault::Kill]) => "worker-kill",
            (Target::Worker, [Fault::Stop]) => "worker-stop",
            (Target::Worker, [Fault::Restart]) => "worker-restart",
            (Target::Worker, [Fault::Twin]) => "worker-twin",
            (Target::Worker, _) => "worker-cut",
            (_, [fault]) => fault.name(),
            _ => "oneway",
        }
    }

    fn measured(&self) -> impl Iterator<Item = &Trial> {
        self.trials.iter().filter(|trial| trial.outcome == Outcome::Measured)
    }

    /// One figure of every measured trial.
    pub(crate) fn of_trials(&self, figure: impl Fn(&Trial) -> Option<f64>) -> Distribution {
        let seconds = |ms: f64| Duration::from_secs_f64(ms / 1000.0);
        self.measured().filter_map(|trial| figure(trial).map(seconds)).collect()
    }

    pub(crate) fn gaps(&self) -> Distribution {
        self.of_trials(|trial| trial.gap_ms)
    }

    /// All calls of all trials, void ones as well: who was refused was refused.
    pub(crate) fn calls(&self) -> Tally {
        let mut sum = Tally::default();
        for trial in &self.trials {
            sum.add(&trial.calls);
        }
        sum
    }

    /// Why there was another leader, in the words of the surviving nodes, and how often.
    pub(crate) fn causes(&self) -> BTreeMap<&str, usize> {
        let mut causes = BTreeMap::new();
        for cause in self.measured().filter_map(|trial| trial.cause.as_deref()) {
            *causes.entry(cause).or_default() += 1;
        }
        causes
    }

    /// The longest gap after a healing, when it is longer than it may be.
    pub(crate) fn late_after_heal(&self) -> Option<Duration> {
        let longest = self.of_trials(|trial| trial.gap_after_heal_ms).max();
        longest.filter(|gap| *gap > AFTER_HEAL_MAX)
    }

    /// Jobs that were completed twice, of the load's and the trials' own.
    pub(crate) fn completed_twice(&self) -> u64 {
        let trials = self.trials.iter().filter(|trial| trial.completed_twice).count();
        self.load_completed_twice + trials as u64
    }

    pub(crate) fn voids(&self) -> usize {
        voids(&self.trials)
    }

    pub(crate) fn failed_trials(&self) -> usize {
        self.trials.iter().filter(|trial| matches!(trial.outcome, Outcome::Failed(_))).count()
    }

    /// Missed: a goal is missed, writes did not flow soon after a healing, a request failed, a trial failed, or a job was completed twice. Unknown:
    /// too many trials are void.
    pub(crate) fn verdict(&self) -> Verdict {
        let misses_goal = self.measured().next().is_some()
            && self.goal.is_some_and(|goal| {
                !goal.is_met_by(&self.gaps()) || self.late_after_heal().is_some()
            });
        let misses_goal = misses_goal || self.goal.is_some() && self.calls().failures() > 0;
        if self.failed_trials() > 0 || self.completed_twice() > 0 || misses_goal {
            Verdict::Missed
        } else if prove_nothing(&self.trials) {
            Verdict::Unknown
        } else {
            Verdict::Met
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::GapGoal;

    fn trial(outcome: Outcome, gap_ms: f64) -> Trial {
        Trial {
            number: 1,
            fault: Fault::Kill,
            node: "n1".to_owned(),
            writer_at: "n2".to_owned(),
            outcome,
            gap_ms: Some(gap_ms),
            first_write_ms: Some(gap_ms),
            gap_after_heal_ms: Some(6.0),
            gap_before_ms: Some(6.0),
            writer_late_ms: Some(1.0),
            load_rate: 0.0,
            calls: Tally { ok: 10, ..Tally::default() },
            successor: None,
            cause: None,
            told_gap_ms: None,
            completed_twice: false,
        }
    }

    fn row(trials: Vec<Trial>) -> Row {
        let goal = GapGoal::Table.of(Fault::Kill, Target::Leader, false);
        let faults = vec![Fault::Kill];
        Row { faults, target: Target::Leader, load: 0, trials, load_completed_twice: 0, goal }
    }

    fn void() -> Trial {
        trial(Outcome::Void("state S".to_owned()), 9999.0)
    }

    #[test]
    fn void_trials_are_in_no_figure_and_too_many_of_them_prove_nothing() {
        let good = || trial(Outcome::Measured, 20.0);
        let mut trials = vec![void()];
        trials.extend(std::iter::repeat_with(good).take(9));
        let tenth = row(trials.clone());
        assert_eq!(tenth.gaps().max(), Some(Duration::from_millis(20)));
        assert_eq!(tenth.calls().ok, 100, "a request is one whatever came of the fault");
        assert_eq!(tenth.verdict(), Verdict::Met);
        trials.push(void());
        assert_eq!(row(trials).verdict(), Verdict::Unknown);
        assert_eq!(row(vec![void()]).verdict(), Verdict::Unknown);
    }

    #[test]
    fn a_miss_outranks_what_is_unknown() {
        let slow = trial(Outcome::Measured, 300.0);
        assert_eq!(row(vec![void(), slow.clone()]).verdict(), Verdict::Missed);
        let stalled = trial(Outcome::Failed("stalled".to_owned()), 30_000.0);
        assert_eq!(row(vec![void(), stalled]).verdict(), Verdict::Missed);
        let mut without_goal = row(vec![slow]);
        without_goal.goal = None;
        assert_eq!(without_goal.verdict(), Verdict::Met);
        without_goal.load_completed_twice = 1;
        assert_eq!(without_goal.verdict(), Verdict::Missed);
    }

    #[test]
    fn one_failed_request_misses_the_goal() {
        let mut failing = trial(Outcome::Measured, 20.0);
        failing.calls.count(Some("503 no_leader".to_owned()));
        assert_eq!(row(vec![failing.clone()]).verdict(), Verdict::Missed);
        failing.outcome = Outcome::Void("state S".to_owned());
        let mut trials = vec![trial(Outcome::Measured, 20.0); 19];
        trials.push(failing);
        assert_eq!(row(trials).verdict(), Verdict::Missed, "of a void trial as well");
    }

    #[test]
    fn writes_flow_within_a_second_of_the_healing() {
        let healed = |ms| Trial { gap_after_heal_ms: Some(ms), ..trial(Outcome::Measured, 20.0) };
        assert_eq!(row(vec![healed(1000.0)]).verdict(), Verdict::Met);
        assert_eq!(row(vec![healed(1001.0)]).verdict(), Verdict::Missed);
    }

    #[test]
    fn causes_are_counted_by_name() {
        let because =
            |cause: &str| Trial { cause: Some(cause.to_owned()), ..trial(Outcome::Measured, 20.0) };
        let row = row(vec![because("hang"), because("crash"), because("hang"), void()]);
        assert_eq!(row.causes().into_iter().collect::<Vec<_>>(), [("crash", 1), ("hang", 2)]);
    }
}
