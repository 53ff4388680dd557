//! The calls of a holder: `POST /work/start`, `/work/heartbeat`, `/work/complete`,
//! `/work/complete_batch`, `/work/fail`, `/work/release`.

use super::{
    answer::{Answer, Failure},
    call::Call,
    command,
    failure::{Place, accepted, rejected},
    present,
};
use crate::{
    queue::{Command, Holding, JobId, Outcome},
    wire::{
        ApiError, CompleteBatchRequest, CompleteBatchResponse, CompleteRequest, FailRequest,
        HeartbeatRequest, Item, ReleaseRequest, SettleResponse, StartRequest,
    },
};

pub(super) async fn start(mut call: Call) -> Result<Answer, Failure> {
    let start = StartRequest::parse(&call.body_alone()?)?;
    let holding = Holding { job: start.work_id.clone(), token: start.token };
    call.settle(start.work_id, Command::Start(holding)).await
}

pub(super) async fn heartbeat(mut call: Call) -> Result<Answer, Failure> {
    let heartbeat = command::heartbeat(HeartbeatRequest::parse(&call.body_alone()?)?);
    let outcome = call.submit_one(Command::Heartbeat(heartbeat)).await?;
    let (answer, rev) = accepted(outcome, Place::Batch("items"))?;
    Ok(Answer::ok(&present::heartbeat(answer, rev)).at(rev))
}

pub(super) async fn complete(mut call: Call) -> Result<Answer, Failure> {
    let complete = CompleteRequest::parse(&call.body_alone()?)?;
    let work_id = complete.work_id.clone();
    call.settle(work_id, call.complete(complete)).await
}

pub(super) async fn complete_batch(mut call: Call) -> Result<Answer, Failure> {
    let batch = CompleteBatchRequest::parse(&call.body_alone()?)?;
    let items = batch.items.into_iter().map(|item| {
        let item = item?;
        Ok((item.work_id.clone(), call.complete(item)))
    });
    let items: Vec<Result<(JobId, Command), ApiError>> = items.collect();
    let commands = items.iter().filter_map(|item| item.as_ref().ok());
    let outcomes = call.submit(commands.map(|(_, command)| command.clone()).collect()).await?;
    let rev = call.rev_after(&outcomes).await?;
    let mut outcomes = outcomes.into_iter();
    let items = items.into_iter().enumerate().map(|(index, item)| match item {
        Err(fault) => Item::Refused(fault),
        Ok((work_id, _)) => {
            completed(work_id, outcomes.next().expect("one outcome a command"), index)
        }
    });
    Ok(Answer::ok(&CompleteBatchResponse { items: items.collect(), rev }).at(rev))
}

fn completed(work_id: JobId, outcome: Outcome, index: usize) -> Item<SettleResponse> {
    match outcome.result {
        Ok(answer) => Item::Done(present::settled(work_id, answer, outcome.rev)),
        Err(rejection) => {
            Item::Refused(rejected(rejection, Place::Batch("then")).at("items", index))
        }
    }
}

pub(super) async fn fail(mut call: Call) -> Result<Answer, Failure> {
    let fail = FailRequest::parse(&call.body_alone()?)?;
    call.settle(fail.work_id.clone(), Command::Fail(command::fail(fail))).await
}

pub(super) async fn release(mut call: Call) -> Result<Answer, Failure> {
    let release = ReleaseRequest::parse(&call.body_alone()?)?;
    call.settle(release.work_id.clone(), Command::Release(command::release(release))).await
}
