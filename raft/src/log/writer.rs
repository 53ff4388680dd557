//! The one writer: takes all that waits, writes it, syncs once, and tells.

use std::{
    collections::VecDeque,
    io, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    format::{self, Header, Place, State},
    handle::{LogOptions, Record},
    placed::{Location, Move, Segment},
    recovery::{Opened, create_segment, segment_path},
    shared::{Durable, Queued, Shared},
};
use crate::{Disk, mutant};

/// How far zeros are written ahead of the records: a sync that does not change the file's size is
/// not journaled (measured: 16 entries a batch, 110 µs instead of 235 µs).
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// Owns the files for writing.
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    /// Where its records begin.
    begin: u64,
    /// Where the next record goes.
    end: u64,
    /// All before is durable.
    synced: u64,
    /// All before is marked as durable, or is a mark.
    marked: u64,
    /// The file is filled with zeros from `end` to here.
    filled: u64,
    /// As of the last record encoded.
    state: State,
    /// Encoded and not yet written; begins at `end`.
    buffer: Vec<u8>,
    /// What the encoded records change.
    moves: Vec<Move>,
    /// Whether a purge was written since segments were last freed.
    may_free_segments: bool,
}

/// What became of a batch, to be told outside all locks.
#[derive(Default)]
pub(super) struct Settled(VecDeque<(Durable, io::Result<()>)>);

impl Settled {
    pub(super) fn call_back(mut self) {
        self.tell_all();
    }

    fn tell_all(&mut self) {
        while let Some((durable, result)) = self.0.pop_front() {
            durable(result);
        }
    }

    fn add(&mut self, batch: Vec<Queued>, error: Option<&io::Error>) {
        for Queued { durable, .. } in batch {
            let result = match error {
                Some(error) => Err(io::Error::new(error.kind(), error.to_string())),
                None => Ok(()),
            };
            self.0.push_back((durable, result));
        }
    }
}

/// When a callback panics, the others are still told.
impl Drop for Settled {
    fn drop(&mut self) {
        self.tell_all();
    }
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
        opened: Opened,
        shared: Arc<Shared>,
    ) -> Self {
        let end = opened.end;
        Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes: options.segment_bytes,
            shared,
            segment: Arc::clone(opened.segments.last().expect("an open log has a segment")),
            begin: opened.begin,
            end,
            synced: end,
            marked: if opened.is_marked { end } else { 0 },
            filled: end,
            state: opened.state,
            buffer: Vec::new(),
            moves: Vec::new(),
            may_free_segments: true,
        }
    }

    /// The log's thread: until the log is closed.
    pub(super) fn run(mut self) {
        let _guard = PoisonOnPanic(Arc::clone(&self.shared));
        self.attempt(Self::mark);
        while let Some(batch) = self.shared.next_batch() {
            self.settle(batch).call_back();
            self.attempt(Self::tidy);
        }
        self.finish();
    }

    /// Writes what waits now. For whoever has no thread.
    pub(super) fn turn(&mut self) -> Settled {
        let batch = self.shared.take_queue();
        let settled = self.settle(batch);
        self.attempt(Self::tidy);
        settled
    }

    /// Marks and syncs all that is written.
    pub(super) fn finish(&mut self) {
        self.attempt(Self::mark);
        self.attempt(Self::sync);
    }

    fn settle(&mut self, batch: Vec<Queued>) -> Settled {
        let result = self.persist(&batch);
        let mut settled = Settled::default();
        settled.add(batch, result.as_ref().err());
        if let Err(error) = result {
            settled.add(self.shared.poison(&error), Some(&error));
        }
        settled
    }

    /// Does what no caller waits for. A failure poisons the log all the same: a disk that fails one
    /// write is not asked for another.
    fn attempt(&mut self, task: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.shared.is_poisoned() {
            return;
        }
        if let Err(error) = task(self) {
            let mut settled = Settled::default();
            settled.add(self.shared.poison(&error), Some(&error));
            settled.call_back();
        }
    }

    fn persist(&mut self, batch: &[Queued]) -> io::Result<()> {
        let mut bytes = 0;
        let mut has_promises = false;
        for record in batch.iter().flat_map(|queued| &queued.records) {
            self.encode(record)?;
            bytes += format::encoded_len(record) as u64;
            has_promises |= !matches!(record, Record::Committed(_));
        }
        self.flush()?;
        if has_promises && !mutant::is_planted("M2") {
            self.sync()?;
        }
        let end = self.segment.base + self.end;
        self.shared.note_written(&self.moves, batch.len() as u64, bytes, end);
        self.moves.clear();
        Ok(())
    }

    fn encode(&mut self, record: &Record) -> io::Result<()> {
        let len = format::encoded_len(record) as u64;
        if self.next_offset() + len > self.segment_bytes && self.has_records() {
            self.roll()?;
        }
        self.state.apply(record).map_err(io::Error::other)?;
        let place = self.next_place();
        format::encode(record, place, &mut self.buffer);
        match record {
            Record::Append(entry) => {
                let location = Location::new(place, entry.bytes.len());
                self.moves.push(Move::Place(entry.index, location));
            }
            Record::TruncateFrom(index) => self.moves.push(Move::TruncateFrom(*index)),
            Record::Purge { upto, .. } => {
                self.moves.push(Move::Purge(*upto));
                self.may_free_segments = true;
            }
            Record::Vote(_) | Record::Committed(_) => {}
        }
        Ok(())
    }

    fn has_records(&self) -> bool {
        self.next_offset() > self.begin
    }

    fn next_offset(&self) -> u64 {
        self.end + self.buffer.len() as u64
    }

    fn next_place(&self) -> Place {
        Place { segment: self.segment.sequence, offset: self.next_offset() }
    }

    /// Ends this segment, durably, and begins the next.
    fn roll(&mut self) -> io::Result<()> {
        self.flush()?;
        self.sync()?;
        let sequence = self.segment.sequence.checked_add(1);
        let header = Header {
            segment: sequence.ok_or_else(|| io::Error::other("the segment numbers are used up"))?,
            previous_end: self.end,
            base: self.segment.base + self.end,
            state: self.state.clone(),
        };
        let (segment, begin) = create_segment(self.disk.as_ref(), &self.dir, &header)?;
        self.segment = Arc::new(segment);
        self.shared.add_segment(Arc::clone(&self.segment));
        self.begin = begin;
        self.end = begin;
        self.synced = begin;
        self.filled = begin;
        self.marked = 0;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.segment.file.write_at(&self.buffer, self.end)?;
        self.end = self.next_offset();
        self.buffer.clear();
        if self.end > self.filled {
            let room = usize::try_from(self.segment_bytes.saturating_sub(self.end));
            let zeros = &ZEROS[..room.unwrap_or(usize::MAX).min(ZEROS.len())];
            self.segment.file.write_at(zeros, self.end)?;
            self.filled = self.end + zeros.len() as u64;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let synced = self.segment.file.sync_data();
        if !mutant::is_planted("M14") {
            synced?;
        }
        self.synced = self.end;
        Ok(())
    }

    fn tidy(&mut self) -> io::Result<()> {
        self.mark()?;
        if mem::take(&mut self.may_free_segments) { self.free_segments() } else { Ok(()) }
    }

    /// Writes down that the last sync has returned. Not synced itself: the next one does that.
    fn mark(&mut self) -> io::Result<()> {
        if self.synced <= self.marked {
            return Ok(());
        }
        let place = self.next_place();
        format::encode_mark(self.synced, place, &mut self.buffer);
        self.flush()?;
        self.marked = self.end;
        Ok(())
    }

    /// Unlinks the segments of which nothing is needed: the purge that says so is durable, and so is
    /// the head of the segment that stays. One after another, so that a crash leaves no gap.
    fn free_segments(&mut self) -> io::Result<()> {
        let (oldest, needed) = self.shared.oldest_segments();
        let current = self.segment.sequence;
        let first_kept = needed.unwrap_or(current).min(current);
        for sequence in oldest.unwrap_or(current)..first_kept {
            self.disk.remove(&segment_path(&self.dir, sequence))?;
            self.disk.sync_dir(&self.dir)?;
            self.shared.remove_segment(sequence);
        }
        Ok(())
    }
}

/// Tells callers when the log's thread dies of a panic (in a callback), instead of leaving them to
/// wait for ever.
struct PoisonOnPanic(Arc<Shared>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = io::Error::other("the log's thread panicked");
            let mut settled = Settled::default();
            settled.add(self.0.poison(&error), Some(&error));
            settled.call_back();
        }
    }
}
