//! The machine's disk behind a gate: while it hangs, no sync of a file ends.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use super::{DirectoryLock, Disk, File, OsDisk};

/// The machine's disk, which hangs when it is told to. Clones are the same disk.
#[derive(Debug, Default, Clone)]
pub struct HangingDisk {
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

/// A hang that nobody ends becomes an error after this, so that a test that failed ends too.
const PATIENCE: Duration = Duration::from_mins(1);
const UNPOISONED: &str = "nothing panics while the gate is locked";

impl Gate {
    fn pass(&self) -> io::Result<()> {
        let is_shut = self.is_shut.lock().expect(UNPOISONED);
        let waited = self.opened.wait_timeout_while(is_shut, PATIENCE, |is_shut| *is_shut);
        if waited.expect(UNPOISONED).1.timed_out() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(())
        }
    }
}

impl HangingDisk {
    /// While it hangs, no sync of a file ends. Syncs under way when it hangs no more go on.
    pub fn set_hanging(&self, hangs: bool) {
        *self.gate.is_shut.lock().expect(UNPOISONED) = hangs;
        self.gate.opened.notify_all();
    }
}

impl Disk for HangingDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = OsDisk.open(path)?;
        Ok(Box::new(HangingFile { file, gate: Arc::clone(&self.gate) }))
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
struct HangingFile {
    file: Box<dyn File>,
    gate: Arc<Gate>,
}

impl File for HangingFile {
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
