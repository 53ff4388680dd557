//! A disk in memory, whose power a test cuts: a [`StagedDisk`] over a plain map of files that plays
//! the platter. What is on the platter is durable; the faults of the platter itself (a full disk, a
//! flipped bit) are here.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Disk, File, Loss, StagedDisk};

/// A disk in memory. The log runs on it without a thread of its own, so that a simulation repeats.
pub struct MemoryDisk {
    platter: Platter,
    staged: Mutex<Arc<StagedDisk>>,
    loss: Loss,
}

impl MemoryDisk {
    /// An empty disk; `seed` decides what survives a power cut, as far as `loss` lets anything.
    pub fn new(loss: Loss, seed: u64) -> Self {
        let platter = Platter::default();
        let staged = StagedDisk::new(Arc::new(platter.clone()), loss, seed);
        Self { platter, staged: Mutex::new(Arc::new(staged)), loss }
    }

    /// Cuts the power and starts the machine again: what was not synced is gone, as far as the loss
    /// mode says, and every handle opened before fails from now on. `seed` is for the next cut.
    pub fn crash(&self, seed: u64) {
        let mut staged = lock(&self.staged);
        staged.cut_power_after(0);
        *staged = Arc::new(StagedDisk::new(Arc::new(self.platter.clone()), self.loss, seed));
    }

    /// Cuts the power after `calls` more calls, in the middle of whatever runs then; all calls fail
    /// until [`MemoryDisk::crash`] starts the machine again.
    pub fn cut_power_after(&self, calls: u32) {
        self.staged().cut_power_after(calls);
    }

    /// Starts the process again after a [`MemoryDisk::cut_power_after`] that was no power cut after
    /// all: the process died, the machine did not, and what was not synced is still to be seen.
    pub fn restart_process(&self) {
        self.staged().restore_power();
    }

    /// Lets `successes` more `sync_data` pass, and fails the one after them, once.
    pub fn fail_sync_after(&self, successes: u32) {
        self.staged().fail_sync_after(successes);
    }

    /// Fails every write that would bring the files above `bytes` together. `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.platter.lock().capacity = bytes;
    }

    /// Flips the bits of `mask` in one durable byte.
    ///
    /// # Errors
    /// `NotFound` when there is no such file or no such byte. Nothing was changed.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let content = self.platter.content(path)?;
        let mut content = lock(&content);
        let byte = usize::try_from(offset).ok().and_then(|offset| content.get_mut(offset));
        *byte.ok_or(io::ErrorKind::NotFound)? ^= mask;
        Ok(())
    }

    /// The durable bytes of a file.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    pub fn durable(&self, path: &Path) -> io::Result<Vec<u8>> {
        let content = self.platter.content(path)?;
        Ok(lock(&content).clone())
    }

    /// Puts a file on the platter as it is, or over another.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.platter.lock().contents.insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    fn staged(&self) -> Arc<StagedDisk> {
        Arc::clone(&lock(&self.staged))
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MemoryDisk({:?})", self.loss)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.staged().open(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.staged().create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.staged().list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.staged().rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.staged().remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.staged().sync_dir(dir)
    }

    fn is_threaded(&self) -> bool {
        false
    }
}

/// The durable files; clones share them. Directories need no record: every directory is there.
#[derive(Clone, Default)]
struct Platter(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    contents: BTreeMap<PathBuf, Content>,
    capacity: Option<u64>,
}

type Content = Arc<Mutex<Vec<u8>>>;

impl Platter {
    fn lock(&self) -> MutexGuard<'_, Files> {
        lock(&self.0)
    }

    fn content(&self, path: &Path) -> io::Result<Content> {
        self.lock().contents.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn check_room(&self, more: usize) -> io::Result<()> {
        let files = self.lock();
        let used: usize = files.contents.values().map(|content| lock(content).len()).sum();
        match files.capacity {
            Some(capacity) if (used + more) as u64 > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Platter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Platter")
    }
}

impl Disk for Platter {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let content = Arc::clone(self.lock().contents.entry(path.to_owned()).or_default());
        Ok(Box::new(PlatterFile { content, platter: self.clone() }))
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let files = self.lock();
        Ok(files.contents.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.lock();
        let content = files.contents.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.contents.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().contents.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn is_threaded(&self) -> bool {
        false
    }
}

/// A file on the platter.
#[derive(Debug)]
struct PlatterFile {
    content: Content,
    platter: Platter,
}

impl PlatterFile {
    /// Makes the file at least `len` long, if there is room.
    fn grow(&self, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(lock(&self.content).len());
        if more > 0 {
            self.platter.check_room(more)?;
            lock(&self.content).resize(len, 0);
        }
        Ok(())
    }
}

impl File for PlatterFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.content);
        let start = position(offset)?.min(content.len());
        let count = buffer.len().min(content.len() - start);
        buffer[..count].copy_from_slice(&content[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = position(offset)?;
        self.grow(start + bytes.len())?;
        lock(&self.content)[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = position(len)?;
        self.grow(len)?;
        lock(&self.content).truncate(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.content).len() as u64)
    }
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}
