//! The calls of whoever runs the queue: lists, retries, queues and workers.

use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;

use super::{
    Answer, Client, ClientError, ListRequest,
    calls::{fresh_request_id, json},
    transport::Persistence,
};
use crate::{
    queue::{QueueName, WorkerId},
    wire::{
        ListResponse, OperationRequest, QueueOperated, QueueResponse, QueuesResponse, RetryRequest,
        RetryResponse, SetQueueRequest, SetQueueResponse, WorkerOperated, WorkerResponse,
        WorkersResponse,
    },
};

impl Client {
    /// A page of the jobs that fit, in add order.
    pub async fn list(&self, wanted: &ListRequest) -> Result<Answer<ListResponse>, ClientError> {
        self.read(&wanted.path(), Persistence::UntilDeadline).await
    }

    /// Puts finished jobs back, one or many, or says which it would. A retry without `request_id` is given a fresh
    /// one.
    pub async fn retry(
        &self,
        mut retry: RetryRequest,
    ) -> Result<Answer<RetryResponse>, ClientError> {
        retry.request_id.get_or_insert_with(fresh_request_id);
        self.post("/work/retry", &retry).await
    }

    /// A page of the queues, by name, after `after`.
    pub async fn queues(
        &self,
        after: Option<&QueueName>,
    ) -> Result<Answer<QueuesResponse>, ClientError> {
        self.names("/queues", after.map(QueueName::as_str)).await
    }

    /// One queue.
    pub async fn queue(&self, queue: &QueueName) -> Result<Answer<QueueResponse>, ClientError> {
        self.read(&format!("/queues/{queue}"), Persistence::UntilDeadline).await
    }

    /// Changes a queue's settings, and makes it when there is none. A change without `request_id` is
    /// given a fresh one.
    pub async fn set_queue(
        &self,
        queue: &QueueName,
        mut change: SetQueueRequest,
    ) -> Result<Answer<SetQueueResponse>, ClientError> {
        change.request_id.get_or_insert_with(fresh_request_id);
        self.write(Method::PUT, &format!("/queues/{queue}"), json(&change)).await
    }

    /// Has claims pass a queue over.
    pub async fn pause_queue(
        &self,
        queue: &QueueName,
    ) -> Result<Answer<QueueOperated>, ClientError> {
        self.operate(Method::POST, &format!("/queues/{queue}/pause")).await
    }

    /// Has claims find a queue's jobs again.
    pub async fn resume_queue(
        &self,
        queue: &QueueName,
    ) -> Result<Answer<QueueOperated>, ClientError> {
        self.operate(Method::POST, &format!("/queues/{queue}/resume")).await
    }

    /// Cancels every unfinished job of a queue.
    pub async fn purge_queue(
        &self,
        queue: &QueueName,
    ) -> Result<Answer<QueueOperated>, ClientError> {
        self.operate(Method::POST, &format!("/queues/{queue}/purge")).await
    }

    /// Deletes a queue that has no unfinished job.
    pub async fn delete_queue(
        &self,
        queue: &QueueName,
    ) -> Result<Answer<QueueOperated>, ClientError> {
        self.operate(Method::DELETE, &format!("/queues/{queue}")).await
    }

    /// A page of the workers, by name, after `after`.
    pub async fn workers(
        &self,
        after: Option<&WorkerId>,
    ) -> Result<Answer<WorkersResponse>, ClientError> {
        self.names("/workers", after.map(WorkerId::as_str)).await
    }

    /// One worker.
    pub async fn worker(&self, worker: &WorkerId) -> Result<Answer<WorkerResponse>, ClientError> {
        self.read(&format!("/workers/{worker}"), Persistence::UntilDeadline).await
    }

    /// Has a worker be granted nothing more; it is told at its next heartbeat.
    pub async fn drain_worker(
        &self,
        worker: &WorkerId,
    ) -> Result<Answer<WorkerOperated>, ClientError> {
        self.operate(Method::POST, &format!("/workers/{worker}/drain")).await
    }

    /// Has a worker be granted jobs again.
    pub async fn resume_worker(
        &self,
        worker: &WorkerId,
    ) -> Result<Answer<WorkerOperated>, ClientError> {
        self.operate(Method::POST, &format!("/workers/{worker}/resume")).await
    }

    /// A page of a list in the order of names, whose letters all stand in a query as they are.
    async fn names<T: DeserializeOwned>(
        &self,
        path: &str,
        after: Option<&str>,
    ) -> Result<Answer<T>, ClientError> {
        let path = match after {
            Some(after) => format!("{path}?after={after}"),
            None => path.to_owned(),
        };
        self.read(&path, Persistence::UntilDeadline).await
    }

    /// A call that its path says all about but its identity.
    async fn operate<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Answer<T>, ClientError> {
        let body: Bytes = json(&OperationRequest { request_id: Some(fresh_request_id()) });
        self.write(method, path, body).await
    }
}
