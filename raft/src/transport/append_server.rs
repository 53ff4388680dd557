//! The receiving side of appends and heartbeats: hands them to Raft as one pipelined stream and
//! answers in their order, each under its request's sequence number.
//!
//! A leader that gets no answer dials again, and what it sent before still waits for the disk. So
//! of each peer's connections for one purpose only the newest lives ([`Lanes`]), and it is read
//! only when Raft has answered all that came by the older: what one peer can make this replica
//! hold is one window, however often it dials.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use crate::{
    PeerId, codec,
    consensus::types::{AppendRequest, AppendResult},
    transport::{
        append_client::WINDOW,
        frame::{Frame, FrameError, FrameReader, FrameWriter, Kind, WRITE_BYTES},
        hello::Channel,
    },
};

/// The connections of which each peer needs one at a time, by who dialled them and what for.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: std::sync::Mutex<BTreeMap<(PeerId, Channel), Lane>>,
}

#[derive(Debug)]
struct Lane {
    /// Dropped, it ends the newest connection.
    newest: oneshot::Sender<()>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// A connection's place in its lane.
pub(crate) struct Place {
    /// Ends when a newer connection has come.
    superseded: oneshot::Receiver<()>,
    /// Held while Raft may hold a request of this connection.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Place {
    /// Waits until a newer connection has come.
    pub(crate) async fn superseded(&mut self) {
        let _ = (&mut self.superseded).await;
    }
}

impl Lanes {
    /// Gives a new connection the place of the one before it, which ends.
    pub(crate) fn enter(&self, from: PeerId, channel: Channel) -> Place {
        let (newest, superseded) = oneshot::channel();
        let mut lanes = self.lanes.lock().expect("no holder of this lock panics");
        // A lane that nobody is in is forgotten: peers may come under any number of ids.
        lanes.retain(|_, lane| !lane.newest.is_closed() || Arc::strong_count(&lane.turn) > 1);
        let older = lanes.remove(&(from, channel));
        let turn = older.map(|lane| lane.turn).unwrap_or_default();
        lanes.insert((from, channel), Lane { newest, turn: turn.clone() });
        Place { superseded, turn }
    }
}

/// Serves one connection until it ends, a newer one takes its place, or an append was rejected:
/// the sender then begins again on a new one, so that nothing it had in flight is misunderstood.
/// Returns when Raft has answered all that it was given.
pub(crate) async fn serve<F, R>(
    reader: FrameReader,
    writer: FrameWriter,
    place: Place,
    append: F,
) -> Result<(), FrameError>
where
    F: FnOnce(stream::BoxStream<'static, AppendRequest>) -> R,
    R: Stream<Item = Option<AppendResult>> + Send,
{
    let Place { mut superseded, turn } = place;
    let _turn = tokio::select! { biased;
        _ = &mut superseded => return Err(FrameError::Closed),
        held = turn.lock_owned() => held,
    };
    let capacity = usize::try_from(WINDOW).expect("the window is small");
    let (requests, mut taken) = mpsc::channel(capacity);
    let mut results =
        pin!(append(stream::poll_fn(move |context| taken.poll_recv(context)).boxed()).fuse());
    let ended = tokio::select! { biased;
        _ = &mut superseded => Err(FrameError::Closed),
        ended = exchange(reader, writer, requests, results.as_mut()) => ended,
    };
    // The turn passes on when nothing of this connection waits in Raft's memory any more.
    while results.next().await.is_some() {}
    ended
}

/// Reads requests and writes their answers; closes the connection when it is over or dropped.
async fn exchange<R>(
    mut reader: FrameReader,
    mut writer: FrameWriter,
    requests: mpsc::Sender<AppendRequest>,
    mut results: Pin<&mut R>,
) -> Result<(), FrameError>
where
    R: Stream<Item = Option<AppendResult>> + Send,
{
    let capacity = requests.max_capacity();
    let mut unanswered = VecDeque::with_capacity(capacity);
    loop {
        let has_queued = writer.has_queued();
        let is_full = writer.queued_bytes() >= WRITE_BYTES;
        tokio::select! { biased;
            flushed = writer.flush(), if has_queued => flushed?,
            result = results.next(), if !unanswered.is_empty() => {
                let (Some(id), Some(Some(result))) = (unanswered.pop_front(), result) else {
                    return Ok(());
                };
                writer.queue(Kind::AppendReply, id, &result)?;
                if result.is_err() {
                    writer.flush().await?;
                    return Ok(());
                }
            }
            frame = reader.next(), if unanswered.len() < capacity && !is_full => {
                let Frame { kind, id, body } = frame?;
                if kind != Kind::Append {
                    return Err(FrameError::UnknownKind(kind as u8));
                }
                unanswered.push_back(id);
                requests.send(codec::decode(&body)?).await.map_err(|_| FrameError::Closed)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::DuplexStream,
        sync::{oneshot::error::TryRecvError, watch},
        task::JoinHandle,
        time::timeout,
    };

    use super::*;
    use crate::{Connection, consensus::types::Vote};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn split(end: DuplexStream) -> (FrameReader, FrameWriter) {
        let (source, sink) = tokio::io::split(Box::new(end) as Box<dyn Connection>);
        let mut reader = FrameReader::new(source, 1 << 10, PATIENCE);
        reader.trust(PATIENCE);
        (reader, FrameWriter::new(sink))
    }

    /// Raft over a disk that hangs until `hangs` is dropped, telling `reached` of each request.
    fn hung(
        requests: stream::BoxStream<'static, AppendRequest>,
        reached: mpsc::UnboundedSender<()>,
        hangs: watch::Receiver<()>,
    ) -> stream::BoxStream<'static, Option<AppendResult>> {
        let answered = requests.then(move |_| {
            reached.send(()).unwrap();
            let mut hangs = hangs.clone();
            async move {
                while hangs.changed().await.is_ok() {}
                Some(Ok(None))
            }
        });
        answered.boxed()
    }

    /// Connects as peer 1 and sends one append.
    async fn connect(
        lanes: &Lanes,
        reached: &mpsc::UnboundedSender<()>,
        hangs: &watch::Receiver<()>,
    ) -> (FrameReader, JoinHandle<Result<(), FrameError>>) {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        let (reader, writer) = split(theirs);
        let place = lanes.enter(1, Channel::Append);
        let (reached, hangs) = (reached.clone(), hangs.clone());
        let append = |requests| hung(requests, reached, hangs);
        let served = tokio::spawn(serve(reader, writer, place, append));
        let (reader, mut writer) = split(ours);
        let vote = Vote::new(1, 1);
        let request =
            AppendRequest { vote, prev_log_id: None, entries: vec![], leader_commit: None };
        writer.queue(Kind::Append, 1, &request).unwrap();
        writer.flush().await.unwrap();
        (reader, served)
    }

    #[tokio::test]
    async fn of_many_connections_to_a_hung_disk_only_the_newest_lives_and_waits_its_turn() {
        let lanes = Lanes::default();
        let (reached, mut seen) = mpsc::unbounded_channel();
        let (disk, hangs) = watch::channel(());
        let first = connect(&lanes, &reached, &hangs).await;
        timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
        let mut older = vec![first];
        let (mut newest, newest_served) = loop {
            let next = connect(&lanes, &reached, &hangs).await;
            if older.len() == 9 {
                break next;
            }
            older.push(next);
        };
        for (reader, _) in &mut older {
            let ended = timeout(PATIENCE, reader.next()).await.unwrap();
            assert!(matches!(ended, Err(FrameError::Closed)), "{ended:?}");
        }
        for (_, served) in older.drain(1..) {
            assert!(timeout(PATIENCE, served).await.unwrap().unwrap().is_err());
        }
        assert!(!older[0].1.is_finished(), "Raft holds its request");
        assert!(seen.try_recv().is_err(), "a later request reached Raft as well");

        drop(disk);
        let answer = timeout(PATIENCE, newest.next()).await.unwrap().unwrap();
        assert_eq!((answer.kind, answer.id), (Kind::AppendReply, 1));
        drop(newest);
        assert!(timeout(PATIENCE, newest_served).await.unwrap().unwrap().is_err());
        let _other = lanes.enter(2, Channel::Append);
        assert_eq!(lanes.lanes.lock().unwrap().len(), 1, "an empty lane is kept");
    }

    #[tokio::test]
    async fn a_lane_is_of_one_peer_and_one_purpose() {
        let lanes = Lanes::default();
        let mut appends = lanes.enter(1, Channel::Append);
        let mut heartbeats = lanes.enter(1, Channel::Heartbeat);
        let _of_another = lanes.enter(2, Channel::Append);
        assert_eq!(appends.superseded.try_recv(), Err(TryRecvError::Empty));
        let _newer = lanes.enter(1, Channel::Append);
        assert_eq!(appends.superseded.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(heartbeats.superseded.try_recv(), Err(TryRecvError::Empty));
    }
}
