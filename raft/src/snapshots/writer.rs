//! Writes one snapshot, at a bounded rate if asked.

use std::{
    io::{self, Write},
    mem,
    num::NonZeroU64,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    format::{self, CHUNK_BYTES_MAX},
    store::{SnapshotFile, Stored},
};

/// A snapshot in the making. Dropped without [`SnapshotWriter::finish`], it leaves nothing behind.
/// Blocks on the disk and on its rate: for a blocking thread.
#[derive(Debug)]
pub struct SnapshotWriter {
    stored: Stored,
    meta: Bytes,
    offset: u64,
    chunk: Vec<u8>,
    total: u64,
    checksum: crc32fast::Hasher,
    pace: Option<Pace>,
}

impl SnapshotWriter {
    pub(super) fn begin(
        stored: Stored,
        meta: Bytes,
        bytes_per_second: Option<NonZeroU64>,
    ) -> io::Result<Self> {
        let header = format::encode_header(&meta);
        stored.file().write_at(&header, 0)?;
        Ok(Self {
            stored,
            meta,
            offset: header.len() as u64,
            chunk: Vec::new(),
            total: 0,
            checksum: crc32fast::Hasher::new(),
            pace: bytes_per_second.map(Pace::start),
        })
    }

    /// Ends the snapshot and syncs it. It is not the newest before [`SnapshotStore::keep`], and
    /// removed if that never comes.
    ///
    /// # Errors
    /// Whatever the disk answered; nothing of it remains.
    ///
    /// [`SnapshotStore::keep`]: super::SnapshotStore::keep
    pub fn finish(mut self) -> io::Result<SnapshotFile> {
        self.flush()?;
        let trailer = format::encode_trailer(self.total, self.checksum.finalize());
        self.stored.file().write_at(&trailer, self.offset)?;
        self.stored.finish(self.meta)
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES_MAX - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        if self.chunk.len() == CHUNK_BYTES_MAX {
            self.flush()?;
        }
        Ok(count)
    }

    /// Writes what is gathered as a chunk, however small.
    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let data = mem::take(&mut self.chunk);
        let chunk = format::encode_chunk(&data);
        self.stored.file().write_at(&chunk, self.offset)?;
        self.checksum.update(&data);
        self.total += data.len() as u64;
        self.offset += chunk.len() as u64;
        if let Some(pace) = &self.pace {
            pace.wait(self.total);
        }
        Ok(())
    }
}

/// Spreads bytes over time. The only clock in this crate's durable half: it decides when a chunk is
/// written, never what.
#[derive(Debug)]
struct Pace {
    start: Instant,
    bytes_per_second: NonZeroU64,
}

impl Pace {
    fn start(bytes_per_second: NonZeroU64) -> Self {
        Self { start: Instant::now(), bytes_per_second }
    }

    fn wait(&self, total: u64) {
        let due_ms = total.saturating_mul(1000) / self.bytes_per_second;
        thread::sleep(Duration::from_millis(due_ms).saturating_sub(self.start.elapsed()));
    }
}
