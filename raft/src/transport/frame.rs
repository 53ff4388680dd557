//! Frames: how messages lie on a connection.
//!
//! ```text
//! ┌─────────────┬─────────┬───────────┬───────────────────┐
//! │ length  u32 │ kind u8 │ id    u64 │ body              │   integers little-endian
//! └─────────────┴─────────┴───────────┴───────────────────┘
//!  bytes after     what      pairs a     length − 9 bytes,
//!  this field      it is     reply with  ≤ 16 MiB
//!                            its request
//! ```
//!
//! Reading and writing are safe to cancel at every await, so both can share one `select!`.

use std::{io, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    time::{Instant, timeout_at},
};

use crate::{
    Connection, Net,
    codec::{self, LIMIT_BYTES},
};

/// What a frame is. The numbers are the wire format and must stay stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The first frame of every connection, from who dialled.
    Hello = 1,
    /// The answer to a hello.
    HelloReply = 2,
    /// Raft `AppendEntries`.
    Append = 3,
    /// The answer to an append; in the order of the appends.
    AppendReply = 4,
    /// Raft `RequestVote`.
    Vote = 5,
    /// `RequestVote` that changes nothing (Raft dissertation §9.6).
    PreVote = 6,
    /// Raft `TimeoutNow` (dissertation §3.10), as openraft has it.
    TransferLeader = 7,
    /// A request of whoever opened the replica.
    Call = 8,
    /// The answer to a vote, a pre-vote, a transfer, a call or a bootstrap message; in any order.
    Reply = 9,
    /// Announces a snapshot.
    SnapshotBegin = 10,
    /// Tells from which byte the snapshot is wanted, or how far it has come.
    SnapshotReceived = 11,
    /// A piece of a snapshot.
    SnapshotChunk = 12,
    /// The snapshot is installed, or refused for a higher vote.
    SnapshotInstalled = 13,
    /// A message of the bootstrap.
    Bootstrap = 14,
    /// Instead of a reply: its deadline passed, or it made no sense here.
    Expired = 15,
    /// Asks for a sign of life.
    Ping = 16,
    /// The sign of life.
    Pong = 17,
    /// Asks whether the leader is heard; a reply answers.
    AskLeader = 18,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::HelloReply,
            3 => Self::Append,
            4 => Self::AppendReply,
            5 => Self::Vote,
            6 => Self::PreVote,
            7 => Self::TransferLeader,
            8 => Self::Call,
            9 => Self::Reply,
            10 => Self::SnapshotBegin,
            11 => Self::SnapshotReceived,
            12 => Self::SnapshotChunk,
            13 => Self::SnapshotInstalled,
            14 => Self::Bootstrap,
            15 => Self::Expired,
            16 => Self::Ping,
            17 => Self::Pong,
            18 => Self::AskLeader,
            _ => return None,
        })
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) id: u64,
    pub(crate) body: Bytes,
}

/// Why no further frame will come. The connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the peer closed the connection")]
    Closed,
    #[error("a frame of {length} bytes is over the limit of {limit}")]
    TooLong { length: u64, limit: u64 },
    #[error("a frame of {0} bytes is too short for its header")]
    TooShort(u32),
    #[error("no frame is of kind {0}")]
    UnknownKind(u8),
    #[error("the peer was silent for too long")]
    Idle,
    #[error("the peer sent a part of a frame and not the rest")]
    Stalled,
    #[error(transparent)]
    Decode(#[from] codec::DecodeError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// When this much waits to be written, no further frame is taken that would lead to more.
pub(crate) const WRITE_BYTES: usize = 1 << 20;

const LENGTH_BYTES: usize = 4;
/// Kind and id.
const HEADER_BYTES: usize = 9;
/// The rest of a frame must follow its first byte within this time (16 MiB at 13 Mbit/s).
const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// How much is asked of the socket at a time; a frame's length alone allocates nothing.
const READ_BYTES: usize = 64 << 10;

/// The receiving half of a connection.
pub(crate) struct FrameReader {
    source: ReadHalf<Box<dyn Connection>>,
    buffer: BytesMut,
    /// The greatest body that is accepted.
    limit: u64,
    /// How long the peer may be silent between two frames.
    idle: Duration,
    /// Since when the frame in `buffer`, or the first byte of the next, is waited for.
    waits_since: Instant,
}

impl FrameReader {
    /// Frames of `source`, for a start at most `limit` bytes long and `idle` apart.
    pub(crate) fn new(source: ReadHalf<Box<dyn Connection>>, limit: u64, idle: Duration) -> Self {
        let waits_since = Instant::now();
        Self { source, buffer: BytesMut::new(), limit, idle, waits_since }
    }

    /// Widens the limits, once the peer has said who it is.
    pub(crate) fn trust(&mut self, idle: Duration) {
        self.limit = LIMIT_BYTES;
        self.idle = idle;
    }

    /// The next frame. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Frame, FrameError> {
        loop {
            if let Some(frame) = self.parse()? {
                self.waits_since = Instant::now();
                return Ok(frame);
            }
            let is_partial = !self.buffer.is_empty();
            let patience = if is_partial { FRAME_DEADLINE.min(self.idle) } else { self.idle };
            self.buffer.reserve(READ_BYTES);
            let read = self.source.read_buf(&mut self.buffer);
            match timeout_at(self.waits_since + patience, read).await {
                Err(_) if is_partial => return Err(FrameError::Stalled),
                Err(_) => return Err(FrameError::Idle),
                Ok(read) => match read? {
                    0 => return Err(FrameError::Closed),
                    _ if is_partial => {}
                    _ => self.waits_since = Instant::now(),
                },
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        let body = u64::from(length)
            .checked_sub(HEADER_BYTES as u64)
            .ok_or(FrameError::TooShort(length))?;
        if body > self.limit {
            return Err(FrameError::TooLong { length: body, limit: self.limit });
        }
        if self.buffer.len() - LENGTH_BYTES < length as usize {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        let mut frame = self.buffer.split_to(length as usize).freeze();
        let kind = frame.get_u8();
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let id = frame.get_u64_le();
        Ok(Some(Frame { kind, id, body: frame }))
    }
}

/// Moves both halves of a connection to the runtime that this is called on (see [`Net::adopt`]).
///
/// # Errors
/// When that runtime does not take it; the connection is closed then.
pub(crate) fn adopt(
    net: &dyn Net,
    reader: FrameReader,
    writer: FrameWriter,
) -> io::Result<(FrameReader, FrameWriter)> {
    let connection = net.adopt(reader.source.unsplit(writer.sink))?;
    let (source, sink) = tokio::io::split(connection);
    Ok((FrameReader { source, ..reader }, FrameWriter { sink, ..writer }))
}

/// The sending half of a connection.
pub(crate) struct FrameWriter {
    sink: WriteHalf<Box<dyn Connection>>,
    buffer: BytesMut,
    /// Whether the sink may hold back something of what it has taken.
    is_dirty: bool,
    /// Since when the peer has taken nothing of what is queued.
    stuck_since: Option<Instant>,
}

impl FrameWriter {
    pub(crate) fn new(sink: WriteHalf<Box<dyn Connection>>) -> Self {
        Self { sink, buffer: BytesMut::new(), is_dirty: false, stuck_since: None }
    }

    /// Queues a frame with an encoded body. [`FrameWriter::flush`] sends it.
    ///
    /// # Errors
    /// When the body is over the limit; nothing is queued then.
    pub(crate) fn queue<T: Serialize + ?Sized>(
        &mut self,
        kind: Kind,
        id: u64,
        body: &T,
    ) -> Result<(), FrameError> {
        let start = self.begin(kind, id);
        let encoded = codec::encode_into(body, (&mut self.buffer).writer());
        if let Err(error) = encoded {
            self.buffer.truncate(start);
            return Err(error.into());
        }
        self.end(start)
    }

    /// Queues a frame whose body is these bytes as they are.
    ///
    /// # Errors
    /// When they are over the limit; nothing is queued then.
    pub(crate) fn queue_raw(&mut self, kind: Kind, id: u64, body: &[u8]) -> Result<(), FrameError> {
        let start = self.begin(kind, id);
        self.buffer.put_slice(body);
        self.end(start)
    }

    fn begin(&mut self, kind: Kind, id: u64) -> usize {
        let start = self.buffer.len();
        self.buffer.put_u32_le(0);
        self.buffer.put_u8(kind as u8);
        self.buffer.put_u64_le(id);
        start
    }

    fn end(&mut self, start: usize) -> Result<(), FrameError> {
        let length = self.buffer.len() - start - LENGTH_BYTES;
        let body = (length - HEADER_BYTES) as u64;
        if body > LIMIT_BYTES {
            self.buffer.truncate(start);
            return Err(FrameError::TooLong { length: body, limit: LIMIT_BYTES });
        }
        let length = u32::try_from(length).expect("the limit is below 4 GiB");
        self.buffer[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    /// How many bytes wait to be sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether [`FrameWriter::flush`] has anything to do.
    pub(crate) fn has_queued(&self) -> bool {
        !self.buffer.is_empty() || self.is_dirty
    }

    /// Sends what is queued. Safe to cancel: the next flush goes on where this one stopped.
    ///
    /// # Errors
    /// When the connection broke, or the peer has taken nothing for [`FRAME_DEADLINE`].
    pub(crate) async fn flush(&mut self) -> Result<(), FrameError> {
        while !self.buffer.is_empty() {
            let since = *self.stuck_since.get_or_insert_with(Instant::now);
            let write = self.sink.write(&self.buffer);
            let written = timeout_at(since + FRAME_DEADLINE, write).await;
            match written.map_err(|_| FrameError::Stalled)?? {
                0 => return Err(FrameError::Closed),
                written => self.buffer.advance(written),
            }
            self.stuck_since = None;
            self.is_dirty = true;
        }
        self.sink.flush().await?;
        self.is_dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    /// A reader of what `bytes` hold, whose sender then hangs up.
    async fn reader(bytes: &[u8], limit: u64) -> FrameReader {
        let (mut ours, theirs) = tokio::io::duplex(1 << 16);
        ours.write_all(bytes).await.unwrap();
        drop(ours);
        let (source, _) = tokio::io::split(Box::new(theirs) as Box<dyn Connection>);
        FrameReader::new(source, limit, IDLE)
    }

    /// What a writer sends.
    async fn written(queue: impl FnOnce(&mut FrameWriter)) -> Vec<u8> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let (_, sink) = tokio::io::split(Box::new(ours) as Box<dyn Connection>);
        let mut writer = FrameWriter::new(sink);
        queue(&mut writer);
        writer.flush().await.unwrap();
        drop(writer);
        let mut bytes = vec![0; 1 << 16];
        let count = theirs.read(&mut bytes).await.unwrap();
        bytes.truncate(count);
        bytes
    }

    #[tokio::test]
    async fn a_frame_lies_on_the_wire_as_drawn() {
        let bytes = written(|writer| writer.queue_raw(Kind::Call, 0x0102, b"xy").unwrap()).await;
        assert_eq!(bytes, [11, 0, 0, 0, 8, 2, 1, 0, 0, 0, 0, 0, 0, b'x', b'y']);
        let frame = reader(&bytes, 2).await.next().await.unwrap();
        let body = Bytes::from_static(b"xy");
        assert_eq!(frame, Frame { kind: Kind::Call, id: 0x0102, body });
    }

    #[tokio::test]
    async fn every_kind_is_read_back_as_itself() {
        for byte in 0..=u8::MAX {
            assert!(Kind::from_byte(byte).is_none_or(|kind| kind as u8 == byte));
        }
        assert_eq!((0..=u8::MAX).filter_map(Kind::from_byte).count(), 18);
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_its_body_is_awaited() {
        let mut reader = reader(&u32::MAX.to_le_bytes(), 4096).await;
        assert!(matches!(reader.next().await, Err(FrameError::TooLong { .. })));
        assert!(reader.buffer.capacity() <= 2 * READ_BYTES);
    }

    #[tokio::test]
    async fn frames_that_are_none_are_refused() {
        let too_short = reader(&[8, 0, 0, 0], 4096).await.next().await;
        assert!(matches!(too_short, Err(FrameError::TooShort(8))));
        let unknown = reader(&[9, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0], 4096).await.next().await;
        assert!(matches!(unknown, Err(FrameError::UnknownKind(99))));
        let torn = reader(&[9, 0, 0, 0, 1, 0], 4096).await.next().await;
        assert!(matches!(torn, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_not_queued() {
        let body = vec![0; usize::try_from(LIMIT_BYTES).unwrap() + 1];
        let bytes = written(|writer| {
            let refused = writer.queue_raw(Kind::Call, 1, &body);
            assert!(matches!(refused, Err(FrameError::TooLong { .. })));
            writer.queue_raw(Kind::Call, 2, b"").unwrap();
        });
        assert_eq!(bytes.await.len(), LENGTH_BYTES + HEADER_BYTES);
    }
}
