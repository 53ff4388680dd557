//! Reads the segments at the start: what the log holds, and whether the disk still holds it. The
//! rule is in the module's text; nothing is changed on disk before every segment has passed it. One
//! segment at a time is in memory.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    format::{self, Header, Parsed, Place, State, Tag},
    handle::io_error,
    placed::{Location, Move, Placed, Segment},
};
use crate::{Disk, File, OpenError, disk::read_exact_at};

/// An open log, ready to be written.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) state: State,
    pub(super) placed: Placed,
    /// Oldest first, at least one; the last is the one to write.
    pub(super) segments: Vec<Arc<Segment>>,
    /// Where the records of the last segment begin.
    pub(super) begin: u64,
    /// Where the records of the last segment end. All before is durable.
    pub(super) end: u64,
    /// Whether a mark stands right before `end`.
    pub(super) is_marked: bool,
}

/// Opens the log in `dir`; creates it when there is none.
pub(super) fn open(disk: &dyn Disk, dir: &Path) -> Result<Opened, OpenError> {
    let in_dir = |source| io_error(format!("cannot open the log in {}", dir.display()), source);
    disk.create_dir_all(dir).map_err(in_dir)?;
    let mut files = Vec::new();
    for path in disk.list(dir).map_err(in_dir)? {
        if let Some(sequence) = sequence_of(&path) {
            files.push(SegmentFile::open(disk, path, sequence)?);
        }
    }
    check_sequences(&files)?;
    let torn = take_torn_creation(&mut files)?;
    let replayed = replay(&files)?;
    if let Some(torn) = torn {
        disk.remove(&torn).map_err(in_dir)?;
    }
    match replayed {
        Some(replayed) => settle(disk, dir, files, replayed),
        None => create(disk, dir).map_err(in_dir),
    }
}

/// Where the segment of this number is.
pub(super) fn segment_path(dir: &Path, sequence: u32) -> PathBuf {
    dir.join(format!("{sequence:010}.log"))
}

/// Creates the file that `header` begins, durably, and answers it with its length.
pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &Path,
    header: &Header,
) -> io::Result<(Segment, u64)> {
    let file = disk.open(&segment_path(dir, header.segment))?;
    let bytes = header.encode();
    file.set_len(0)?;
    file.write_at(&bytes, 0)?;
    file.sync_data()?;
    disk.sync_dir(dir)?;
    let segment = Segment { sequence: header.segment, base: header.base, file };
    Ok((segment, bytes.len() as u64))
}

fn create(disk: &dyn Disk, dir: &Path) -> io::Result<Opened> {
    let state = State::default();
    let header = Header { segment: 1, previous_end: 0, base: 0, state: state.clone() };
    let (segment, end) = create_segment(disk, dir, &header)?;
    let segments = vec![Arc::new(segment)];
    Ok(Opened { state, placed: Placed::default(), segments, begin: end, end, is_marked: false })
}

fn sequence_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(".log")?;
    let is_canonical = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_canonical { digits.parse().ok() } else { None }
}

/// A segment's file.
struct SegmentFile {
    sequence: u32,
    path: PathBuf,
    file: Box<dyn File>,
    len: u32,
}

impl SegmentFile {
    fn open(disk: &dyn Disk, path: PathBuf, sequence: u32) -> Result<Self, OpenError> {
        let failed = |source| io_error(format!("cannot read {}", path.display()), source);
        let file = disk.open(&path).map_err(failed)?;
        let len = file.len().map_err(failed)?;
        let Ok(len) = u32::try_from(len) else {
            let reason = format!("{len} bytes are more than a log segment ever has");
            return Err(OpenError::Corrupt { file: path, offset: 0, reason });
        };
        Ok(Self { sequence, path, file, len })
    }

    fn read(&self) -> Result<SegmentBytes<'_>, OpenError> {
        let failed = |source| io_error(format!("cannot read {}", self.path.display()), source);
        let mut bytes = vec![0; self.len as usize];
        read_exact_at(self.file.as_ref(), &mut bytes, 0).map_err(failed)?;
        Ok(SegmentBytes { file: self, bytes })
    }

    fn corrupt(&self, offset: usize, reason: impl Into<String>) -> OpenError {
        OpenError::Corrupt {
            file: self.path.clone(),
            offset: offset as u64,
            reason: format!(
                "{}; the disk lost or changed what it had acknowledged. Do not repair this by hand: \
                 give the node an empty directory and let it join again",
                reason.into()
            ),
        }
    }

    fn place(&self, offset: usize) -> Place {
        Place { segment: self.sequence, offset: offset as u64 }
    }
}

/// A segment as the disk holds it.
struct SegmentBytes<'a> {
    file: &'a SegmentFile,
    bytes: Vec<u8>,
}

impl SegmentBytes<'_> {
    fn header(&self) -> Option<(Header, usize)> {
        Header::decode(&self.bytes).filter(|(header, _)| header.segment == self.file.sequence)
    }

    fn record(&self, offset: usize) -> Option<Parsed<'_>> {
        format::decode(self.bytes.get(offset..)?, self.file.place(offset))
    }

    /// Where a good mark at or after `bad` proves that byte `bad` had been durable.
    fn proof_of_durability(&self, bad: usize) -> Option<usize> {
        (bad..self.bytes.len()).find(|&offset| {
            format::looks_like_mark(&self.bytes[offset..])
                && self.record(offset).is_some_and(|mark| mark.index > bad as u64)
        })
    }

    /// Refuses when the bytes from `bad` on had once been durable.
    fn check_never_durable(&self, bad: usize, what: &str) -> Result<(), OpenError> {
        match self.proof_of_durability(bad) {
            Some(mark) => Err(self.file.corrupt(
                bad,
                format!(
                    "there is no good {what} here, but the mark at byte {mark} shows there was"
                ),
            )),
            None => Ok(()),
        }
    }
}

fn check_sequences(files: &[SegmentFile]) -> Result<(), OpenError> {
    for pair in files.windows(2) {
        if pair[0].sequence + 1 != pair[1].sequence {
            return Err(pair[1].corrupt(0, "the log segment before this one is missing"));
        }
    }
    Ok(())
}

/// A last segment without a header, of which nothing was durable, was being created when the power
/// failed. It is set aside, to be removed.
fn take_torn_creation(files: &mut Vec<SegmentFile>) -> Result<Option<PathBuf>, OpenError> {
    let Some(last) = files.last() else { return Ok(None) };
    let held = last.read()?;
    if held.header().is_some() {
        return Ok(None);
    }
    if let Some(version) = format::unknown_version(&held.bytes) {
        let reason = format!("format version {version} is not one that this program knows");
        return Err(OpenError::Corrupt { file: last.path.clone(), offset: 8, reason });
    }
    held.check_never_durable(0, "segment header")?;
    if files.len() == 1 && last.sequence > 1 {
        return Err(last.corrupt(0, "the only log segment has no good header"));
    }
    Ok(files.pop().map(|torn| torn.path))
}

/// What the segments hold, taken together.
struct Replayed {
    state: State,
    placed: Placed,
    bases: Vec<u64>,
    begin: usize,
    end: usize,
    is_marked: bool,
}

fn replay(files: &[SegmentFile]) -> Result<Option<Replayed>, OpenError> {
    let mut replayed: Option<Replayed> = None;
    for file in files {
        let held = file.read()?;
        let (header, start) =
            held.header().ok_or_else(|| file.corrupt(0, "there is no good segment header"))?;
        let mut current = match replayed {
            None => Replayed::new(&header),
            Some(previous) => previous.go_on(file, &header, files)?,
        };
        current.read_records(&held, start)?;
        if files.last().is_some_and(|last| last.sequence == file.sequence) {
            held.check_never_durable(current.end, "record")?;
            current.check_complete(&files[0])?;
        }
        replayed = Some(current);
    }
    Ok(replayed)
}

impl Replayed {
    fn new(header: &Header) -> Self {
        let state = header.state.clone();
        let bases = vec![header.base];
        Self { state, placed: Placed::default(), bases, begin: 0, end: 0, is_marked: false }
    }

    /// Crosses into `file`, which proves that the segment before it was durable to its end.
    fn go_on(
        mut self,
        file: &SegmentFile,
        header: &Header,
        files: &[SegmentFile],
    ) -> Result<Self, OpenError> {
        if self.end as u64 != header.previous_end {
            let before = files.iter().find(|before| before.sequence + 1 == file.sequence);
            return Err(before.unwrap_or(file).corrupt(
                self.end,
                format!(
                    "the good records end here, but the next segment says that they end at byte {}",
                    header.previous_end
                ),
            ));
        }
        if self.state != header.state {
            return Err(file.corrupt(0, "the header does not go on where the segment before ends"));
        }
        self.bases.push(header.base);
        Ok(self)
    }

    fn read_records(&mut self, held: &SegmentBytes<'_>, start: usize) -> Result<(), OpenError> {
        let file = held.file;
        self.begin = start;
        self.end = start;
        self.is_marked = false;
        while let Some(parsed) = held.record(self.end) {
            if let Some(record) = parsed.to_record() {
                let wrong = |reason| file.corrupt(self.end, reason);
                self.state.apply(&record).map_err(wrong)?;
                if let Some(change) = move_of(&parsed, file.place(self.end)) {
                    self.placed.apply(&change);
                }
            }
            self.is_marked = parsed.tag == Tag::Mark;
            self.end += parsed.size();
        }
        Ok(())
    }

    /// Every entry that the log says it holds must be in a segment that is there.
    fn check_complete(&self, oldest: &SegmentFile) -> Result<(), OpenError> {
        let extent = self.state.extent;
        let held = self.placed.range().unwrap_or(extent.next..extent.next);
        if held == (extent.first..extent.next) {
            return Ok(());
        }
        let missing = format!("entries {}..{} are in no segment", extent.first, held.start);
        Err(oldest.corrupt(0, missing))
    }
}

/// What a record changes in the table of locations.
pub(super) fn move_of(parsed: &Parsed<'_>, place: Place) -> Option<Move> {
    match parsed.tag {
        Tag::Append => Some(Move::Place(parsed.index, Location::new(place, parsed.body.len()))),
        Tag::TruncateFrom => Some(Move::TruncateFrom(parsed.index)),
        Tag::Purge => Some(Move::Purge(parsed.index)),
        Tag::Vote | Tag::Committed | Tag::Mark => None,
    }
}

/// Makes durable what was found: after `kill -9` it may so far have been in the kernel's memory only.
fn settle(
    disk: &dyn Disk,
    dir: &Path,
    files: Vec<SegmentFile>,
    replayed: Replayed,
) -> Result<Opened, OpenError> {
    let end = replayed.end as u64;
    if let Some(last) = files.last() {
        let failed = |source| io_error(format!("cannot settle {}", last.path.display()), source);
        if u64::from(last.len) != end {
            last.file.set_len(end).map_err(failed)?;
        }
        last.file.sync_data().map_err(failed)?;
        disk.sync_dir(dir).map_err(failed)?;
    }
    let segments = files.into_iter().zip(replayed.bases);
    let segments = segments
        .map(|(file, base)| Arc::new(Segment { sequence: file.sequence, base, file: file.file }))
        .collect();
    let Replayed { state, placed, is_marked, .. } = replayed;
    let begin = replayed.begin as u64;
    Ok(Opened { state, placed, segments, begin, end, is_marked })
}
