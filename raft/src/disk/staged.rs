//! A disk whose power can be cut. What a program changes and does not sync stays in this process's
//! memory, above an inner disk that holds only what is durable:
//!
//! ```text
//!   write, set_len ──▶ changes of the file, in order ── sync_data ──▶ inner file
//!   create, rename, remove ──▶ changes of the directory ── sync_dir ──▶ inner directory
//! ```
//!
//! So `kill -9` of the process does what a power cut does to a machine. A kernel also writes back
//! what nobody synced: [`Loss`] says how much of that happens, as soon as a change is made.
//!
//! A file is one thing and its name is another, as on a real file system: until its name is synced,
//! a created file lives on the inner disk under a hidden name (`.unlinked-…`), which this disk
//! removes when it first looks into the directory, as `fsck` would.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{DirectoryLock, Disk, File, read_exact_at};

const BLOCK: usize = 512;
const HIDDEN: &str = ".unlinked-";

/// What survives a power cut of all that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    Lose,
    /// About half of the changes, each whole.
    Keep,
    /// About half of the 512-byte blocks, each whole, so that a record may survive in part.
    Tear,
}

/// A disk above another that passes on only what is synced. See the module's text.
pub struct StagedDisk {
    inner: Arc<dyn Disk>,
    power: Arc<Power>,
    directories: Mutex<BTreeMap<PathBuf, Directory>>,
    files_created: AtomicI64,
}

impl fmt::Debug for StagedDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StagedDisk({:?} over {:?})", self.power.loss, self.inner)
    }
}

/// What all files of one disk share: how it loses, and whether it still runs.
struct Power {
    loss: Loss,
    chance: Mutex<StdRng>,
    /// Calls left until the power is cut; negative: no cut is planned, 0: it is cut.
    calls_left: AtomicI64,
    /// `sync_data` calls left until one fails; `None`: none will.
    syncs_left: Mutex<Option<u32>>,
}

/// The names of one directory as the program sees them, and the changes that are not durable.
#[derive(Default)]
struct Directory {
    names: BTreeMap<PathBuf, Arc<Inode>>,
    changes: Vec<NameChange>,
}

enum NameChange {
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
}

/// One file, whatever it is called.
struct Inode {
    inner: Box<dyn File>,
    power: Arc<Power>,
    staged: Mutex<Staged>,
}

/// A file's content above its durable content.
struct Staged {
    changes: Vec<Change>,
    len: u64,
}

enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl StagedDisk {
    /// Stages what is written to `inner`; `seed` decides what early write-back passes on.
    pub fn new(inner: Arc<dyn Disk>, loss: Loss, seed: u64) -> Self {
        let power = Power {
            loss,
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
            calls_left: AtomicI64::new(-1),
            syncs_left: Mutex::new(None),
        };
        let directories = Mutex::default();
        Self { inner, power: Arc::new(power), directories, files_created: AtomicI64::new(0) }
    }

    /// Cuts the power after `calls` more calls: from then on every call on this disk and its files
    /// fails, and nothing reaches the inner disk.
    pub fn cut_power_after(&self, calls: u32) {
        self.power.calls_left.store(calls.into(), Ordering::SeqCst);
    }

    /// Takes [`StagedDisk::cut_power_after`] back: calls succeed again and nothing was lost.
    pub fn restore_power(&self) {
        self.power.calls_left.store(-1, Ordering::SeqCst);
    }

    /// Lets `successes` more `sync_data` pass, and fails the one after them, once.
    pub fn fail_sync_after(&self, successes: u32) {
        *lock(&self.power.syncs_left) = Some(successes);
    }

    /// The directory's names, read from the inner disk at the first look.
    fn with_directory<T>(
        &self,
        dir: &Path,
        look: impl FnOnce(&mut Directory) -> io::Result<T>,
    ) -> io::Result<T> {
        self.power.spend()?;
        let mut directories = lock(&self.directories);
        if !directories.contains_key(dir) {
            let directory = self.load(dir)?;
            directories.insert(dir.to_owned(), directory);
        }
        look(directories.get_mut(dir).expect("inserted above"))
    }

    fn load(&self, dir: &Path) -> io::Result<Directory> {
        let mut directory = Directory::default();
        for path in self.inner.list(dir)? {
            if is_hidden(&path) {
                self.inner.remove(&path)?;
            } else {
                let inode = self.inode(&path)?;
                directory.names.insert(path, inode);
            }
        }
        Ok(directory)
    }

    fn inode(&self, inner_path: &Path) -> io::Result<Arc<Inode>> {
        let inner = self.inner.open(inner_path)?;
        let staged = Mutex::new(Staged { changes: Vec::new(), len: inner.len()? });
        Ok(Arc::new(Inode { inner, power: Arc::clone(&self.power), staged }))
    }

    /// Notes a change of names, and lets the changes so far through early, now and then. Always in
    /// order: a journal has no holes.
    fn change_names(&self, directory: &mut Directory, change: NameChange) -> io::Result<()> {
        directory.changes.push(change);
        if self.power.passes_early() { self.settle_names(directory) } else { Ok(()) }
    }

    fn settle_names(&self, directory: &mut Directory) -> io::Result<()> {
        for change in directory.changes.drain(..) {
            match change {
                NameChange::Rename { from, to } => self.inner.rename(&from, &to)?,
                NameChange::Remove(path) => self.inner.remove(&path)?,
            }
        }
        Ok(())
    }
}

impl Disk for StagedDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let dir = parent(path)?;
        self.with_directory(dir, |directory| {
            if let Some(inode) = directory.names.get(path) {
                return Ok(Box::new(StagedFile(Arc::clone(inode))) as Box<dyn File>);
            }
            let number = self.files_created.fetch_add(1, Ordering::Relaxed);
            let hidden = dir.join(format!("{HIDDEN}{number}"));
            let inode = self.inode(&hidden)?;
            directory.names.insert(path.to_owned(), Arc::clone(&inode));
            let change = NameChange::Rename { from: hidden, to: path.to_owned() };
            self.change_names(directory, change)?;
            Ok(Box::new(StagedFile(inode)) as Box<dyn File>)
        })
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.power.spend()?;
        self.inner.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.with_directory(dir, |directory| Ok(directory.names.keys().cloned().collect()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let dir = parent(from)?;
        if dir != parent(to)? {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        self.with_directory(dir, |directory| {
            let inode = directory.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            directory.names.insert(to.to_owned(), inode);
            let change = NameChange::Rename { from: from.to_owned(), to: to.to_owned() };
            self.change_names(directory, change)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with_directory(parent(path)?, |directory| {
            directory.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
            self.change_names(directory, NameChange::Remove(path.to_owned()))
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.with_directory(dir, |directory| {
            self.settle_names(directory)?;
            self.inner.sync_dir(dir)
        })
    }

    fn lock(&self, path: &Path) -> io::Result<DirectoryLock> {
        self.inner.lock(path)
    }

    fn is_threaded(&self) -> bool {
        self.inner.is_threaded()
    }
}

impl Power {
    /// Accounts for one call; fails when the power is cut.
    fn spend(&self) -> io::Result<()> {
        let left = self.calls_left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(io::Error::other("the power is cut"));
        }
        if left > 0 {
            self.calls_left.store(left - 1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Accounts for one `sync_data`.
    fn spend_sync(&self) -> io::Result<()> {
        let mut left = lock(&self.syncs_left);
        let fails = *left == Some(0);
        *left = left.and_then(|count| count.checked_sub(1));
        if fails { Err(io::Error::other("the sync failed")) } else { Ok(()) }
    }

    fn passes_early(&self) -> bool {
        self.loss != Loss::Lose && lock(&self.chance).random_bool(0.5)
    }
}

/// A handle on an inode.
struct StagedFile(Arc<Inode>);

impl fmt::Debug for StagedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "StagedFile(over {:?})", self.0.inner)
    }
}

impl File for StagedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.power.spend()?;
        let staged = lock(&self.0.staged);
        let available = staged.len.saturating_sub(offset);
        let count = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..count];
        buffer.fill(0);
        let durable = self.0.inner.len()?.saturating_sub(offset);
        let durable = count.min(usize::try_from(durable).unwrap_or(usize::MAX));
        read_exact_at(self.0.inner.as_ref(), &mut buffer[..durable], offset)?;
        for change in &staged.changes {
            change.lay_over(buffer, offset);
        }
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.power.spend()?;
        let mut staged = lock(&self.0.staged);
        staged.len = staged.len.max(offset + bytes.len() as u64);
        staged.changes.push(Change::Write { offset, bytes: bytes.to_vec() });
        match self.0.power.loss {
            Loss::Keep if self.0.power.passes_early() => self.0.inner.write_at(bytes, offset),
            Loss::Lose | Loss::Keep => Ok(()),
            Loss::Tear => self.0.write_some_blocks(bytes, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.power.spend()?;
        let mut staged = lock(&self.0.staged);
        let changes = std::mem::take(&mut staged.changes);
        if let Err(error) = self.0.power.spend_sync() {
            // After a failed fsync a kernel calls the pages clean, and what was in them is gone
            // (Rebello et al., ATC'20).
            staged.len = self.0.inner.len()?;
            return Err(error);
        }
        for change in changes {
            match change {
                Change::Write { offset, bytes } => self.0.inner.write_at(&bytes, offset)?,
                Change::SetLen(len) => self.0.inner.set_len(len)?,
            }
        }
        self.0.inner.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.power.spend()?;
        let mut staged = lock(&self.0.staged);
        staged.len = len;
        staged.changes.push(Change::SetLen(len));
        if self.0.power.passes_early() { self.0.inner.set_len(len) } else { Ok(()) }
    }

    fn len(&self) -> io::Result<u64> {
        self.0.power.spend()?;
        Ok(lock(&self.0.staged).len)
    }
}

impl Inode {
    /// Passes on about half of the blocks that a write touches, cut where the device's blocks end.
    fn write_some_blocks(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut rest = bytes;
        let mut position = offset;
        while !rest.is_empty() {
            let into_block = usize::try_from(position % BLOCK as u64).expect("below 512");
            let (block, later) = rest.split_at(rest.len().min(BLOCK - into_block));
            if self.power.passes_early() {
                self.inner.write_at(block, position)?;
            }
            position += block.len() as u64;
            rest = later;
        }
        Ok(())
    }
}

impl Change {
    /// Shows this change in `buffer`, which holds the file's bytes from `start` on.
    fn lay_over(&self, buffer: &mut [u8], start: u64) {
        let end = start + buffer.len() as u64;
        let index = |position: u64| {
            usize::try_from(position.clamp(start, end) - start).expect("within the buffer")
        };
        match self {
            Self::SetLen(len) => buffer[index(*len)..].fill(0),
            Self::Write { offset, bytes } => {
                let finish = offset + bytes.len() as u64;
                let target = index(*offset)..index(finish);
                let skipped = usize::try_from(start.saturating_sub(*offset)).unwrap_or(usize::MAX);
                if !target.is_empty() {
                    let source = &bytes[skipped..skipped + target.len()];
                    buffer[target].copy_from_slice(source);
                }
            }
        }
    }
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(HIDDEN))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests;
