//! The Raft log and the vote: one ordered stream of records in segment files, appended in batches
//! and synced once a batch. No Raft type is in here: an entry is an index and bytes.
//!
//! ```text
//!   Log::write ──▶ queue ──▶ one writer: encode all that waits, write, fdatasync ──▶ callbacks
//!       │                        │
//!       └── recent entries       └── where each entry stands      (both under one short lock)
//! ```
//!
//! # Segment file: `<sequence, 10 digits>.log`, all integers little-endian
//! ```text
//!   header   "RAFT-LOG" 8 │ version 4 │ length 4 │ crc32 4 │ body <length>
//!     body   sequence 4 │ end of the segment before 8 │ bytes in the segments before 8
//!            first index 8 │ next index 8 │ purged index 8
//!            vote, committed, purged: length 4 (all ones: none) │ bytes
//!   record   length 4 │ crc32 4 │ tag 1 │ index 8 │ body <length - 9>
//!   …        zeros, filled ahead of the records so that a sync need not journal the file's size
//! ```
//! A record's checksum covers its sequence (4), its offset in the file (8), its length, tag, index
//! and body: a good record in the wrong place is a bad record. The header repeats the vote and the
//! rest of the state, so that older segments can be unlinked. A segment is synced before the next one
//! is created; that one's header and name are synced before the first record follows. A last segment
//! without a good header, in which nothing is marked as durable, was being created when the power
//! failed: it is removed.
//!
//! # What a bad record means
//! Records may be bad because their write was cut short (nobody was told that they are durable, so
//! they are cut off) or because the disk lost what it had promised to hold (the log is refused). The
//! bytes after the bad record do not tell which: a torn batch may well have good records behind a
//! bad one. What tells is a **mark**: a record written after each `fdatasync` has returned, which
//! says up to where the segment was durable at that moment.
//!
//! > At the first bad record, at byte `b` of a segment: if a later segment exists, or any good mark
//! > after `b` says "durable up to `d`" with `d > b`, the log is corrupt. Otherwise it ends at `b`.
//!
//! A mark is itself synced with the next batch, or by [`Log::close`]. So one case is left in which a
//! loss cannot be told from a torn write: the disk damages the very last batch *and* the power fails
//! before the kernel wrote the mark behind it. The cut itself is made durable before anything is
//! written, because records of a torn batch could otherwise come back behind new ones.

mod extent;
mod format;
mod handle;
mod placed;
mod recovery;
mod shared;
mod writer;

pub use handle::{
    BACKLOG_BYTES_MAX, Log, LogOptions, RECORD_BYTES_MAX, Record, Recovered, StoredEntry,
};
