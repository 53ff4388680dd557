//! The history format: one JSON record an event, one event a line.
//!
//! ```text
//! {"i":1,"t":810,"proc":4,"node":"n1","type":"invoke","f":"claim","req":"r-9","args":{"node_id":"w1"}}
//! {"i":2,"t":990,"proc":4,"node":"n1","type":"ok","f":"claim","req":"r-9","job":"j-1","tok":17,"rev":17}
//! ```
//!
//! The recorder writes `invoke` before it sends and the completion after it received, all on one
//! monotonic clock, so the order of lines is real-time order. A process has one operation at a time.
//! After an `info` it is retired and never acts again, because its operation may take effect at any
//! later moment (the rule of Knossos); a client goes on under a fresh process number.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::final_read::{JobLine, ReadEnd};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The line's place in the history; strictly grows.
    pub i: u64,
    /// When, ns, by the one monotonic clock of the recording host; never goes back.
    pub t: u64,
    /// The logical process.
    #[serde(rename = "proc")]
    pub process: u64,
    /// The node that was asked.
    pub node: String,
    /// Invocation or how it completed.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The operation.
    pub f: Function,
    /// The client's request id: repeats of one claim share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<String>,
    /// The queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// The job: named by the caller, or (of a claim) returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The fencing token: presented, or (of a claim) granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tok: Option<u64>,
    /// The revision of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<u64>,
    /// What was asked beyond the fields above, as on the wire.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub args: Value,
    /// What was answered beyond the fields above, as on the wire.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub res: Value,
    /// Why it is `fail` or `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub err: Option<Failure>,
}

/// Invocation, or how an operation completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// About to be sent.
    Invoke,
    /// It happened.
    Ok,
    /// It definitely did not happen, and never will.
    Fail,
    /// It may have happened, or may yet, at any time after its invocation.
    Info,
}

/// What was asked of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Adds one job under the id `job`.
    Add,
    /// Leases at most one job; `ok` without `job` means that none was ready.
    Claim,
    /// The holder says that it runs the job.
    Start,
    /// The holder extends its lease on one job; `lost` is recorded as `fail`.
    Heartbeat,
    /// The holder has finished the job.
    Complete,
    /// The holder could not finish the job.
    Fail,
    /// The holder gives the job back.
    Release,
    /// Ends a job that is not finished.
    Cancel,
    /// Revives a finished job.
    Retry,
    /// Reads one job.
    Get,
    /// Reads many jobs.
    List,
    /// Reads the counts.
    Status,
}

impl Function {
    /// Whether it changes nothing, so that its failure means nothing.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Status)
    }
}

impl std::fmt::Display for Function {
    /// As in the history.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Why an operation is not `ok`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The API's error code, or the transport's (`timeout`, `refused`, …).
    pub kind: String,
    /// Whether any byte of the request may have reached the node.
    pub sent: bool,
}

impl Event {
    /// Whether the answer says that an earlier call had done it (`"duplicate": true`).
    pub fn is_duplicate(&self) -> bool {
        self.res.get("duplicate").and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether a repeated claim was told that its job is no longer held (`"lost": true`).
    pub fn is_lost(&self) -> bool {
        self.res.get("lost").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The jobs that this invocation asks to add, with their content: of `add`, and of `then` in
    /// `complete`. A job without an id is left out: the workload names all of its jobs.
    pub fn added_jobs(&self) -> Vec<(&str, &Value)> {
        match self.f {
            Function::Add => self.job.as_deref().map(|job| (job, &self.args)).into_iter().collect(),
            Function::Complete => self
                .args
                .get("then")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|item| Some((item.get("work_id")?.as_str()?, item)))
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// An operation that has completed, one way or another.
#[derive(Debug, Clone)]
pub struct Operation {
    /// How it was asked.
    pub invoke: Arc<Event>,
    /// How it ended. Never [`Kind::Invoke`].
    pub completion: Arc<Event>,
}

impl Operation {
    /// The job it is about: as returned, else as asked.
    pub fn job(&self) -> Option<&str> {
        self.completion.job.as_deref().or(self.invoke.job.as_deref())
    }

    /// Its token: as presented, else as granted.
    pub fn token(&self) -> Option<u64> {
        self.invoke.tok.or(self.completion.tok)
    }

    /// How it ended.
    pub fn kind(&self) -> Kind {
        self.completion.kind
    }

    /// The grant in the answer of a claim that got (or still holds) a job.
    pub fn grant(&self) -> Option<(&str, u64)> {
        let is_grant = self.invoke.f == Function::Claim
            && self.kind() == Kind::Ok
            && !self.completion.is_lost();
        is_grant.then(|| Some((self.completion.job.as_deref()?, self.completion.tok?)))?
    }
}

/// What one line holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// An event.
    Event(Event),
    /// One job of a node's final read.
    FinalJob(JobLine),
    /// The end of a node's final read.
    FinalEnd(ReadEnd),
    /// A remark for people.
    Note(String),
}

/// Why a history cannot be judged. The recorder is at fault, not the cluster.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file could not be read.
    #[error("line {line}: {source}")]
    Read {
        /// Counted from 1.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// A line is not a record of this format.
    #[error("line {line} is not a record: {source}")]
    Malformed {
        /// Counted from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// Order or time went back.
    #[error("event {i} does not follow the event before it (time and place must grow)")]
    OutOfOrder {
        /// The event.
        i: u64,
    },
    /// A process invoked while its last operation was open.
    #[error("event {i}: process {process} already has an operation open")]
    AlreadyOpen {
        /// The event.
        i: u64,
        /// The process.
        process: u64,
    },
    /// A process acted after an `info`.
    #[error("event {i}: process {process} was retired by an info")]
    Retired {
        /// The event.
        i: u64,
        /// The process.
        process: u64,
    },
    /// A completion without its invocation, or of another operation.
    #[error("event {i}: process {process} has no such operation open")]
    NotOpen {
        /// The event.
        i: u64,
        /// The process.
        process: u64,
    },
}

/// Reads records until the end; blank lines are skipped.
pub fn read_lines(source: impl BufRead) -> impl Iterator<Item = Result<Line, HistoryError>> {
    (1u64..)
        .zip(source.lines())
        .filter(|(_, text)| text.as_ref().map_or(true, |text| !text.trim().is_empty()))
        .map(|(line, text)| {
            let text = text.map_err(|source| HistoryError::Read { line, source })?;
            parse_line(&text).map_err(|source| HistoryError::Malformed { line, source })
        })
}

fn parse_line(text: &str) -> Result<Line, serde_json::Error> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
        #[serde(default)]
        text: String,
    }
    let tag: Tag<'_> = serde_json::from_str(text)?;
    Ok(match &*tag.kind {
        "final_job" => Line::FinalJob(serde_json::from_str(text)?),
        "final_end" => Line::FinalEnd(serde_json::from_str(text)?),
        "note" => Line::Note(tag.text),
        _ => Line::Event(serde_json::from_str(text)?),
    })
}

/// Writes one record and its newline.
///
/// # Errors
/// Whatever `out` returned; part of the line may have been written.
pub fn write_line(out: &mut impl Write, record: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

/// What an event means to the checkers.
#[derive(Debug, Clone)]
pub enum Step {
    /// An operation begins.
    Invoked(Arc<Event>),
    /// An operation ends.
    Completed(Operation),
}

/// Joins invocations and completions, and refuses what no sound recorder writes.
#[derive(Debug, Default)]
pub struct Pairing {
    open: BTreeMap<u64, Arc<Event>>,
    retired: BTreeSet<u64>,
    last: Option<(u64, u64)>,
}

impl Pairing {
    /// Takes the next event.
    ///
    /// # Errors
    /// When the history is not well-formed; nothing is judged after that.
    pub fn step(&mut self, event: Event) -> Result<Step, HistoryError> {
        let (i, process) = (event.i, event.process);
        if self.last.is_some_and(|(last_i, last_t)| i <= last_i || event.t < last_t) {
            return Err(HistoryError::OutOfOrder { i });
        }
        self.last = Some((i, event.t));
        if self.retired.contains(&process) {
            return Err(HistoryError::Retired { i, process });
        }
        let event = Arc::new(event);
        if event.kind == Kind::Invoke {
            return match self.open.insert(process, Arc::clone(&event)) {
                Some(_) => Err(HistoryError::AlreadyOpen { i, process }),
                None => Ok(Step::Invoked(event)),
            };
        }
        let Some(invoke) = self.open.remove(&process).filter(|invoke| invoke.f == event.f) else {
            return Err(HistoryError::NotOpen { i, process });
        };
        if event.kind == Kind::Info {
            self.retired.insert(process);
        }
        Ok(Step::Completed(Operation { invoke, completion: event }))
    }

    /// The operations that never completed: they count as `info`.
    pub fn open(&self) -> impl Iterator<Item = &Arc<Event>> {
        self.open.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(i: u64, process: u64, kind: Kind) -> Event {
        Event {
            i,
            t: i * 10,
            process,
            node: "n1".into(),
            kind,
            f: Function::Add,
            req: None,
            q: None,
            job: Some("j".into()),
            tok: None,
            rev: None,
            args: Value::Null,
            res: Value::Null,
            err: None,
        }
    }

    #[test]
    fn a_written_event_reads_back_the_same() {
        let mut written = event(7, 3, Kind::Info);
        written.err = Some(Failure { kind: "timeout".into(), sent: true });
        let mut bytes = Vec::new();
        write_line(&mut bytes, &written).unwrap();
        let read: Vec<Line> = read_lines(&bytes[..]).map(Result::unwrap).collect();
        assert_eq!(read, [Line::Event(written)]);
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_line() {
        let text = "\n{\"i\":1,\"t\":1,\"proc\":1,\"node\":\"a\",\"type\":\"invoke\",\"f\":\"add\",\"x\":1}\n";
        let error = read_lines(text.as_bytes()).next().unwrap().unwrap_err();
        assert!(matches!(error, HistoryError::Malformed { line: 2, .. }), "{error}");
    }

    #[test]
    fn a_process_with_an_info_is_retired() {
        let mut pairing = Pairing::default();
        pairing.step(event(1, 1, Kind::Invoke)).unwrap();
        pairing.step(event(2, 1, Kind::Info)).unwrap();
        let error = pairing.step(event(3, 1, Kind::Invoke)).unwrap_err();
        assert!(matches!(error, HistoryError::Retired { i: 3, process: 1 }));
    }

    #[test]
    fn a_process_has_one_operation_at_a_time() {
        let mut pairing = Pairing::default();
        pairing.step(event(1, 1, Kind::Invoke)).unwrap();
        let error = pairing.step(event(2, 1, Kind::Invoke)).unwrap_err();
        assert!(matches!(error, HistoryError::AlreadyOpen { .. }));
    }

    #[test]
    fn a_completion_needs_its_invocation() {
        let error = Pairing::default().step(event(1, 1, Kind::Ok)).unwrap_err();
        assert!(matches!(error, HistoryError::NotOpen { .. }));
    }

    #[test]
    fn time_never_goes_back() {
        let mut pairing = Pairing::default();
        pairing.step(event(2, 1, Kind::Invoke)).unwrap();
        let error = pairing.step(event(1, 2, Kind::Invoke)).unwrap_err();
        assert!(matches!(error, HistoryError::OutOfOrder { i: 1 }));
    }

    #[test]
    fn what_never_completed_stays_open() {
        let mut pairing = Pairing::default();
        pairing.step(event(1, 1, Kind::Invoke)).unwrap();
        assert_eq!(pairing.open().count(), 1);
    }
}
