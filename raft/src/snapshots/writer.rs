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
    store::{Partial, SnapshotFile},
};

/// A snapshot in the making. Dropped without [`SnapshotWriter::commit`], it leaves nothing behind.
/// Blocks on the disk and on its rate: for a blocking thread.
#[derive(Debug)]
pub struct SnapshotWriter {
    partial: Partial,
    meta: Bytes,
    offset: u64,
    chunk: Vec<u8>,
    total: u64,
    checksum: crc32fast::Hasher,
    pace: Option<Pace>,
}

impl SnapshotWriter {
    pub(super) fn begin(
        partial: Partial,
        meta: Bytes,
        bytes_per_second: Option<NonZeroU64>,
    ) -> io::Result<Self> {
        let header = format::encode_header(&meta);
        partial.file().write_at(&header, 0)?;
        Ok(Self {
            partial,
            meta,
            offset: header.len() as u64,
            chunk: Vec::new(),
            total: 0,
            checksum: crc32fast::Hasher::new(),
            pace: bytes_per_second.map(Pace::start),
        })
    }

    /// Ends the snapshot, makes it durable and the newest, and removes the older ones.
    ///
    /// # Errors
    /// Whatever the disk answered; the newest snapshot is then the one before, unless the failing
    /// step was the last, the sync of the directory.
    pub fn commit(mut self) -> io::Result<SnapshotFile> {
        self.flush()?;
        let trailer = format::encode_trailer(self.total, self.checksum.finalize());
        self.partial.file().write_at(&trailer, self.offset)?;
        self.partial.commit(self.meta)
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
        self.partial.file().write_at(&chunk, self.offset)?;
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
