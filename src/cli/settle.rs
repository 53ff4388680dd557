//! What the calls of a holder have in common: whom they are about, and how their answer looks.

use clap::Args;

use super::report::{Cell, Report, Table, serde_name};
use crate::{
    client::Answer,
    queue::{JobId, Token},
    wire::SettleResponse,
};

/// A job and the token of its grant.
#[derive(Debug, Args)]
pub(super) struct HoldingArgs {
    /// The job.
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    pub(super) work_id: JobId,
    /// The token that `claim` printed.
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub(super) token: Token,
}

fn token(text: &str) -> Result<Token, std::num::ParseIntError> {
    text.parse().map(Token)
}

/// The answer of a call that settles a job.
pub(super) fn report(answer: &Answer<SettleResponse>) -> Report {
    let SettleResponse { status, work_id, run_at_ms, then, duplicate, rev } = &answer.value;
    let done = serde_name(status);
    let mut pairs: Vec<(&'static str, Cell)> =
        vec![("work_id", work_id.into()), ("status", done.as_str().into())];
    if *duplicate {
        pairs.push(("duplicate", "yes: an earlier call had done it".into()));
    }
    pairs.extend(run_at_ms.map(|run_at_ms| ("run_at_ms", run_at_ms.into())));
    if !then.is_empty() {
        let added: Vec<&str> = then.iter().map(|item| item.work_id.as_str()).collect();
        pairs.push(("added", added.join(" ").into()));
    }
    pairs.push(("rev", rev.0.into()));
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![done],
        table: Table::of_pairs(pairs),
    }
}
