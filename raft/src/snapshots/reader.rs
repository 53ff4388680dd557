//! Reads a snapshot's data, checking every byte of it.

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;

use super::format::{self, Piece, damaged};
use crate::File;

/// The data of one snapshot. An end of data is only reported after the trailer was found to agree;
/// damage is `InvalidData`, before any of the damaged bytes is given out.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Arc<dyn File>,
    /// Where the next piece begins.
    offset: u64,
    chunk: Vec<u8>,
    /// How much of `chunk` was given out.
    taken: usize,
    total: u64,
    checksum: crc32fast::Hasher,
    is_finished: bool,
}

impl SnapshotReader {
    /// Begins to read `file`; answers the snapshot's meta too.
    pub(super) fn open(file: Arc<dyn File>) -> io::Result<(Bytes, Self)> {
        let (meta, offset) = format::read_header(file.as_ref())?;
        let reader = Self {
            file,
            offset,
            chunk: Vec::new(),
            taken: 0,
            total: 0,
            checksum: crc32fast::Hasher::new(),
            is_finished: false,
        };
        Ok((meta, reader))
    }

    /// Reads to the end for the checks alone; on success every byte of the file was checked. After
    /// an error [`SnapshotReader::offset`] says where the damage is.
    pub(super) fn verify(&mut self) -> io::Result<()> {
        while !self.is_finished {
            self.advance()?;
        }
        Ok(())
    }

    /// Where the next piece begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the next chunk or the trailer in.
    fn advance(&mut self) -> io::Result<()> {
        let (piece, size) = format::read_piece(self.file.as_ref(), self.offset)?;
        match piece {
            Piece::Chunk(data) => {
                self.checksum.update(&data);
                self.total += data.len() as u64;
                self.chunk = data;
                self.taken = 0;
            }
            Piece::Trailer { total, checksum } => self.check_end(total, checksum, size)?,
        }
        self.offset += size;
        Ok(())
    }

    fn check_end(&mut self, total: u64, checksum: u32, size: u64) -> io::Result<()> {
        if total != self.total || checksum != self.checksum.clone().finalize() {
            return Err(damaged("its chunks are not the ones that were written"));
        }
        if self.file.len()? != self.offset + size {
            return Err(damaged("it goes on behind its end"));
        }
        self.chunk.clear();
        self.taken = 0;
        self.is_finished = true;
        Ok(())
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() && !self.is_finished {
            self.advance()?;
        }
        let rest = &self.chunk[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}
