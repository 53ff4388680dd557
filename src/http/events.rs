//! `GET /events`: what happens, as server-sent events (WHATWG HTML §9.2).
//!
//! A task of its own listens and hands pieces to the answer's body through a place for one: a client that
//! takes nothing holds up its own task alone, falls back in the node's ring, and is told so. Each piece
//! has a deadline as every answer does; a stream that has nothing to tell has none.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::{
    HeaderMap,
    body::Frame,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue},
};
use tokio::{sync::mpsc, time::timeout};

use super::{answer::Failure, call::Call, peers::kind};
use crate::{
    node::{self, EventId, Happening, Host, LeaderChange, Listener, MemberState},
    queue::{QueueName, Transition, TransitionKind},
    wire::{ApiError, Event, EventType, EventsQuery},
};

/// The media type of the answer.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asks proxies (nginx) not to hold events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// After how long a client comes back when its stream has ended, ms.
const RETRY_MS: u64 = 1_000;

pub(super) async fn events(headers: HeaderMap, call: Call) -> Result<Response, Failure> {
    let query = EventsQuery::parse(call.query.as_deref())?;
    let after = after(&headers, &query)?;
    let listener = call.site.handle.listen(after)?;
    let (pieces, body) = mpsc::channel(1);
    tokio::spawn(feed(listener, query, pieces, call.site.limits.event_heartbeat));
    let mut response = Body::new(Stream(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// The event to go on after. The header is what a browser sends when it comes back, and then newer than
/// the address that it was given in the beginning.
fn after(headers: &HeaderMap, query: &EventsQuery) -> Result<Option<EventId>, ApiError> {
    let parse = |field: &str, text: &str| {
        let invalid = || ApiError::invalid(field, "must be the `id` of an event");
        EventId::parse(text).map(Some).ok_or_else(invalid)
    };
    let header = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty());
    match (header, query.after.as_deref()) {
        (Some(id), _) => parse("Last-Event-ID", id.to_str().unwrap_or_default()),
        (None, Some(id)) => parse("after", id),
        (None, None) => Ok(None),
    }
}

/// Hands over what is wanted, until the client is gone or the node stops.
async fn feed(
    mut listener: Listener,
    query: EventsQuery,
    pieces: mpsc::Sender<Bytes>,
    heartbeat: Duration,
) {
    let wanted = |what: &Happening| query.wants(type_of(what), queue_of(what));
    // With an id from the start, who is cut off before the first event misses none.
    let mut piece = format!("retry: {RETRY_MS}\nid: {}\n\n", listener.position());
    loop {
        let taken = tokio::select! {
            taken = pieces.send(piece.into()) => taken,
            () = listener.ended() => return,
        };
        if taken.is_err() {
            return;
        }
        let next = tokio::select! {
            next = timeout(heartbeat, listener.next(&wanted)) => next,
            () = pieces.closed() => return,
        };
        piece = match next {
            Ok(Some(events)) => events.into_iter().map(|event| rendered(&shown(event))).collect(),
            Ok(None) => return,
            // The id moves on with what was not wanted, so that coming back does not ask for that.
            Err(_) => format!(": nothing new\nid: {}\n\n", listener.position()),
        };
    }
}

fn rendered(event: &Event) -> String {
    let json = serde_json::to_string(event).expect("an event has string keys and serializes");
    format!("id: {}\nevent: {}\ndata: {json}\n\n", event.id, event.event_type.as_str())
}

fn type_of(what: &Happening) -> EventType {
    match what {
        Happening::LeaderElected(_) => EventType::LeaderElected,
        Happening::Gap(_) => EventType::Gap,
        Happening::Host(host) => match host.state {
            MemberState::Alive => EventType::HostOnline,
            MemberState::Suspect => EventType::HostSuspect,
            MemberState::Down => EventType::HostOffline,
        },
        Happening::Job(transition) => match transition.kind {
            TransitionKind::Added => EventType::JobAdded,
            TransitionKind::Scheduled => EventType::JobScheduled,
            TransitionKind::Pending => EventType::JobPending,
            TransitionKind::Claimed => EventType::JobClaimed,
            TransitionKind::Started => EventType::JobStarted,
            TransitionKind::Completed => EventType::JobCompleted,
            TransitionKind::Retrying => EventType::JobRetrying,
            TransitionKind::Released => EventType::JobReleased,
            TransitionKind::LeaseExpired => EventType::JobLeaseExpired,
            TransitionKind::WorkerDown => EventType::JobWorkerDown,
            TransitionKind::Failed => EventType::JobFailed,
            TransitionKind::Cancelled => EventType::JobCancelled,
            TransitionKind::Expired => EventType::JobExpired,
            TransitionKind::Retried => EventType::JobRetried,
        },
    }
}

fn queue_of(what: &Happening) -> Option<&QueueName> {
    match what {
        Happening::Job(transition) => Some(&transition.queue),
        Happening::LeaderElected(_) | Happening::Host(_) | Happening::Gap(_) => None,
    }
}

fn shown(event: node::Event) -> Event {
    let shown = Event::new(event.id.to_string(), type_of(&event.what), event.at_ms);
    match event.what {
        Happening::LeaderElected(LeaderChange { term, leader, gap_ms, cause, at_ms: _ }) => Event {
            leader_id: Some(leader),
            term: Some(term),
            gap_ms: Some(gap_ms),
            cause: Some(cause.as_str().to_owned()),
            ..shown
        },
        Happening::Host(host) => of_host(host, shown),
        Happening::Job(transition) => of_job(transition, shown),
        Happening::Gap(gap) => Event {
            reason: Some(gap.reason.as_str().to_owned()),
            after: gap.after.map(|id| id.to_string()),
            missed: gap.missed,
            rev: Some(gap.rev),
            ..shown
        },
    }
}

fn of_host(host: Host, shown: Event) -> Event {
    Event {
        node_id: Some(host.name),
        kind: host.kind.map(kind),
        incarnation: Some(host.incarnation),
        ..shown
    }
}

fn of_job(transition: Transition, shown: Event) -> Event {
    let Transition { kind: _, job, queue, work_type, state, rev, attempt } = transition;
    let shown = Event {
        work_id: Some(job),
        queue: Some(queue),
        work_type: Some(work_type),
        state: Some(state),
        rev: Some(rev),
        ..shown
    };
    let Some(attempt) = attempt else { return shown };
    Event {
        attempt: Some(attempt.number),
        token: Some(attempt.token),
        node_id: Some(attempt.worker.as_str().to_owned()),
        end: attempt.end,
        ..shown
    }
}

/// The pieces as a body of unknown length, which ends when they do.
#[derive(Debug)]
struct Stream(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
