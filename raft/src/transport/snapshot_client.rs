//! Sends a snapshot, in pieces, over a connection of its own.
//!
//! ```text
//!   leader                                        follower
//!     │ SnapshotBegin { vote, meta, length }         │
//!     ├─────────────────────────────────────────────▶│
//!     │                  SnapshotReceived { offset } │  where to begin: what it has of this
//!     │◀─────────────────────────────────────────────┤  very snapshot from an earlier try
//!     │ SnapshotChunk, at most WINDOW ahead          │
//!     ├─────────────────────────────────────────────▶│
//!     │                  SnapshotReceived { offset } │  after each piece
//!     │◀─────────────────────────────────────────────┤
//!     │                  SnapshotInstalled { vote }  │  after the last, and its installation
//!     │◀─────────────────────────────────────────────┤
//! ```

use std::{io, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use crate::{
    Peer, codec,
    consensus::{
        blocking::Blocking,
        types::{Snapshot, SnapshotMeta, SnapshotResponse, Vote},
    },
    snapshots::SnapshotFile,
    transport::{
        frame::{Frame, FrameError, Kind},
        hello::Channel,
        link::{DialError, Dialer, Link},
    },
};

/// One piece, bytes.
const CHUNK: usize = 1 << 20;
/// How far the sender may be ahead of what the receiver has written.
const WINDOW: u64 = 4 << 20;
/// How long the receiver may take to write a piece, and the sender to send the next.
pub(crate) const CHUNK_DEADLINE: Duration = Duration::from_secs(10);
/// How long the receiver may take to install the whole.
const INSTALL_DEADLINE: Duration = Duration::from_mins(1);

/// Announces a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotBegin {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// Of the whole, bytes.
    pub(crate) length: u64,
}

/// Why a snapshot did not arrive. openraft tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Unreachable(#[from] DialError),
    #[error(transparent)]
    Lost(#[from] FrameError),
    #[error("cannot read the snapshot: {0}")]
    Disk(#[from] io::Error),
}

/// Sends a snapshot and waits until it is installed, or refused for a higher vote.
pub(crate) async fn send(
    dialer: &Dialer,
    target: &Peer,
    blocking: Blocking,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse, SendError> {
    let Snapshot { meta, snapshot: file } = snapshot;
    let length = file.len;
    let mut link = dialer.dial(target, Channel::Snapshot).await?;
    link.writer.queue(Kind::SnapshotBegin, 0, &SnapshotBegin { vote, meta, length })?;
    link.writer.flush().await?;
    let mut progress = Progress { sent: None, received: 0, length };
    let mut heard = Instant::now();
    loop {
        if let Some(offset) = progress.next_chunk() {
            let chunk = read_chunk(&file, blocking, offset).await?;
            progress.sent = Some(offset + chunk.len() as u64);
            link.writer.queue_raw(Kind::SnapshotChunk, offset, &chunk)?;
        }
        let is_complete = progress.received == length;
        let patience = if is_complete { INSTALL_DEADLINE } else { CHUNK_DEADLINE };
        let has_queued = link.writer.has_queued();
        let Link { reader, writer, .. } = &mut link;
        tokio::select! { biased;
            frame = reader.next() => {
                heard = Instant::now();
                if let Some(response) = progress.take(&frame?)? {
                    return Ok(response);
                }
            }
            flushed = writer.flush(), if has_queued => flushed?,
            () = sleep_until(heard + patience) => return Err(FrameError::Stalled.into()),
        }
    }
}

struct Progress {
    /// Up to where it was sent; `None` until the receiver has said where to begin.
    sent: Option<u64>,
    received: u64,
    length: u64,
}

impl Progress {
    fn next_chunk(&self) -> Option<u64> {
        self.sent.filter(|sent| *sent < self.length && *sent < self.received + WINDOW)
    }

    fn take(&mut self, frame: &Frame) -> Result<Option<SnapshotResponse>, FrameError> {
        match frame.kind {
            Kind::SnapshotReceived => {
                self.received = codec::decode::<u64>(&frame.body)?.min(self.length);
                self.sent.get_or_insert(self.received);
                Ok(None)
            }
            Kind::SnapshotInstalled => Ok(Some(codec::decode(&frame.body)?)),
            other => Err(FrameError::UnknownKind(other as u8)),
        }
    }
}

async fn read_chunk(file: &SnapshotFile, blocking: Blocking, offset: u64) -> io::Result<Bytes> {
    let file = file.clone();
    blocking.run(move || file.read_raw(offset, CHUNK)).await
}
