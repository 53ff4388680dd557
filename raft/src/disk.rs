//! The file system as the log and the snapshots see it: few calls, each of which a test can make
//! lose, tear or fail. All paths are absolute. All calls block; the log calls them from a thread
//! of its own (or inline, in simulation).

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A directory tree whose un-synced changes may be lost at a crash.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing, creating it when absent. The name of a created file is
    /// durable only after [`Disk::sync_dir`] on its directory.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Creates a directory and its missing parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The files (not directories) in a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Renames a file over another. Durable only after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Unlinks a file. Durable only after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable (`fsync` of the directory).
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
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
