//! A wait that a call asked for: the job must not be handed out before it is over.

use std::sync::Arc;

use super::verdict::Ledger;
use crate::{
    bounds::{ms, not_before},
    history::{Event, Kind},
};

/// What all calls of one verb under one token asked for. Any of them may be the one that took effect, so it
/// is the least of their times, from the first of them on.
#[derive(Debug)]
pub(super) struct Wait {
    first: Arc<Event>,
    least_ms: u64,
    is_answered: bool,
}

impl Wait {
    pub(super) fn new(invoke: &Arc<Event>, asked_ms: u64) -> Self {
        Self { first: Arc::clone(invoke), least_ms: asked_ms, is_answered: false }
    }

    pub(super) fn ask_again(&mut self, asked_ms: u64) {
        self.least_ms = self.least_ms.min(asked_ms);
    }

    /// One of them has ended.
    pub(super) fn on_completion(&mut self, kind: Kind) {
        self.is_answered |= kind == Kind::Ok;
    }

    /// Judges the next grant of the job. Whether there was anything to judge.
    pub(super) fn judge(&self, job: &str, grant: &Arc<Event>, ledger: &mut Ledger) -> bool {
        if !self.is_answered || self.least_ms == 0 {
            return false;
        }
        judge(job, &self.first, self.least_ms, grant, ledger);
        true
    }
}

/// A grant of a job of which that call had asked that it wait for so long.
pub(super) fn judge(
    job: &str,
    asked: &Arc<Event>,
    least_ms: u64,
    grant: &Arc<Event>,
    ledger: &mut Ledger,
) {
    if grant.t < not_before(asked.t, least_ms) {
        let after = ms(grant.t.saturating_sub(asked.t));
        let sentence = format!(
            "{job} was handed out {after} ms after a {} that had it wait {least_ms} ms",
            asked.f
        );
        ledger.violate(&[asked, grant], sentence);
    }
}
