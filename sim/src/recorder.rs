//! What the clients saw, judged as it happens, and the trace of the run.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jepsen_like::{
    Judge,
    checker::Finding,
    final_read::{JobLine, ReadEnd},
    history::{Event, Failure, Function, HistoryError, Kind, write_line},
};
use serde_json::Value;

/// Shared by every client of a run.
#[derive(Clone)]
pub struct Recorder(Arc<Mutex<Inner>>);

struct Inner {
    judge: Judge,
    broken: Option<HistoryError>,
    next_event: u64,
    next_process: u64,
    last_t: u64,
    trace: Box<dyn Write + Send>,
    untraced: Option<io::Error>,
    completed: [u64; 3],
    others: BTreeMap<&'static str, u64>,
}

impl Inner {
    fn trace(&mut self, record: &impl serde::Serialize) {
        if let Err(error) = write_line(&mut self.trace, record) {
            self.untraced.get_or_insert(error);
        }
    }
}

/// Why a run cannot be judged: this harness is at fault.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// The history is not well-formed.
    #[error("the history is not sound: {0}")]
    History(#[from] HistoryError),
    /// The trace could not be written.
    #[error("the trace could not be written: {0}")]
    Trace(#[from] io::Error),
}

/// What an operation is about; the rest of an event is the recorder's.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// See [`Event::req`].
    pub req: Option<String>,
    /// See [`Event::job`].
    pub job: Option<String>,
    /// See [`Event::tok`].
    pub tok: Option<u64>,
    /// See [`Event::args`].
    pub args: Value,
}

/// How an operation ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// It happened.
    Ok {
        /// The revision of the answer.
        rev: u64,
        /// The job and token of a grant.
        grant: Option<(String, u64)>,
        /// See [`Event::res`].
        res: Value,
    },
    /// It certainly did not.
    Fail(Failure),
    /// Nobody knows.
    Info(Failure),
}

/// A logical process: one operation at a time, retired by the first whose outcome is unknown.
pub struct Process {
    recorder: Recorder,
    number: u64,
    node: String,
}

impl Recorder {
    /// Writes the trace as it goes: a history in the format of `jepsen-like`, with notes.
    pub fn new(trace: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            judge: Judge::default(),
            broken: None,
            next_event: 0,
            next_process: 0,
            last_t: 0,
            trace,
            untraced: None,
            completed: [0; 3],
            others: BTreeMap::new(),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no client panics while it records: the simulation would have ended")
    }

    /// A process that asks `node`.
    pub fn process(&self, node: &str) -> Process {
        let mut inner = self.inner();
        inner.next_process += 1;
        Process { recorder: self.clone(), number: inner.next_process, node: node.to_owned() }
    }

    /// Writes a line that is not an event into the trace.
    pub fn note(&self, at: Duration, text: &str) {
        let line = serde_json::json!({"t": nanos(at), "type": "note", "text": text});
        self.inner().trace(&line);
    }

    /// Takes one job of a node's final read.
    pub fn final_job(&self, line: JobLine) {
        let mut inner = self.inner();
        let mut record = serde_json::to_value(&line).expect("a job is plain data");
        record["type"] = "final_job".into();
        inner.trace(&record);
        inner.judge.on_final_job(line);
    }

    /// Takes the end of a node's final read.
    pub fn final_end(&self, end: ReadEnd) {
        let mut inner = self.inner();
        let mut record = serde_json::to_value(&end).expect("an end is plain data");
        record["type"] = "final_end".into();
        inner.trace(&record);
        inner.judge.on_final_end(end);
    }

    /// Counts something that no checker looks at.
    pub fn count(&self, what: &'static str) {
        *self.inner().others.entry(what).or_default() += 1;
    }

    /// How often that was counted.
    pub fn counted(&self, what: &'static str) -> u64 {
        self.inner().others.get(what).copied().unwrap_or(0)
    }

    /// How many operations ended as ok, fail and info.
    pub fn completed(&self) -> [u64; 3] {
        self.inner().completed
    }

    /// The findings.
    ///
    /// # Errors
    /// [`RecorderError`].
    pub fn finish(&self) -> Result<Vec<Finding>, RecorderError> {
        let mut inner = self.inner();
        if let Some(error) = inner.broken.take() {
            return Err(error.into());
        }
        let flushed = inner.trace.flush().err();
        match inner.untraced.take().or(flushed) {
            Some(error) => Err(error.into()),
            None => Ok(std::mem::take(&mut inner.judge).finish()),
        }
    }

    fn record(&self, mut event: Event) {
        let mut inner = self.inner();
        inner.next_event += 1;
        event.i = inner.next_event;
        // Hosts run one after the other within a tick, each from the tick's beginning: the order in
        // which they run is the order of the history.
        event.t = event.t.max(inner.last_t);
        inner.last_t = event.t;
        match event.kind {
            Kind::Invoke => {}
            Kind::Ok => inner.completed[0] += 1,
            Kind::Fail => inner.completed[1] += 1,
            Kind::Info => inner.completed[2] += 1,
        }
        inner.trace(&event);
        if inner.broken.is_none() {
            inner.broken = inner.judge.on_event(event).err();
        }
    }
}

impl Process {
    /// Runs one operation: records that it begins, asks, and records how it ended.
    pub async fn run(
        &mut self,
        f: Function,
        call: Call,
        ask: impl Future<Output = Ending>,
    ) -> Ending {
        let (job, tok) = (call.job.clone(), call.tok);
        self.recorder.record(self.event(Kind::Invoke, f, call));
        let ending = ask.await;
        let mut event = match &ending {
            Ending::Ok { rev, grant, res } => {
                let mut event = self.event(Kind::Ok, f, Call { job, tok, ..Call::default() });
                (event.rev, event.res) = (Some(*rev), res.clone());
                if let Some((job, token)) = grant {
                    (event.job, event.tok) = (Some(job.clone()), Some(*token));
                }
                event
            }
            Ending::Fail(failure) => self.failure(Kind::Fail, f, job, tok, failure),
            Ending::Info(failure) => self.failure(Kind::Info, f, job, tok, failure),
        };
        event.t = now();
        let is_unknown = event.kind == Kind::Info;
        self.recorder.record(event);
        if is_unknown {
            *self = self.recorder.process(&self.node);
        }
        ending
    }

    fn failure(
        &self,
        kind: Kind,
        f: Function,
        job: Option<String>,
        tok: Option<u64>,
        failure: &Failure,
    ) -> Event {
        let mut event = self.event(kind, f, Call { job, tok, ..Call::default() });
        event.err = Some(failure.clone());
        event
    }

    fn event(&self, kind: Kind, f: Function, call: Call) -> Event {
        Event {
            i: 0,
            t: now(),
            process: self.number,
            node: self.node.clone(),
            kind,
            f,
            req: call.req,
            q: None,
            job: call.job,
            tok: call.tok,
            rev: None,
            args: call.args,
            res: Value::Null,
            err: None,
        }
    }
}

fn now() -> u64 {
    nanos(turmoil::sim_elapsed().unwrap_or_default())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a run is shorter than 500 years")
}
