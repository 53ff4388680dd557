//! Who may order a node about, and the process that carries such orders out.

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};

use super::{
    answer::Failure,
    call::Call,
    gate::{self, Site},
};
use crate::wire::{ApiError, Code, Setting};

/// The process around the server: whoever composes one tells it what to do when it is ordered about.
pub trait Operator: fmt::Debug + Send + Sync {
    /// Begins to stop the process as SIGTERM does, and returns at once.
    fn shut_down(&self);

    /// Every setting, as it is now.
    fn settings(&self) -> Vec<Setting>;

    /// Changes settings while the process runs: all of them, or none and `invalid_argument`.
    fn change(&self, values: &BTreeMap<String, String>) -> Result<(), ApiError>;
}

/// The address that a request's connection comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

impl Peer {
    fn is_local(self) -> bool {
        self.0.to_canonical().is_loopback()
    }
}

/// A call that came from this machine. Until requests are authenticated, that is what sets an
/// operator apart: `--insecure` opens the queue to everyone who reaches the port, not the process.
#[derive(Debug)]
pub(super) struct LocalCall(pub(super) Call);

impl FromRequest<Site> for LocalCall {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Response> {
        let peer = request.extensions().get::<Peer>().copied();
        let checked = check_host(&request);
        let call = Call::from_request(request, site).await?;
        let checked = checked.and_then(|()| check_peer(peer));
        checked.map(|()| Self(call)).map_err(|error| Failure::from(error).into_response())
    }
}

fn check_peer(peer: Option<Peer>) -> Result<(), ApiError> {
    if peer.is_some_and(Peer::is_local) {
        return Ok(());
    }
    let error = "This answers to connections from the node's own machine alone.";
    Err(ApiError::new(Code::Forbidden, error))
}

/// A page that a browser of this machine shows connects from here as well, and DNS rebinding gives it
/// this server as its origin. A server on an open address goes by any name but for this.
fn check_host(request: &Request) -> Result<(), ApiError> {
    match gate::host(request.uri(), request.headers())? {
        Some(host) if !gate::is_nobody_elses(host) => {
            let error = format!("This answers to localhost and addresses, not to {host:?}.");
            Err(ApiError::new(Code::Forbidden, error).with("field", "Host"))
        }
        _ => Ok(()),
    }
}

impl LocalCall {
    /// The process to order about.
    pub(super) fn operator(&self) -> Result<&Arc<dyn Operator>, ApiError> {
        let nobody = || {
            let error = "This server is a part of another program, which takes no such orders.";
            ApiError::new(Code::Forbidden, error)
        };
        self.0.site.operator.as_ref().ok_or_else(nobody)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_rebound_to_this_machine_orders_nothing() {
        let to = |host: &str| {
            let request = Request::builder().uri("/admin/shutdown").header("Host", host);
            check_host(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert_eq!(to("evil.example:8770").unwrap_err().code, Code::Forbidden);
        assert_eq!(to("localhost:8770"), Ok(()));
        assert_eq!(to("127.0.0.1:8770"), Ok(()));
    }

    #[test]
    fn only_this_machine_orders_the_process_about() {
        let is_local = |address: &str| Peer(address.parse().unwrap()).is_local();
        for local in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "fe80::1"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
