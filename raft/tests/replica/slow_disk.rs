//! A disk whose syncs can be made to wait.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
};

use raft::{
    Disk,
    disk::{DirectoryLock, File, OsDisk},
};

/// The real disk behind a gate.
#[derive(Debug, Default, Clone)]
pub(crate) struct SlowDisk {
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let is_shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(is_shut, |is_shut| *is_shut).unwrap());
    }
}

impl SlowDisk {
    /// While it hangs, no sync of a file ends.
    pub(crate) fn set_hanging(&self, hangs: bool) {
        *self.gate.is_shut.lock().unwrap() = hangs;
        self.gate.opened.notify_all();
    }
}

impl Disk for SlowDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = OsDisk.open(path)?;
        Ok(Box::new(SlowFile { file, gate: self.gate.clone() }))
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
struct SlowFile {
    file: Box<dyn File>,
    gate: Arc<Gate>,
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
