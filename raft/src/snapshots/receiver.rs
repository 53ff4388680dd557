//! Receives a snapshot file from a peer, byte by byte as it is there.

use std::io;

use bytes::Bytes;

use super::{
    format::damaged,
    reader::SnapshotReader,
    store::{Partial, SnapshotFile},
};

/// A snapshot on its way from a peer. Dropped without [`SnapshotReceiver::commit`], it leaves
/// nothing behind.
#[derive(Debug)]
pub struct SnapshotReceiver {
    partial: Partial,
    meta: Bytes,
    received: u64,
}

impl SnapshotReceiver {
    pub(super) fn new(partial: Partial, meta: Bytes) -> Self {
        Self { partial, meta, received: 0 }
    }

    /// How many bytes are there: where the sender goes on.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the file's bytes at `offset`. Repeating what is there is allowed.
    ///
    /// # Errors
    /// `InvalidInput` when bytes before `offset` are missing (nothing was written), and whatever the
    /// disk answered.
    pub fn write_raw(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        let Some(end) = end.filter(|_| offset <= self.received) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.partial.file().write_at(bytes, offset)?;
        self.received = self.received.max(end);
        Ok(())
    }

    /// Checks every byte of what came. Reads the whole file: for a blocking thread.
    ///
    /// # Errors
    /// `InvalidData` when it is not a whole snapshot of the announced meta; and whatever the disk
    /// answered.
    pub fn verify(&self) -> io::Result<()> {
        let (meta, mut reader) = SnapshotReader::open(self.partial.file().clone())?;
        if meta != self.meta {
            return Err(damaged("it is not the snapshot that was announced"));
        }
        reader.verify()
    }

    /// Checks every byte, makes the snapshot durable and the newest, and removes the older ones.
    /// Reads the whole file: for a blocking thread.
    ///
    /// # Errors
    /// `InvalidData` when what came is not a whole snapshot of the announced meta; and whatever the
    /// disk answered. The newest snapshot is then the one before, unless the failing step was the
    /// last, the sync of the directory.
    pub fn commit(self) -> io::Result<SnapshotFile> {
        self.verify()?;
        self.partial.commit(self.meta)
    }
}
