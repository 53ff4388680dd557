//! `POST /cluster/add`, `/cluster/remove`, `/cluster/replace`, `/election/transfer`, `/election/start`.

use std::time::Duration;

use hyper::StatusCode;
use raft::{Change, ChangeError, ChangePhase, ChangeState, Changed};

use super::{
    answer::{Answer, Failure},
    operator::LocalCall,
};
use crate::wire::{
    ApiError, Code, Freshness, TakesAddress, TransferRequest, TransferResponse, VoterRequest,
    VoterResponse,
};

pub(super) async fn add(mut call: LocalCall) -> Result<Answer, Failure> {
    let request = VoterRequest::parse(&call.0.body_alone()?, TakesAddress::Required)?;
    let address = request.peer_addr.clone().unwrap_or_default();
    let change = Change::Add { label: request.node_id.clone(), address };
    answer(&call, &request, change, "added").await
}

pub(super) async fn remove(mut call: LocalCall) -> Result<Answer, Failure> {
    let request = VoterRequest::parse(&call.0.body_alone()?, TakesAddress::No)?;
    let change = Change::Remove { label: request.node_id.clone() };
    answer(&call, &request, change, "removed").await
}

pub(super) async fn replace(mut call: LocalCall) -> Result<Answer, Failure> {
    let request = VoterRequest::parse(&call.0.body_alone()?, TakesAddress::Optional)?;
    let (label, address) = (request.node_id.clone(), request.peer_addr.clone());
    answer(&call, &request, Change::Replace { label, address }, "replaced").await
}

async fn answer(
    call: &LocalCall,
    request: &VoterRequest,
    change: Change,
    done: &str,
) -> Result<Answer, Failure> {
    let wait = Duration::from_millis(request.wait_ms());
    let body = VoterResponse {
        status: done.to_owned(),
        node_id: request.node_id.clone(),
        duplicate: false,
        match_index: None,
        target_index: None,
    };
    match call.0.site.handle.change_voters(change, wait, call.0.hold).await? {
        ChangeState::Ended(Ok(Changed { is_duplicate })) => {
            Ok(Answer::ok(&VoterResponse { duplicate: is_duplicate, ..body }))
        }
        ChangeState::Ended(Err(refused)) => Err(refusal(&refused).into()),
        ChangeState::Underway(progress) => {
            let is_known = progress.phase == ChangePhase::CatchingUp;
            let body = VoterResponse {
                status: phase(progress.phase).to_owned(),
                match_index: is_known.then_some(progress.matched),
                target_index: is_known.then_some(progress.target),
                ..body
            };
            Ok(Answer::ok(&body).with_status(StatusCode::ACCEPTED))
        }
    }
}

fn phase(phase: ChangePhase) -> &'static str {
    match phase {
        ChangePhase::Checking => "checking",
        ChangePhase::CatchingUp => "catching_up",
        ChangePhase::Committing => "committing",
    }
}

pub(super) async fn transfer(mut call: LocalCall) -> Result<Answer, Failure> {
    let TransferRequest { to } = TransferRequest::parse(&call.0.body_alone()?)?;
    let transferred = call.0.site.handle.transfer(&to, call.0.hold).await?;
    transferred_to(&call, to, transferred)
}

pub(super) async fn start(call: LocalCall) -> Result<Answer, Failure> {
    call.0.no_query()?;
    let transferred = call.0.site.handle.stand(call.0.hold).await?;
    let me = call.0.site.handle.status().raft.me.label;
    transferred_to(&call, me, transferred)
}

fn transferred_to(
    call: &LocalCall,
    leader_id: String,
    transferred: Result<bool, ChangeError>,
) -> Result<Answer, Failure> {
    let duplicate = transferred.map_err(|refused| refusal(&refused))?;
    let term = call.0.site.handle.status().raft.term;
    let status = "transferred".to_owned();
    Ok(Answer::ok(&TransferResponse { status, leader_id, term, duplicate }).seen(Freshness::Stale))
}

/// The row of the table for a change that was not made.
fn refusal(refused: &ChangeError) -> ApiError {
    let code = match refused {
        ChangeError::NotLeader { .. } => Code::NoLeader,
        ChangeError::NoSuchVoter { .. } => Code::NotFound,
        ChangeError::Unknown => Code::OutcomeUnknown,
        ChangeError::Stopped => Code::ShuttingDown,
        ChangeError::InProgress { .. }
        | ChangeError::LastVoter { .. }
        | ChangeError::LabelTaken { .. }
        | ChangeError::Unreachable { .. }
        | ChangeError::OtherCluster { .. }
        | ChangeError::StillHeard { .. }
        | ChangeError::NoQuorum { .. }
        | ChangeError::Behind { .. }
        | ChangeError::TooMany { .. }
        | ChangeError::NoSuccessor => Code::WrongState,
    };
    let text = refused.to_string();
    let mut letters = text.chars();
    let sentence = letters.next().map(|first| first.to_uppercase().chain(letters).collect());
    let sentence: String = sentence.unwrap_or_default();
    let error = ApiError::new(code, format!("{sentence}."));
    match refused {
        ChangeError::NoSuchVoter { label } => error.with("node_id", label.as_str()),
        ChangeError::InProgress { change } => error.with("change", change.as_str()),
        _ if code == Code::NoLeader => error.with("retry_after_ms", 500),
        _ => error,
    }
}
