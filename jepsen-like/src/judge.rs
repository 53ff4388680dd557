//! Feeds one history to every checker and says what it comes to.

use std::{collections::BTreeSet, io::BufRead, sync::Arc};

use crate::{
    checker::{self, Checker, Finding, Verdict},
    final_read::{FinalRead, JobLine, ReadEnd},
    history::{Event, HistoryError, Kind, Line, Pairing, Step, read_lines},
};

/// From here on the share of `info` is judged; below it says little.
const OPERATIONS_FOR_INFO_SHARE: u64 = 100;
/// Above this share, in percent, of the writes being indeterminate, nothing is proved.
const INFO_SHARE_PERCENT_MAX: u64 = 20;

/// Judges a history as it comes.
pub struct Judge {
    pairing: Pairing,
    checkers: Vec<Box<dyn Checker>>,
    nodes: BTreeSet<String>,
    read: FinalRead,
    writes: u64,
    infos: u64,
    unexpected: u64,
}

/// What a whole run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overall {
    /// Every promise was put to the test and held.
    Valid,
    /// A promise was broken. Outranks unknown: a proof must never be masked.
    Violated,
    /// No promise was broken, and at least one was not put to the test.
    Unknown,
}

impl Overall {
    /// Of all findings together.
    pub fn of(findings: &[Finding]) -> Self {
        let any = |is: fn(&Verdict) -> bool| findings.iter().any(|finding| is(&finding.verdict));
        if any(|verdict| matches!(verdict, Verdict::Violated(_))) {
            Self::Violated
        } else if findings.is_empty() || any(|verdict| matches!(verdict, Verdict::Unknown { .. })) {
            Self::Unknown
        } else {
            Self::Valid
        }
    }
}

impl Default for Judge {
    /// With every checker.
    fn default() -> Self {
        Self::with(checker::all())
    }
}

impl Judge {
    /// With these checkers.
    pub fn with(checkers: Vec<Box<dyn Checker>>) -> Self {
        Self {
            pairing: Pairing::default(),
            checkers,
            nodes: BTreeSet::new(),
            read: FinalRead::default(),
            writes: 0,
            infos: 0,
            unexpected: 0,
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// When the history is not well-formed: the recorder is at fault and nothing is judged.
    pub fn on_event(&mut self, event: Event) -> Result<(), HistoryError> {
        self.nodes.insert(event.node.clone());
        match self.pairing.step(event)? {
            Step::Invoked(invoke) => self.on_invoke(&invoke),
            Step::Completed(operation) => {
                let completion = &operation.completion;
                let is_write = !completion.f.is_read();
                self.infos += u64::from(is_write && completion.kind == Kind::Info);
                let kind = completion.err.as_ref().map(|failure| failure.kind.as_str());
                self.unexpected += u64::from(kind == Some("unexpected_response"));
                for checker in &mut self.checkers {
                    checker.on_completion(&operation);
                }
            }
        }
        Ok(())
    }

    fn on_invoke(&mut self, invoke: &Arc<Event>) {
        self.writes += u64::from(!invoke.f.is_read());
        for checker in &mut self.checkers {
            checker.on_invoke(invoke);
        }
    }

    /// Takes one job of a node's final read.
    pub fn on_final_job(&mut self, line: JobLine) {
        self.read.on_job(line);
    }

    /// Takes the end of a node's final read.
    pub fn on_final_end(&mut self, end: ReadEnd) {
        self.read.on_end(end);
    }

    /// The findings, in the order of the promises.
    pub fn finish(self) -> Vec<Finding> {
        let open = self.pairing.open().filter(|invoke| !invoke.f.is_read()).count() as u64;
        let doubt = self.read.gap(&self.nodes).or_else(|| {
            let infos = self.infos + open;
            let is_blurred = self.writes >= OPERATIONS_FOR_INFO_SHARE
                && infos * 100 > self.writes * INFO_SHARE_PERCENT_MAX;
            if is_blurred {
                Some(format!("{infos} of {} writes are indeterminate", self.writes))
            } else if self.unexpected > 0 {
                Some(format!("{} answers were outside the API's contract", self.unexpected))
            } else {
                None
            }
        });
        let read = &self.read;
        self.checkers
            .into_iter()
            .map(|checker| checker.finish(read))
            .map(|finding| finding.doubted(doubt.as_deref()))
            .collect()
    }
}

/// Judges a whole history.
///
/// # Errors
/// When it cannot be read or is not well-formed.
pub fn judge_history(source: impl BufRead) -> Result<Vec<Finding>, HistoryError> {
    let mut judge = Judge::default();
    for line in read_lines(source) {
        match line? {
            Line::Event(event) => judge.on_event(event)?,
            Line::FinalJob(job) => judge.on_final_job(job),
            Line::FinalEnd(end) => judge.on_final_end(end),
            Line::Note(_) => {}
        }
    }
    Ok(judge.finish())
}
