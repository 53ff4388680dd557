//! Disks that a test commands: one that hangs, and one of any size.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use quorate::node::Space;
use raft::{
    Disk,
    disk::{DirectoryLock, File, OsDisk},
};

use crate::support::PATIENCE;

/// The machine's disk; while it hangs, no sync of a file returns.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_closed: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    fn set(&self, is_closed: bool) {
        *self.is_closed.lock().unwrap() = is_closed;
        self.moved.notify_all();
    }

    /// Returns while the gate is open; an error when nobody opens it.
    fn pass(&self) -> io::Result<()> {
        let is_closed = self.is_closed.lock().unwrap();
        let waited = self.moved.wait_timeout_while(is_closed, PATIENCE, |is_closed| *is_closed);
        if waited.unwrap().1.timed_out() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Stuck {
    pub(crate) fn hang(&self) {
        self.gate.set(true);
    }

    pub(crate) fn go_on(&self) {
        self.gate.set(false);
    }
}

impl Disk for Stuck {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = OsDisk.open(path)?;
        Ok(Box::new(StuckFile { file, gate: Arc::clone(&self.gate) }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<DirectoryLock> {
        OsDisk.lock(path)
    }
}

#[derive(Debug)]
struct StuckFile {
    file: Box<dyn File>,
    gate: Arc<Gate>,
}

impl File for StuckFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// A disk with as much room as it is told.
#[derive(Debug)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn with(free_bytes: u64) -> Self {
        Self(AtomicU64::new(free_bytes))
    }

    pub(crate) fn set(&self, free_bytes: u64) {
        self.0.store(free_bytes, Ordering::Relaxed);
    }
}

impl Space for Gauge {
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.load(Ordering::Relaxed))
    }
}
