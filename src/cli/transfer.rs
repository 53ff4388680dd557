//! `queue transfer`: hands the leadership over.

use clap::Args;

use super::{
    Exit, Failure,
    report::{Cell, Report, Table},
    session::Session,
};
use crate::{
    client::Answer,
    wire::{TransferRequest, TransferResponse},
};

/// Have the leader hand over to a voter; prints who leads then.
#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// The voter that is to lead.
    #[arg(value_name = "NODE")]
    to: String,
}

impl TransferArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.transfer(&TransferRequest { to: self.to }).await?;
        session.end(&report(&answer), Exit::OK)
    }
}

fn report(answer: &Answer<TransferResponse>) -> Report {
    let TransferResponse { leader_id, term, duplicate, .. } = &answer.value;
    let mut pairs: Vec<(&'static str, Cell)> =
        vec![("leader", leader_id.into()), ("term", (*term).into())];
    if *duplicate {
        pairs.push(("duplicate", "yes: it led already".into()));
    }
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![leader_id.clone()],
        table: Table::of_pairs(pairs),
    }
}
