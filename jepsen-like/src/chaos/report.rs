//! What a run came to.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use jepsen_like::checker::{Finding, Verdict as Judged};
use serde::Serialize;
use serde_json::Value;

use super::{arguments::FaultClass, recorder::Tally, story::Happened};
use crate::{
    endurance::percent, measure::Distribution, setup::Circumstances, table::Table, verdict::Verdict,
};

/// What went wrong in a run.
pub(super) struct Faults<'a> {
    pub(super) asked: &'a [FaultClass],
    pub(super) happened: Vec<Happened>,
    /// How many terms were begun meanwhile.
    pub(super) terms: u64,
}

/// Everything that is told of a run: `results.json`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// Of the form of this file.
    version: u32,
    verdict: Verdict,
    promises: Vec<Promise>,
    operations: BTreeMap<String, Operations>,
    /// How many of 100 writes nobody knows the outcome of.
    indeterminate_percent: f64,
    /// By class: how often it was made, and how often it was in force.
    classes: BTreeMap<String, [u64; 2]>,
    terms_begun: u64,
    seconds: f64,
    faults: Vec<Happened>,
    #[serde(flatten)]
    circumstances: Circumstances,
}

#[derive(Debug, Clone, Serialize)]
struct Promise {
    id: String,
    verdict: Verdict,
    /// As `check` prints it.
    finding: String,
    /// The events that prove a violation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    witness: Vec<Value>,
}

#[derive(Debug, Clone, Serialize)]
struct Operations {
    ok: usize,
    fail: u64,
    info: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Report {
    pub(super) fn new(
        findings: &[Finding],
        tally: &Tally,
        faults: Faults<'_>,
        worked: Duration,
        circumstances: Circumstances,
    ) -> Self {
        let mut classes: BTreeMap<String, [u64; 2]> =
            faults.asked.iter().map(|class| (class.name(), [0, 0])).collect();
        for fault in &faults.happened {
            let [made, in_force] = classes.entry(fault.class.clone()).or_default();
            (*made, *in_force) = (*made + 1, *in_force + u64::from(fault.in_force));
        }
        let promises: Vec<Promise> = findings.iter().map(promise).collect();
        let (writes, infos) = tally.by_end.iter().filter(|(f, _)| !f.is_read()).fold(
            (0, 0),
            |(writes, infos), (_, ends)| {
                (writes + ends.ok.len() as u64 + ends.fail + ends.info, infos + ends.info)
            },
        );
        let mut report = Self {
            version: 1,
            verdict: Verdict::Met,
            promises,
            operations: tally
                .by_end
                .iter()
                .map(|(f, ends)| (f.to_string(), operations(ends)))
                .collect(),
            indeterminate_percent: percent(infos, writes),
            classes,
            terms_begun: faults.terms,
            seconds: worked.as_secs_f64(),
            faults: faults.happened,
            circumstances,
        };
        report.verdict = report.judged();
        report
    }

    /// The worst of all: a promise's; missed when a node did what it must not; unknown when a class of faults
    /// was never in force.
    fn judged(&self) -> Verdict {
        let promises = self.promises.iter().map(|promise| promise.verdict);
        let classes = self
            .classes
            .values()
            .map(|[_, in_force]| if *in_force > 0 { Verdict::Met } else { Verdict::Unknown });
        let faults = self.faults.iter().map(|fault| Verdict::when(!fault.misbehaved));
        promises.chain(classes).chain(faults).max().unwrap_or(Verdict::Unknown)
    }

    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for promise in &self.promises {
            writeln!(text, "{}", promise.finding).expect("into a string");
            for event in &promise.witness {
                writeln!(text, "    {event}").expect("into a string");
            }
        }
        let mut table = Table::of(&["operation", "ok", "fail", "unknown", "p50 / p99 / max ms"]);
        for (f, ends) in &self.operations {
            let Operations { ok, fail, info, p50_ms, p99_ms, max_ms } = ends;
            table.row(vec![
                f.clone(),
                ok.to_string(),
                fail.to_string(),
                info.to_string(),
                format!("{p50_ms:.1} / {p99_ms:.1} / {max_ms:.1}"),
            ]);
        }
        let classes: Vec<String> = self
            .classes
            .iter()
            .map(|(class, [made, in_force])| format!("{in_force} of {made} {class}"))
            .collect();
        let notes = self.faults.iter().filter_map(|fault| {
            let note = fault.note.as_ref()?;
            Some(format!(
                "{} of {} at {} ms: {note}",
                fault.class,
                fault.nodes.join(", "),
                fault.from_ms
            ))
        });
        let all: usize = self.operations.values().map(|ends| ends.ok).sum();
        write!(
            text,
            "\n{table}\nfaults in force: {}\n{}{} terms begun, {all} operations in {:.0} s, {:.1} % of writes \
             indeterminate: {}\n\n{}",
            classes.join(", "),
            notes.map(|note| note + "\n").collect::<String>(),
            self.terms_begun,
            self.seconds,
            self.indeterminate_percent,
            match self.verdict {
                Verdict::Met => "VALID",
                Verdict::Missed => "VIOLATED",
                Verdict::Unknown => "UNKNOWN",
            },
            self.circumstances,
        )
        .expect("into a string");
        text
    }
}

fn promise(finding: &Finding) -> Promise {
    let (verdict, witness) = match &finding.verdict {
        Judged::Valid => (Verdict::Met, vec![]),
        Judged::Unknown { .. } => (Verdict::Unknown, vec![]),
        Judged::Violated(witness) => {
            let events = witness.events.iter().map(|event| serde_json::json!(event));
            (Verdict::Missed, events.collect())
        }
    };
    Promise { id: format!("{:?}", finding.promise), verdict, finding: finding.to_string(), witness }
}

fn operations(ends: &super::recorder::Ends) -> Operations {
    let took: Distribution = ends.ok.iter().copied().collect();
    let ms = |time: Option<Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    Operations {
        ok: ends.ok.len(),
        fail: ends.fail,
        info: ends.info,
        p50_ms: ms(took.median()),
        p99_ms: ms(took.percentile(99)),
        max_ms: ms(took.max()),
    }
}
