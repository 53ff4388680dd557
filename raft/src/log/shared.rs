//! What the log's handles and its writer share: the queue, the newest entries, and where the others
//! stand.
//!
//! Two views of the entries are kept, because writing lags behind asking. `extent` and `recent` are
//! what callers were told; `placed` is what the writer has written, and follows them record by
//! record. An index below the recent entries was written and is untouched by what still waits, so
//! `placed` is right about it.

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use super::{
    extent::Extent,
    format::{self, RECORD_OVERHEAD},
    handle::{BACKLOG_BYTES_MAX, RECORD_BYTES_MAX, Record, StoredEntry},
    placed::{Location, Move, Placed, Segment},
    recovery::Opened,
};

/// Told once what became of a write.
pub(super) type Durable = Box<dyn FnOnce(io::Result<()>) + Send>;

/// One call of `Log::write`.
pub(super) struct Queued {
    pub(super) records: Vec<Record>,
    pub(super) durable: Durable,
}

/// An entry in memory, and the number of the `write` that brought it.
struct Recent {
    write: u64,
    entry: StoredEntry,
}

/// See the module's text.
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    cache_bytes: u64,
}

struct State {
    extent: Extent,
    recent: VecDeque<Recent>,
    recent_bytes: u64,
    placed: Placed,
    segments: BTreeMap<u32, Arc<Segment>>,
    /// Bytes written in all segments.
    end: u64,
    queue: Vec<Queued>,
    backlog_bytes: u64,
    /// Calls of `write` taken, and how many of them are written.
    writes: u64,
    written: u64,
    failure: Option<(io::ErrorKind, String)>,
    is_closing: bool,
}

/// One entry to read, found under the lock and fetched outside.
pub(super) enum Read {
    Memory(StoredEntry),
    Disk { segment: Arc<Segment>, location: Location, index: u64 },
}

impl Read {
    pub(super) fn fetch(self) -> io::Result<StoredEntry> {
        match self {
            Self::Memory(entry) => Ok(entry),
            Self::Disk { segment, location, index } => segment.read_entry(location, index),
        }
    }
}

impl Shared {
    pub(super) fn new(opened: &mut Opened, cache_bytes: u64) -> Self {
        let segments: BTreeMap<u32, Arc<Segment>> =
            opened.segments.iter().map(|segment| (segment.sequence, Arc::clone(segment))).collect();
        let base = opened.segments.last().map_or(0, |segment| segment.base);
        let state = State {
            extent: opened.state.extent,
            recent: VecDeque::new(),
            recent_bytes: 0,
            placed: mem::take(&mut opened.placed),
            segments,
            end: base + opened.end,
            queue: Vec::new(),
            backlog_bytes: 0,
            writes: 0,
            written: 0,
            failure: None,
            is_closing: false,
        };
        Self { state: Mutex::new(state), wake: Condvar::new(), cache_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// Takes a write in, or gives it back with the reason.
    pub(super) fn enqueue(
        &self,
        records: Vec<Record>,
        durable: Durable,
    ) -> Result<(), (io::Error, Durable)> {
        let mut state = self.lock();
        if let Err(error) = state.take(&records) {
            return Err((error, durable));
        }
        state.queue.push(Queued { records, durable });
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for something to write; `None` once the log is closing and nothing waits.
    pub(super) fn next_batch(&self) -> Option<Vec<Queued>> {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.is_closing {
                return None;
            }
            state = self.wake.wait(state).expect("nothing panics while it holds this lock");
        }
        Some(mem::take(&mut state.queue))
    }

    /// What waits now.
    pub(super) fn take_queue(&self) -> Vec<Queued> {
        mem::take(&mut self.lock().queue)
    }

    pub(super) fn plan_read(&self, range: Range<u64>, max_bytes: u64) -> io::Result<Vec<Read>> {
        let state = self.lock();
        state.check_usable()?;
        let range = range.start.max(state.extent.first)..range.end.min(state.extent.next);
        let mut reads = Vec::new();
        let mut bytes = 0;
        for index in range {
            let (read, size) = state.find(index)?;
            bytes += size;
            if bytes > max_bytes && !reads.is_empty() {
                break;
            }
            reads.push(read);
        }
        Ok(reads)
    }

    pub(super) fn last_index(&self) -> Option<u64> {
        self.lock().extent.last()
    }

    pub(super) fn is_in_memory(&self, index: u64) -> bool {
        let state = self.lock();
        index >= state.extent.next || state.recent(index).is_some()
    }

    pub(super) fn bytes_since(&self, index: u64) -> u64 {
        let state = self.lock();
        let from = index.saturating_add(1).max(state.extent.first);
        if from >= state.extent.next {
            return 0;
        }
        match state.placed.get(from).and_then(|location| state.position(location)) {
            Some(position) => state.end.saturating_sub(position) + state.backlog_bytes,
            None => state.recent_bytes_from(from),
        }
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.lock().failure.is_some()
    }

    pub(super) fn begin_closing(&self) {
        self.lock().is_closing = true;
        self.wake.notify_one();
    }

    /// The failure that poisoned the log, if one did.
    pub(super) fn outcome(&self) -> io::Result<()> {
        self.lock().check_healthy()
    }

    /// Makes every later call fail, and hands out what waits, to be told.
    pub(super) fn poison(&self, error: &io::Error) -> Vec<Queued> {
        let mut state = self.lock();
        state.fail(error.kind(), error.to_string());
        mem::take(&mut state.queue)
    }

    pub(super) fn add_segment(&self, segment: Arc<Segment>) {
        self.lock().segments.insert(segment.sequence, segment);
    }

    pub(super) fn remove_segment(&self, sequence: u32) {
        self.lock().segments.remove(&sequence);
    }

    /// The oldest segment open, and the oldest one that an entry needs.
    pub(super) fn oldest_segments(&self) -> (Option<u32>, Option<u32>) {
        let state = self.lock();
        (state.segments.keys().next().copied(), state.placed.oldest_segment())
    }

    /// Takes note that `writes` calls of `bytes` together are in the files, as `moves` say.
    pub(super) fn note_written(&self, moves: &[Move], writes: u64, bytes: u64, end: u64) {
        let mut state = self.lock();
        for change in moves {
            state.placed.apply(change);
        }
        state.written += writes;
        state.backlog_bytes -= bytes;
        state.end = end;
        state.evict(self.cache_bytes);
    }
}

impl State {
    /// Checks and takes in what a write changes, as callers see it. Unchanged after an error, but
    /// for the poison of a full backlog.
    fn take(&mut self, records: &[Record]) -> io::Result<()> {
        self.check_usable()?;
        let mut extent = self.extent;
        let mut bytes = 0;
        for record in records {
            let size = format::encoded_len(record);
            if size > RECORD_OVERHEAD + RECORD_BYTES_MAX {
                return Err(invalid(format!("a record of {size} bytes is too large for the log")));
            }
            extent.apply(record).map_err(invalid)?;
            bytes += size as u64;
        }
        if self.backlog_bytes > 0 && self.backlog_bytes + bytes > BACKLOG_BYTES_MAX {
            let reason = format!("the disk is {} bytes behind", self.backlog_bytes);
            self.fail(io::ErrorKind::TimedOut, reason);
            return self.check_healthy();
        }
        self.extent = extent;
        self.backlog_bytes += bytes;
        self.writes += 1;
        for record in records {
            self.remember(record);
        }
        Ok(())
    }

    fn remember(&mut self, record: &Record) {
        match record {
            Record::Vote(_) | Record::Committed(_) => {}
            Record::Append(entry) => {
                self.recent_bytes += size_in_memory(entry);
                self.recent.push_back(Recent { write: self.writes, entry: entry.clone() });
            }
            Record::TruncateFrom(index) => {
                while self.recent.back().is_some_and(|recent| recent.entry.index >= *index) {
                    self.recent.pop_back().inspect(|recent| {
                        self.recent_bytes -= size_in_memory(&recent.entry);
                    });
                }
            }
            Record::Purge { upto, .. } => {
                while self.recent.front().is_some_and(|recent| recent.entry.index <= *upto) {
                    self.forget_oldest();
                }
            }
        }
    }

    /// Drops the oldest written entries from memory until the rest fits.
    fn evict(&mut self, cache_bytes: u64) {
        while self.recent_bytes > cache_bytes
            && self.recent.front().is_some_and(|recent| recent.write <= self.written)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(recent) = self.recent.pop_front() {
            self.recent_bytes -= size_in_memory(&recent.entry);
        }
    }

    /// One entry within the extent, and its size.
    fn find(&self, index: u64) -> io::Result<(Read, u64)> {
        if let Some(entry) = self.recent(index) {
            return Ok((Read::Memory(entry.clone()), entry.bytes.len() as u64));
        }
        let location = self.placed.get(index);
        let segment = location.and_then(|location| self.segments.get(&location.segment));
        match location.zip(segment.cloned()) {
            Some((location, segment)) => {
                Ok((Read::Disk { segment, location, index }, location.body_len.into()))
            }
            None => Err(io::Error::other(format!("log entry {index} is in no segment"))),
        }
    }

    fn recent(&self, index: u64) -> Option<&StoredEntry> {
        let first = self.recent.front()?.entry.index;
        let position = usize::try_from(index.checked_sub(first)?).ok()?;
        self.recent.get(position).map(|recent| &recent.entry)
    }

    fn recent_bytes_from(&self, index: u64) -> u64 {
        let newest_first = self.recent.iter().rev().map(|recent| &recent.entry);
        newest_first.take_while(|entry| entry.index >= index).map(size_in_memory).sum()
    }

    /// How many bytes stand before a location.
    fn position(&self, location: Location) -> Option<u64> {
        let segment = self.segments.get(&location.segment)?;
        Some(segment.base + u64::from(location.offset))
    }

    fn fail(&mut self, kind: io::ErrorKind, reason: String) {
        self.failure.get_or_insert((kind, reason));
    }

    fn check_healthy(&self) -> io::Result<()> {
        match &self.failure {
            Some((kind, reason)) => Err(io::Error::new(*kind, format!("the log failed: {reason}"))),
            None => Ok(()),
        }
    }

    fn check_usable(&self) -> io::Result<()> {
        self.check_healthy()?;
        if self.is_closing { Err(io::Error::other("the log is closed")) } else { Ok(()) }
    }
}

fn size_in_memory(entry: &StoredEntry) -> u64 {
    (RECORD_OVERHEAD + entry.bytes.len()) as u64
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
