//! The log against disks that lose, tear, flip and fail.
//!
//! The claim that holds everything else: whatever happens, an opened log shows the state after some
//! prefix of the records that were written, and that prefix holds every record of every write whose
//! callback said `Ok`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use raft::{
    Disk, OpenError,
    disk::{Loss, MemoryDisk, OsDisk, StagedDisk},
    log::{Log, LogOptions, Record, Recovered, StoredEntry},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

const OPTIONS: LogOptions = LogOptions { segment_bytes: 600, cache_bytes: 200 };
/// Segments that hold several 512-byte blocks, and batches that span some.
const LARGE: LogOptions = LogOptions { segment_bytes: 9000, cache_bytes: 2000 };
const MODES: [Loss; 3] = [Loss::Lose, Loss::Keep, Loss::Tear];

fn dir() -> &'static Path {
    Path::new("/log")
}

fn segment(sequence: u32) -> PathBuf {
    dir().join(format!("{sequence:010}.log"))
}

fn open(disk: &Arc<MemoryDisk>) -> Result<(Log, Recovered), OpenError> {
    open_as(disk, OPTIONS)
}

fn open_as(disk: &Arc<MemoryDisk>, options: LogOptions) -> Result<(Log, Recovered), OpenError> {
    Log::open(Arc::clone(disk) as Arc<dyn Disk>, dir(), options)
}

fn append(index: u64, text: &str) -> Record {
    Record::Append(StoredEntry { index, bytes: Bytes::copy_from_slice(text.as_bytes()) })
}

fn vote(text: &str) -> Record {
    Record::Vote(Bytes::copy_from_slice(text.as_bytes()))
}

fn purge(upto: u64) -> Record {
    Record::Purge { upto, bytes: Bytes::from(format!("id of {upto}")) }
}

/// Writes on a disk without threads: the callback has come when this returns.
fn write_now(log: &Log, records: Vec<Record>) -> io::Result<()> {
    let answer = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&answer);
    log.write(records, move |result| {
        let before = slot.lock().unwrap().replace(result);
        assert!(before.is_none(), "the callback came twice");
    });
    let result = answer.lock().unwrap().take();
    result.expect("without a thread the callback comes before write returns")
}

/// What a log shows, and what it should show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Shown {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purged: Option<(u64, Bytes)>,
    entries: Vec<StoredEntry>,
}

impl Shown {
    fn of(log: &Log, recovered: &Recovered) -> Self {
        let entries = log.read(0..u64::MAX, u64::MAX).unwrap();
        assert_eq!(entries.last(), recovered.last.as_ref());
        assert_eq!(entries.last().map(|entry| entry.index), log.last_index());
        if let Some(first) = entries.first() {
            assert_eq!(first.index, recovered.first_index);
        }
        Self {
            vote: recovered.vote.clone(),
            committed: recovered.committed.clone(),
            purged: recovered.purged.clone(),
            entries,
        }
    }

    fn after(records: &[Record]) -> Self {
        let mut shown = Self::default();
        shown.apply_all(records);
        shown
    }

    fn apply_all(&mut self, records: &[Record]) {
        for record in records {
            self.apply(record.clone());
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Vote(bytes) => self.vote = Some(bytes),
            Record::Committed(bytes) => self.committed = Some(bytes),
            Record::Append(entry) => self.entries.push(entry),
            Record::TruncateFrom(index) => self.entries.retain(|entry| entry.index < index),
            Record::Purge { upto, bytes } => {
                self.entries.retain(|entry| entry.index > upto);
                if self.purged.as_ref().is_none_or(|(before, _)| *before <= upto) {
                    self.purged = Some((upto, bytes));
                }
            }
        }
    }

    fn next(&self) -> u64 {
        let after_purged = self.purged.as_ref().map_or(0, |(upto, _)| upto + 1);
        self.entries.last().map_or(after_purged, |entry| entry.index + 1)
    }

    fn first(&self) -> u64 {
        self.entries.first().map_or(self.next(), |entry| entry.index)
    }
}

/// Random records that fit behind `shown`.
fn random_records(rng: &mut StdRng, shown: &Shown, options: LogOptions) -> Vec<Record> {
    let bytes_max = usize::try_from(options.segment_bytes / 6).unwrap();
    let mut shown = shown.clone();
    let mut records = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        let record = match rng.random_range(0..20) {
            0..12 => {
                let bytes = vec![rng.random(); rng.random_range(0..bytes_max)];
                Record::Append(StoredEntry { index: shown.next(), bytes: bytes.into() })
            }
            12..14 => Record::Vote(Bytes::from(vec![rng.random(); rng.random_range(1..20)])),
            14..17 => Record::Committed(Bytes::from(vec![rng.random(); 16])),
            17 => Record::TruncateFrom(rng.random_range(shown.first()..=shown.next())),
            _ => purge(rng.random_range(shown.first()..=shown.next() + 1).saturating_sub(1)),
        };
        shown.apply(record.clone());
        records.push(record);
    }
    records
}

/// The records written so far, and how many of them must survive.
#[derive(Default)]
struct Issued {
    records: Vec<Record>,
    promised: usize,
}

impl Issued {
    fn note(&mut self, records: Vec<Record>, result: &io::Result<()>) {
        let is_promise = records.iter().any(|record| !matches!(record, Record::Committed(_)));
        self.records.extend(records);
        if result.is_ok() && is_promise {
            self.promised = self.records.len();
        }
    }

    /// Checks the claim, and goes on from the prefix that the log shows.
    fn check(&mut self, shown: &Shown, context: &str) {
        let prefix = (self.promised..=self.records.len())
            .find(|count| Shown::after(&self.records[..*count]) == *shown);
        let Some(prefix) = prefix else {
            panic!(
                "{context}: the log shows {shown:#?}, no prefix that holds the promised {:#?}",
                Shown::after(&self.records[..self.promised])
            );
        };
        self.records.truncate(prefix);
        self.promised = prefix;
    }
}

/// Opens the log, with power cuts during recovery too.
fn open_after_crashes(
    disk: &Arc<MemoryDisk>,
    options: LogOptions,
    rng: &mut StdRng,
    context: &str,
) -> (Log, Recovered) {
    loop {
        let is_cut = rng.random_bool(0.3);
        if is_cut {
            disk.cut_power_after(rng.random_range(0..20));
        }
        match open_as(disk, options) {
            Ok(_) | Err(OpenError::Io { .. }) if is_cut => disk.crash(rng.random()),
            Ok(opened) => return opened,
            Err(error) => panic!("{context}: {error}"),
        }
    }
}

fn survive_crashes(loss: Loss, seed: u64) {
    let context = format!("{loss:?}, seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let options = if seed.is_multiple_of(2) { OPTIONS } else { LARGE };
    let disk = Arc::new(MemoryDisk::new(loss, rng.random()));
    let mut issued = Issued::default();
    for _ in 0..6 {
        let (log, recovered) = open_after_crashes(&disk, options, &mut rng, &context);
        let mut shown = Shown::of(&log, &recovered);
        issued.check(&shown, &context);
        disk.cut_power_after(rng.random_range(1..80));
        loop {
            let records = random_records(&mut rng, &shown, options);
            let result = write_now(&log, records.clone());
            let failed = result.is_err();
            issued.note(records.clone(), &result);
            if failed {
                assert!(log.is_poisoned(), "{context}");
                break;
            }
            shown.apply_all(&records);
            if let Ok(entries) = log.read(0..u64::MAX, u64::MAX) {
                assert_eq!(entries, shown.entries, "{context}");
            }
        }
        if rng.random_bool(0.3) {
            disk.restart_process();
        } else {
            disk.crash(rng.random());
        }
    }
}

#[test]
fn every_acknowledged_record_survives_power_cuts_in_order_and_without_holes() {
    for loss in MODES {
        for seed in 0..150 {
            survive_crashes(loss, seed);
        }
    }
}

/// The same with the log's own thread and many writes in one sync: a staged disk over real files.
#[test]
fn group_commits_on_a_thread_survive_power_cuts() {
    for (seed, loss) in (0..).zip(MODES.repeat(4)) {
        let context = format!("{loss:?}, seed {seed}");
        let temp = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(seed);
        let options = if seed.is_multiple_of(2) { OPTIONS } else { LARGE };
        let mut issued = Issued::default();
        for _ in 0..4 {
            let staged = Arc::new(StagedDisk::new(Arc::new(OsDisk), loss, rng.random()));
            let disk = Arc::clone(&staged) as Arc<dyn Disk>;
            let (log, recovered) = Log::open(disk, temp.path(), options).unwrap();
            let mut shown = Shown::of(&log, &recovered);
            issued.check(&shown, &context);
            staged.cut_power_after(rng.random_range(5..60));
            let (results, answers) = mpsc::channel();
            let mut writes = Vec::new();
            for number in 0..60_usize {
                let records = random_records(&mut rng, &shown, options);
                shown.apply_all(&records);
                let results = results.clone();
                log.write(records.clone(), move |result| results.send((number, result)).unwrap());
                writes.push(records);
            }
            let mut outcomes: Vec<Option<io::Result<()>>> = writes.iter().map(|_| None).collect();
            for _ in &writes {
                let (number, result) = answers.recv_timeout(Duration::from_secs(10)).unwrap();
                let comes_in_order = outcomes[..number].iter().all(Option::is_some);
                assert!(result.is_err() || comes_in_order, "{context}");
                outcomes[number] = Some(result);
            }
            for (records, result) in writes.into_iter().zip(outcomes) {
                issued.note(records, &result.unwrap());
            }
            staged.cut_power_after(0);
            assert!(log.close().is_err(), "{context}: the log failed and says so");
        }
    }
}

/// A log of two votes, entries in several segments, a truncation and a purge; closed.
fn acknowledged_log(entries: u64) -> (Arc<MemoryDisk>, Shown) {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    let writes = [
        vec![vote("first vote")],
        (0..entries).map(|index| append(index, "an entry of the first leader")).collect(),
        vec![
            vote("second vote"),
            Record::TruncateFrom(entries - 3),
            append(entries - 3, "of the second leader"),
        ],
        vec![Record::Committed(Bytes::from_static(b"committed 9"))],
        vec![purge(3), append(entries - 2, "the last entry")],
    ];
    let mut shown = Shown::default();
    for records in writes {
        write_now(&log, records.clone()).unwrap();
        shown.apply_all(&records);
    }
    log.close().unwrap();
    (disk, shown)
}

fn files(disk: &MemoryDisk) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = disk.list(dir()).unwrap().into_iter();
    paths.map(|path| (path.clone(), disk.durable(&path).unwrap())).collect()
}

#[test]
fn a_flipped_bit_is_refused_or_concerns_nothing_acknowledged() {
    for entries in 8..24 {
        flip_every_byte(entries);
    }
}

fn flip_every_byte(entries: u64) {
    let (disk, expected) = acknowledged_log(entries);
    let files = files(&disk);
    let (mut refused, mut harmless) = (0, 0);
    for (path, bytes) in &files {
        for offset in 0..bytes.len() as u64 {
            for (path, bytes) in &files {
                disk.put(path, bytes.clone());
            }
            disk.crash(0);
            disk.flip(path, offset, 1 << (offset % 8)).unwrap();
            match open(&disk) {
                Err(OpenError::Corrupt { .. }) => refused += 1,
                Err(error) => panic!("byte {offset} of {}: {error}", path.display()),
                Ok((log, recovered)) => {
                    let shown = Shown::of(&log, &recovered);
                    assert_eq!(shown, expected, "byte {offset} of {}", path.display());
                    harmless += 1;
                }
            }
        }
    }
    assert!(refused > 400 && harmless > 17, "{refused} were refused, {harmless} harmless");
}

#[test]
fn good_records_of_one_torn_batch_prove_nothing_and_are_cut() {
    // The same bytes, once with a mark behind them and once without: a good record behind a bad one.
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    write_now(&log, vec![append(0, "acknowledged")]).unwrap();
    write_now(&log, vec![append(1, "first of a batch"), append(2, "second of a batch")]).unwrap();
    log.close().unwrap();
    let whole = disk.durable(&segment(1)).unwrap();
    let first = whole.windows(5).position(|bytes| bytes == b"first").unwrap();
    let after = whole.windows(17).position(|bytes| bytes.ends_with(b"second of a batch")).unwrap();

    disk.flip(&segment(1), first as u64, 1).unwrap();
    disk.crash(0);
    assert!(matches!(open(&disk), Err(OpenError::Corrupt { .. })), "a mark shows it was durable");

    let mut torn = whole;
    torn[first] ^= 1;
    torn[after + 17..].fill(0);
    disk.put(&segment(1), torn);
    disk.crash(0);
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.last.unwrap().index, 0, "no mark: never acknowledged");
}

#[test]
fn what_was_cut_does_not_come_back_behind_a_new_record() {
    // A torn batch: its first record is bad, its second is whole, and nothing is marked behind.
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    write_now(&log, vec![append(0, "0")]).unwrap();
    write_now(&log, vec![append(1, "torn"), append(2, "whole")]).unwrap();
    let mut torn = disk.durable(&segment(1)).unwrap();
    let bad = torn.windows(4).position(|bytes| bytes == b"torn").unwrap();
    torn[bad] ^= 1;
    for seed in 0..30 {
        let disk = Arc::new(MemoryDisk::new(Loss::Keep, seed));
        disk.put(&segment(1), torn.clone());
        let (log, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.last.unwrap().index, 0);
        // The record of the same length may reach the disk without the zeros behind it.
        disk.cut_power_after(2);
        assert!(write_now(&log, vec![append(1, "new!")]).is_err());
        disk.crash(seed);
        let last = open(&disk).unwrap().1.last.unwrap();
        assert!(last.index < 2, "seed {seed}: entry {} came back", last.index);
    }
}

#[test]
fn what_a_start_after_a_process_death_shows_is_durable() {
    // The process dies between its write and its sync: the kernel still has the record, the disk
    // does not. The next process sees it and acts on it; a power cut must not take it back then.
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    disk.cut_power_after(1);
    assert!(write_now(&log, vec![vote("seen, not synced")]).is_err());
    disk.restart_process();
    let (_, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.vote.as_deref(), Some(b"seen, not synced".as_slice()));
    disk.crash(2);
    assert_eq!(open(&disk).unwrap().1.vote, recovered.vote);
}

#[test]
fn entries_are_readable_before_they_are_written() {
    let temp = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes: 4096, cache_bytes: 0 };
    let (log, _) = Log::open(Arc::new(OsDisk), temp.path(), options).unwrap();
    for index in 0..400 {
        log.write(vec![append(index, "an entry")], |result| result.unwrap());
        if index % 50 == 49 {
            log.write(vec![Record::TruncateFrom(index - 3)], |result| result.unwrap());
            let again = (index - 3..=index).map(|index| append(index, "another")).collect();
            log.write(again, |result| result.unwrap());
        }
        let entries = log.read(0..u64::MAX, u64::MAX).unwrap();
        assert!(entries.iter().map(|entry| entry.index).eq(0..=index));
    }
    let shown = log.read(0..400, u64::MAX).unwrap();
    log.close().unwrap();
    let (log, _) = Log::open(Arc::new(OsDisk), temp.path(), options).unwrap();
    assert_eq!(log.read(0..400, u64::MAX).unwrap(), shown);
}

#[test]
fn a_missing_or_shortened_segment_is_refused() {
    let (disk, _) = acknowledged_log(12);
    let files = files(&disk);
    assert!(files.len() > 1, "the log spans segments");
    let (path, bytes) = &files[0];
    disk.put(path, bytes[..bytes.len() / 2].to_vec());
    disk.crash(0);
    assert!(matches!(open(&disk), Err(OpenError::Corrupt { file, .. }) if file == *path));
    disk.remove(path).unwrap();
    disk.sync_dir(dir()).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::Corrupt { .. })));
}

#[test]
fn a_segment_of_a_later_version_is_refused_not_removed() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    disk.put(&segment(1), b"RAFT-LOG\x02\0\0\0and what a later version writes".to_vec());
    let refused = open(&disk);
    assert!(matches!(refused, Err(OpenError::Corrupt { offset: 8, .. })), "{refused:?}");
    assert!(disk.durable(&segment(1)).is_ok());
}

#[test]
fn a_failed_sync_poisons_the_log_for_ever() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    write_now(&log, vec![append(1, "durable")]).unwrap();
    disk.fail_sync_after(0);
    assert!(write_now(&log, vec![append(2, "not durable")]).is_err());
    assert!(log.is_poisoned());
    assert!(write_now(&log, vec![append(3, "the disk would take this")]).is_err());
    assert!(log.read(0..9, 1000).is_err());
    assert!(log.close().is_err());
    disk.crash(2);
    let (log, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.last.unwrap().index, 1);
    assert!(!log.is_poisoned());
}

#[test]
fn a_full_disk_poisons_the_log_and_keeps_what_was_acknowledged() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    disk.set_capacity(Some(3000));
    let mut index = 0;
    while write_now(&log, vec![append(index, &"x".repeat(100))]).is_ok() {
        index += 1;
    }
    disk.set_capacity(None);
    assert!(write_now(&log, vec![append(index, "there is room again")]).is_err());
    disk.crash(0);
    let last = open(&disk).unwrap().1.last.unwrap().index;
    assert!(last == index - 1 || last == index, "the refused one may be there");
}

#[test]
fn the_vote_outlives_the_segment_that_held_it() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    write_now(&log, vec![vote("for number one")]).unwrap();
    for index in 0..40 {
        write_now(&log, vec![append(index, &"x".repeat(100))]).unwrap();
    }
    assert!(disk.list(dir()).unwrap().len() > 3);
    write_now(&log, vec![purge(100)]).unwrap();
    assert_eq!(disk.list(dir()).unwrap().len(), 1, "only the segment being written stays");
    disk.crash(0);
    let (log, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.vote.unwrap(), "for number one");
    assert_eq!(recovered.purged.unwrap(), (100, Bytes::from_static(b"id of 100")));
    assert_eq!((recovered.first_index, recovered.last), (101, None));
    write_now(&log, vec![append(101, "goes on")]).unwrap();
}

#[test]
fn records_that_just_fit_and_just_do_not_fit_a_segment_are_kept() {
    for len in 300..OPTIONS.segment_bytes + 20 {
        let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
        let (log, _) = open(&disk).unwrap();
        let text = "x".repeat(usize::try_from(len).unwrap());
        write_now(&log, vec![append(7, &text), append(8, "y")]).unwrap();
        write_now(&log, vec![append(9, &text)]).unwrap();
        disk.crash(0);
        let (log, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.first_index, 7, "{len}");
        let entries = log.read(0..u64::MAX, u64::MAX).unwrap();
        let lens: Vec<u64> = entries.iter().map(|entry| entry.bytes.len() as u64).collect();
        assert_eq!(lens, [len, 1, len]);
    }
}

#[test]
fn entries_that_do_not_follow_are_refused_and_the_log_goes_on() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    write_now(&log, vec![append(1, "one")]).unwrap();
    let refused = write_now(&log, vec![append(2, "two"), append(4, "a hole")]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(log.last_index(), Some(1));
    write_now(&log, vec![append(2, "two")]).unwrap();
}

#[test]
fn reads_stop_before_the_limit_but_give_at_least_one_entry() {
    let disk = Arc::new(MemoryDisk::new(Loss::Lose, 1));
    let (log, _) = open(&disk).unwrap();
    write_now(&log, (0..10).map(|index| append(index, "ten bytes.")).collect()).unwrap();
    let indexes = |range, max_bytes| {
        let entries = log.read(range, max_bytes).unwrap();
        entries.iter().map(|entry| entry.index).collect::<Vec<_>>()
    };
    assert_eq!(indexes(2..8, 35), [2, 3, 4]);
    assert_eq!(indexes(2..8, 30), [2, 3, 4]);
    assert_eq!(indexes(2..8, 0), [2]);
    assert_eq!(indexes(8..99, 999), [8, 9]);
    assert_eq!(indexes(10..99, 999), []);
    assert!(log.bytes_since(0) > log.bytes_since(5));
    assert_eq!(log.bytes_since(9), 0);
}

#[test]
fn opening_again_and_again_does_not_grow_the_log() {
    let (disk, shown) = acknowledged_log(12);
    let before = files(&disk);
    for _ in 0..3 {
        let (log, recovered) = open(&disk).unwrap();
        assert_eq!(Shown::of(&log, &recovered), shown);
        log.close().unwrap();
    }
    assert_eq!(files(&disk).len(), before.len());
}

#[test]
fn after_a_panic_in_a_callback_every_write_is_still_answered() {
    let temp = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Arc::new(OsDisk), temp.path(), OPTIONS).unwrap();
    log.write(vec![append(0, "0")], |_| panic!("a bug in a callback"));
    let (done, answer) = mpsc::channel();
    let later = done.clone();
    log.write(vec![append(1, "1")], move |result| later.send(result).unwrap());
    let _ = answer.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(log.close().is_err() && log.is_poisoned());
    log.write(vec![append(2, "2")], move |result| done.send(result).unwrap());
    assert!(answer.try_recv().unwrap().is_err());
}

#[test]
fn a_closed_log_takes_nothing_and_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let (log, _) = Log::open(Arc::clone(&disk), temp.path(), OPTIONS).unwrap();
    let (done, answers) = mpsc::channel();
    for index in 0..100 {
        let done = done.clone();
        log.write(vec![append(index, "waits")], move |result| done.send(result).unwrap());
    }
    log.close().unwrap();
    assert_eq!(answers.try_iter().flatten().count(), 100);
    log.write(vec![append(100, "late")], move |result| done.send(result).unwrap());
    assert!(answers.try_recv().unwrap().is_err());
    log.close().unwrap();
    assert_eq!(Log::open(disk, temp.path(), OPTIONS).unwrap().1.last.unwrap().index, 99);
}

/// Entries of 200 bytes a write, times writes in flight.
/// Run with `cargo test -p raft --test log -- --ignored --nocapture`.
#[test]
#[ignore = "benchmark"]
fn batches_a_second() {
    use std::io::Write as _;

    let options = LogOptions { segment_bytes: 64 << 20, cache_bytes: 16 << 20 };
    for (entries, in_flight) in [(1, 1), (16, 1), (128, 1), (1, 64), (16, 64)] {
        let temp = tempfile::tempdir().unwrap();
        let (log, _) = Log::open(Arc::new(OsDisk), temp.path(), options).unwrap();
        let (done, waiting) = mpsc::channel();
        let mut asked = VecDeque::new();
        let mut waits = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            while asked.len() < in_flight {
                let next = log.last_index().map_or(0, |last| last + 1);
                let bytes = Bytes::from(vec![7; 200]);
                let entry = |index| Record::Append(StoredEntry { index, bytes: bytes.clone() });
                let records = (next..next + entries).map(entry).collect();
                let done = done.clone();
                asked.push_back(Instant::now());
                log.write(records, move |result| done.send(result).unwrap());
            }
            waiting.recv().unwrap().unwrap();
            waits.push(asked.pop_front().unwrap().elapsed());
        }
        waits.sort_unstable();
        let rate = waits.len() as u128 * 1000 / start.elapsed().as_millis();
        let [p50, p99] = [50, 99].map(|percent| waits[waits.len() * percent / 100]);
        let line = format!("{entries} x {in_flight}: {rate} writes/s, p50 {p50:?}, p99 {p99:?}\n");
        io::stderr().write_all(line.as_bytes()).unwrap();
        log.close().unwrap();
    }
}
