//! The listening side: takes connections, hears their hello, and serves each by its purpose.
//!
//! What a stranger costs: one of [`CONNECTIONS_MAX`] places for at most the hello's deadline, and
//! 4 KiB. A connection past its hello costs its place while its peer uses it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    CallHandler, Connection, Listener, PeerId,
    bootstrap::Bootstrapper,
    codec,
    consensus::{self, Raft, in_scope},
    lifeline::Lifelines,
    machine::StateMachine,
    transport::{
        append_server::{self, Lanes},
        caller::CallBody,
        frame::{Frame, FrameError, FrameReader, FrameWriter, Kind, WRITE_BYTES},
        heard::Heard,
        hello::{
            Channel, HELLO_BYTES_MAX, HELLO_DEADLINE, Hello, HelloError, HelloReply, Refusal,
            VERSION, Welcome,
        },
        link::{Identity, SERVER_IDLE},
        snapshot_client::CHUNK_DEADLINE,
        snapshot_server::SnapshotIntake,
    },
};

/// Connections served at a time; more are closed as they come.
const CONNECTIONS_MAX: usize = 512;
/// Connections that have not said hello yet, at a time.
const STRANGERS_MAX: usize = 64;
/// Requests that one connection may have in hand; further ones wait unread.
const REQUESTS_MAX: usize = 256;
/// The longest that a request may be in hand, whatever its caller says.
const REQUEST_DEADLINE: Duration = Duration::from_mins(2);
const _: () = assert!(REQUEST_DEADLINE.as_secs() < SERVER_IDLE.as_secs());
/// How long a vote may wait for its disk.
const VOTE_DEADLINE: Duration = Duration::from_secs(2);

/// Between two lines of the log about peers that are refused.
const REMINDER: Duration = Duration::from_mins(1);

/// What the connections of one replica are served with.
pub(crate) struct Server<S: StateMachine> {
    pub(crate) identity: Arc<Identity>,
    pub(crate) raft: Raft<S>,
    pub(crate) bootstrapper: Arc<Bootstrapper>,
    pub(crate) calls: Arc<dyn CallHandler>,
    pub(crate) snapshots: SnapshotIntake<S>,
    pub(crate) lanes: Lanes,
    /// `None` when they are switched off.
    pub(crate) lifelines: Option<Arc<Lifelines<S>>>,
    /// Who last sent an append or a heartbeat, and when it came.
    pub(crate) heard: Arc<Heard>,
    /// When the log last told of a peer that was refused.
    pub(crate) said_refused: Mutex<Option<Instant>>,
}

/// Accepts until the sender of `running` is dropped; then the listener and every connection are
/// closed before the task ends.
pub(crate) fn listen<S: StateMachine>(
    server: Arc<Server<S>>,
    listener: Box<dyn Listener>,
    mut running: watch::Receiver<()>,
) -> JoinHandle<()> {
    consensus::spawn(async move {
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! { biased;
                _ = running.changed() => break,
                accepted = listener.accept() => accepted,
            };
            let (connection, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: that passes, a busy loop would not.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let place = places.clone().try_acquire_owned();
            let stranger = strangers.clone().try_acquire_owned();
            let (Ok(place), Ok(stranger)) = (place, stranger) else {
                tracing::warn!(%address, "too many connections: closing one");
                continue;
            };
            let server = server.clone();
            connections.spawn(in_scope(async move {
                let _place = place;
                let Some((hello, reader, writer)) = server.greet(connection, address).await
                else {
                    return;
                };
                drop(stranger);
                let ended = server.serve(&hello, reader, writer).await;
                tracing::debug!(peer = %hello.from.label, channel = ?hello.channel, ?ended, "connection ended");
            }));
        }
        drop(listener);
        connections.shutdown().await;
    })
}

impl<S: StateMachine> Server<S> {
    /// Hears a hello and answers it. `None` when the connection is not wanted.
    async fn greet(
        &self,
        connection: Box<dyn Connection>,
        address: SocketAddr,
    ) -> Option<(Hello, FrameReader, FrameWriter)> {
        match timeout(HELLO_DEADLINE, self.greet_now(connection)).await {
            Ok(Ok(greeted)) => Some(greeted),
            // Others may keep lifelines, and ask again and again.
            Ok(Err(GreetError::Refused(Refusal::NoLifeline))) => None,
            Ok(Err(GreetError::Refused(refusal))) => {
                self.say_refused(address, &refusal);
                None
            }
            Ok(Err(reason)) => {
                tracing::debug!(%address, %reason, "a stranger was hung up on");
                None
            }
            Err(_) => {
                tracing::debug!(%address, "a connection said no hello in time");
                None
            }
        }
    }

    /// Says it once a minute: a node that is not wanted dials again and again.
    fn say_refused(&self, address: SocketAddr, refusal: &Refusal) {
        let mut said = self.said_refused.lock().expect("no holder of this lock panics");
        if said.is_none_or(|at| at.elapsed() >= REMINDER) {
            *said = Some(Instant::now());
            tracing::warn!(%address, %refusal, "a peer was refused; further refusals are not logged for a minute");
        }
    }

    async fn greet_now(
        &self,
        connection: Box<dyn Connection>,
    ) -> Result<(Hello, FrameReader, FrameWriter), GreetError> {
        let (source, sink) = tokio::io::split(connection);
        let mut reader = FrameReader::new(source, HELLO_BYTES_MAX, HELLO_DEADLINE);
        let mut writer = FrameWriter::new(sink);
        let frame = reader.next().await?;
        if frame.kind != Kind::Hello {
            return Err(HelloError::NotRaft.into());
        }
        let judged = match Hello::from_body(&frame.body) {
            Ok(hello) => self.admit(&hello).await.map(|()| hello),
            Err(HelloError::Version(yours)) => Err(Refusal::Version { ours: VERSION, yours }),
            Err(error) => return Err(error.into()),
        };
        let reply = match &judged {
            Ok(_) => HelloReply::Welcome(Welcome {
                me: self.identity.me.clone(),
                cluster_id: self.identity.cluster_id(),
            }),
            Err(refusal) => HelloReply::Refused(refusal.clone()),
        };
        writer.queue(Kind::HelloReply, 0, &reply)?;
        writer.flush().await?;
        let hello = judged?;
        reader.trust(SERVER_IDLE);
        Ok((hello, reader, writer))
    }

    async fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        let Identity { cluster, group, me, .. } = &*self.identity;
        hello.is_for(cluster, *group, me)?;
        if hello.channel == Channel::Bootstrap {
            return Ok(());
        }
        if hello.channel == Channel::Lifeline && self.lifelines.is_none() {
            return Err(Refusal::NoLifeline);
        }
        let (from, to) = (&hello.from, hello.to);
        self.bootstrapper.admit(hello.cluster_id, from, to, hello.channel).await
    }

    async fn serve(
        &self,
        hello: &Hello,
        mut reader: FrameReader,
        mut writer: FrameWriter,
    ) -> Result<(), FrameError> {
        match hello.channel {
            Channel::Append | Channel::Heartbeat => {
                let place = self.lanes.enter(hello.from.id, hello.channel);
                let (from, heard) = (hello.from.id, self.heard.clone());
                append_server::serve(reader, writer, place, |requests| {
                    let requests = requests.inspect(move |_| {
                        heard.note(from, Instant::now());
                    });
                    self.raft.stream_append(requests).map(Result::ok)
                })
                .await
            }
            Channel::Snapshot => {
                // A sender that hangs must not keep a new leader's snapshot out.
                reader.trust(CHUNK_DEADLINE);
                self.snapshots.serve(hello.from.id, &mut reader, &mut writer).await
            }
            Channel::Lifeline => {
                let lifelines = self.lifelines.clone().ok_or(FrameError::Closed)?;
                let mut place = self.lanes.enter(hello.from.id, hello.channel);
                tokio::select! { biased;
                    () = place.superseded() => Err(FrameError::Closed),
                    ended = lifelines.answer(reader, writer) => ended,
                }
            }
            Channel::Bootstrap | Channel::Control | Channel::Calls => {
                self.serve_requests(hello, &mut reader, &mut writer).await
            }
        }
    }

    /// Serves requests side by side; each is answered, or called expired, by its deadline.
    async fn serve_requests(
        &self,
        hello: &Hello,
        reader: &mut FrameReader,
        writer: &mut FrameWriter,
    ) -> Result<(), FrameError> {
        let mut in_hand = JoinSet::new();
        loop {
            let has_queued = writer.has_queued();
            let is_full = writer.queued_bytes() >= WRITE_BYTES;
            tokio::select! { biased;
                flushed = writer.flush(), if has_queued => flushed?,
                Some(done) = in_hand.join_next(), if !in_hand.is_empty() => {
                    // A handler that panicked has answered nothing; its caller times out.
                    let Ok((id, reply)) = done else { continue };
                    queue_reply(writer, id, reply)?;
                }
                frame = reader.next(), if in_hand.len() < REQUESTS_MAX && !is_full => {
                    let Frame { kind, id, body } = frame?;
                    let answer = self.answer(hello.channel, hello.from.id, kind, &body)?;
                    in_hand.spawn(in_scope(async move { (id, answer.await) }));
                }
            }
        }
    }

    /// The answer to one request; `None` when its deadline passed first.
    fn answer(
        &self,
        channel: Channel,
        from: PeerId,
        kind: Kind,
        body: &Bytes,
    ) -> Result<futures_util::future::BoxFuture<'static, Option<Bytes>>, FrameError> {
        let raft = self.raft.clone();
        Ok(match (channel, kind) {
            (Channel::Control, Kind::Vote) => {
                let request = codec::decode(body)?;
                Box::pin(answer_by(VOTE_DEADLINE, async move { raft.vote(request).await }))
            }
            (Channel::Control, Kind::PreVote) => {
                let request = codec::decode(body)?;
                Box::pin(answer_by(VOTE_DEADLINE, async move { raft.pre_vote(request).await }))
            }
            (Channel::Control, Kind::TransferLeader) => {
                let request = codec::decode(body)?;
                Box::pin(answer_by(VOTE_DEADLINE, async move {
                    raft.handle_transfer_leader(request).await
                }))
            }
            (Channel::Calls, Kind::Call) => {
                let CallBody { remaining_ms, request } = codec::decode(body)?;
                let remaining = Duration::from_millis(remaining_ms.into()).min(REQUEST_DEADLINE);
                let deadline = Instant::now() + remaining;
                let handled = self.calls.on_call(from, request, remaining);
                Box::pin(async move { timeout_at(deadline, handled).await.ok() })
            }
            (Channel::Bootstrap, Kind::Bootstrap) => {
                let message = codec::decode(body)?;
                let bootstrapper = self.bootstrapper.clone();
                Box::pin(answer_by(
                    VOTE_DEADLINE,
                    async move { bootstrapper.on_message(message).await },
                ))
            }
            (_, other) => return Err(FrameError::UnknownKind(other as u8)),
        })
    }
}

async fn answer_by<T, E>(
    deadline: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Option<Bytes>
where
    T: serde::Serialize,
{
    let answer = timeout(deadline, answer).await.ok()?.ok()?;
    Some(codec::encode(&answer).into())
}

fn queue_reply(writer: &mut FrameWriter, id: u64, reply: Option<Bytes>) -> Result<(), FrameError> {
    match reply {
        Some(body) => match writer.queue_raw(Kind::Reply, id, &body) {
            Err(FrameError::TooLong { length, limit }) => {
                tracing::warn!(length, limit, "an answer was too large to send");
                writer.queue_raw(Kind::Expired, id, &[])
            }
            queued => queued,
        },
        None => writer.queue_raw(Kind::Expired, id, &[]),
    }
}

/// Why a connection did not get past its hello.
#[derive(Debug, thiserror::Error)]
enum GreetError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("refused, since {0}")]
    Refused(#[from] Refusal),
}
