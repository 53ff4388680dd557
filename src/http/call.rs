//! A request as a handler gets it: read whole, within its bounds.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper::{HeaderMap, Method};

use super::{
    answer::{Answer, Failure},
    body, command,
    connection::Activity,
    failure::{Place, accepted},
    gate::Site,
    present,
};
use crate::{
    node::Consistency,
    queue::{self, Action, Command, JobId, NewJob, Operation, Outcome, RequestId, Rev},
    wire::{AddRequest, ApiError, CompleteRequest},
};

/// The longest that a request may ask to be held.
pub(super) const HOLD_MS_MAX: u64 = 60_000;

/// One call, read to its end.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) site: Site,
    /// How long it may wait for a leader.
    pub(super) hold: Duration,
    /// The query, without its question mark.
    pub(super) query: Option<String>,
    /// Empty on a GET. See [`Call::take_body`].
    body: Bytes,
    /// The header `Idempotency-Key`.
    pub(super) idempotency_key: Option<RequestId>,
    /// The connection that it came over.
    pub(super) activity: Arc<Activity>,
}

impl FromRequest<Site> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Response> {
        read(request, site).await.map_err(IntoResponse::into_response)
    }
}

async fn read(request: Request, site: &Site) -> Result<Call, Failure> {
    let (mut parts, body) = request.into_parts();
    let activity = parts.extensions.remove().expect("the gate adds the connection's activity");
    let hold = hold(&parts.headers, site.limits.hold.get())?;
    let idempotency_key = idempotency_key(&parts.headers)?;
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => body::read(&parts.headers, body, &site.limits, &site.budget)
            .await
            .map_err(|error| Failure { closes_connection: true, ..error.into() })?,
    };
    let query = parts.uri.query().map(str::to_owned);
    Ok(Call { site: site.clone(), hold, query, body, idempotency_key, activity })
}

impl Call {
    /// The body, to be read once and let go: a request that then waits must not keep it, for it may
    /// be 8 MiB of blanks, which nothing counts any more.
    pub(super) fn take_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }

    /// The body of a call that takes no query.
    pub(super) fn body_alone(&mut self) -> Result<Bytes, ApiError> {
        self.no_query()?;
        Ok(self.take_body())
    }

    /// Refuses a parameter by its name where none is taken: whoever says something there would else
    /// believe that it was heard.
    pub(super) fn no_query(&self) -> Result<(), ApiError> {
        let Some(query) = self.query.as_deref().filter(|query| !query.is_empty()) else {
            return Ok(());
        };
        let name = query.split(['=', '&']).next().unwrap_or_default();
        Err(ApiError::invalid(name, "is in the query, where this call takes nothing"))
    }

    /// A job with its identity: its own id, or one made from the caller's key for the request and its
    /// place in it (so that a repeat makes the same one), or a fresh one.
    pub(super) fn new_job(
        &self,
        mut job: AddRequest,
        index: usize,
        key: Option<&RequestId>,
    ) -> Result<NewJob, ApiError> {
        let id = match (job.work_id.take(), key) {
            (Some(id), _) => id,
            (None, None) => self.fresh_job_id(),
            (None, Some(key)) => JobId::parse(&format!("{key}:{index}")).map_err(|_| {
                ApiError::invalid("request_id", "must be at most 120 characters for this call")
            })?,
        };
        Ok(command::new_job(id, job))
    }

    fn fresh_job_id(&self) -> JobId {
        JobId::parse(&self.site.handle.fresh_id()).expect("a fresh id is a name")
    }

    pub(super) fn fresh_request_id(&self) -> RequestId {
        RequestId::parse(&self.site.handle.fresh_id()).expect("a fresh id is a name")
    }

    /// Carries out an operation under the id that its body (`named`) or the header gives it, else
    /// under a fresh one: then it is known again when a node repeats it, and not when its client does.
    pub(super) async fn operate(
        &self,
        named: Option<RequestId>,
        action: Action,
    ) -> Result<(queue::Answer, Rev), Failure> {
        let given = one_of(named, self.idempotency_key.clone())?;
        let request_id = given.unwrap_or_else(|| self.fresh_request_id());
        let outcome = self.submit_one(Command::Operate(Operation { request_id, action })).await?;
        accepted(outcome, Place::Alone)
    }

    /// A completion, with an identity for each job of `then`.
    pub(super) fn complete(&self, complete: CompleteRequest) -> Command {
        Command::Complete(command::complete(complete, || self.fresh_job_id()))
    }

    /// Carries out commands; one outcome for each, in order.
    pub(super) async fn submit(&self, commands: Vec<Command>) -> Result<Vec<Outcome>, Failure> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.site.handle.submit(commands, self.hold).await?)
    }

    /// The revision after these outcomes; with none, that of a read, so that `rev` respects real time
    /// on an answer to nothing as well (S12).
    pub(super) async fn rev_after(&self, outcomes: &[Outcome]) -> Result<Rev, Failure> {
        if let Some(last) = outcomes.last() {
            return Ok(last.rev);
        }
        let now = self.site.handle.read(Consistency::Linearizable, self.hold, |_| ());
        Ok(now.await?.rev)
    }

    /// Carries out one command.
    pub(super) async fn submit_one(&self, command: Command) -> Result<Outcome, Failure> {
        let outcomes = self.submit(vec![command]).await?;
        Ok(outcomes.into_iter().next().expect("one outcome a command"))
    }

    /// Carries out one command on one job, and answers what it did.
    pub(super) async fn settle(&self, job: JobId, command: Command) -> Result<Answer, Failure> {
        let outcome = self.submit_one(command).await?;
        let (answer, rev) = accepted(outcome, Place::Batch("then"))?;
        Ok(Answer::ok(&present::settled(job, answer, rev)).at(rev))
    }
}

fn hold(headers: &HeaderMap, unless_said: Duration) -> Result<Duration, ApiError> {
    let Some(header) = headers.get("x-queue-hold-ms") else { return Ok(unless_said) };
    let hold_ms = header.to_str().ok().and_then(|text| text.parse().ok());
    let Some(hold_ms) = hold_ms.filter(|hold_ms| *hold_ms <= HOLD_MS_MAX) else {
        let reason = format!("must be an integer from 0 to {HOLD_MS_MAX}");
        return Err(ApiError::invalid("X-Queue-Hold-Ms", reason));
    };
    Ok(Duration::from_millis(hold_ms))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<RequestId>, ApiError> {
    let Some(header) = headers.get("idempotency-key") else { return Ok(None) };
    let key = RequestId::parse(header.to_str().unwrap_or_default());
    key.map(Some).map_err(|fault| ApiError::invalid("Idempotency-Key", fault))
}

/// A request's one identity, wherever it stands.
fn one_of(
    named: Option<RequestId>,
    header: Option<RequestId>,
) -> Result<Option<RequestId>, ApiError> {
    if named.is_some() && header.is_some() && named != header {
        let reason = "is not what the header `Idempotency-Key` says; send one of them";
        return Err(ApiError::invalid("request_id", reason));
    }
    Ok(named.or(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_identity() {
        let id = |name: &str| Some(RequestId::parse(name).unwrap());
        assert_eq!(one_of(None, None).unwrap(), None);
        assert_eq!(one_of(id("a"), None).unwrap(), id("a"));
        assert_eq!(one_of(None, id("b")).unwrap(), id("b"));
        assert_eq!(one_of(id("a"), id("a")).unwrap(), id("a"));
        assert_eq!(one_of(id("a"), id("b")).unwrap_err().details["field"], "request_id");
    }

    fn held(value: &'static str) -> Result<Duration, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-queue-hold-ms", hyper::header::HeaderValue::from_static(value));
        hold(&headers, Duration::from_secs(5))
    }

    /// api 1.hold.header
    #[test]
    fn a_hold_is_the_servers_unless_asked_and_at_most_a_minute() {
        let servers = Duration::from_millis(7);
        assert_eq!(hold(&HeaderMap::new(), servers).unwrap(), servers);
        assert_eq!(held("250").unwrap(), Duration::from_millis(250));
        for value in ["60001", "-1", "5s", ""] {
            assert_eq!(held(value).unwrap_err().details["field"], "X-Queue-Hold-Ms");
        }
    }
}
