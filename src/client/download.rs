//! An answer that is too long to hold: taken piece by piece.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Uri, body::Incoming};
use tokio::time::{Instant, timeout};

use super::{
    ClientError,
    transport::{Source, innermost},
};

/// An answer on its way. Dropped, its connection is closed.
#[derive(Debug)]
pub struct Download {
    source: Source,
    body: Incoming,
    /// The longest pause between two pieces.
    patience: Duration,
}

impl Download {
    pub(super) fn new(source: Source, body: Incoming, patience: Duration) -> Self {
        Self { source, body, patience }
    }

    /// The server that it comes from.
    pub(super) fn address(&self) -> &Uri {
        self.source.address()
    }

    /// The same, with another longest pause between two pieces.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The next piece; `None` at the end, which the server marks: one that breaks off is an error, and so is
    /// one of a server that answers nothing else either, while the client has another to go to.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            let waits_since = Instant::now();
            let frame = tokio::select! {
                biased;
                frame = timeout(self.patience, self.body.frame()) => frame,
                () = self.source.hangs(waits_since) => {
                    return Some(Err(self.broken_off("the server does not answer at all")));
                }
            };
            let frame = match frame {
                Err(_) => return Some(Err(self.broken_off("nothing came for too long"))),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(self.broken_off(&innermost(&error)))),
                Ok(Some(Ok(frame))) => frame,
            };
            self.source.note_sign_of_life();
            if let Ok(piece) = frame.into_data() {
                return Some(Ok(piece));
            }
        }
    }

    fn broken_off(&self, reason: &str) -> ClientError {
        let addresses = self.address().to_string();
        ClientError::Unreachable { addresses, reason: format!("the answer broke off: {reason}") }
    }
}
