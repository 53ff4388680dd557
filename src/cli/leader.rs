//! `queue leader`: who leads.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::{
    Exit, Failure,
    report::{Cell, Report, Table, for_people},
    session::Session,
};
use crate::{
    client::{Answer, Client},
    wire::ElectionStatus,
};

/// How many changes a table shows; `-o json` has them all.
const SHOWN_MAX: usize = 8;

/// Show who leads and how that came about; exit code 5 when no server knows.
#[derive(Debug, Args)]
pub(super) struct LeaderArgs {}

impl LeaderArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let knows = |status: &ElectionStatus| status.leader_id.is_some();
        let ask = async |client: &Client| client.election_status().await;
        let answer = session.ask_one_that_knows(ask, knows).await?;
        let exit = match answer.value.leader_id {
            Some(_) => Exit::OK,
            None => Exit::UNAVAILABLE,
        };
        session.end(&report(&answer), exit)
    }
}

fn report(answer: &Answer<ElectionStatus>) -> Report {
    let status = &answer.value;
    let leader = status.leader_id.clone();
    let mut pairs: Vec<(&'static str, Cell)> = vec![
        ("leader", leader.as_deref().unwrap_or("nobody").into()),
        ("term", status.term.into()),
        ("asked", format!("{} ({})", status.node_id, status.role).into()),
    ];
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
    for (place, change) in status.changes.iter().take(SHOWN_MAX).enumerate() {
        let line = format!(
            "to {} in term {}, after {} without ({}), {} ago",
            change.leader_id,
            change.term,
            for_people(change.gap_ms),
            change.cause,
            for_people(now_ms.saturating_sub(change.at_ms)),
        );
        pairs.push((if place == 0 { "changes" } else { "" }, line.into()));
    }
    Report {
        json: answer.body.clone(),
        items: None,
        plain: leader.into_iter().collect(),
        table: Table::of_pairs(pairs),
    }
}
