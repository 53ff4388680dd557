//! An answer that is too long to hold: taken piece by piece.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{Uri, body::Incoming};
use tokio::time::timeout;

use super::{ClientError, transport::innermost};

/// An answer on its way. Dropped, its connection is closed.
#[derive(Debug)]
pub struct Download {
    address: Uri,
    body: Incoming,
    /// The longest pause between two pieces.
    patience: Duration,
}

impl Download {
    pub(super) fn new(address: Uri, body: Incoming, patience: Duration) -> Self {
        Self { address, body, patience }
    }

    /// The server that it comes from.
    pub(super) fn address(&self) -> &Uri {
        &self.address
    }

    /// The same, with another longest pause between two pieces.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The next piece; `None` at the end, which the server marks: one that breaks off is an error.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            let frame = match timeout(self.patience, self.body.frame()).await {
                Err(_) => return Some(Err(self.broken_off("nothing came for too long"))),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(self.broken_off(&innermost(&error)))),
                Ok(Some(Ok(frame))) => frame,
            };
            if let Ok(piece) = frame.into_data() {
                return Some(Ok(piece));
            }
        }
    }

    fn broken_off(&self, reason: &str) -> ClientError {
        let addresses = self.address.to_string();
        ClientError::Unreachable { addresses, reason: format!("the answer broke off: {reason}") }
    }
}
