//! The asking side of request and answer: one connection per peer and purpose, many requests in
//! flight on it, each with its own deadline and its own certainty.
//!
//! A request goes from `QUEUED` to `SENT` (by the connection's task, before its first byte is
//! written) or to `WITHDRAWN` (by a caller whose time is up), never both: that one
//! compare-and-exchange is what makes [`CallError::Unreachable`] certain.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    CallError, Peer,
    transport::{
        frame::{Frame, FrameError, Kind, WRITE_BYTES},
        hello::Channel,
        link::{CLIENT_IDLE, Dialer, Link},
    },
};

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Requests that may wait for one connection; more are refused at once.
const QUEUE_LENGTH: usize = 1024;

/// What [`Kind::Call`] carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallBody {
    /// For how long the caller waits yet, ms.
    pub(crate) remaining_ms: u32,
    /// The request.
    pub(crate) request: Bytes,
}

struct Request {
    kind: Kind,
    body: Bytes,
    deadline: Instant,
    state: Arc<AtomicU8>,
    reply: oneshot::Sender<Result<Bytes, CallError>>,
}

/// The connections on which requests are made, opened when first needed.
pub(crate) struct Callers {
    dialer: Arc<Dialer>,
    /// `None` once they are closed.
    open: Mutex<Option<Queues>>,
}

type Queues = BTreeMap<(Peer, Channel), mpsc::Sender<Request>>;

impl std::fmt::Debug for Callers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Callers").finish_non_exhaustive()
    }
}

impl Callers {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self { dialer, open: Mutex::new(Some(Queues::new())) }
    }

    /// Ends all connections once what was asked on them is answered or expired; later requests
    /// are refused.
    pub(crate) fn close(&self) {
        *self.open.lock().expect("no holder of this lock panics") = None;
    }

    /// Asks `peer` and waits for the answer until `deadline`.
    pub(crate) async fn ask(
        &self,
        peer: &Peer,
        channel: Channel,
        kind: Kind,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        let state = Arc::new(AtomicU8::new(QUEUED));
        let (reply, answer) = oneshot::channel();
        let request = Request { kind, body, deadline, state: state.clone(), reply };
        self.enqueue(peer, channel, request)?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            // The connection's task is gone, or the time is up.
            Ok(Err(_)) | Err(_) => Err(withdraw(&state)),
        }
    }

    fn enqueue(
        &self,
        peer: &Peer,
        channel: Channel,
        mut request: Request,
    ) -> Result<(), CallError> {
        let mut open = self.open.lock().expect("no holder of this lock panics");
        let open = open.as_mut().ok_or(CallError::Unreachable)?;
        open.retain(|_, queue| !queue.is_closed());
        let key = (peer.clone(), channel);
        if let Some(queue) = open.get(&key) {
            match queue.try_send(request) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => return Err(CallError::Unreachable),
                Err(mpsc::error::TrySendError::Closed(returned)) => request = returned,
            }
        }
        let (queue, requests) = mpsc::channel(QUEUE_LENGTH);
        queue.try_send(request).map_err(|_| CallError::Unreachable)?;
        open.insert(key, queue);
        // Not `consensus::spawn`: it never calls openraft, and whoever calls may be in no scope.
        tokio::spawn(run(self.dialer.clone(), peer.clone(), channel, requests));
        Ok(())
    }
}

fn withdraw(state: &AtomicU8) -> CallError {
    match state.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => CallError::Unreachable,
        Err(_) => CallError::Lost,
    }
}

/// Serves one queue with one connection until that fails or nobody has asked for a while. What is
/// queued then was certainly not delivered; what was sent is lost.
async fn run(
    dialer: Arc<Dialer>,
    peer: Peer,
    channel: Channel,
    mut requests: mpsc::Receiver<Request>,
) {
    let mut in_flight = BTreeMap::new();
    let served = match dialer.dial(&peer, channel).await {
        Ok(mut link) => serve(&mut link, dialer.deadline, &mut requests, &mut in_flight).await,
        Err(error) => {
            tracing::debug!(peer = %peer.label, address = %peer.address, ?channel, %error, "cannot dial");
            Err(FrameError::Closed)
        }
    };
    if let Err(error) = served {
        tracing::debug!(peer = %peer.label, ?channel, %error, "connection for requests ended");
    }
    requests.close();
    for (_, sent) in in_flight {
        let _ = sent.reply.send(Err(CallError::Lost));
    }
    while let Some(request) = requests.recv().await {
        let _ = request.reply.send(Err(withdraw(&request.state)));
    }
}

/// A request that was written and has no answer yet.
struct Sent {
    at: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Result<Bytes, CallError>>,
}

type InFlight = BTreeMap<u64, Sent>;

async fn serve(
    link: &mut Link,
    grace: Duration,
    requests: &mut mpsc::Receiver<Request>,
    in_flight: &mut InFlight,
) -> Result<(), FrameError> {
    let mut next_id = 1_u64;
    let mut used = Instant::now();
    let mut received = used;
    loop {
        let has_queued = link.writer.has_queued();
        let may_take = link.writer.queued_bytes() < WRITE_BYTES;
        let check_at =
            if in_flight.is_empty() { used + CLIENT_IDLE } else { Instant::now() + grace };
        tokio::select! { biased;
            frame = link.reader.next() => {
                answer(frame?, in_flight);
                received = Instant::now();
                used = received;
            }
            request = requests.recv(), if may_take => {
                let Some(request) = request else { return Ok(()) };
                take(link, request, next_id, in_flight);
                next_id += 1;
                used = Instant::now();
            }
            flushed = link.writer.flush(), if has_queued => flushed?,
            () = tokio::time::sleep_until(check_at) => {
                if in_flight.is_empty() {
                    return Ok(());
                }
                drop_expired(in_flight, grace, received)?;
            }
        }
    }
}

/// The peer answers every request by its deadline, if only to say that it has expired. When one is
/// overdue and nothing at all has come since it was sent, the connection is dead, whatever TCP
/// still believes.
fn drop_expired(
    in_flight: &mut InFlight,
    grace: Duration,
    received: Instant,
) -> Result<(), FrameError> {
    let overdue = Instant::now().checked_sub(grace);
    let is_overdue = |sent: &Sent| overdue.is_some_and(|overdue| sent.deadline < overdue);
    if in_flight.values().any(|sent| is_overdue(sent) && received < sent.at) {
        return Err(FrameError::Stalled);
    }
    in_flight.retain(|_, sent| !is_overdue(sent));
    Ok(())
}

fn take(link: &mut Link, request: Request, id: u64, in_flight: &mut InFlight) {
    let Request { kind, body, deadline, state, reply } = request;
    if state.compare_exchange(QUEUED, SENT, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return;
    }
    match link.writer.queue_raw(kind, id, &body) {
        Ok(()) => {
            in_flight.insert(id, Sent { at: Instant::now(), deadline, reply });
        }
        Err(error) => {
            tracing::warn!(%error, "a request was too large to send");
            let _ = reply.send(Err(CallError::Unreachable));
        }
    }
}

fn answer(frame: Frame, in_flight: &mut InFlight) {
    let Some(sent) = in_flight.remove(&frame.id) else { return };
    let answer = match frame.kind {
        Kind::Reply => Ok(frame.body),
        _ => Err(CallError::Lost),
    };
    let _ = sent.reply.send(answer);
}

/// The encoded body of a call.
pub(crate) fn call_body(request: Bytes, timeout: Duration) -> Bytes {
    let remaining_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    crate::codec::encode(&CallBody { remaining_ms, request }).into()
}
