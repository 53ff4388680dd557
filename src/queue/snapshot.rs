//! A state frozen in O(1), read out as records, and made again from them.
//!
//! What is derived is not stored: restoring rebuilds it. The records are the format; how they are
//! framed and checksummed is the business of whoever writes them.

use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::{
    ClockMs, Job, JobNumber, Limits, QueueName, QueueRecord, Remembered, RequestId, Rev, State,
    Tombstone, WallMs, WorkerId, WorkerRecord,
    invariants::{self, Violation},
    tombstone::TombstoneNumber,
};

/// The version of the records that this code writes, and the only one it reads.
pub const SNAPSHOT_VERSION: u32 = 3;

/// The state at one moment. Making it is O(1); it shares everything with the state that goes on.
#[derive(Debug, Clone)]
pub struct Image {
    header: Header,
    queues: OrdMap<QueueName, QueueRecord>,
    jobs: OrdMap<JobNumber, Arc<Job>>,
    tombstones: OrdMap<TombstoneNumber, Tombstone>,
    workers: OrdMap<WorkerId, WorkerRecord>,
    memory: OrdMap<RequestId, Remembered>,
}

/// One record of a snapshot. The first is the header; then queues, jobs, tombstones, workers and
/// operations, each in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// The first, and only the first.
    Header(Header),
    /// A queue that exists, or still has jobs.
    Queue(QueueRecord),
    /// A job.
    Job(Arc<Job>),
    /// A finished job that has left.
    Tombstone(Tombstone),
    /// A worker that is known.
    Worker(WorkerRecord),
    /// An operation that would be known again.
    Remembered(Remembered),
}

/// What is no record of its own, and how many of those follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`SNAPSHOT_VERSION`] of the writer.
    pub version: u32,
    /// The bounds of the state.
    pub limits: Limits,
    /// The revision.
    pub rev: Rev,
    /// The cluster clock.
    pub clock: ClockMs,
    /// The wall clock of the last entry.
    pub wall: WallMs,
    /// The hash chain.
    pub hash: u128,
    /// The number of the next job.
    pub next_job: JobNumber,
    /// The number of the next tombstone.
    pub next_tombstone: u64,
    /// How many queue records follow.
    pub queues: u64,
    /// How many job records follow.
    pub jobs: u64,
    /// How many tombstone records follow.
    pub tombstones: u64,
    /// How many worker records follow.
    pub workers: u64,
    /// How many records of operations follow.
    pub memory: u64,
}

/// Why records are not a state. Nothing is kept of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError<E> {
    /// The source of the records failed.
    #[error("failed to read a record: {0}")]
    Source(E),
    /// The first record is not a header, or there is none.
    #[error("the snapshot does not begin with its header")]
    NoHeader,
    /// Another version wrote it.
    #[error("the snapshot has version {found}, and this program reads {SNAPSHOT_VERSION}")]
    UnknownVersion {
        /// The version that the header names.
        found: u32,
    },
    /// A second header, or the same record twice.
    #[error("the snapshot has a record twice: {what}")]
    Twice {
        /// Which, for people.
        what: String,
    },
    /// There are fewer or more records than the header says.
    #[error("the snapshot is not whole: it has {found} {what} and its header says {expected}")]
    NotWhole {
        /// What was counted, for people.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The records do not belong to one state.
    #[error("the snapshot contradicts itself: {0}")]
    Contradiction(Violation),
}

impl Image {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The records, in the order in which [`State::restore`] takes them.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let header = std::iter::once(Record::Header(self.header.clone()));
        let queues = self.queues.values().cloned().map(Record::Queue);
        let jobs = self.jobs.values().cloned().map(Record::Job);
        let tombstones = self.tombstones.values().cloned().map(Record::Tombstone);
        let workers = self.workers.values().cloned().map(Record::Worker);
        let memory = self.memory.values().cloned().map(Record::Remembered);
        header.chain(queues).chain(jobs).chain(tombstones).chain(workers).chain(memory)
    }
}

impl State {
    /// The state at this moment, in O(1).
    pub fn freeze(&self) -> Image {
        let header = Header {
            version: SNAPSHOT_VERSION,
            limits: self.limits,
            rev: self.rev,
            clock: self.clock,
            wall: self.wall,
            hash: self.hash,
            next_job: self.next_job,
            next_tombstone: self.next_tombstone.0,
            queues: self.queues.len() as u64,
            jobs: self.jobs.len() as u64,
            tombstones: self.tombstones.len() as u64,
            workers: self.workers.len() as u64,
            memory: self.memory.len() as u64,
        };
        Image {
            header,
            queues: self.queues.clone(),
            jobs: self.jobs.clone(),
            tombstones: self.tombstones.clone(),
            workers: self.workers.clone(),
            memory: self.memory.clone(),
        }
    }

    /// Makes the state whose [`Image::records`] these are. It is equal to the one that was frozen.
    pub fn restore<E>(
        records: impl IntoIterator<Item = Result<Record, E>>,
    ) -> Result<Self, RestoreError<E>> {
        let mut records = records.into_iter();
        let first = records.next().transpose().map_err(RestoreError::Source)?;
        let Some(Record::Header(header)) = first else { return Err(RestoreError::NoHeader) };
        if header.version != SNAPSHOT_VERSION {
            return Err(RestoreError::UnknownVersion { found: header.version });
        }
        let mut state = Self::headed(&header);
        for record in records {
            state.take(record.map_err(RestoreError::Source)?)?;
        }
        state.check_whole(&header)?;
        state.indexes.link(&state.jobs);
        state.indexes.close(&state.queues);
        invariants::check_parts(&state).map_err(RestoreError::Contradiction)?;
        Ok(state)
    }

    fn headed(header: &Header) -> Self {
        let oldest_tombstone = header.next_tombstone.saturating_sub(header.tombstones);
        Self {
            limits: header.limits,
            rev: header.rev,
            clock: header.clock,
            wall: header.wall,
            hash: header.hash,
            next_job: header.next_job,
            // Raised with each tombstone: they are numbered without gaps.
            next_tombstone: TombstoneNumber(oldest_tombstone),
            ..Self::default()
        }
    }

    fn take<E>(&mut self, record: Record) -> Result<(), RestoreError<E>> {
        let twice = match record {
            Record::Header(_) => Some("the header".to_owned()),
            Record::Queue(queue) => {
                self.indexes.bounds.enter(&queue);
                let name = queue.name.clone();
                self.queues.insert(name, queue).map(|queue| format!("queue {}", queue.name))
            }
            Record::Job(mut job) => {
                self.share_names(Arc::make_mut(&mut job));
                self.indexes.add(&job, self.queues.get(&job.queue));
                self.jobs.insert(job.number, job).map(|job| format!("job number {}", job.number.0))
            }
            Record::Tombstone(tombstone) => {
                self.indexes.inter(&tombstone, self.next_tombstone);
                self.tombstones.insert(self.next_tombstone, tombstone);
                self.next_tombstone.0 += 1;
                None
            }
            Record::Worker(worker) => {
                self.enlist(worker).map(|worker| format!("worker {}", worker.id))
            }
            Record::Remembered(remembered) => {
                let twice = self.recall(remembered);
                twice.map(|remembered| format!("operation {}", remembered.request_id))
            }
        };
        twice.map_or(Ok(()), |what| Err(RestoreError::Twice { what }))
    }

    /// Makes equal names share their bytes, as they did before they were written.
    fn share_names(&mut self, job: &mut Job) {
        if let Some((name, _)) = self.queues.get_key_value(&job.queue) {
            job.queue = name.clone();
        }
        if let Some((name, _)) = self.indexes.counts.by_type.get_key_value(&job.work_type) {
            job.work_type = name.clone();
        }
        job.payload = self.shared(&job.payload);
    }

    fn check_whole<E>(&self, header: &Header) -> Result<(), RestoreError<E>> {
        let counted = [
            ("queues", self.queues.len() as u64, header.queues),
            ("jobs", self.jobs.len() as u64, header.jobs),
            ("tombstones", self.tombstones.len() as u64, header.tombstones),
            ("workers", self.workers.len() as u64, header.workers),
            ("operations", self.memory.len() as u64, header.memory),
        ];
        match counted.into_iter().find(|(_, found, expected)| found != expected) {
            Some((what, found, expected)) => Err(RestoreError::NotWhole { what, found, expected }),
            None => Ok(()),
        }
    }
}
