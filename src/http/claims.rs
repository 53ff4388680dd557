//! `POST /work/claim`, `/work/claim_batch`.

use std::time::Duration;

use super::{
    answer::{Answer, Failure},
    call::Call,
    command,
    delivery::Grants,
    failure::{Place, accepted},
    present,
};
use crate::{
    queue::{Claimed, Holding, Rev},
    wire::{ClaimBatchResponse, ClaimKind, ClaimRequest, ClaimResponse, Done, Work},
};

pub(super) async fn claim(call: Call) -> Result<Answer, Failure> {
    let got = claimed(call, ClaimKind::One).await?;
    let work = got.work.into_iter().next();
    let body = ClaimResponse { status: status(work.is_some()), work, rev: got.rev };
    Ok(got.delivery.carried_by(Answer::ok(&body).at(got.rev)))
}

pub(super) async fn claim_batch(call: Call) -> Result<Answer, Failure> {
    let got = claimed(call, ClaimKind::Batch).await?;
    let (count, items) = (got.work.len(), got.work);
    let body = ClaimBatchResponse { status: status(count > 0), count, items, rev: got.rev };
    Ok(got.delivery.carried_by(Answer::ok(&body).at(got.rev)))
}

fn status(is_something: bool) -> Done {
    if is_something { Done::Claimed } else { Done::NoWorkAvailable }
}

struct Got {
    work: Vec<Work>,
    rev: Rev,
    delivery: Delivery,
}

/// The grants to release when the answer cannot be written, with the connection it goes over.
struct Delivery(Option<(std::sync::Arc<super::connection::Activity>, Grants)>);

impl Delivery {
    fn carried_by(self, answer: Answer) -> Answer {
        match self.0 {
            Some((activity, grants)) => answer.delivering(activity, grants),
            None => answer,
        }
    }
}

async fn claimed(mut call: Call, kind: ClaimKind) -> Result<Got, Failure> {
    let request = ClaimRequest::parse(kind, &call.take_body(), call.query.as_deref())?;
    let wait = Duration::from_millis(request.wait_ms.unwrap_or(0));
    let named = request.request_id.clone().or_else(|| call.idempotency_key.clone());
    let is_ours = named.is_none();
    let request_id = named.unwrap_or_else(|| call.fresh_request_id());
    let claim = command::claim(request, kind, request_id);
    let handle = call.site.handle.clone();
    let outcome = if is_ours {
        handle.claim(claim, wait, call.hold).await?
    } else {
        handle.claim_named(claim, wait, call.hold).await?
    };
    let (answer, rev) = accepted(outcome, Place::Alone)?;
    let claimed = present::claimed(answer);
    // From here to the answer's body nothing waits, so no grant can be dropped unguarded.
    let delivery = is_ours.then(|| (call.activity, Grants::new(handle, holdings(&claimed))));
    let work = claimed.into_iter().map(present::work).collect();
    Ok(Got { work, rev, delivery: Delivery(delivery) })
}

fn holdings(claimed: &[Claimed]) -> Vec<Holding> {
    let granted = claimed.iter().filter_map(|claimed| match claimed {
        Claimed::Granted(grant) => Some(Holding { job: grant.job.clone(), token: grant.token }),
        Claimed::Lost { .. } => None,
    });
    granted.collect()
}
