//! One call over many servers: an address list, a deadline, and repeats that keep their identity.
//!
//! Every request that comes in here is safe to repeat (the calls give each write its identity), so a
//! server that does not answer, or that answers "not now", costs one step to the next address.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, Uri, body::Incoming, header};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, timeout};

use super::{ClientError, Download, Options, servers::Servers};
use crate::wire::{ApiError, Applied, Code};

/// An address that takes no connection within this is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a server may hold a request while there is no leader, when it is the only one …
const HOLD_OF_ONE: Duration = Duration::from_secs(5);
/// … and when there is another to go to. Ten failovers fit into it (guarantees L2: 500 ms).
const HOLD_OF_MANY: Duration = Duration::from_secs(2);
/// What an answer may take beyond what the server was asked to wait.
const GRACE: Duration = Duration::from_secs(1);
/// A server that has said nothing for so long is asked whether it is there: while it has a long poll or a
/// long answer under way …
const QUIET: Duration = Duration::from_secs(1);
/// … and while it has a call that is done at once, unless there is no leader.
const QUIET_AT_WORK: Duration = Duration::from_millis(300);
/// It has so long to answer that. One that does not takes no call for a while.
const ASKED_PATIENCE: Duration = Duration::from_millis(1500);
/// The first pause between two rounds through the addresses; it doubles up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// No answer is longer: 1000 payloads at the usual size stay well below.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// One call: what to send when there is still so much waiting to ask for.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// How long the server is asked to wait for something to happen.
    pub(super) wait: Duration,
    pub(super) persistence: Persistence,
    /// Path with query, and body, for what is left of `wait`. Everything else of it is fixed, its
    /// identity above all.
    pub(super) render: &'a (dyn Fn(Duration) -> Rendered + Send + Sync),
}

/// What a call does when every address has said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It pauses and tries them again; while nobody listens, for [`Options::patience`] only.
    UntilDeadline,
    /// The same, and while nobody listens as well: a server has answered what came before it.
    WhoeverListens,
    /// It says so: for questions about the present.
    OneRound,
}

/// One request, ready to send.
pub(super) struct Rendered {
    pub(super) path: String,
    pub(super) body: Bytes,
}

/// What came back with a status of success.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) address: Uri,
    pub(super) body: Bytes,
}

/// Sends calls. Clones share the connections and the knowledge of who answered last.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    pub(super) options: Arc<Options>,
    servers: Arc<Servers>,
}

/// The server that a long answer comes from.
#[derive(Debug)]
pub(super) struct Source {
    transport: Transport,
    place: usize,
}

/// How one attempt at one address ended.
enum Attempt {
    Answered(Bytes),
    Refused(Box<ApiError>),
    /// Certainly not carried out.
    NotSent(String),
    /// It may have been carried out.
    Lost(String),
    Nonsense(String),
}

/// What is known of a call over all its attempts so far.
#[derive(Default)]
struct Story {
    /// Whether an attempt may have been carried out.
    may_be_applied: bool,
    /// The longest pause that a server of the last round asked for.
    retry_after: Duration,
    last_refusal: Option<Box<ApiError>>,
    last_reason: String,
}

impl Transport {
    pub(super) fn new(options: Options) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        let servers = Arc::new(Servers::new(options.addresses.clone()));
        Self { http, options: Arc::new(options), servers }
    }

    /// Carries a call out, at whichever address answers, before its deadline.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<RawAnswer, ClientError> {
        let start = Instant::now();
        let deadline = start + self.options.timeout + call.wait;
        let mut story = Story::default();
        let mut pause = PAUSE_MIN;
        loop {
            if let Some(ended) = self.round(call, start, deadline, &mut story).await {
                return ended;
            }
            let is_patience_over = match call.persistence {
                Persistence::OneRound => true,
                Persistence::WhoeverListens => false,
                Persistence::UntilDeadline if story.has_been_heard() => false,
                Persistence::UntilDeadline => start.elapsed() >= self.options.patience,
            };
            let rest = jittered(pause).max(story.retry_after);
            if is_patience_over || Instant::now() + rest >= deadline {
                return Err(self.end(story));
            }
            sleep(rest).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Tries each address once, the one that answered last before the others and those that failed lately
    /// after them; `None` when no answer of theirs ends the call.
    async fn round(
        &self,
        call: &Call<'_>,
        start: Instant,
        deadline: Instant,
        story: &mut Story,
    ) -> Option<Result<RawAnswer, ClientError>> {
        story.retry_after = Duration::ZERO;
        for place in self.servers.by_preference() {
            if Instant::now() >= deadline {
                return None;
            }
            let address = self.servers.address(place);
            match self.attempt(call, place, start, deadline).await {
                Attempt::Answered(body) => {
                    self.servers.prefer(place);
                    return Some(Ok(RawAnswer { address: address.clone(), body }));
                }
                Attempt::Refused(error) if error.retryable => story.on_refusal(error),
                Attempt::Refused(error) => return Some(Err(ClientError::Api(error))),
                Attempt::NotSent(reason) => story.last_reason = reason,
                Attempt::Lost(reason) => story.on_loss(reason),
                Attempt::Nonsense(reason) => {
                    let address = address.to_string();
                    return Some(Err(ClientError::BadAnswer { address, reason }));
                }
            }
        }
        None
    }

    /// One attempt at one address. It never outlives `deadline`.
    async fn attempt(
        &self,
        call: &Call<'_>,
        place: usize,
        start: Instant,
        deadline: Instant,
    ) -> Attempt {
        let (address, now) = (self.servers.address(place), Instant::now());
        let remaining = deadline.saturating_duration_since(now);
        let wait = call.wait.saturating_sub(start.elapsed());
        let hold = if self.servers.len() == 1 { HOLD_OF_ONE } else { HOLD_OF_MANY };
        let left = remaining.saturating_sub(wait);
        // Less than is left: the server's word that nothing was applied has to arrive in time.
        let hold = hold.min(left.saturating_sub(GRACE.min(left / 4)));
        let rendered = (call.render)(wait);
        let request = match request(&call.method, address, rendered, hold) {
            Ok(request) => request,
            Err(reason) => return Attempt::NotSent(reason),
        };
        let quiet = if wait.is_zero() { QUIET_AT_WORK } else { QUIET };
        let exchange = timeout(remaining.min(wait + hold + GRACE), self.exchange(place, request));
        let attempt = tokio::select! {
            biased;
            ended = exchange => ended.map_err(|_| "did not answer in time"),
            () = self.servers.hangs(place, now, quiet, || self.is_there(place)) => {
                Err("does not answer at all")
            }
        };
        attempt.unwrap_or_else(|reason| {
            // A call that had less than this for the server has only run out of its own time.
            if now.elapsed() >= wait + GRACE {
                self.servers.note_failure(place);
            }
            Attempt::Lost(format!("{address} {reason}"))
        })
    }

    /// Whether anything answers there. It need not be well.
    async fn is_there(&self, place: usize) -> bool {
        let address = self.servers.address(place);
        let rendered = Rendered { path: "/health".to_owned(), body: Bytes::new() };
        let Ok(request) = request(&Method::GET, address, rendered, Duration::ZERO) else {
            return false;
        };
        let asked = async {
            match self.begin(request).await {
                // Read to its end, so that its connection serves again.
                Ok(response) => !matches!(read(address, response).await, Attempt::Lost(_)),
                Err(_) => false,
            }
        };
        timeout(ASKED_PATIENCE, asked).await.unwrap_or(false)
    }

    /// Opens an answer that is taken piece by piece, at the first address that gives one; asks each once.
    pub(super) async fn open(&self, path: &str) -> Result<Download, ClientError> {
        let mut story = Story::default();
        for place in self.servers.by_preference() {
            let address = self.servers.address(place);
            match self.open_at(place, path).await {
                Ok(download) => {
                    self.servers.prefer(place);
                    return Ok(download);
                }
                Err(Attempt::Refused(error)) if error.retryable => story.on_refusal(error),
                Err(Attempt::Refused(error)) => return Err(ClientError::Api(error)),
                // Nothing of a read is ever unknown: it changes nothing.
                Err(Attempt::NotSent(reason) | Attempt::Lost(reason)) => story.last_reason = reason,
                Err(Attempt::Nonsense(reason)) => {
                    return Err(ClientError::BadAnswer { address: address.to_string(), reason });
                }
                Err(Attempt::Answered(_)) => unreachable!("a success is a download"),
            }
        }
        Err(self.end(story))
    }

    async fn open_at(&self, place: usize, path: &str) -> Result<Download, Attempt> {
        let (address, now) = (self.servers.address(place), Instant::now());
        let patience = self.options.timeout;
        let rendered = Rendered { path: path.to_owned(), body: Bytes::new() };
        let request = request(&Method::GET, address, rendered, patience.saturating_sub(GRACE));
        let begun = self.begin_download(place, request.map_err(Attempt::NotSent)?);
        let ended = tokio::select! {
            biased;
            ended = timeout(patience, begun) => ended.map_err(|_| "did not answer in time"),
            () = self.servers.hangs(place, now, QUIET_AT_WORK, || self.is_there(place)) => {
                Err("does not answer at all")
            }
        };
        ended.unwrap_or_else(|reason| Err(Attempt::NotSent(format!("{address} {reason}"))))
    }

    /// Sends a request for a long answer, and notes what its beginning says of the server.
    async fn begin_download(
        &self,
        place: usize,
        request: Request<Full<Bytes>>,
    ) -> Result<Download, Attempt> {
        let begun = self.begin(request).await;
        let response = begun.inspect_err(|_| self.servers.note_failure(place))?;
        if says_goodbye(&response) {
            self.servers.note_failure(place);
        } else {
            self.servers.note_answer(place);
        }
        if response.status().is_success() {
            let source = Source { transport: self.clone(), place };
            return Ok(Download::new(source, response.into_body(), self.options.timeout));
        }
        Err(read(self.servers.address(place), response).await)
    }

    /// Sends a request and returns the head of its answer.
    async fn begin(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Attempt> {
        let address = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        self.http.request(request).await.map_err(|error| {
            let reason = format!("{address}: {}", innermost(&error));
            if error.is_connect() { Attempt::NotSent(reason) } else { Attempt::Lost(reason) }
        })
    }

    /// Sends a request, reads its answer, and notes what that says of the server.
    async fn exchange(&self, place: usize, request: Request<Full<Bytes>>) -> Attempt {
        let (attempt, is_leaving) = match self.begin(request).await {
            Ok(response) => {
                let is_leaving = says_goodbye(&response);
                (read(self.servers.address(place), response).await, is_leaving)
            }
            Err(attempt) => (attempt, false),
        };
        match &attempt {
            Attempt::NotSent(_) | Attempt::Lost(_) => self.servers.note_failure(place),
            _ if is_leaving => self.servers.note_failure(place),
            _ => self.servers.note_answer(place),
        }
        attempt
    }

    fn end(&self, story: Story) -> ClientError {
        match story {
            Story { last_refusal: Some(error), may_be_applied, .. }
                if !may_be_applied || is_unknown(&error) =>
            {
                ClientError::Api(error)
            }
            Story { may_be_applied: true, last_reason: reason, .. } => {
                ClientError::Unknown { reason }
            }
            Story { last_reason: reason, .. } => {
                ClientError::Unreachable { addresses: self.servers.listed(), reason }
            }
        }
    }
}

impl Source {
    pub(super) fn address(&self) -> &Uri {
        self.transport.servers.address(self.place)
    }

    /// More of the answer has come.
    pub(super) fn note_sign_of_life(&self) {
        self.transport.servers.note_sign_of_life(self.place);
    }

    /// Waits until the server, which has said nothing since then, does not answer a question either. Never
    /// returns while there is no other server to go to.
    pub(super) async fn hangs(&self, since: Instant) {
        let Self { transport, place } = self;
        transport.servers.hangs(*place, since, QUIET, || transport.is_there(*place)).await;
    }
}

impl Story {
    fn on_refusal(&mut self, error: Box<ApiError>) {
        let retry_after = Duration::from_millis(error.retry_after_ms().unwrap_or(0));
        self.retry_after = self.retry_after.max(retry_after);
        self.may_be_applied |= is_unknown(&error);
        self.last_reason.clone_from(&error.error);
        self.last_refusal = Some(error);
    }

    fn on_loss(&mut self, reason: String) {
        self.may_be_applied = true;
        self.last_reason = reason;
    }

    /// Whether any server has taken a request of this call.
    fn has_been_heard(&self) -> bool {
        self.may_be_applied || self.last_refusal.is_some()
    }
}

/// Whether a server says that the connection ends with this answer: it is about to stop, as a rule.
fn says_goodbye(response: &Response<Incoming>) -> bool {
    let connection = response.headers().get(header::CONNECTION);
    connection.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// Reads an answer to its end.
async fn read(address: &Uri, response: Response<Incoming>) -> Attempt {
    let (head, body) = response.into_parts();
    let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let address = address.authority().map(ToString::to_string).unwrap_or_default();
            return Attempt::Lost(format!("{address}: {}", innermost(&*error)));
        }
    };
    if head.status.is_success() {
        return Attempt::Answered(body);
    }
    match refusal(head.status, &body) {
        Some(error) => Attempt::Refused(Box::new(error)),
        None => Attempt::Nonsense(describe(head.status)),
    }
}

fn request(
    method: &Method,
    address: &Uri,
    rendered: Rendered,
    hold: Duration,
) -> Result<Request<Full<Bytes>>, String> {
    let base = address.to_string();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{}", base.trim_end_matches('/'), rendered.path))
        .header("X-Queue-Hold-Ms", u64::try_from(hold.as_millis()).unwrap_or(u64::MAX))
        .header(header::ACCEPT, "application/json");
    if !rendered.body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(Full::new(rendered.body)).map_err(|error| format!("{address}: {error}"))
}

fn is_unknown(error: &ApiError) -> bool {
    error.applied == Applied::Unknown
}

/// The error in a body. A code that only a newer server knows is read as the plainest one of the same
/// status; its own name stands in `details.code`.
fn refusal(status: StatusCode, body: &[u8]) -> Option<ApiError> {
    let mut error: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let given = error.get("code")?.clone();
    if Code::deserialize(&given).is_ok() {
        return serde_json::from_value(error.into()).ok();
    }
    error.insert("code".into(), plainest(status)?.as_str().into());
    let error: ApiError = serde_json::from_value(error.into()).ok()?;
    Some(error.with("code", given))
}

fn plainest(status: StatusCode) -> Option<Code> {
    Some(match status {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthorized,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::WrongState,
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => Code::NotReady,
        StatusCode::GATEWAY_TIMEOUT => Code::OutcomeUnknown,
        _ => return None,
    })
}

fn describe(status: StatusCode) -> String {
    format!("HTTP status {status} without an error in JSON")
}

/// The last cause of an error: "connection refused" rather than "client error (Connect)".
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Between half the pause and all of it, so that many clients do not come back as one.
pub(super) fn jittered(pause: Duration) -> Duration {
    let roll = RandomState::new().hash_one(0) % 1024;
    pause / 2 + pause / 2 * u32::try_from(roll).unwrap_or(0) / 1024
}
