//! The socket as hyper gets it: it reports to the connection's [`Activity`], turns the answers that
//! hyper makes on its own into the contract's JSON, and closes so that a refusal is read.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::connection::Activity;
use crate::wire::{ApiError, Code};

/// How long a closing connection still reads what the client is sending. Closing with unread bytes
/// resets the connection, and the client would lose the answer that says why (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);

/// A byte stream between a client and hyper.
#[derive(Debug)]
pub(super) struct Stream<S> {
    inner: S,
    activity: Arc<Activity>,
    /// An answer that goes out in the place of hyper's own.
    substitute: Option<bytes::Bytes>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Stream<S> {
    pub(super) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity, substitute: None, linger: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.on_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Stream<S> {
    fn poll_write_some(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        match written {
            Poll::Pending => self.activity.on_write_blocked(),
            Poll::Ready(Ok(bytes)) => self.activity.on_write_progress(bytes as u64),
            Poll::Ready(Err(_)) => self.activity.on_write_progress(0),
        }
        written
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.substitute.is_none() {
            self.substitute = substitute(bytes);
        }
        let Some(mut answer) = self.substitute.take() else {
            return self.poll_write_some(context, bytes);
        };
        while answer.has_remaining() {
            match self.poll_write_some(context, &answer) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => answer.advance(written),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending => {
                    self.substitute = Some(answer);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.activity.on_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(context))?;
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut discarded = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// What to send instead of an answer that hyper made on its own, to a request that it could not read:
/// those have no body. No answer of ours looks like one: they have bodies, and within a JSON body no
/// line can read `content-length: 0`.
fn substitute(written: &[u8]) -> Option<bytes::Bytes> {
    let status = written.strip_prefix(b"HTTP/1.1 ").or(written.strip_prefix(b"HTTP/1.0 "))?;
    let error = match status.get(..4)? {
        b"400 " => ApiError::new(Code::InvalidJson, "The request is not HTTP."),
        b"414 " | b"431 " => {
            ApiError::new(Code::PayloadTooLarge, "The request's head is too large.")
                .with("field", "header")
        }
        _ => return None,
    };
    let is_whole = written.ends_with(b"\r\n\r\n");
    let is_empty = written.windows(19).any(|line| line == b"content-length: 0\r\n");
    (is_whole && is_empty).then(|| rendered(&error))
}

fn rendered(error: &ApiError) -> bytes::Bytes {
    let body = serde_json::to_string(error).expect("an error is JSON");
    let status = error.code.http_status();
    let reason = hyper::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hypers_own_refusals_are_replaced() {
        let own = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        let replaced = substitute(own).unwrap();
        assert!(replaced.starts_with(b"HTTP/1.1 413 Payload Too Large\r\n"));
        assert!(replaced.ends_with(b"}"));
        let ours = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
        assert!(substitute(ours).is_none());
        assert!(substitute(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_none());
        assert!(substitute(b"").is_none());
    }
}
