//! `GET /workers`, `GET /workers/{node_id}`, `POST /workers/{node_id}/drain`, `…/resume`.

use super::{
    answer::{Answer, Failure},
    call::Call,
    present::{self, look},
    read::{InPath, consistency, named},
};
use crate::{
    node::View,
    queue::{Action, WorkerId},
    wire::{
        ApiError, Code, Done, Freshness, NamesQuery, OperationRequest, WorkerResponse,
        WorkersResponse,
    },
};

pub(super) async fn list(call: Call) -> Result<Answer, Failure> {
    let query = NamesQuery::parse(call.query.as_deref(), WorkerId::parse)?;
    let (after, limit) = (query.after.as_ref(), query.limit as usize);
    let looked = |state: &crate::queue::State| look::workers(state, after, limit);
    let view = call.site.handle.read(consistency(query.freshness), call.hold, looked).await?;
    let (rev, (workers, next)) = (view.rev, view.value);
    let body = WorkersResponse { count: workers.len(), workers, next, rev };
    Ok(Answer::ok(&body).at(rev).seen(query.freshness))
}

pub(super) async fn get(path: InPath, call: Call) -> Result<Answer, Failure> {
    let id = named("node_id", path, WorkerId::parse)?;
    let freshness = Freshness::parse(call.query.as_deref())?;
    let looked = |state: &crate::queue::State| look::worker(state, &id);
    let view = call.site.handle.read(consistency(freshness), call.hold, looked).await?;
    let View { value: Some(worker), rev } = view else {
        let error = ApiError::new(Code::NotFound, format!("There is no worker {id}."));
        let error = error.with("node_id", id.as_str());
        return Err(Failure { rev: Some(view.rev), ..error.into() });
    };
    Ok(Answer::ok(&WorkerResponse { worker, rev }).at(rev).seen(freshness))
}

pub(super) async fn drain(path: InPath, call: Call) -> Result<Answer, Failure> {
    operate(path, call, Done::Draining, |worker| Action::DrainWorker { worker, is_draining: true })
        .await
}

pub(super) async fn resume(path: InPath, call: Call) -> Result<Answer, Failure> {
    operate(path, call, Done::Resumed, |worker| Action::DrainWorker { worker, is_draining: false })
        .await
}

async fn operate(
    path: InPath,
    mut call: Call,
    status: Done,
    action: fn(WorkerId) -> Action,
) -> Result<Answer, Failure> {
    let id = named("node_id", path, WorkerId::parse)?;
    let request = OperationRequest::parse(&call.body_alone()?)?;
    let (answer, rev) = call.operate(request.request_id, action(id.clone())).await?;
    Ok(Answer::ok(&present::worker_operated(status, id, &answer, rev)).at(rev))
}
