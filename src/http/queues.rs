//! `GET /queues`, `GET|PUT|DELETE /queues/{name}`, `POST /queues/{name}/pause`, `…/resume`, `…/purge`.

use hyper::StatusCode;

use super::{
    answer::{Answer, Failure},
    call::Call,
    command,
    failure::refused,
    present::{self, look},
    read::{InPath, consistency, named},
};
use crate::{
    node::{Consistency, Unavailable, View},
    queue::{Action, QueueName, Rejection},
    wire::{
        ApiError, Done, Freshness, NamesQuery, OperationRequest, QueueResponse, QueuesResponse,
        SetQueueRequest, SetQueueResponse,
    },
};

pub(super) async fn list(call: Call) -> Result<Answer, Failure> {
    let query = NamesQuery::parse(call.query.as_deref(), QueueName::parse)?;
    let (after, limit) = (query.after.as_ref(), query.limit as usize);
    let looked = |state: &crate::queue::State| look::queues(state, after, limit);
    let view = call.site.handle.read(consistency(query.freshness), call.hold, looked).await?;
    let (rev, (queues, next)) = (view.rev, view.value);
    let body = QueuesResponse { count: queues.len(), queues, next, rev };
    Ok(Answer::ok(&body).at(rev).seen(query.freshness))
}

pub(super) async fn get(path: InPath, call: Call) -> Result<Answer, Failure> {
    let name = named_queue(path)?;
    let freshness = Freshness::parse(call.query.as_deref())?;
    let looked = |state: &crate::queue::State| look::queue(state, &name);
    let view = call.site.handle.read(consistency(freshness), call.hold, looked).await?;
    let View { value: Some(queue), rev } = view else {
        return Err(refused(Rejection::QueueNotFound { queue: name }, view.rev));
    };
    Ok(Answer::ok(&QueueResponse { queue, rev }).at(rev).seen(freshness))
}

pub(super) async fn set(path: InPath, mut call: Call) -> Result<Answer, Failure> {
    let name = named_queue(path)?;
    let mut request = SetQueueRequest::parse(&call.body_alone()?)?;
    let request_id = request.request_id.take();
    let action = Action::SetQueue(command::set_queue(name.clone(), &request));
    let (answer, _) = call.operate(request_id, action).await?;
    let (once, is_new) = present::queue_set(&answer);
    let looked = |state: &crate::queue::State| look::queue(state, &name);
    let view = call.site.handle.read(Consistency::Linearizable, call.hold, looked).await;
    // It is applied by now, so whatever the read says, "certainly not applied" would be wrong.
    let View { value: queue, rev } = view.map_err(|_| Unavailable::OutcomeUnknown)?;
    let body = SetQueueResponse {
        status: if is_new { Done::Created } else { Done::Updated },
        queue: queue.unwrap_or_else(|| look::no_queue(name)),
        duplicate: present::is_duplicate(once),
        rev,
    };
    let has_created = is_new && !body.duplicate;
    let status = if has_created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Answer::ok(&body).with_status(status).at(rev))
}

pub(super) async fn pause(path: InPath, call: Call) -> Result<Answer, Failure> {
    operate(path, call, Done::Paused, |queue| Action::PauseQueue { queue, is_paused: true }).await
}

pub(super) async fn resume(path: InPath, call: Call) -> Result<Answer, Failure> {
    operate(path, call, Done::Resumed, |queue| Action::PauseQueue { queue, is_paused: false }).await
}

pub(super) async fn purge(path: InPath, call: Call) -> Result<Answer, Failure> {
    operate(path, call, Done::Purged, Action::PurgeQueue).await
}

pub(super) async fn delete(path: InPath, call: Call) -> Result<Answer, Failure> {
    operate(path, call, Done::Deleted, Action::DeleteQueue).await
}

async fn operate(
    path: InPath,
    mut call: Call,
    status: Done,
    action: fn(QueueName) -> Action,
) -> Result<Answer, Failure> {
    let name = named_queue(path)?;
    let request = OperationRequest::parse(&call.body_alone()?)?;
    let (answer, rev) = call.operate(request.request_id, action(name.clone())).await?;
    Ok(Answer::ok(&present::queue_operated(status, name, &answer, rev)).at(rev))
}

fn named_queue(path: InPath) -> Result<QueueName, ApiError> {
    named("queue", path, QueueName::parse)
}
