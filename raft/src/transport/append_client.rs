//! The sending side of appends and heartbeats: many requests in flight on one connection, answers
//! in their order.
//!
//! openraft opens a stream per batch (one per heartbeat, too); the connection outlives them. Each
//! request carries a sequence number and its answer the same one, so an answer to a request of an
//! abandoned stream is never taken for an answer to a later one: a heartbeat's answer confirms
//! the leader *since that heartbeat was sent*, and linearizable reads rest on it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream};
use tokio::time::{Instant, sleep_until};

use crate::{
    ENTRY_BYTES_MAX, Peer, codec,
    consensus::types::{AppendRequest, AppendResult},
    log::BACKLOG_BYTES_MAX,
    transport::{
        frame::{FrameError, Kind, WRITE_BYTES},
        hello::Channel,
        link::{DialError, Dialer, Link},
    },
};

/// Appends in flight; further ones wait for an answer.
pub(crate) const WINDOW: u64 = 64;
/// Bytes in flight, one append more or less. They wait in the follower's log for its disk, whose
/// backlog has a bound beyond which that follower takes its disk for failed.
const WINDOW_BYTES: usize = 16 << 20;
const _: () = assert!((WINDOW_BYTES + ENTRY_BYTES_MAX) as u64 * 4 < BACKLOG_BYTES_MAX);

/// Why a stream of appends ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// There was no connection.
    #[error(transparent)]
    Unreachable(#[from] DialError),
    /// The connection broke; what was in flight may have arrived.
    #[error(transparent)]
    Lost(#[from] FrameError),
    /// Nothing was answered for too long.
    #[error("no answer in time")]
    Stalled,
}

/// One connection for appends or heartbeats to one peer, made when it is needed and kept.
pub(crate) struct AppendLane {
    dialer: Arc<Dialer>,
    target: Peer,
    channel: Channel,
    stall: Duration,
    /// A connect that outlives the call that began it: a heartbeat's time may be too short for it.
    dialing: Option<BoxFuture<'static, Result<Link, DialError>>>,
    link: Option<Link>,
    /// The last attempt to connect failed: said once, not at every attempt.
    is_away: bool,
    /// The sequence number of the last request that was queued, and of the last one answered.
    sent: u64,
    answered: u64,
    /// The size of each request in between.
    sizes: VecDeque<usize>,
    /// The sequence number of the first request of the present stream: answers to earlier ones
    /// belong to a stream that nobody reads any more.
    first: u64,
    /// When the peer last answered, or began to owe an answer.
    heard: Instant,
}

impl std::fmt::Debug for AppendLane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AppendLane").field("target", &self.target).finish_non_exhaustive()
    }
}

impl AppendLane {
    pub(crate) fn new(
        dialer: Arc<Dialer>,
        target: Peer,
        channel: Channel,
        stall: Duration,
    ) -> Self {
        let heard = Instant::now();
        Self {
            dialer,
            target,
            channel,
            stall,
            dialing: None,
            link: None,
            is_away: false,
            sent: 0,
            answered: 0,
            sizes: VecDeque::new(),
            first: 1,
            heard,
        }
    }

    /// Makes sure that there is a connection. Cancelled, it goes on at the next call.
    pub(crate) async fn connect(&mut self) -> Result<(), AppendError> {
        if self.link.is_some() && self.is_stalled() {
            self.link = None;
        }
        if self.link.is_some() {
            return Ok(());
        }
        let (dialer, target, channel) = (&self.dialer, &self.target, self.channel);
        let dialing = self.dialing.get_or_insert_with(|| {
            let (dialer, target) = (dialer.clone(), target.clone());
            async move { dialer.dial(&target, channel).await }.boxed()
        });
        let link = dialing.await;
        self.dialing = None;
        self.note(link.as_ref().err());
        self.link = Some(link?);
        (self.sent, self.answered, self.first) = (0, 0, 1);
        self.sizes.clear();
        Ok(())
    }

    /// Says it when the peer goes away or comes back.
    fn note(&mut self, failure: Option<&DialError>) {
        let was_away = std::mem::replace(&mut self.is_away, failure.is_some());
        if self.channel != Channel::Append {
            return;
        }
        let Peer { label, address, .. } = &self.target;
        match failure {
            Some(reason) if !was_away => {
                tracing::warn!(peer = label, address, %reason, "a peer cannot be reached");
            }
            None if was_away => tracing::info!(peer = label, address, "a peer is back"),
            _ => {}
        }
    }

    fn in_flight(&self) -> u64 {
        self.sent - self.answered
    }

    fn is_stalled(&self) -> bool {
        self.in_flight() > 0 && Instant::now() >= self.heard + self.stall
    }

    /// Sends what `input` yields and yields the answers, until both have ended or one failed.
    pub(crate) fn stream<S>(
        &mut self,
        input: S,
    ) -> impl Stream<Item = Result<AppendResult, AppendError>> + Send + '_
    where
        S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
    {
        self.first = self.sent + 1;
        let state = Some((self, input.fuse()));
        stream::unfold(state, |state| async move {
            let (lane, mut input) = state?;
            match lane.step(&mut input).await {
                Ok(None) => None,
                Ok(Some(reply)) => {
                    // After a conflict or a higher vote the peer closes: what follows is moot.
                    let goes_on = reply.is_ok();
                    if !goes_on {
                        lane.link = None;
                    }
                    Some((Ok(reply), goes_on.then_some((lane, input))))
                }
                Err(error) => {
                    lane.link = None;
                    Some((Err(error), None))
                }
            }
        })
    }

    /// Goes on until there is an answer to this stream, or `None` when it has had them all.
    async fn step<S>(
        &mut self,
        input: &mut stream::Fuse<S>,
    ) -> Result<Option<AppendResult>, AppendError>
    where
        S: Stream<Item = AppendRequest> + Send + Unpin,
    {
        loop {
            let in_flight = self.in_flight();
            let stalls_at = self.heard + self.stall;
            let Some(link) = &mut self.link else { return Err(FrameError::Closed.into()) };
            let has_queued = link.writer.has_queued();
            let may_take = in_flight < WINDOW
                && self.sizes.iter().sum::<usize>() < WINDOW_BYTES
                && link.writer.queued_bytes() < WRITE_BYTES;
            let owes_this_stream = self.sent >= self.first && in_flight > 0;
            if input.is_done() && !owes_this_stream {
                return Ok(None);
            }
            tokio::select! { biased;
                frame = link.reader.next() => {
                    if frame.is_err() && in_flight == 0 && !has_queued {
                        // The peer closed a connection that was idle, or restarted: dial again.
                        self.link = None;
                        self.connect().await?;
                        continue;
                    }
                    let frame = frame?;
                    if frame.kind != Kind::AppendReply || frame.id != self.answered + 1 {
                        return Err(FrameError::UnknownKind(frame.kind as u8).into());
                    }
                    self.answered = frame.id;
                    self.sizes.pop_front();
                    self.heard = Instant::now();
                    if frame.id >= self.first {
                        return Ok(Some(codec::decode(&frame.body).map_err(FrameError::from)?));
                    }
                }
                request = input.next(), if may_take && !input.is_done() => {
                    if let Some(request) = request {
                        let queued = link.writer.queued_bytes();
                        link.writer.queue(Kind::Append, self.sent + 1, &request)?;
                        self.sizes.push_back(link.writer.queued_bytes() - queued);
                        self.sent += 1;
                        if in_flight == 0 {
                            self.heard = Instant::now();
                        }
                    }
                }
                flushed = link.writer.flush(), if has_queued => flushed?,
                () = sleep_until(stalls_at), if in_flight > 0 => return Err(AppendError::Stalled),
            }
        }
    }
}
