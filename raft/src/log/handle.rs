//! The log as its owner holds it.

use std::{
    fmt, io,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use bytes::Bytes;

use super::{
    recovery,
    shared::{Durable, Read, Shared},
    writer::Writer,
};
use crate::{Disk, OpenError};

/// The greatest body of one record, bytes: four times the largest entry that a queue proposes, and
/// what recovery is ready to hold in memory for one record.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// How many bytes may wait for the disk, or one larger write alone. A disk that is this far behind is
/// taken for failed: the write that would go beyond poisons the log. What may be proposed at a time
/// (`ROOM_KIB`) and what a leader may have in flight (`WINDOW_BYTES`) are bounded far below.
pub const BACKLOG_BYTES_MAX: u64 = 256 << 20;

/// One entry: its index, and whatever its owner encodes (log id and payload).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its index in the log.
    pub index: u64,
    /// Its bytes, at most [`RECORD_BYTES_MAX`].
    pub bytes: Bytes,
}

/// One change of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The vote from now on.
    Vote(Bytes),
    /// What is committed, as a hint for the next start. Alone it is not synced: a power cut may bring
    /// back an older one.
    Committed(Bytes),
    /// The entry that follows the last.
    Append(StoredEntry),
    /// Drops the entries with this index and above.
    TruncateFrom(u64),
    /// Drops the entries up to and with `upto`, which may be beyond the last: the log then goes on
    /// at `upto + 1`. A purge below an earlier one changes nothing.
    Purge {
        /// The greatest index to drop.
        upto: u64,
        /// Its encoded log id.
        bytes: Bytes,
    },
}

/// How a log is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment's size, bytes, at most 1 GiB. Purging frees whole segments.
    pub segment_bytes: u64,
    /// How many bytes of the newest entries stay in memory, so that replication and apply do not
    /// read the disk. Entries that wait for the disk are held in any case.
    pub cache_bytes: u64,
}

/// What the log held when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The last vote.
    pub vote: Option<Bytes>,
    /// The last commit hint that reached the disk.
    pub committed: Option<Bytes>,
    /// The greatest index purged and its encoded log id.
    pub purged: Option<(u64, Bytes)>,
    /// The least index held; for an empty log, the index that it goes on with (0 when new).
    pub first_index: u64,
    /// The last entry; `None` when the log is empty.
    pub last: Option<StoredEntry>,
}

/// A cheap handle on one open log; clones share it. Call [`Log::close`] before the directory is
/// opened again.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    drive: Drive,
}

/// Who turns the writer.
enum Drive {
    /// A thread of its own; `None` once it is joined.
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// Whoever writes.
    Inline(Box<Mutex<Writer>>),
}

impl Log {
    /// Opens the log in `dir`, creating it when absent, and cuts a torn tail off. All that it answers
    /// is durable when it returns.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] when the disk does not hold what it had promised to hold (nothing was
    /// changed then), [`OpenError::Options`], and [`OpenError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: LogOptions,
    ) -> Result<(Self, Recovered), OpenError> {
        if options.segment_bytes > 1 << 30 {
            let reason = format!("a log segment of {} bytes is above 1 GiB", options.segment_bytes);
            return Err(OpenError::Options(reason));
        }
        let is_threaded = disk.is_threaded();
        let mut opened = recovery::open(disk.as_ref(), dir)?;
        let shared = Arc::new(Shared::new(&mut opened, options.cache_bytes));
        let recovered = recovered(&shared, &opened)?;
        let writer = Writer::new(disk, dir, options, opened, Arc::clone(&shared));
        let drive = if is_threaded {
            let thread = std::thread::Builder::new()
                .name("raft-log".to_owned())
                .spawn(move || writer.run())
                .map_err(|source| io_error("cannot start the log's thread", source))?;
            Drive::Thread(Mutex::new(Some(thread)))
        } else {
            Drive::Inline(Box::new(Mutex::new(writer)))
        };
        Ok((Self { inner: Arc::new(Inner { shared, drive }) }, recovered))
    }

    /// Queues records behind all that were queued before. What they change is visible to
    /// [`Log::read`] and [`Log::last_index`] when this returns. `durable` is called exactly once:
    /// after the sync, or with an error. It runs on the log's thread (in simulation: before this
    /// returns) and must be quick.
    ///
    /// # Errors
    /// To `durable`: `InvalidInput` for an entry that does not follow the last or is too large
    /// (nothing of this call was taken, the log goes on), any other when the log has failed or is
    /// closed: the records may or may not be on disk, and every later call fails.
    pub fn write(
        &self,
        records: Vec<Record>,
        durable: impl FnOnce(io::Result<()>) + Send + 'static,
    ) {
        let durable: Durable = Box::new(durable);
        if let Err((error, durable)) = self.inner.shared.enqueue(records, durable) {
            durable(Err(error));
            return;
        }
        if let Drive::Inline(writer) = &self.inner.drive {
            let settled = lock_writer(writer).turn();
            settled.call_back();
        }
    }

    /// The entries of `range` that the log holds, in order: at least one if it holds any, and no
    /// more than fit in `max_bytes`. Blocks on the disk for entries that are no longer in memory.
    ///
    /// # Errors
    /// When the disk fails or an entry on it is damaged, and when the log has failed.
    pub fn read(&self, range: Range<u64>, max_bytes: u64) -> io::Result<Vec<StoredEntry>> {
        self.inner.shared.plan_read(range, max_bytes)?.into_iter().map(Read::fetch).collect()
    }

    /// The last entry's index; `None` when the log is empty.
    pub fn last_index(&self) -> Option<u64> {
        self.inner.shared.last_index()
    }

    /// Whether reading from `index` on needs no disk.
    pub fn is_in_memory(&self, index: u64) -> bool {
        self.inner.shared.is_in_memory(index)
    }

    /// About how many bytes the log holds behind entry `index`.
    pub fn bytes_since(&self, index: u64) -> u64 {
        self.inner.shared.bytes_since(index)
    }

    /// Whether a write or a sync has failed. It stays so: the owner must end the process.
    pub fn is_poisoned(&self) -> bool {
        self.inner.shared.is_poisoned()
    }

    /// Writes and syncs all that waits and ends the log's thread; blocks meanwhile, so never from
    /// within a callback. Later calls of
    /// any clone fail. A second call changes nothing.
    ///
    /// # Errors
    /// When the log has failed, now or before.
    pub fn close(&self) -> io::Result<()> {
        self.inner.shared.begin_closing();
        match &self.inner.drive {
            Drive::Thread(thread) => {
                let thread = thread.lock().expect("nothing panics while it holds this lock").take();
                if let Some(thread) = thread {
                    thread.join().map_err(|_| io::Error::other("the log's thread panicked"))?;
                }
            }
            Drive::Inline(writer) => lock_writer(writer).finish(),
        }
        self.inner.shared.outcome()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Log")
            .field("last_index", &self.last_index())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without `close` the thread still writes what waits, and then ends by itself.
        self.shared.begin_closing();
    }
}

fn recovered(shared: &Shared, opened: &recovery::Opened) -> Result<Recovered, OpenError> {
    let state = &opened.state;
    let last = match state.extent.last() {
        Some(index) => shared
            .plan_read(index..index + 1, 0)
            .and_then(|reads| reads.into_iter().next().map(Read::fetch).transpose())
            .map_err(|source| io_error("cannot read the log's last entry", source))?,
        None => None,
    };
    Ok(Recovered {
        vote: state.vote.clone(),
        committed: state.committed.clone(),
        purged: state.extent.purged.zip(state.purged.clone()),
        first_index: state.extent.first,
        last,
    })
}

fn lock_writer(writer: &Mutex<Writer>) -> std::sync::MutexGuard<'_, Writer> {
    writer.lock().expect("callbacks run outside this lock")
}

pub(super) fn io_error(action: impl Into<String>, source: io::Error) -> OpenError {
    OpenError::Io { action: action.into(), source }
}
