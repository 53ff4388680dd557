//! What a checker says.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::history::Event;

/// A promise of `guarantees.md`, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// An acknowledged add is never lost.
    S1,
    /// Nothing comes out that was not put in.
    S2,
    /// Adding again under the same id gives the same job, once.
    S3,
    /// A job is recorded as completed at most once.
    S4,
    /// Tokens strictly grow, and none is issued twice.
    S5,
    /// Once a newer grant exists, nothing new succeeds under the older token.
    S6,
    /// A lease is not taken before its time.
    S8,
    /// A delayed job is not handed out early.
    S9,
    /// Attempts are counted exactly, within their bound, and not before the backoff.
    S10,
    /// Every operation and read on a job is linearizable, and revisions respect real time.
    S12,
    /// A job ends in one terminal state and stays there until a retry.
    S13,
    /// After an acknowledged cancel no later claim returns the job.
    S15,
}

impl Promise {
    /// Its public wording.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::S1 => "an acknowledged add is never lost",
            Self::S2 => "nothing comes out that was not put in",
            Self::S3 => "adding again under the same id gives the same job, once",
            Self::S4 => "a job is recorded as completed at most once",
            Self::S5 => "tokens strictly grow and none is issued twice",
            Self::S6 => "nothing new succeeds under an older token",
            Self::S8 => "a lease is not taken before its time",
            Self::S9 => "a delayed job is not handed out early",
            Self::S10 => "attempts are counted exactly and not before their time",
            Self::S12 => "operations on a job are linearizable and revisions respect real time",
            Self::S13 => "a job ends once and stays so until a retry",
            Self::S15 => "a cancelled job is not handed out",
        }
    }
}

/// Whether a promise held.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It was put to the test and held.
    Valid,
    /// It was broken.
    Violated(Witness),
    /// Nothing is proved either way.
    Unknown {
        /// Why.
        why: String,
    },
}

/// The proof that a promise was broken.
#[derive(Debug, Clone, PartialEq)]
pub struct Witness {
    /// The fewest events that show it, in order.
    pub events: Vec<Event>,
    /// What they show, for people.
    pub sentence: String,
}

/// What a checker counted; a name that was never counted is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Adds one.
    pub fn add(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    /// The count.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {}", name.replace('_', " "))?;
        }
        Ok(())
    }
}

/// What a checker found of its promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which.
    pub promise: Promise,
    /// Whether it held.
    pub verdict: Verdict,
    /// How often what happened.
    pub counts: Counts,
}

impl Finding {
    /// Turns valid into unknown when there is a doubt about the whole run.
    #[must_use]
    pub fn doubted(mut self, doubt: Option<&str>) -> Self {
        if let (Verdict::Valid, Some(doubt)) = (&self.verdict, doubt) {
            self.verdict = Verdict::Unknown { why: doubt.to_owned() };
        }
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let promise = self.promise;
        match &self.verdict {
            Verdict::Valid => write!(f, "{promise:<3?} valid     {}", promise.sentence())?,
            Verdict::Violated(witness) => {
                write!(f, "{promise:<3?} violated  {}: {}", promise.sentence(), witness.sentence)?;
            }
            Verdict::Unknown { why } => {
                write!(f, "{promise:<3?} unknown   {}: {why}", promise.sentence())?;
            }
        }
        write!(f, " ({})", self.counts)
    }
}

/// What a checker keeps while it runs: its counts and the first proof of a violation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) counts: Counts,
    first: Option<Witness>,
}

impl Ledger {
    /// Notes a violation; only the first keeps its witness.
    pub(super) fn violate(&mut self, events: &[&Arc<Event>], sentence: String) {
        self.counts.add("violations");
        self.first.get_or_insert_with(|| {
            let mut events: Vec<Event> = events.iter().map(|event| Event::clone(event)).collect();
            events.sort_by_key(|event| event.i);
            events.dedup_by_key(|event| event.i);
            Witness { events, sentence }
        });
    }

    /// Closes the ledger: `untested` says why nothing was proved, if so.
    pub(super) fn close(self, promise: Promise, untested: Option<String>) -> Finding {
        let verdict = match (self.first, untested) {
            (Some(witness), _) => Verdict::Violated(witness),
            (None, Some(why)) => Verdict::Unknown { why },
            (None, None) => Verdict::Valid,
        };
        Finding { promise, verdict, counts: self.counts }
    }
}
