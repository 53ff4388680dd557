//! The history of a run: written to a file, judged as it happens, and counted.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use jepsen_like::{
    Judge,
    checker::Finding,
    final_read::{JobLine, ReadEnd},
    history::{Event, Function, HistoryError, Kind, write_line},
};
use serde_json::Value;

use crate::exit::Failure;

/// Shared by all clients of a run.
pub(super) struct Recorder(Mutex<Inner>);

struct Inner {
    judge: Judge,
    broken: Option<HistoryError>,
    unwritten: Option<io::Error>,
    out: BufWriter<File>,
    begun: Instant,
    next_event: u64,
    next_process: u64,
    tally: Tally,
}

/// How the operations of a run ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) by_end: BTreeMap<Function, Ends>,
}

/// How those of one kind did.
#[derive(Debug, Clone, Default)]
pub(super) struct Ends {
    pub(super) ok: Vec<Duration>,
    pub(super) fail: u64,
    pub(super) info: u64,
}

impl Recorder {
    pub(super) fn new(file: &Path, begun: Instant) -> Result<Self, Failure> {
        let out = File::create(file).map_err(Failure::harness(file.display().to_string()))?;
        Ok(Self(Mutex::new(Inner {
            judge: Judge::default(),
            broken: None,
            unwritten: None,
            out: BufWriter::new(out),
            begun,
            next_event: 0,
            next_process: 0,
            tally: Tally::default(),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics under this lock")
    }

    /// The number of a process that nobody has had.
    pub(super) fn process(&self) -> u64 {
        let mut inner = self.inner();
        inner.next_process += 1;
        inner.next_process
    }

    /// Takes an event: gives it its place and time, and the time back, ns.
    pub(super) fn record(&self, mut event: Event) -> u64 {
        let mut inner = self.inner();
        inner.next_event += 1;
        event.i = inner.next_event;
        event.t = u64::try_from(inner.begun.elapsed().as_nanos()).expect("a run is shorter");
        inner.write(&event);
        let t = event.t;
        if inner.broken.is_none() {
            inner.broken = inner.judge.on_event(event).err();
        }
        t
    }

    /// Counts an operation that has ended.
    pub(super) fn count(&self, f: Function, kind: Kind, took: Duration) {
        let mut inner = self.inner();
        let ends = inner.tally.by_end.entry(f).or_default();
        match kind {
            Kind::Ok => ends.ok.push(took),
            Kind::Fail => ends.fail += 1,
            Kind::Info | Kind::Invoke => ends.info += 1,
        }
    }

    /// Takes one job of a node's final read.
    pub(super) fn final_job(&self, line: JobLine) {
        let mut inner = self.inner();
        inner.write(&tagged(&line, "final_job"));
        inner.judge.on_final_job(line);
    }

    /// Takes the end of a node's final read.
    pub(super) fn final_end(&self, end: ReadEnd) {
        let mut inner = self.inner();
        inner.write(&tagged(&end, "final_end"));
        inner.judge.on_final_end(end);
    }

    /// What the history comes to.
    pub(super) fn finish(&self) -> Result<(Vec<Finding>, Tally), Failure> {
        let mut inner = self.inner();
        if let Some(error) = inner.broken.take() {
            return Err(Failure::harness("the history is not sound")(io::Error::other(error)));
        }
        let flushed = inner.out.flush().err();
        if let Some(error) = inner.unwritten.take().or(flushed) {
            return Err(Failure::harness("writing the history")(error));
        }
        Ok((std::mem::take(&mut inner.judge).finish(), std::mem::take(&mut inner.tally)))
    }
}

impl Inner {
    fn write(&mut self, record: &impl serde::Serialize) {
        if let Err(error) = write_line(&mut self.out, record) {
            self.unwritten.get_or_insert(error);
        }
    }
}

fn tagged(record: &impl serde::Serialize, tag: &str) -> Value {
    let mut record = serde_json::to_value(record).expect("it is plain data");
    record["type"] = tag.into();
    record
}
