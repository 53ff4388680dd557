//! Bodies: reading one within its bounds, and an answer's own.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap,
    body::{Frame, SizeHint},
    header::CONTENT_LENGTH,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{
    Limits,
    connection::{Activity, InFlight},
    delivery::Grants,
};
use crate::wire::{ApiError, Code};

/// The memory that all bodies being read share.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// What a body takes of the [`Budget`] until it is dropped.
#[derive(Debug, Default)]
struct Share(Option<OwnedSemaphorePermit>);

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS))))
    }

    fn take(&self, bytes: usize, share: &mut Share) -> Result<(), ApiError> {
        let busy = || {
            ApiError::new(Code::RateLimited, "Too many large requests are being read.")
                .with("retry_after_ms", 1000)
        };
        let bytes = u32::try_from(bytes).map_err(|_| busy())?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| busy())?;
        match &mut share.0 {
            Some(permit) => permit.merge(more),
            None => share.0 = Some(more),
        }
        Ok(())
    }
}

/// Reads a whole body within its bounds of size and time. On an error the rest is still on its way,
/// so the connection must not be used again.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: &Limits,
    budget: &Budget,
) -> Result<Bytes, ApiError> {
    let bytes_max = limits.body_bytes_max;
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let (mut share, mut read, start) = (Share::default(), BytesMut::new(), Instant::now());
    loop {
        let patience = patience(limits, read.len(), start.elapsed());
        let Ok(frame) = timeout(patience, body.frame()).await else { return Err(too_slow()) };
        let Some(frame) = frame else { return Ok(read.freeze()) };
        let Ok(chunk) = frame.map_err(|fault| broken_off(&fault))?.into_data() else { continue };
        if read.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        budget.take(chunk.len(), &mut share)?;
        read.extend_from_slice(&chunk);
    }
}

/// How long the next piece of a body may take: the idle timeout, and whatever a body at the least
/// rate would still have after that timeout's start.
fn patience(limits: &Limits, received: usize, elapsed: Duration) -> Duration {
    let idle = limits.body_idle_timeout;
    let rate = f64::from(limits.body_bytes_per_second_min.max(1));
    let received = u32::try_from(received).unwrap_or(u32::MAX);
    let allowed = idle + Duration::from_secs_f64(f64::from(received) / rate);
    idle.min(allowed.saturating_sub(elapsed))
}

fn too_large(bytes_max: usize) -> ApiError {
    let error = format!("The body is over {bytes_max} bytes; send fewer items at once.");
    ApiError::new(Code::PayloadTooLarge, error).with("field", "body").with("bytes_max", bytes_max)
}

fn too_slow() -> ApiError {
    ApiError::new(Code::InvalidJson, "The body did not come in time.").with("field", "body")
}

fn broken_off(fault: &axum::Error) -> ApiError {
    let error = format!("The body did not come whole: {fault}.");
    ApiError::new(Code::InvalidJson, error).with("field", "body")
}

/// The body of an answer: one piece, and the grants that go with it.
#[derive(Debug)]
pub(super) struct AnswerBody {
    bytes: Option<Bytes>,
    delivery: Option<(Arc<Activity>, Grants)>,
}

impl AnswerBody {
    pub(super) fn new(bytes: Bytes, delivery: Option<(Arc<Activity>, Grants)>) -> Self {
        Self { bytes: Some(bytes), delivery }
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if let Some((activity, grants)) = self.delivery.take() {
            activity.on_answer_taken(grants);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Any answer's body, and the request that is in flight until the last of its pieces is written.
#[derive(Debug)]
pub(super) struct Tracked {
    body: Body,
    /// Its length was not known when it began: each piece has a deadline of its own.
    is_stream: bool,
    in_flight: Arc<InFlight>,
}

impl Tracked {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        let size = hyper::body::Body::size_hint(&body);
        let in_flight = in_flight.answered(size.upper().unwrap_or(size.lower()));
        Self { body, is_stream: size.exact().is_none(), in_flight: Arc::new(in_flight) }
    }
}

impl hyper::body::Body for Tracked {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let (in_flight, is_stream) = (&self.in_flight, self.is_stream);
        let held = |bytes: Bytes| {
            if is_stream {
                in_flight.goes_on(bytes.len() as u64);
            }
            Piece { bytes, is_stream, in_flight: Arc::clone(in_flight) }
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(held))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer. An HTTP/2 stream takes it whole and holds back what its client's window
/// does not let out; so it is the piece, not the body, that tells when the answer is written.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    is_stream: bool,
    in_flight: Arc<InFlight>,
}

impl Drop for Piece {
    fn drop(&mut self) {
        if self.is_stream {
            self.in_flight.taken();
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, written: usize) {
        self.bytes.advance(written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_keep_up_with_the_least_rate() {
        let limits = Limits::default();
        let patience =
            |received, seconds| patience(&limits, received, Duration::from_secs(seconds)).as_secs();
        assert_eq!(patience(0, 0), 10);
        assert_eq!(patience(0, 4), 6);
        assert_eq!(patience(11, 11), 0);
        assert_eq!(patience(1 << 20, 11), 10);
    }

    #[test]
    fn bodies_share_one_budget() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (Share::default(), Share::default());
        budget.take(6, &mut one).unwrap();
        assert_eq!(budget.take(6, &mut other).unwrap_err().code, Code::RateLimited);
        drop(one);
        budget.take(6, &mut other).unwrap();
    }
}
