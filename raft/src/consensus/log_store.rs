//! The log as openraft sees it: its entries and its vote, encoded, through the one ordered and
//! durable queue of [`Log`].

use std::{
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use openraft::{
    OptionalSend,
    entry::RaftEntry,
    storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage},
};
use tokio::sync::oneshot;

use crate::{
    codec,
    consensus::{
        blocking::Blocking,
        types::{Entry, LogId, TypeConfig, Vote},
    },
    log::{Log, Record, Recovered, StoredEntry},
    mutant,
};

/// The least that one append request to a follower is allowed to carry: one entry, however large.
/// Beyond that, entries are added up to this many bytes.
const REPLICATION_BYTES: u64 = 4 << 20;

/// How much of the newest log stays in memory: what is in flight to a follower, a few times.
pub(crate) const LOG_CACHE_BYTES: u64 = 64 << 20;

/// The encoding of a stored entry; written before each, so that a later version can tell.
const ENTRY_FORMAT: u8 = 1;

/// The log; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    log: Log,
    marks: Arc<Mutex<Marks>>,
    blocking: Blocking,
}

/// What is known of the log without reading it.
#[derive(Debug, Default)]
struct Marks {
    /// The last vote, as it was saved.
    vote: Option<Vote>,
    /// The last commit, as it was saved; behind the truth after a crash.
    committed: Option<LogId>,
    /// The last entry that was purged.
    purged: Option<LogId>,
    /// The last entry of the log, or `purged` when it is empty.
    last: Option<LogId>,
}

impl LogStore {
    /// Takes up a log where it was left.
    ///
    /// # Errors
    /// When the log cannot be read, or holds what this version did not write.
    pub(crate) fn new(log: Log, recovered: &Recovered, blocking: Blocking) -> io::Result<Self> {
        let purged = decode_mark(recovered.purged.as_ref().map(|(_, bytes)| bytes))?;
        let last = recovered.last.as_ref().map(decode_entry).transpose()?;
        let marks = Marks {
            vote: decode_mark(recovered.vote.as_ref())?,
            committed: decode_mark(recovered.committed.as_ref())?,
            last: last.map(|entry| entry.log_id()).or(purged),
            purged,
        };
        Ok(Self { log, marks: Arc::new(Mutex::new(marks)), blocking })
    }

    /// The term of the last vote, 0 before the first.
    pub(crate) fn voted_term(&self) -> u64 {
        self.marks().vote.map_or(0, |vote| vote.leader_id.term)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().expect("no holder of this lock panics")
    }

    /// Writes records and waits until they are durable.
    async fn write_durably(&self, records: Vec<Record>) -> io::Result<()> {
        let (done, durable) = oneshot::channel();
        self.log.write(records, move |result| {
            let _ = done.send(result);
        });
        durable.await.unwrap_or_else(|_| Err(io::Error::other("the log has stopped")))
    }

    async fn read(&self, from: u64, to: u64, max_bytes: u64) -> io::Result<Vec<Entry>> {
        if from >= to {
            return Ok(Vec::new());
        }
        let log = self.log.clone();
        let read = move || log.read(from..to, max_bytes)?.iter().map(decode_entry).collect();
        // What is in memory is read at once; a thread would cost more than the read. After a restart
        // nothing is, and the disk must not be waited for on a thread that carries heartbeats.
        if self.log.is_in_memory(from) { read() } else { self.blocking.run(read).await }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> io::Result<Vec<Entry>> {
        let Range { start, end } = half_open(&range);
        self.read(start, end, u64::MAX).await
    }

    /// Piece by piece: what waits to be applied may be far more than memory should hold twice.
    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let Range { start, end } = half_open(&range);
        let pieces = stream::try_unfold((self.clone(), start), move |(store, next)| async move {
            let piece = store.read(next, end, REPLICATION_BYTES).await?;
            let last = piece.last().map(|entry| entry.log_id.index);
            Ok::<_, io::Error>(last.map(|last| (piece, (store, last + 1))))
        });
        pieces.map_ok(|piece| stream::iter(piece.into_iter().map(Ok))).try_flatten().boxed()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.marks().vote)
    }

    /// From `start` on, or nothing. openraft puts what this returns behind the entry before `start`
    /// and does not look (but for debug builds): entries from further on, because a purge came in
    /// between, would reach the follower with a hole in front. Of nothing it makes a heartbeat.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut entries = self.read(start, end, REPLICATION_BYTES).await?;
        if entries.first().is_some_and(|first| first.log_id.index != start) {
            entries.clear();
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let marks = self.marks();
        Ok(LogState { last_purged_log_id: marks.purged, last_log_id: marks.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        // Readable before it is durable: the reader of a former leader must stop at once.
        self.marks().vote = Some(*vote);
        if mutant::is_planted("M3") {
            return Ok(());
        }
        // Raft §5.1: a vote is on disk before its answer leaves.
        self.write_durably(vec![Record::Vote(codec::encode(vote).into())]).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let Some(committed) = committed else { return Ok(()) };
        self.marks().committed = Some(committed);
        // A hint for a restart; whatever is lost of it is learned again from the next leader.
        self.log.write(vec![Record::Committed(codec::encode(&committed).into())], |_| {});
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.marks().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut last = None;
        let records = entries
            .into_iter()
            .map(|entry| {
                last = Some(entry.log_id());
                Record::Append(encode_entry(&entry))
            })
            .collect();
        if last.is_some() {
            self.marks().last = last;
        }
        self.log.write(records, move |result| callback.io_completed(result));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        {
            let mut marks = self.marks();
            marks.last = marks.last.min(last).max(marks.purged);
        }
        self.write_durably(vec![Record::TruncateFrom(from)]).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        {
            let mut marks = self.marks();
            marks.purged = Some(upto).max(marks.purged);
            marks.last = marks.last.max(Some(upto));
        }
        let bytes = codec::encode(&upto).into();
        self.write_durably(vec![Record::Purge { upto: upto.index, bytes }]).await
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

fn decode_mark<T: serde::de::DeserializeOwned>(bytes: Option<&Bytes>) -> io::Result<Option<T>> {
    bytes.map(|bytes| codec::decode(bytes)).transpose().map_err(invalid)
}

pub(crate) fn encode_entry(entry: &Entry) -> StoredEntry {
    let mut bytes = vec![ENTRY_FORMAT];
    codec::encode_into(entry, &mut bytes).expect("entries are limited when they are proposed");
    StoredEntry { index: entry.log_id.index, bytes: bytes.into() }
}

fn decode_entry(stored: &StoredEntry) -> io::Result<Entry> {
    match stored.bytes.split_first() {
        Some((&ENTRY_FORMAT, body)) => codec::decode(body).map_err(invalid),
        _ => Err(invalid(format!("entry {} is of an unknown format", stored.index))),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
