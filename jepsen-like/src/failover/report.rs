//! Rows as tables, and one trial as a line.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{
    Target,
    row::Row,
    trial::{Outcome, Trial, milliseconds},
};
use crate::{setup::Circumstances, table::Table, verdict::Verdict};

/// Everything that a run found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) circumstances: Circumstances,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// The worst of all rows.
    pub(crate) fn verdict(&self) -> Verdict {
        self.rows.iter().map(Row::verdict).max().unwrap_or(Verdict::Unknown)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = figures(&self.rows).to_string();
        if self.rows.len() > 1 {
            write!(text, "\n{}", goals(&self.rows)).expect("into a string");
        }
        for row in &self.rows {
            write!(text, "{}", complaints(row)).expect("into a string");
        }
        write!(text, "\n{}", self.circumstances).expect("into a string");
        text
    }
}

/// All figures, the goal beside those that have one.
fn figures(rows: &[Row]) -> Table {
    let mut table = Table::of(&[
        "fault",
        "of",
        "load",
        "trials",
        "gap p50/p90/p99/max ms",
        "goal p50 / max",
        "first write p50/max ms",
        "after heal p50/max ms",
        "before p50/max ms",
        "writer late max ms",
        "told as",
        "failed requests",
        "",
    ]);
    for row in rows {
        let gaps = row.gaps();
        let gap = [50, 90, 99, 100].map(|percent| ms(gaps.percentile(percent)));
        let pair = |figure: fn(&Trial) -> Option<f64>| {
            let values = row.of_trials(figure);
            format!("{} / {}", ms(values.median()), ms(values.max()))
        };
        let calls = row.calls();
        table.row(vec![
            row.fault_name().to_owned(),
            target(row.target).to_owned(),
            load(row),
            trials(row),
            gap.join(" / "),
            row.goal.map_or("-".to_owned(), |goal| goal.to_string()),
            pair(|trial| trial.first_write_ms),
            pair(|trial| trial.gap_after_heal_ms),
            pair(|trial| trial.gap_before_ms),
            ms(row.of_trials(|trial| trial.writer_late_ms).max()),
            told_as(row),
            format!("{} of {}", calls.failures(), calls.ok + calls.failures()),
            verdict(row).to_owned(),
        ]);
    }
    table
}

/// The table in the form of the goals: idle and under load side by side.
fn goals(rows: &[Row]) -> Table {
    let mut table = Table::of(&[
        "fault",
        "idle p50 / max",
        "goal",
        "under load p50 / max",
        "goal",
        "failed requests of clients on surviving nodes",
    ]);
    let mut named: Vec<(&str, Target)> = vec![];
    for row in rows {
        let name = (row.fault_name(), row.target);
        if named.contains(&name) {
            continue;
        }
        named.push(name);
        let same = |is_loaded: bool| {
            rows.iter().find(|other| {
                (other.fault_name(), other.target) == name && (other.load > 0) == is_loaded
            })
        };
        let cell = |row: Option<&Row>| {
            row.map_or("-".to_owned(), |row| {
                let gaps = row.gaps();
                format!("{} / {} ms", ms(gaps.median()), ms(gaps.max()))
            })
        };
        let goal = |row: Option<&Row>| {
            row.and_then(|row| row.goal).map_or("-".to_owned(), |goal| goal.to_string())
        };
        let failed: u64 =
            [same(false), same(true)].iter().flatten().map(|row| row.calls().failures()).sum();
        table.row(vec![
            format!("{}, {}", name.0, target(name.1)),
            cell(same(false)),
            goal(same(false)),
            cell(same(true)),
            goal(same(true)),
            failed.to_string(),
        ]);
    }
    table
}

/// The causes that the cluster itself names.
fn told_as(row: &Row) -> String {
    if row.target == Target::Follower {
        return "-".to_owned(); // Nobody follows anybody else.
    }
    let causes = row.causes().into_iter().map(|(cause, count)| format!("{count} {cause}"));
    causes.collect::<Vec<_>>().join(", ")
}

/// What a reader has to know beside the figures.
fn complaints(row: &Row) -> String {
    let mut text = String::new();
    let name = format!("{} of the {}, {}", row.fault_name(), target(row.target), load(row));
    let calls = row.calls();
    if calls.failures() > 0 {
        writeln!(text, "{name}: failed requests: {calls}").expect("into a string");
    }
    if row.completed_twice() > 0 {
        writeln!(text, "{name}: {} jobs were completed twice", row.completed_twice())
            .expect("into a string");
    }
    if let Some(late) = row.late_after_heal() {
        writeln!(text, "{name}: after a healing nothing was written for {} ms", late.as_millis())
            .expect("into a string");
    }
    for trial in &row.trials {
        match &trial.outcome {
            Outcome::Measured => {}
            Outcome::Failed(why) => {
                writeln!(text, "{name}: trial {} failed: {why}", trial.number)
                    .expect("into a string");
            }
            Outcome::Void(why) => {
                writeln!(text, "{name}: trial {} is void: {why}", trial.number)
                    .expect("into a string");
            }
        }
    }
    text
}

/// A trial as it ends, for `--verbose`.
pub(crate) fn line(trial: &Trial, trials: u16) -> String {
    let figure = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let outcome = match &trial.outcome {
        Outcome::Measured => String::new(),
        Outcome::Failed(why) => format!(" FAILED: {why}"),
        Outcome::Void(why) => format!(" VOID: {why}"),
    };
    let rate = if trial.load_rate > 0.0 {
        format!(", {:.0} calls/s", trial.load_rate)
    } else {
        String::new()
    };
    format!(
        "  {}/{trials} {} {}, asked {}: gap {} ms, first write {} ms, after heal {} ms, before {} ms, \
         writer late {} ms{rate}; then {} ({}); failed {}{outcome}",
        trial.number,
        trial.fault.name(),
        trial.node,
        trial.writer_at,
        figure(trial.gap_ms),
        figure(trial.first_write_ms),
        figure(trial.gap_after_heal_ms),
        figure(trial.gap_before_ms),
        figure(trial.writer_late_ms),
        trial.successor.as_deref().unwrap_or("nobody"),
        trial.cause.as_deref().unwrap_or("-"),
        trial.calls,
    )
}

fn ms(value: Option<Duration>) -> String {
    value.map_or("-".to_owned(), |value| format!("{:.1}", milliseconds(value)))
}

fn trials(row: &Row) -> String {
    let (voids, failed) = (row.voids(), row.failed_trials());
    let mut text = row.trials.len().to_string();
    for (count, name) in [(voids, "void"), (failed, "failed")] {
        if count > 0 {
            write!(text, ", {count} {name}").expect("into a string");
        }
    }
    text
}

fn load(row: &Row) -> String {
    match row.load {
        0 => "idle".to_owned(),
        clients => format!("{clients} clients"),
    }
}

const fn target(target: Target) -> &'static str {
    match target {
        Target::Leader => "leader",
        Target::Follower => "follower",
        Target::Worker => "worker",
    }
}

fn verdict(row: &Row) -> &'static str {
    match (row.verdict(), row.goal) {
        (Verdict::Missed, _) => "missed",
        (Verdict::Unknown, _) => "unknown",
        (Verdict::Met, Some(_)) => "met",
        (Verdict::Met, None) => "",
    }
}
