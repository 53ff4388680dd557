//! The directory of snapshots: which is the newest, and how another takes its place.

use std::{
    io,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;

use super::{
    format::META_BYTES_MAX, reader::SnapshotReader, receiver::SnapshotReceiver,
    writer::SnapshotWriter,
};
use crate::{Disk, File, OpenError, disk::read_exact_at};

/// The snapshots of one replica; clones share them.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    latest: Option<SnapshotFile>,
    /// The number of the next file, whatever becomes of it.
    next: u64,
}

/// One complete snapshot, durable but for its name until [`SnapshotStore::keep`]. It can be read for
/// as long as this lives, also when a newer one has taken its place; clones share it.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// What its writer said about it.
    pub meta: Bytes,
    /// Its length with all framing, bytes.
    pub len: u64,
    stored: Arc<Stored>,
}

/// A file, and where it is; removed when dropped, unless it was kept.
#[derive(Debug)]
pub(super) struct Stored {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    place: Mutex<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Under its temporary name.
    Partial(PathBuf),
    /// Under its final name.
    Kept(PathBuf),
}

impl Stored {
    pub(super) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Syncs what was written and calls it complete.
    pub(super) fn finish(self, meta: Bytes) -> io::Result<SnapshotFile> {
        self.file.sync_data()?;
        Ok(SnapshotFile { meta, len: self.file.len()?, stored: Arc::new(self) })
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().expect("nothing panics while it holds this lock")
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if let Place::Partial(path) = &*self.place() {
            // What cannot be removed now is removed at the next open.
            let _ = self.disk.remove(path);
        }
    }
}

impl SnapshotFile {
    /// Where it is now.
    pub fn path(&self) -> PathBuf {
        match &*self.stored.place() {
            Place::Partial(path) | Place::Kept(path) => path.clone(),
        }
    }

    /// Its data, checked chunk by chunk.
    ///
    /// # Errors
    /// As reading: `InvalidData` for damage, and whatever the disk answered.
    pub fn reader(&self) -> io::Result<SnapshotReader> {
        SnapshotReader::open(Arc::clone(&self.stored.file)).map(|(_, reader)| reader)
    }

    /// The file's bytes from `offset` on, `len` of them or as many as there are, unchecked: the
    /// receiver checks them.
    ///
    /// # Errors
    /// Whatever the disk answered.
    pub fn read_raw(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(rest)];
        read_exact_at(self.stored.file.as_ref(), &mut bytes, offset)?;
        Ok(bytes.into())
    }
}

impl SnapshotStore {
    /// Opens the snapshots in `dir`, creating it when absent; checks every byte of the newest one,
    /// and removes older ones and what was left unfinished.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] when the newest snapshot is damaged (nothing was changed then), and
    /// [`OpenError::Io`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            action: format!("cannot open the snapshots in {}", dir.display()),
            source,
        };
        disk.create_dir_all(dir).map_err(failed)?;
        let files = disk.list(dir).map_err(failed)?;
        let newest = files.iter().filter_map(|path| Some((number_of(path)?, path))).max();
        let latest = match newest {
            Some((_, path)) => Some(verify(&disk, path)?),
            None => None,
        };
        let next = newest.map_or(1, |(number, _)| number + 1);
        let state = Mutex::new(State { latest, next });
        let store = Self { inner: Arc::new(Inner { disk, dir: dir.to_owned(), state }) };
        store.inner.remove_others(&files).map_err(failed)?;
        Ok(store)
    }

    /// The newest complete snapshot.
    pub fn latest(&self) -> Option<SnapshotFile> {
        self.inner.lock().latest.clone()
    }

    /// Begins a snapshot with this `meta` (at most 1 MiB), written at no more than
    /// `bytes_per_second`; `None`: as fast as the disk goes.
    ///
    /// # Errors
    /// Whatever the disk answered; nothing but an unfinished file remains.
    pub fn begin(
        &self,
        meta: Bytes,
        bytes_per_second: Option<NonZeroU64>,
    ) -> io::Result<SnapshotWriter> {
        check_meta(&meta)?;
        SnapshotWriter::begin(self.inner.create_partial()?, meta, bytes_per_second)
    }

    /// Begins to receive a peer's snapshot file of this `meta`.
    ///
    /// # Errors
    /// Whatever the disk answered; nothing but an unfinished file remains.
    pub fn receive(&self, meta: Bytes) -> io::Result<SnapshotReceiver> {
        check_meta(&meta)?;
        Ok(SnapshotReceiver::new(self.inner.create_partial()?, meta))
    }

    /// Makes a finished snapshot the newest, durably, and removes the one before. Nothing more is
    /// done for one that is the newest already.
    ///
    /// # Errors
    /// `NotFound` when it was the newest once and is no longer, and whatever the disk answered: the
    /// newest is then the one before, unless the failing step was the last, the sync of the directory.
    pub fn keep(&self, snapshot: &SnapshotFile) -> io::Result<()> {
        let inner = &self.inner;
        let mut state = inner.lock();
        let mut place = snapshot.stored.place();
        let partial = match &*place {
            Place::Partial(path) => path.clone(),
            Place::Kept(_) => return state.check_newest(snapshot),
        };
        // The greatest number is given only now, so that the last to be kept is the newest for the
        // next start as well.
        let path = inner.dir.join(format!("{:020}.snapshot", state.take_number()));
        inner.disk.rename(&partial, &path)?;
        *place = Place::Kept(path);
        inner.disk.sync_dir(&inner.dir)?;
        drop(place);
        if let Some(older) = state.latest.replace(snapshot.clone())
            && let Err(error) = inner.disk.remove(&older.path())
        {
            // The next open tries again; the snapshot itself is complete.
            tracing::warn!(path = %older.path().display(), %error, "cannot remove an old snapshot");
        }
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    fn create_partial(&self) -> io::Result<Stored> {
        let number = self.lock().take_number();
        let path = self.dir.join(format!("{number:020}.partial"));
        let file: Arc<dyn File> = Arc::from(self.disk.open(&path)?);
        // A removed leftover of this name can come back at a power cut.
        file.set_len(0)?;
        let place = Mutex::new(Place::Partial(path));
        Ok(Stored { disk: Arc::clone(&self.disk), file, place })
    }

    /// Removes of `files` what is a snapshot, whole or not, but not the newest.
    fn remove_others(&self, files: &[PathBuf]) -> io::Result<()> {
        let newest = self.lock().latest.as_ref().map(SnapshotFile::path);
        for path in files {
            let is_ours = number_of(path).is_some() || path.extension() == Some("partial".as_ref());
            if is_ours && newest.as_ref() != Some(path) {
                self.disk.remove(path)?;
            }
        }
        Ok(())
    }
}

impl State {
    fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn check_newest(&self, snapshot: &SnapshotFile) -> io::Result<()> {
        let newest = self.latest.as_ref().map(|latest| &latest.stored);
        let is_newest = newest.is_some_and(|newest| Arc::ptr_eq(newest, &snapshot.stored));
        if is_newest { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn verify(disk: &Arc<dyn Disk>, path: &Path) -> Result<SnapshotFile, OpenError> {
    let failed = |offset, error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => OpenError::Corrupt {
            file: path.to_owned(),
            offset,
            reason: format!(
                "{error}; the disk lost or changed a snapshot that was complete. An older one may \
                 lack entries that the log has purged: give the node an empty directory and let it \
                 join again"
            ),
        },
        _ => OpenError::Io { action: format!("cannot read {}", path.display()), source: error },
    };
    let file: Arc<dyn File> = Arc::from(disk.open(path).map_err(|error| failed(0, error))?);
    let len = file.len().map_err(|error| failed(0, error))?;
    let opened = SnapshotReader::open(Arc::clone(&file));
    let (meta, mut reader) = opened.map_err(|error| failed(0, error))?;
    reader.verify().map_err(|error| failed(reader.offset(), error))?;
    let place = Mutex::new(Place::Kept(path.to_owned()));
    Ok(SnapshotFile { meta, len, stored: Arc::new(Stored { disk: Arc::clone(disk), file, place }) })
}

fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".snapshot")?.parse().ok()
}

fn check_meta(meta: &Bytes) -> io::Result<()> {
    if meta.len() > META_BYTES_MAX { Err(io::ErrorKind::InvalidInput.into()) } else { Ok(()) }
}
