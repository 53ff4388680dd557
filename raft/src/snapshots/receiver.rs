//! Receives a snapshot file from a peer, byte by byte as it is there.

use std::io;

use bytes::Bytes;

use super::{
    format::damaged,
    reader::SnapshotReader,
    store::{SnapshotFile, Stored},
};

/// A snapshot on its way from a peer. Dropped without [`SnapshotReceiver::finish`], it leaves
/// nothing behind.
#[derive(Debug)]
pub struct SnapshotReceiver {
    stored: Stored,
    meta: Bytes,
    received: u64,
}

impl SnapshotReceiver {
    pub(super) fn new(stored: Stored, meta: Bytes) -> Self {
        Self { stored, meta, received: 0 }
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
        self.stored.file().write_at(bytes, offset)?;
        self.received = self.received.max(end);
        Ok(())
    }

    /// Checks every byte and syncs. Reads the whole file: for a blocking thread. It is not the newest
    /// before [`SnapshotStore::keep`], and removed if that never comes: whether a peer's snapshot is
    /// wanted is for Raft to say, and one that is older than ours must not take its place.
    ///
    /// # Errors
    /// `InvalidData` when what came is not a whole snapshot of the announced meta; and whatever the
    /// disk answered. Nothing of it remains.
    ///
    /// [`SnapshotStore::keep`]: super::SnapshotStore::keep
    pub fn finish(self) -> io::Result<SnapshotFile> {
        let (meta, mut reader) = SnapshotReader::open(self.stored.file().clone())?;
        if meta != self.meta {
            return Err(damaged("it is not the snapshot that was announced"));
        }
        reader.verify()?;
        self.stored.finish(self.meta)
    }
}
