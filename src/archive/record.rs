//! A job's bytes in the archive.
//!
//! ```text
//! ┌─────────────┬────────────────────────────────────────┐
//! │ format  u16 │ Record: bincode 1, fixed-width integers│  little-endian
//! └─────────────┴────────────────────────────────────────┘
//! ```
//! A format number is never given to another layout: golden bytes in the tests hold it. A record of a
//! format that is unknown here was written by a newer version; it is passed over.

use std::{collections::BTreeMap, sync::Arc};

use bincode::Options as _;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::queue::{
    AttemptEnd, AttemptView, GroupName, JobId, JobNumber, JobState, JobView, Payload, QueueName,
    Token, WallMs, WorkType, WorkerId,
};

/// The layout of [`Record`].
const FORMAT: u16 = 1;
const FORMAT_BYTES: usize = 2;
/// The longest record: a job with the greatest payload, result, progress and errors, and room to grow.
pub(super) const RECORD_BYTES_MAX: usize = 32 << 20;

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    /// Refused before anything was allocated for it.
    #[error("{bytes} bytes are not between {FORMAT_BYTES} and {RECORD_BYTES_MAX}")]
    Length {
        /// The length found.
        bytes: usize,
    },
    /// Written by another version.
    #[error("format {found} is not known to this version, which reads format {FORMAT}")]
    UnknownFormat {
        /// The number found.
        found: u16,
    },
    /// The body does not decode; the text says where.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// A finished job. Fields are never moved, and none is added without another [`FORMAT`].
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    number: JobNumber,
    id: JobId,
    queue: QueueName,
    work_type: WorkType,
    priority: u8,
    state: JobState,
    payload: Payload,
    tags: BTreeMap<String, String>,
    lease_ms: u64,
    max_attempts: u32,
    attempts_used: u32,
    attempts_lost: u32,
    attempts: Vec<Attempt>,
    depends_on: Vec<JobId>,
    group: Option<GroupName>,
    result: Option<Bytes>,
    error: Option<Arc<str>>,
    progress: Option<Bytes>,
    added_at: WallMs,
    finished_at: Option<WallMs>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    number: u32,
    token: Token,
    worker: WorkerId,
    claimed_at: WallMs,
    ended_at: Option<WallMs>,
    end: Option<AttemptEnd>,
    error: Option<Arc<str>>,
}

fn layout() -> impl bincode::Options {
    bincode::DefaultOptions::new().with_fixint_encoding().reject_trailing_bytes()
}

/// The bytes of a finished job.
pub(super) fn encode(job: JobView) -> Vec<u8> {
    let mut bytes = FORMAT.to_le_bytes().to_vec();
    let body = layout().serialize_into(&mut bytes, &Record::of(job));
    body.expect("plain values in memory always encode");
    bytes
}

/// Reads what [`encode`] wrote, all of it and nothing more.
pub(super) fn decode(bytes: &[u8]) -> Result<JobView, RecordError> {
    let wrong_length = RecordError::Length { bytes: bytes.len() };
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(wrong_length);
    }
    let (format, body) = bytes.split_first_chunk::<FORMAT_BYTES>().ok_or(wrong_length)?;
    let found = u16::from_le_bytes(*format);
    if found != FORMAT {
        return Err(RecordError::UnknownFormat { found });
    }
    let record = layout().with_limit(body.len() as u64).deserialize::<Record>(body);
    record.map(Record::into_view).map_err(|reason| RecordError::Malformed(reason.to_string()))
}

impl Record {
    /// What a finished job has no use for, its lease and when it may run, is left out.
    fn of(job: JobView) -> Self {
        Self {
            number: job.number,
            id: job.id,
            queue: job.queue,
            work_type: job.work_type,
            priority: job.priority,
            state: job.state,
            payload: job.payload,
            tags: job.tags,
            lease_ms: job.lease_ms,
            max_attempts: job.max_attempts,
            attempts_used: job.attempts_used,
            attempts_lost: job.attempts_lost,
            attempts: job.attempts.into_iter().map(Attempt::of).collect(),
            depends_on: job.depends_on,
            group: job.group,
            result: job.result,
            error: job.error,
            progress: job.progress,
            added_at: job.added_at,
            finished_at: job.finished_at,
        }
    }

    fn into_view(self) -> JobView {
        JobView {
            number: self.number,
            id: self.id,
            queue: self.queue,
            work_type: self.work_type,
            priority: self.priority,
            state: self.state,
            payload: self.payload,
            tags: self.tags,
            lease_ms: self.lease_ms,
            max_attempts: self.max_attempts,
            attempts_used: self.attempts_used,
            attempts_lost: self.attempts_lost,
            attempts: self.attempts.into_iter().map(Attempt::into_view).collect(),
            depends_on: self.depends_on,
            group: self.group,
            result: self.result,
            error: self.error,
            progress: self.progress,
            added_at: self.added_at,
            run_at: None,
            lease: None,
            finished_at: self.finished_at,
        }
    }
}

impl Attempt {
    fn of(attempt: AttemptView) -> Self {
        let AttemptView { attempt, token, worker, claimed_at, ended_at, end, error } = attempt;
        Self { number: attempt, token, worker, claimed_at, ended_at, end, error }
    }

    fn into_view(self) -> AttemptView {
        let Self { number, token, worker, claimed_at, ended_at, end, error } = self;
        AttemptView { attempt: number, token, worker, claimed_at, ended_at, end, error }
    }
}

#[cfg(test)]
mod tests;
