//! What a run came to, as a table.

use std::fmt::Write as _;

use serde::Serialize;

use super::Check;
use crate::{setup::Circumstances, table::Table, verdict::Verdict};

/// Everything that is told of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// The command, and what was in force: `loss, 60 % of all datagrams`.
    pub(crate) name: String,
    /// For how long it was in force.
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) circumstances: Circumstances,
    pub(crate) checks: Vec<Check>,
}

impl Report {
    /// The worst of all checks; of none, nothing is known.
    pub(crate) fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Unknown)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::of(&[&self.name, "seen", "asked", ""]);
        for check in &self.checks {
            let (asked, verdict) = match &check.asked {
                Some(asked) => (asked.clone(), check.verdict.name()),
                None => ("-".to_owned(), ""),
            };
            table.row(vec![check.what.clone(), check.seen.clone(), asked, verdict.to_owned()]);
        }
        let mut text = table.to_string();
        write!(text, "\n{:.1} s under it; {}", self.seconds, self.circumstances)
            .expect("into a string");
        text
    }
}
