//! Receives a snapshot and has it installed. The protocol is drawn in [`super::snapshot_client`].

use std::io;

use tokio::sync::{Mutex, watch};

use crate::{
    PeerId, StateMachine, codec,
    consensus::{
        Raft,
        blocking::Blocking,
        types::{Snapshot, SnapshotMeta},
    },
    snapshots::{SnapshotReceiver, SnapshotStore},
    transport::{
        frame::{Frame, FrameError, FrameReader, FrameWriter, Kind},
        snapshot_client::SnapshotBegin,
    },
};

/// Takes in one snapshot at a time; a second sender waits for the first.
pub(crate) struct SnapshotIntake<S: StateMachine> {
    pub(crate) raft: Raft<S>,
    pub(crate) snapshots: SnapshotStore,
    pub(crate) blocking: Blocking,
    /// What arrived of a snapshot whose connection broke.
    partial: Mutex<Option<Partial>>,
    /// Told when the disk failed under a whole snapshot: it is not asked a second time.
    failure: watch::Sender<Option<String>>,
}

struct Partial {
    from: PeerId,
    meta: SnapshotMeta,
    length: u64,
    incoming: SnapshotReceiver,
}

impl Partial {
    /// Only the same sender's same snapshot is sure to have the same bytes.
    fn is_of(&self, from: PeerId, begin: &SnapshotBegin) -> bool {
        self.from == from && self.meta == begin.meta && self.length == begin.length
    }
}

impl<S: StateMachine> SnapshotIntake<S> {
    pub(crate) fn new(
        raft: Raft<S>,
        snapshots: SnapshotStore,
        blocking: Blocking,
        failure: watch::Sender<Option<String>>,
    ) -> Self {
        Self { raft, snapshots, blocking, partial: Mutex::new(None), failure }
    }

    /// Serves one connection: one snapshot.
    pub(crate) async fn serve(
        &self,
        from: PeerId,
        reader: &mut FrameReader,
        writer: &mut FrameWriter,
    ) -> Result<(), FrameError> {
        let frame = reader.next().await?;
        if frame.kind != Kind::SnapshotBegin {
            return Err(FrameError::UnknownKind(frame.kind as u8));
        }
        let begin: SnapshotBegin = codec::decode(&frame.body)?;
        let mut partial = self.partial.lock().await;
        if !partial.as_ref().is_some_and(|partial| partial.is_of(from, &begin)) {
            let incoming = self.snapshots.receive(codec::encode(&begin.meta).into())?;
            let SnapshotBegin { meta, length, .. } = begin.clone();
            *partial = Some(Partial { from, meta, length, incoming });
        }
        loop {
            let Some(at) = partial.as_ref() else { return Err(FrameError::Closed) };
            let (received, length) = (at.incoming.received(), at.length);
            writer.queue(Kind::SnapshotReceived, 0, &received)?;
            // What fails from here to the next piece leaves what there is for the next try.
            writer.flush().await?;
            let frame = if received < length { Some(reader.next().await?) } else { None };
            let Some(at) = partial.take() else { return Err(FrameError::Closed) };
            match frame {
                Some(frame) => *partial = Some(self.write(at, frame).await?),
                None => return self.install(begin, at.incoming, writer).await,
            }
        }
    }

    async fn write(&self, mut partial: Partial, frame: Frame) -> Result<Partial, FrameError> {
        let Frame { kind, id: offset, body } = frame;
        let received = partial.incoming.received();
        let fits = kind == Kind::SnapshotChunk
            && offset == received
            && body.len() as u64 <= partial.length - received;
        if !fits {
            return Err(FrameError::UnknownKind(kind as u8));
        }
        let written = move || partial.incoming.write_raw(offset, &body).map(|()| partial);
        Ok(self.blocking.run(written).await?)
    }

    async fn install(
        &self,
        begin: SnapshotBegin,
        incoming: SnapshotReceiver,
        writer: &mut FrameWriter,
    ) -> Result<(), FrameError> {
        let SnapshotBegin { vote, meta, .. } = begin;
        // What arrived damaged is asked for again; openraft would take it for a failed disk. And it
        // becomes the newest only when openraft installs it: an old leader's snapshot must not
        // displace a newer one.
        let finished = self.blocking.run(move || incoming.finish()).await;
        let snapshot = finished.inspect_err(|error| {
            if error.kind() != io::ErrorKind::InvalidData {
                tracing::error!(%error, "a snapshot could not be synced");
                let reason = format!("a snapshot could not be synced: {error}");
                self.failure.send_replace(Some(reason));
            }
        })?;
        let installed = self.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
        let response = installed.map_err(|fatal| io::Error::other(fatal.to_string()))?;
        writer.queue(Kind::SnapshotInstalled, 0, &response)?;
        writer.flush().await
    }
}
