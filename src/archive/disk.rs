//! The archive as the node has it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    failure::{Failure, guarded},
    intake::Intake,
    place,
    store::{Store, Totals},
    writer,
};
use crate::{
    node::{Archive, ArchiveQuery, ArchiveStatus, ArchiveUnavailable, Space},
    queue::{Job, JobId, JobView},
};

/// What may wait to be written: ten entries' worth of departures.
const WAITING_JOBS_MAX: usize = 20_000;
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Where an archive is and how large it may get.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its directory; made when it is not there.
    pub directory: PathBuf,
    /// The most jobs; the oldest are forgotten first.
    pub jobs_max: u64,
    /// The most that the files take, bytes, about.
    pub bytes_max: u64,
    /// Nothing is written while the disk has less than this free, bytes.
    pub reserve_bytes: u64,
    /// Who knows how much room the disk has.
    pub space: Arc<dyn Space>,
}

/// An archive on this machine's disk. It takes jobs from the start and is read once it is open; when it
/// fails it is off until the process starts again.
#[derive(Debug)]
pub struct DiskArchive {
    shared: Arc<Shared>,
}

/// What the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) intake: Intake,
    pub(super) unreadable: Arc<AtomicU64>,
    standing: Mutex<Standing>,
    /// Whether the writer is at work; told when it is no more.
    is_writing: Mutex<bool>,
    ended: Condvar,
    jobs: AtomicU64,
    bytes: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Standing {
    /// Nobody has opened it yet.
    Closed,
    Open(Arc<Store>),
    /// For good, and why.
    Off(String),
}

impl DiskArchive {
    /// An archive that is not open yet. Touches nothing on the disk.
    pub fn new(options: Options) -> Self {
        let shared = Shared {
            options,
            intake: Intake::bounded(WAITING_JOBS_MAX, WAITING_BYTES_MAX),
            unreadable: Arc::default(),
            standing: Mutex::new(Standing::Closed),
            is_writing: Mutex::new(false),
            ended: Condvar::new(),
            jobs: AtomicU64::default(),
            bytes: AtomicU64::default(),
            written: AtomicU64::default(),
            dropped: AtomicU64::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Opens it, on a thread of its own: however long that takes, and however it ends, nobody waits.
    /// Call this once, when the node has the data directory to itself.
    pub fn start(&self) {
        let shared = Arc::clone(&self.shared);
        shared.set_writing(true);
        let thread = thread::Builder::new().name("archive".to_owned());
        let started = thread.spawn(move || {
            writer::run(&shared);
            shared.set_writing(false);
        });
        if let Err(error) = started {
            self.shared.fail(&Failure::Refused(format!("it has no thread: {error}")));
            self.shared.set_writing(false);
        }
    }

    /// Writes what it has and closes its files, waiting for that no longer than `patience`. Blocks.
    /// `false`: it was not done by then.
    pub fn close(&self, patience: Duration) -> bool {
        self.shared.intake.close();
        let is_writing = self.shared.is_writing.lock().expect(UNPOISONED);
        let ended = self.shared.ended.wait_timeout_while(is_writing, patience, |writing| *writing);
        let is_late = ended.expect(UNPOISONED).1.timed_out();
        if is_late && matches!(*self.shared.standing(), Standing::Closed) {
            place::excuse(&self.shared.options.directory);
        }
        !is_late
    }

    /// Asks the store, and turns the archive off when it fails.
    fn read<T>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, Failure>,
    ) -> Result<T, ArchiveUnavailable> {
        let store = self.shared.store()?;
        let asked = ask(&store);
        // It may be the last to hold the files.
        let let_go = guarded(|| {
            drop(store);
            Ok(())
        });
        asked.and_then(|answer| let_go.map(|()| answer)).map_err(|failure| {
            self.shared.fail(&failure);
            ArchiveUnavailable(failure.to_string())
        })
    }
}

impl Drop for DiskArchive {
    fn drop(&mut self) {
        self.shared.intake.close();
    }
}

impl Archive for DiskArchive {
    fn offer(&self, departed: Vec<Arc<Job>>) {
        let dropped = self.shared.intake.offer(departed);
        if dropped > 0 {
            self.shared.count_dropped(dropped);
        }
    }

    fn find(&self, id: &JobId) -> Result<Option<JobView>, ArchiveUnavailable> {
        self.read(|store| store.find(id))
    }

    fn history(&self, wanted: &ArchiveQuery) -> Result<Vec<JobView>, ArchiveUnavailable> {
        self.read(|store| store.history(wanted))
    }

    fn status(&self) -> ArchiveStatus {
        let Shared { jobs, bytes, written, dropped, unreadable, .. } = &*self.shared;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (is_available, detail) = match &*self.shared.standing() {
            Standing::Closed => (false, OPENING.to_owned()),
            Standing::Open(_) => (true, "finished jobs are kept".to_owned()),
            Standing::Off(reason) => (false, reason.clone()),
        };
        ArchiveStatus {
            is_available,
            jobs: read(jobs),
            bytes: read(bytes),
            written: read(written),
            dropped: read(dropped),
            unreadable: read(unreadable),
            detail,
        }
    }
}

const OPENING: &str = "the archive is being opened";
const UNPOISONED: &str = "nothing panics while the archive's standing is locked";

impl Shared {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().expect(UNPOISONED)
    }

    fn store(&self) -> Result<Arc<Store>, ArchiveUnavailable> {
        match &*self.standing() {
            Standing::Open(store) => Ok(Arc::clone(store)),
            Standing::Closed => Err(ArchiveUnavailable(OPENING.to_owned())),
            Standing::Off(reason) => Err(ArchiveUnavailable(reason.clone())),
        }
    }

    /// Lets it be read.
    pub(super) fn open(&self, store: Arc<Store>) {
        *self.standing() = Standing::Open(store);
    }

    fn set_writing(&self, is_writing: bool) {
        *self.is_writing.lock().expect(UNPOISONED) = is_writing;
        self.ended.notify_all();
    }

    /// Turns it off for good: said once, with the reason. Files that are damaged are not opened again.
    pub(super) fn fail(&self, failure: &Failure) {
        // First: whoever finds it off finds the reason in its place.
        if let Failure::Damaged(reason) = failure {
            place::condemn(&self.options.directory, reason);
        }
        if self.turn_off(&format!("the archive is off: {failure}")) {
            tracing::warn!(
                reason = %failure,
                "the archive of finished jobs is off; the node goes on without it"
            );
        }
    }

    /// Takes nothing more, and lets go of the files. `false`: it was off already.
    pub(super) fn turn_off(&self, reason: &str) -> bool {
        self.count_dropped(self.intake.abandon());
        let mut standing = self.standing();
        if matches!(*standing, Standing::Off(_)) {
            return false;
        }
        let before = std::mem::replace(&mut *standing, Standing::Off(reason.to_owned()));
        drop(standing);
        // What closing the files answers changes nothing any more.
        let _ = guarded(|| {
            drop(before);
            Ok(())
        });
        true
    }

    pub(super) fn publish(&self, totals: Totals) {
        self.jobs.store(totals.jobs, Ordering::Relaxed);
        self.bytes.store(totals.bytes, Ordering::Relaxed);
    }

    pub(super) fn count_written(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self, jobs: usize) {
        self.dropped.fetch_add(jobs as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
