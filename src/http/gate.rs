//! What every request passes on its way in, and every answer on its way out.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{Router, extract::Request, response::IntoResponse};
use hyper::{
    HeaderMap, Response, Uri, Version,
    body::Incoming,
    header::{CONNECTION, HOST, HeaderName, HeaderValue, ORIGIN},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use tokio::time::Instant;

use super::{
    Exposure, Limits, Operator,
    answer::{Failure, X_QUEUE_REV},
    body::{Budget, Tracked},
    connection::Activity,
    meters::Meters,
    operator::Peer,
};
use crate::{
    node::Handle,
    queue::Rev,
    wire::{ApiError, Code},
};

const X_QUEUE_NODE: HeaderName = HeaderName::from_static("x-queue-node");
const X_QUEUE_LEADER: HeaderName = HeaderName::from_static("x-queue-leader");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every handler holds: the node's handle, and how this server was set up.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) handle: Handle,
    pub(super) limits: Arc<Limits>,
    pub(super) budget: Budget,
    pub(super) bound: SocketAddr,
    pub(super) exposure: Exposure,
    pub(super) meters: Meters,
    pub(super) operator: Option<Arc<dyn Operator>>,
}

/// The one door: admits a request, has it routed, and stamps the answer.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    site: Site,
    /// This node's name.
    node: HeaderValue,
    router: TowerToHyperService<Router>,
    is_closing: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn new(site: Site, router: Router) -> Self {
        let node = text(&site.handle.status().raft.me.label);
        let router = TowerToHyperService::new(router);
        Self { site, node, router, is_closing: Arc::default() }
    }

    /// From now on each answer over HTTP/1 is the last of its connection, and says so.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Has everyone answered who waits for something to happen.
    pub(super) fn end_waits(&self) {
        self.site.handle.end_waits();
    }

    /// Answers one request of this connection. Never fails: a failure is an answer.
    pub(super) async fn answer(
        self,
        activity: Arc<Activity>,
        peer: Peer,
        mut request: hyper::Request<Incoming>,
    ) -> Response<Tracked> {
        let (method, came_at) = (request.method().clone(), Instant::now());
        let version = request.version();
        let in_flight = activity.begin(version);
        let id = request_id(request.headers(), &self.site.handle);
        let mut response = match admitted(&request, &self.site) {
            Ok(()) => {
                request.extensions_mut().insert(activity);
                request.extensions_mut().insert(peer);
                let request: Request = request.map(axum::body::Body::new);
                let Ok(response) = self.router.call(request).await;
                response
            }
            Err(refusal) => Failure::from(refusal).into_response(),
        };
        self.site.meters.answered(&method, &response, came_at.elapsed());
        // HTTP/2 has a frame for it.
        if version < Version::HTTP_2 && self.is_closing.load(Ordering::Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.stamp(response.headers_mut(), id);
        response.map(|body| Tracked::new(body, in_flight))
    }

    fn stamp(self, headers: &mut HeaderMap, request_id: HeaderValue) {
        let handle = &self.site.handle;
        headers.insert(X_REQUEST_ID, request_id);
        headers.insert(X_QUEUE_LEADER, text(&handle.leader().unwrap_or_default()));
        if !headers.contains_key(X_QUEUE_REV) {
            let Rev(rev) = handle.rev();
            headers.insert(X_QUEUE_REV, rev.into());
        }
        headers.insert(X_QUEUE_NODE, self.node);
    }
}

fn admitted<B>(request: &hyper::Request<B>, site: &Site) -> Result<(), ApiError> {
    let bytes = head_bytes(request.uri(), request.headers());
    if bytes > site.limits.header_bytes_max {
        return Err(ApiError::too_large("header", bytes, site.limits.header_bytes_max));
    }
    let host = host(request.uri(), request.headers())?;
    check_host(host, site.bound)?;
    check_origin(request.headers(), host)
}

/// The head's size on HTTP/1.1: each header with its colon, space and line end.
fn head_bytes(uri: &Uri, headers: &HeaderMap) -> usize {
    let headers = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    headers.sum::<usize>() + uri.path().len() + uri.query().map_or(0, str::len)
}

/// The host that the client meant to reach, with its port; `None` from HTTP/1.0 clients.
pub(super) fn host<'request>(
    uri: &'request Uri,
    headers: &'request HeaderMap,
) -> Result<Option<&'request str>, ApiError> {
    let invalid = || ApiError::invalid("Host", "must be sent once, as host or host:port");
    let mut hosts = headers.get_all(HOST).iter();
    let header = hosts.next().map(|host| host.to_str().map_err(|_| invalid())).transpose()?;
    if hosts.next().is_some() {
        return Err(invalid());
    }
    Ok(uri.authority().map(hyper::http::uri::Authority::as_str).or(header))
}

/// A page of another site can have its name point at 127.0.0.1 (DNS rebinding), and then its scripts
/// count as same-origin here. The name that it was loaded under still stands in `Host`.
fn check_host(host: Option<&str>, bound: SocketAddr) -> Result<(), ApiError> {
    let Some(host) = host.filter(|_| bound.ip().is_loopback()) else { return Ok(()) };
    let name = without_port(host);
    let is_ours = ["localhost", "127.0.0.1", "[::1]"].contains(&name.to_ascii_lowercase().as_str())
        || name.trim_matches(['[', ']']).parse() == Ok(bound.ip());
    if is_ours {
        return Ok(());
    }
    let error = format!("This node answers to localhost and {}, not to {name:?}.", bound.ip());
    Err(ApiError::new(Code::Forbidden, error).with("field", "Host"))
}

/// Whether nobody else can have that name point at this machine: it is an address, or `localhost`.
pub(super) fn is_nobody_elses(host: &str) -> bool {
    let name = without_port(host);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    is_address || name.eq_ignore_ascii_case("localhost")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Browsers name the page's origin on every cross-origin request. This API offers no CORS.
fn check_origin(headers: &HeaderMap, host: Option<&str>) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin.strip_prefix("http://").or(origin.strip_prefix("https://"));
    if authority.is_some() && authority == host {
        return Ok(());
    }
    let error = "Requests of web pages of another origin are refused.";
    Err(ApiError::new(Code::Forbidden, error).with("field", "Origin"))
}

/// The client's own id for the request when it is safe to print, else a fresh one.
fn request_id(headers: &HeaderMap, handle: &Handle) -> HeaderValue {
    let given = headers.get(X_REQUEST_ID).filter(|id| {
        (1..=128).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(|| text(&handle.fresh_id()))
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_node_answers_only_to_its_own_names() {
        let bound = "127.0.0.2:8770".parse().unwrap();
        for host in
            ["localhost", "LOCALHOST:8770", "127.0.0.1:1", "[::1]:8770", "[::1]", "127.0.0.2"]
        {
            assert!(check_host(Some(host), bound).is_ok(), "{host}");
        }
        assert!(check_host(None, bound).is_ok());
        for host in ["evil.example", "localhost.evil.example:8770", "127.0.0.3", "", "10.0.0.1:80"]
        {
            assert_eq!(check_host(Some(host), bound).unwrap_err().code, Code::Forbidden, "{host}");
        }
        assert!(check_host(Some("queue.example"), "0.0.0.0:8770".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_name_that_others_can_point_here_is_told_from_an_address() {
        for host in ["localhost:8770", "LocalHost", "127.0.0.1", "[::1]:8770", "10.1.2.3:8770"] {
            assert!(is_nobody_elses(host), "{host}");
        }
        for host in ["evil.example:8770", "n1", "", "127.0.0.1.evil.example", "localhost.example"] {
            assert!(!is_nobody_elses(host), "{host}");
        }
    }

    #[test]
    fn only_a_page_of_this_origin_is_answered() {
        let check = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            check_origin(&headers, Some("localhost:8770"))
        };
        assert!(check("http://localhost:8770").is_ok());
        for origin in ["null", "http://localhost:3000", "http://evil.example", "file://", ""] {
            assert_eq!(check(origin).unwrap_err().code, Code::Forbidden, "{origin}");
        }
        assert!(check_origin(&HeaderMap::new(), None).is_ok());
    }
}
