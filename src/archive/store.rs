//! The files: three trees of one sled database.
//!
//! ```text
//!   order     retained until  u64 │ number  u64   ─▶  state  u8 │ record bytes  u32 │ id
//!   records   the same 16 bytes   │ part    u16   ─▶  up to 4 KiB of the record
//!   ids       id                                  ─▶  the 16 bytes of its last job
//! ```
//! All numbers are big-endian, so that `order` read backwards is the history, the last to depart first,
//! and read forwards is the order in which jobs are forgotten. A history that is filtered by state
//! reads `order` alone.
//!
//! A job is written in the order `order`, `ids`, `records`, and forgotten in the opposite one: what a
//! crash leaves of it is an entry of `order` without its record, which is passed over and goes in its
//! turn. Records are in parts, since sled writes a leaf of up to 16 values as a whole.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sled::{Db, IVec, Tree};

use super::{
    failure::{Failure, guarded},
    record,
};
use crate::{
    node::ArchiveQuery,
    queue::{ClockMs, JobId, JobNumber, JobState, JobView},
};

/// What sled may keep in memory, bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// A part of a record, bytes.
const PART_BYTES: usize = 4 << 10;
/// How many entries of `order` one history looks at.
const SCAN_MAX: usize = 100_000;
const KEY_BYTES: usize = 16;

type Key = [u8; KEY_BYTES];

/// How much is in the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Jobs.
    pub(super) jobs: u64,
    /// The bytes of their records.
    pub(super) bytes: u64,
}

/// The open files.
pub(super) struct Store {
    db: Db,
    order: Tree,
    records: Tree,
    ids: Tree,
    /// Records met that could not be read.
    unreadable: Arc<AtomicU64>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// What `order` says of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heading {
    state: u8,
    record_bytes: u32,
    id: Vec<u8>,
}

impl Store {
    /// Opens or makes the files in `directory`, and counts what they hold.
    pub(super) fn open(
        directory: &Path,
        unreadable: Arc<AtomicU64>,
    ) -> Result<(Self, Totals), Failure> {
        guarded(|| {
            // No thread that flushes: the writer does that, where its panics are caught.
            let config = sled::Config::new().path(directory).cache_capacity(CACHE_BYTES);
            let db = config.flush_every_ms(None).open()?;
            let [order, records, ids] = ["order", "records", "ids"].map(|name| db.open_tree(name));
            let store = Self { db, order: order?, records: records?, ids: ids?, unreadable };
            let totals = store.count()?;
            Ok((store, totals))
        })
    }

    fn count(&self) -> sled::Result<Totals> {
        let mut totals = Totals::default();
        for entry in &self.order {
            totals.add(&entry?.1);
        }
        Ok(totals)
    }

    /// Writes a job. One that is here already, whole, is left as it is.
    pub(super) fn put(
        &self,
        retained_until: ClockMs,
        job: JobView,
        totals: &mut Totals,
    ) -> Result<(), Failure> {
        let key = key(retained_until, job.number);
        let state = state_tag(job.state);
        let id = job.id.as_str().as_bytes().to_vec();
        let record = record::encode(job);
        let record_bytes = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let heading = Heading { state, record_bytes, id }.encode();
        guarded(|| {
            let before = self.order.insert(key, heading.clone())?;
            if let Some(before) = before {
                totals.subtract(&before);
                if before != heading {
                    self.remove_record(key)?;
                }
            }
            totals.add(&heading);
            self.name_last(key, &heading)?;
            self.put_record(key, &record)
        })
    }

    /// Lets the id stand for this job, unless a later one has it.
    fn name_last(&self, key: Key, heading: &[u8]) -> sled::Result<()> {
        let id = Heading::id_in(heading);
        let is_last = self.ids.get(id)?.is_none_or(|last| *last <= key[..]);
        if is_last {
            self.ids.insert(id, &key)?;
        }
        Ok(())
    }

    fn put_record(&self, key: Key, record: &[u8]) -> sled::Result<()> {
        let last = record.len().saturating_sub(1) / PART_BYTES;
        // Parts are written in their order, so the last one says that all are here.
        if self.records.contains_key(part_key(key, last))? {
            return Ok(());
        }
        for (part, bytes) in record.chunks(PART_BYTES).enumerate() {
            self.records.insert(part_key(key, part), bytes)?;
        }
        Ok(())
    }

    fn remove_record(&self, key: Key) -> sled::Result<()> {
        for part in self.records.scan_prefix(key).keys() {
            self.records.remove(part?)?;
        }
        Ok(())
    }

    /// Forgets the job that departed first. `false`: there is none.
    pub(super) fn remove_first(&self, totals: &mut Totals) -> Result<bool, Failure> {
        guarded(|| {
            let Some((key, heading)) = self.order.first()? else {
                *totals = Totals::default();
                return Ok(false);
            };
            let id = Heading::id_in(&heading);
            if self.ids.get(id)?.is_some_and(|last| last == key) {
                self.ids.remove(id)?;
            }
            if let Ok(key) = Key::try_from(&*key) {
                self.remove_record(key)?;
            }
            self.order.remove(&key)?;
            totals.subtract(&heading);
            Ok(true)
        })
    }

    /// The job of that id that departed last.
    pub(super) fn find(&self, id: &JobId) -> Result<Option<JobView>, Failure> {
        guarded(|| {
            let Some(key) = self.ids.get(id.as_str())? else { return Ok(None) };
            let Some(heading) = self.order.get(&key)? else { return Ok(None) };
            Ok(self.read(&key, &heading)?.filter(|job| job.id == *id))
        })
    }

    /// The jobs that departed last, of those that fit.
    pub(super) fn history(&self, wanted: &ArchiveQuery) -> Result<Vec<JobView>, Failure> {
        let states: Vec<u8> = wanted.states.iter().map(|state| state_tag(*state)).collect();
        guarded(|| {
            let (mut jobs, mut bytes) = (Vec::new(), 0);
            for entry in self.order.iter().rev().take(SCAN_MAX) {
                let (key, heading) = entry?;
                let parsed = Heading::decode(&heading);
                let is_fitting = states.is_empty() || states.contains(&parsed.state);
                if jobs.len() >= wanted.limit {
                    break;
                }
                let seen = wanted.except.get(&number_in(&key));
                let is_seen = seen.is_some_and(|id| id.as_str().as_bytes() == parsed.id);
                if !is_fitting || is_seen {
                    continue;
                }
                bytes += parsed.record_bytes as usize;
                if bytes > wanted.bytes_max && !jobs.is_empty() {
                    break;
                }
                jobs.extend(self.read(&key, &heading)?);
            }
            Ok(jobs)
        })
    }

    /// `None` when the record is not whole (it is being written, or forgotten, or was cut short by a
    /// crash) or cannot be read.
    fn read(&self, key: &[u8], heading: &[u8]) -> sled::Result<Option<JobView>> {
        let whole = Heading::decode(heading).record_bytes as usize;
        let mut bytes = Vec::new();
        for part in self.records.scan_prefix(key) {
            bytes.extend_from_slice(&part?.1);
            if bytes.len() > whole {
                break;
            }
        }
        if bytes.len() != whole {
            return Ok(None);
        }
        match record::decode(&bytes) {
            Ok(job) => Ok(Some(job)),
            Err(reason) => {
                if self.unreadable.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%reason, "a record of the archive cannot be read; this is said once");
                }
                Ok(None)
            }
        }
    }

    /// Hands what was written to the disk.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        guarded(|| self.db.flush()).map(|_| ())
    }

    /// What the files take, bytes.
    #[cfg(test)]
    pub(super) fn size_on_disk(&self) -> u64 {
        self.db.size_on_disk().unwrap()
    }
}

impl Heading {
    /// Of the state and of the record's bytes.
    const BYTES: usize = 1 + 4;

    fn encode(&self) -> IVec {
        let length = self.record_bytes.to_be_bytes();
        [&[self.state][..], &length, &self.id].concat().into()
    }

    /// What is too short is of no state and has no record.
    fn decode(bytes: &[u8]) -> Self {
        let Some(([state, length @ ..], id)) = bytes.split_first_chunk::<{ Self::BYTES }>() else {
            return Self { state: 0, record_bytes: 0, id: Vec::new() };
        };
        let record_bytes = u32::from_be_bytes(*length);
        Self { state: *state, record_bytes, id: id.to_vec() }
    }

    fn id_in(bytes: &[u8]) -> &[u8] {
        bytes.get(Self::BYTES..).unwrap_or_default()
    }
}

impl Totals {
    fn add(&mut self, heading: &[u8]) {
        self.jobs += 1;
        self.bytes += u64::from(Heading::decode(heading).record_bytes);
    }

    fn subtract(&mut self, heading: &[u8]) {
        self.jobs = self.jobs.saturating_sub(1);
        let bytes = u64::from(Heading::decode(heading).record_bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

fn key(retained_until: ClockMs, number: JobNumber) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&retained_until.0.to_be_bytes());
    key[8..].copy_from_slice(&number.0.to_be_bytes());
    key
}

fn number_in(key: &[u8]) -> JobNumber {
    let number = key.last_chunk().map_or(u64::MAX, |number| u64::from_be_bytes(*number));
    JobNumber(number)
}

fn part_key(key: Key, part: usize) -> [u8; KEY_BYTES + 2] {
    let part = u16::try_from(part).unwrap_or(u16::MAX).to_be_bytes();
    let mut bytes = [0; KEY_BYTES + 2];
    bytes[..KEY_BYTES].copy_from_slice(&key);
    bytes[KEY_BYTES..].copy_from_slice(&part);
    bytes
}

// Tags are stored: one is never given to another state.
const fn state_tag(state: JobState) -> u8 {
    match state {
        JobState::Completed => 1,
        JobState::Failed => 2,
        JobState::Cancelled => 3,
        JobState::Expired => 4,
        JobState::Scheduled
        | JobState::Blocked
        | JobState::Pending
        | JobState::Claimed
        | JobState::Running => 0,
    }
}

/// The longest record has a number for each of its parts.
const _: () = assert!(record::RECORD_BYTES_MAX / PART_BYTES < u16::MAX as usize);

#[cfg(test)]
mod tests;
