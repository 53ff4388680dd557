//! `POST /work/add`, `/work/add_batch`, `/work/cancel`.

use hyper::StatusCode;

use super::{
    answer::{Answer, Failure},
    call::Call,
    failure::{Place, accepted, rejected},
    present,
};
use crate::{
    queue::{Add, Added, Cancel, Command, JobId, NewJob, Outcome, Rev},
    wire::{
        AddBatchRequest, AddBatchResponse, AddRequest, AddedItem, ApiError, CancelRequest, Done,
        Item,
    },
};

pub(super) async fn add(mut call: Call) -> Result<Answer, Failure> {
    let request = AddRequest::parse(&call.body_alone()?)?;
    let job = call.new_job(request, 0, call.idempotency_key.as_ref())?;
    let outcome = call.submit_one(Command::Add(Add { jobs: vec![job] })).await?;
    let (answer, rev) = accepted(outcome, Place::Alone)?;
    let added = present::added(answer).pop().expect("one job was added");
    let body = present::add_response(added, rev);
    let status = if body.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Answer::ok(&body).with_status(status).at(rev))
}

pub(super) async fn add_batch(mut call: Call) -> Result<Answer, Failure> {
    let batch = AddBatchRequest::parse(&call.body_alone()?)?;
    let key = batch.request_id.or_else(|| call.idempotency_key.clone());
    let items = batch.items.into_iter().enumerate();
    let jobs = items.map(|(index, job)| {
        job.and_then(|job| call.new_job(job, index, key.as_ref())).map_err(|fault| {
            if fault.details.contains_key("index") { fault } else { fault.at("items", index) }
        })
    });
    if batch.atomic && jobs.len() > 0 {
        let jobs = jobs.collect::<Result<_, _>>()?;
        add_all_or_none(&call, jobs).await
    } else {
        add_each(&call, jobs.collect()).await
    }
}

async fn add_all_or_none(call: &Call, jobs: Vec<NewJob>) -> Result<Answer, Failure> {
    let outcome = call.submit_one(Command::Add(Add { jobs })).await?;
    let (answer, rev) = accepted(outcome, Place::Batch("items"))?;
    let added = present::added(answer).into_iter();
    Ok(batch_answer(added.map(|job| Item::Done(present::added_item(job))).collect(), rev))
}

/// One command a job: each answers for itself, and one that was refused before stands in its place.
async fn add_each(call: &Call, jobs: Vec<Result<NewJob, ApiError>>) -> Result<Answer, Failure> {
    let commands = jobs.iter().filter_map(|job| job.as_ref().ok());
    let commands = commands.map(|job| Command::Add(Add { jobs: vec![job.clone()] })).collect();
    let outcomes = call.submit(commands).await?;
    let rev = call.rev_after(&outcomes).await?;
    let mut outcomes = outcomes.into_iter();
    let items = jobs.into_iter().enumerate().map(|(index, job)| match job {
        Err(fault) => Item::Refused(fault),
        Ok(_) => added_alone(outcomes.next().expect("one outcome a command"), index),
    });
    Ok(batch_answer(items.collect(), rev))
}

fn added_alone(outcome: Outcome, index: usize) -> Item<AddedItem> {
    match outcome.result {
        Ok(answer) => {
            let added: Option<Added> = present::added(answer).pop();
            Item::Done(present::added_item(added.expect("one job was added")))
        }
        Err(rejection) => Item::Refused(rejected(rejection, Place::Alone).at("items", index)),
    }
}

fn batch_answer(items: Vec<Item<AddedItem>>, rev: Rev) -> Answer {
    let accepted = items.iter().filter_map(|item| match item {
        Item::Done(added) => Some(added.work_id.clone()),
        Item::Refused(_) => None,
    });
    let work_ids: Vec<JobId> = accepted.collect();
    let body =
        AddBatchResponse { status: Done::Added, count: work_ids.len(), work_ids, items, rev };
    Answer::ok(&body).at(rev)
}

pub(super) async fn cancel(mut call: Call) -> Result<Answer, Failure> {
    let job = CancelRequest::parse(&call.body_alone()?)?.work_id;
    call.settle(job.clone(), Command::Cancel(Cancel { job })).await
}
