//! The queue in a snapshot file: its records, one after the other.
//!
//! ```text
//! ┌─────────────┬────────────┬─────────────────────────────────────┬───────────┐
//! │ format  u16 │ group  u32 │ records: length u32, bincode body   │ 0     u32 │  little-endian
//! └─────────────┴────────────┴─────────────────────────────────────┴───────────┘
//! ```
//! Raft's file around it has the checksum; the zero at the end says that nothing is missing.

use std::{
    io::{self, Read, Write},
    iter,
};

use super::codec::{self, CodecError};
use crate::queue::{Image, Record, RestoreError, State};

/// The layout of a queue snapshot.
const SNAPSHOT_FORMAT: u16 = 1;
/// The one Raft group that there is today.
const GROUP: u32 = 0;
/// The longest record: a job with the greatest payload, result, progress and history, and room to
/// grow.
const RECORD_BYTES_MAX: usize = 32 << 20;
/// What is gathered before it is written to the file.
const BUFFER_BYTES: usize = 256 << 10;

/// Why a snapshot cannot be read. The state is unchanged.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The file failed or ended early.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A record is not what it should be.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It is of a group that does not exist.
    #[error("there is no group {0}")]
    UnknownGroup(u32),
}

/// Writes a frozen state.
pub(super) fn write(image: &Image, out: &mut dyn Write) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(BUFFER_BYTES, out);
    out.write_all(&SNAPSHOT_FORMAT.to_le_bytes())?;
    out.write_all(&GROUP.to_le_bytes())?;
    for record in image.records() {
        let body = codec::encode_bare(&record);
        let length = u32::try_from(body.len())
            .ok()
            .filter(|length| *length as usize <= RECORD_BYTES_MAX)
            .ok_or_else(|| io::Error::other("a record is longer than a snapshot may hold"))?;
        out.write_all(&length.to_le_bytes())?;
        out.write_all(&body)?;
    }
    out.write_all(&0_u32.to_le_bytes())?;
    out.flush()
}

/// Reads a state.
pub(super) fn read(source: &mut dyn Read) -> Result<State, RestoreError<SnapshotError>> {
    let mut source = io::BufReader::with_capacity(BUFFER_BYTES, source);
    read_head(&mut source).map_err(RestoreError::Source)?;
    let records = iter::from_fn(|| read_record(&mut source).transpose());
    State::restore(records)
}

fn read_head(source: &mut impl Read) -> Result<(), SnapshotError> {
    let found = u16::from_le_bytes(read_array(source)?);
    if found != SNAPSHOT_FORMAT {
        return Err(CodecError::UnknownFormat { found, expected: SNAPSHOT_FORMAT }.into());
    }
    let group = u32::from_le_bytes(read_array(source)?);
    if group != GROUP {
        return Err(SnapshotError::UnknownGroup(group));
    }
    Ok(())
}

/// The next record; `None` at the end.
fn read_record(source: &mut impl Read) -> Result<Option<Record>, SnapshotError> {
    let bytes = u32::from_le_bytes(read_array(source)?) as usize;
    if bytes == 0 {
        return Ok(None);
    }
    if bytes > RECORD_BYTES_MAX {
        return Err(CodecError::TooLong { bytes, limit: RECORD_BYTES_MAX }.into());
    }
    let mut body = vec![0; bytes];
    source.read_exact(&mut body)?;
    Ok(Some(codec::decode_bare(&body, RECORD_BYTES_MAX)?))
}

fn read_array<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
