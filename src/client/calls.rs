//! The calls, one method a route.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep_until};
use ulid::Ulid;

use super::{
    ClientError, Download, Options,
    transport::{Call, Persistence, Rendered, Transport},
};
use crate::{
    queue::{JobId, JobState, RequestId, Token},
    wire::{
        AddBatchRequest, AddBatchResponse, AddRequest, AddResponse, CancelRequest,
        ClaimBatchResponse, ClaimRequest, ClaimResponse, CompleteRequest, ElectionStatus,
        FailRequest, GetResponse, Health, HeartbeatRequest, HeartbeatResponse, HistoryResponse,
        NodeStatus, PeersResponse, Ready, ReleaseRequest, SettleResponse, StartRequest,
        WAIT_MS_MAX, WorkStatus,
    },
};

/// The pause between two long polls of one call.
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// Talks to a cluster through any of its nodes. Clones share connections; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) transport: Transport,
}

/// An answer, as types and as it came.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// What it says.
    pub value: T,
    /// The bytes of the HTTP answer, with whatever a newer server says beyond `value`.
    pub body: Bytes,
}

/// The calls. Each tries the addresses in turn until one answers or its time is up; see
/// [`ClientError`] for what is known after each failure.
impl Client {
    /// A client of these servers. Nothing is sent yet.
    ///
    /// # Panics
    /// When `options` names no address.
    pub fn new(options: Options) -> Self {
        Self { transport: Transport::new(options) }
    }

    /// Adds a job; one without `work_id` is given a fresh one.
    pub async fn add(&self, mut job: AddRequest) -> Result<Answer<AddResponse>, ClientError> {
        job.work_id.get_or_insert_with(fresh_job_id);
        self.post("/work/add", &job).await
    }

    /// Adds jobs; those without `work_id` are given fresh ones.
    pub async fn add_batch(
        &self,
        mut batch: AddBatchRequest,
    ) -> Result<Answer<AddBatchResponse>, ClientError> {
        for job in &mut batch.items {
            job.work_id.get_or_insert_with(fresh_job_id);
        }
        self.post("/work/add_batch", &batch).await
    }

    /// Claims one job, waiting for one as long as `wait_ms` says (longer than one long poll, if so).
    /// A claim without `request_id` is given a fresh one.
    pub async fn claim(&self, claim: ClaimRequest) -> Result<Answer<ClaimResponse>, ClientError> {
        let is_over = |answer: &ClaimResponse| answer.work.is_some();
        self.claim_at("/work/claim", claim, is_over).await
    }

    /// Claims up to `max` jobs, waiting as [`Client::claim`] does until there is at least one.
    pub async fn claim_batch(
        &self,
        claim: ClaimRequest,
    ) -> Result<Answer<ClaimBatchResponse>, ClientError> {
        let is_over = |answer: &ClaimBatchResponse| !answer.items.is_empty();
        self.claim_at("/work/claim_batch", claim, is_over).await
    }

    async fn claim_at<T: DeserializeOwned>(
        &self,
        path: &str,
        mut claim: ClaimRequest,
        is_over: impl Fn(&T) -> bool,
    ) -> Result<Answer<T>, ClientError> {
        claim.request_id.get_or_insert_with(fresh_request_id);
        let wait = Duration::from_millis(claim.wait_ms.unwrap_or(0));
        let render = |wait: Duration| {
            let wait_ms = Some(milliseconds(wait)).filter(|wait_ms| *wait_ms > 0);
            Rendered { path: path.into(), body: json(&ClaimRequest { wait_ms, ..claim.clone() }) }
        };
        self.poll(Method::POST, wait, &render, is_over).await
    }

    /// Says that the holder runs the job.
    pub async fn start(
        &self,
        work_id: JobId,
        token: Token,
    ) -> Result<Answer<SettleResponse>, ClientError> {
        self.post("/work/start", &StartRequest { work_id, token }).await
    }

    /// Extends leases.
    pub async fn heartbeat(
        &self,
        beats: &HeartbeatRequest,
    ) -> Result<Answer<HeartbeatResponse>, ClientError> {
        self.post("/work/heartbeat", beats).await
    }

    /// Finishes a job.
    pub async fn complete(
        &self,
        request: &CompleteRequest,
    ) -> Result<Answer<SettleResponse>, ClientError> {
        self.post("/work/complete", request).await
    }

    /// Gives up an attempt.
    pub async fn fail(&self, request: &FailRequest) -> Result<Answer<SettleResponse>, ClientError> {
        self.post("/work/fail", request).await
    }

    /// Opens a copy of the whole queue, as `GET /admin/backup` answers it: who keeps it checks it.
    pub async fn backup(&self) -> Result<Download, ClientError> {
        self.transport.open("/admin/backup").await
    }

    /// Gives a job back, its attempt not counted.
    pub async fn release(
        &self,
        request: &ReleaseRequest,
    ) -> Result<Answer<SettleResponse>, ClientError> {
        self.post("/work/release", request).await
    }

    /// Calls a job off.
    pub async fn cancel(&self, work_id: JobId) -> Result<Answer<SettleResponse>, ClientError> {
        self.post("/work/cancel", &CancelRequest { work_id }).await
    }

    /// The whole job; with a `wait`, as soon as it has ended or the time is up, whichever is first.
    pub async fn get(
        &self,
        work_id: &JobId,
        wait: Duration,
    ) -> Result<Answer<GetResponse>, ClientError> {
        let render = |wait: Duration| Rendered {
            path: match milliseconds(wait) {
                0 => format!("/work/get/{work_id}"),
                wait_ms => format!("/work/get/{work_id}?wait_ms={wait_ms}"),
            },
            body: Bytes::new(),
        };
        let has_ended = |answer: &GetResponse| is_terminal(answer.job.state);
        self.poll(Method::GET, wait, &render, has_ended).await
    }

    /// Finished jobs, the last one first, in one of these states, or in any when none is named.
    pub async fn history(
        &self,
        states: &[JobState],
        limit: u32,
    ) -> Result<Answer<HistoryResponse>, ClientError> {
        let names: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        let path = format!("/work/history?limit={limit}&status={}", names.join(","));
        self.read(&path, Persistence::UntilDeadline).await
    }

    /// The totals of the queue.
    pub async fn work_status(&self) -> Result<Answer<WorkStatus>, ClientError> {
        self.read("/work/status", Persistence::UntilDeadline).await
    }

    /// The standing of the node that answers.
    pub async fn status(&self) -> Result<Answer<NodeStatus>, ClientError> {
        self.read("/status", Persistence::OneRound).await
    }

    /// Who leads, as the node that answers sees it.
    pub async fn election_status(&self) -> Result<Answer<ElectionStatus>, ClientError> {
        self.read("/election/status", Persistence::OneRound).await
    }

    /// The members that gossip knows, as the node that answers sees them.
    pub async fn peers(&self) -> Result<Answer<PeersResponse>, ClientError> {
        self.read("/peers", Persistence::OneRound).await
    }

    /// Whether a node answers at all. Each address is tried once.
    pub async fn health(&self) -> Result<Answer<Health>, ClientError> {
        self.read("/health", Persistence::OneRound).await
    }

    /// Whether a node is ready; an error with the checks in `details` when it is not. Each address is
    /// tried once.
    pub async fn ready(&self) -> Result<Answer<Ready>, ClientError> {
        self.read("/ready", Persistence::OneRound).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &(impl Serialize + Sync),
    ) -> Result<Answer<T>, ClientError> {
        self.write(Method::POST, path, json(request)).await
    }

    /// A write, which has its identity in its path or its body.
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, ClientError> {
        let render = |_| Rendered { path: path.into(), body: body.clone() };
        self.once(method, Duration::ZERO, Persistence::UntilDeadline, &render).await
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        persistence: Persistence,
    ) -> Result<Answer<T>, ClientError> {
        let render = |_| Rendered { path: path.into(), body: Bytes::new() };
        self.once(Method::GET, Duration::ZERO, persistence, &render).await
    }

    /// Repeats a long poll until its answer `is_over` or `wait` has passed. A node that is about to stop
    /// answers before that, and another one takes what is left of the wait, or the same one when it is back.
    async fn poll<T: DeserializeOwned>(
        &self,
        method: Method,
        wait: Duration,
        render: &(dyn Fn(Duration) -> Rendered + Send + Sync),
        is_over: impl Fn(&T) -> bool,
    ) -> Result<Answer<T>, ClientError> {
        let end = Instant::now() + wait;
        let mut persistence = Persistence::UntilDeadline;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let one = left.min(Duration::from_millis(WAIT_MS_MAX));
            let answer = self.once(method.clone(), one, persistence, render).await?;
            if is_over(&answer.value) || Instant::now() >= end {
                return Ok(answer);
            }
            persistence = Persistence::WhoeverListens;
            sleep_until(end.min(Instant::now() + POLL_PAUSE)).await;
        }
    }

    async fn once<T: DeserializeOwned>(
        &self,
        method: Method,
        wait: Duration,
        persistence: Persistence,
        render: &(dyn Fn(Duration) -> Rendered + Send + Sync),
    ) -> Result<Answer<T>, ClientError> {
        let raw = self.transport.call(&Call { method, wait, persistence, render }).await?;
        match serde_json::from_slice(&raw.body) {
            Ok(value) => Ok(Answer { value, body: raw.body }),
            Err(fault) => Err(ClientError::BadAnswer {
                address: raw.address.to_string(),
                reason: fault.to_string(),
            }),
        }
    }
}

/// Whether a job in this state stays in it, until somebody retries it by hand.
pub const fn is_terminal(state: JobState) -> bool {
    use JobState::{Cancelled, Completed, Expired, Failed};
    matches!(state, Completed | Failed | Cancelled | Expired)
}

/// A fresh job id, as a caller wants it who must know it before the call.
pub fn fresh_job_id() -> JobId {
    JobId::parse(&Ulid::generate().to_string()).expect("a ULID is 26 letters and digits")
}

/// A fresh request id, as a caller wants it who must be able to repeat the call itself.
pub fn fresh_request_id() -> RequestId {
    RequestId::parse(&Ulid::generate().to_string()).expect("a ULID is 26 letters and digits")
}

pub(super) fn json(request: &impl Serialize) -> Bytes {
    serde_json::to_vec(request).expect("requests are maps with text keys").into()
}

/// Rounded up: a wait that has just begun is still a whole one.
fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
