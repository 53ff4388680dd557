//! The bytes of whatever is stored in the log, kept in a snapshot or sent between nodes. The only
//! module of this crate that calls bincode, but for the archive's `record`.
//!
//! ```text
//! ┌─────────────┬──────────────────────────────────────────────────────────────┐
//! │ format  u16 │ body: bincode 1, fixed-width integers                        │  little-endian
//! └─────────────┴──────────────────────────────────────────────────────────────┘
//! body of an entry, format 1:
//! ┌────────────┬───────────┬─────────────┬─────────────────────────────────────┐
//! │ clock  u64 │ wall  u64 │ count   u64 │ commands, one after the other       │
//! └────────────┴───────────┴─────────────┴─────────────────────────────────────┘
//! ```
//! A format number is never given to another layout, and enums grow at their end only: golden bytes
//! in the tests hold both. A format that is unknown here was written by a newer version.

use bincode::Options as _;
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::queue::{Command, Entry, Stamp};

/// The layout of log entries.
pub(super) const ENTRY_FORMAT: u16 = 1;
/// The longest single command: a request's body (8 MiB) and what its jobs' defaults add to it.
pub(super) const COMMAND_BYTES_MAX: usize = 12 << 20;
/// The longest entry: one command of the greatest length, and the head.
pub(super) const ENTRY_BYTES_MAX: usize = COMMAND_BYTES_MAX + ENTRY_HEAD_BYTES;

const _: () = assert!(ENTRY_BYTES_MAX <= raft::ENTRY_BYTES_MAX);
const FORMAT_BYTES: usize = 2;
const ENTRY_HEAD_BYTES: usize = FORMAT_BYTES + 3 * 8;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodecError {
    /// Refused before anything was allocated for it.
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooLong {
        /// The length found.
        bytes: usize,
        /// The greatest allowed.
        limit: usize,
    },
    /// There is not even a format number.
    #[error("{bytes} bytes are too few")]
    TooShort {
        /// The length found.
        bytes: usize,
    },
    /// Written by another version.
    #[error("format {found} is not known to this version, which reads format {expected}")]
    UnknownFormat {
        /// The number found.
        found: u16,
        /// The number that this version reads.
        expected: u16,
    },
    /// The body does not decode; the text says where.
    #[error("malformed: {0}")]
    Malformed(String),
}

fn layout() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes()
}

/// The bare bytes of a value, without a format number.
pub(super) fn encode_bare<T: Serialize>(value: &T) -> Bytes {
    let bytes = layout().serialize(value).expect("plain values in memory always encode");
    bytes.into()
}

/// Reads what [`encode_bare`] wrote, all of it and nothing more.
pub(super) fn decode_bare<T: DeserializeOwned>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLong { bytes: bytes.len(), limit });
    }
    layout()
        .with_limit(bytes.len() as u64)
        .deserialize(bytes)
        .map_err(|reason| CodecError::Malformed(reason.to_string()))
}

/// A value behind its format number.
pub(super) fn encode<T: Serialize>(format: u16, value: &T) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u16_le(format);
    bytes.put_slice(&encode_bare(value));
    bytes.freeze()
}

/// Reads what [`encode`] wrote under that format number.
pub(super) fn decode<T: DeserializeOwned>(
    format: u16,
    bytes: &[u8],
    limit: usize,
) -> Result<T, CodecError> {
    let (head, body) =
        bytes.split_first_chunk().ok_or(CodecError::TooShort { bytes: bytes.len() })?;
    let found = u16::from_le_bytes(*head);
    if found != format {
        return Err(CodecError::UnknownFormat { found, expected: format });
    }
    decode_bare(body, limit)
}

/// Reads what [`encode`] wrote under that format number, and passes over what a later version added
/// behind it.
pub(super) fn decode_head<T: DeserializeOwned>(format: u16, bytes: &[u8]) -> Result<T, CodecError> {
    let (head, body) =
        bytes.split_first_chunk().ok_or(CodecError::TooShort { bytes: bytes.len() })?;
    let found = u16::from_le_bytes(*head);
    if found != format {
        return Err(CodecError::UnknownFormat { found, expected: format });
    }
    layout()
        .with_limit(body.len() as u64)
        .allow_trailing_bytes()
        .deserialize(body)
        .map_err(|reason| CodecError::Malformed(reason.to_string()))
}

/// One command as it stands in an entry.
pub(super) fn encode_command(command: &Command) -> Bytes {
    encode_bare(command)
}

/// Reads one command: a peer's, before it may enter the log.
pub(super) fn decode_command(bytes: &[u8]) -> Result<Command, CodecError> {
    decode_bare(bytes, COMMAND_BYTES_MAX)
}

/// An entry of commands that are encoded already, so that each is encoded once, by its own caller.
pub(super) fn encode_entry<'a>(
    stamp: Stamp,
    commands: impl ExactSizeIterator<Item = &'a Bytes> + Clone,
) -> Bytes {
    let body_bytes: usize = commands.clone().map(Bytes::len).sum();
    let mut bytes = BytesMut::with_capacity(ENTRY_HEAD_BYTES + body_bytes);
    bytes.put_u16_le(ENTRY_FORMAT);
    bytes.put_u64_le(stamp.clock.0);
    bytes.put_u64_le(stamp.wall.0);
    bytes.put_u64_le(commands.len() as u64);
    for command in commands {
        bytes.put_slice(command);
    }
    bytes.freeze()
}

/// Reads an entry of the log.
pub(super) fn decode_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    decode(ENTRY_FORMAT, bytes, ENTRY_BYTES_MAX)
}

#[cfg(test)]
pub(super) mod tests;
