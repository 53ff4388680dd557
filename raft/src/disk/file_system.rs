//! The calls that a log and its snapshots make of a file system.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A directory tree whose un-synced changes may be lost at a crash.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing, creating it when absent. The name of a created file is
    /// durable only after [`Disk::sync_dir`] on its directory.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Creates a directory and its missing parents, durably.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The files (not directories) in a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Renames a file over another. Durable only after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Unlinks a file. Durable only after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable (`fsync` of the directory).
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the lock file at `path`, creating it, until the [`DirectoryLock`] is dropped or the
    /// process ends. A disk that no other process can reach has nothing to lock.
    ///
    /// # Errors
    /// `WouldBlock` when another process (or another open of this one) holds it.
    fn lock(&self, path: &Path) -> io::Result<DirectoryLock> {
        let _ = path;
        Ok(DirectoryLock(None))
    }
    /// Whether the log may use a thread of its own for this disk; simulation says no.
    fn is_threaded(&self) -> bool {
        true
    }
}

/// One open file.
pub trait File: fmt::Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, growing the file. Not durable until [`File::sync_data`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable (`fdatasync`). An error is final: what was not yet durable
    /// may be lost, and a second call that succeeds proves nothing. The caller must stop.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or zero-extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Holds a lock file for as long as it lives. See [`Disk::lock`].
#[derive(Debug)]
pub struct DirectoryLock(
    #[expect(dead_code, reason = "held for its drop, which unlocks")]
    pub(super)  Option<std::fs::File>,
);

/// Reads exactly `buffer.len()` bytes at `offset`.
///
/// # Errors
/// `UnexpectedEof` when the file ends before that, and whatever the disk answered.
pub(crate) fn read_exact_at(file: &dyn File, mut buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut position = offset;
    while !buffer.is_empty() {
        let count = file.read_at(buffer, position)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[count..];
        position += count as u64;
    }
    Ok(())
}
