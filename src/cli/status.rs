//! `queue status`: the node that answers, and the totals of the queue.

use clap::Args;

use super::{
    Exit, Failure,
    report::{Cell, Report, Table, for_people, state_name},
    session::Session,
};
use crate::{
    client::{Answer, Client},
    queue::JobState,
    wire::NodeStatus,
};

/// Show the node that answers and the totals of the queue, as it has applied them.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {}

impl StatusArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let knows = |status: &NodeStatus| status.leader_id.is_some();
        let ask = async |client: &Client| client.status().await;
        let answer = session.ask_one_that_knows(ask, knows).await?;
        session.end(&report(&answer), Exit::OK)
    }
}

fn report(answer: &Answer<NodeStatus>) -> Report {
    let status = &answer.value;
    let pairs = pairs(status);
    let plain = |(name, value): &(String, String)| format!("{name} {value}");
    let mut rows: Vec<Vec<Cell>> =
        pairs.iter().map(|(name, value)| vec![name.into(), value.into()]).collect();
    if status.leader_id.is_none() {
        rows.push(vec!["note".into(), "this node knows no leader: its totals may be old".into()]);
    }
    if let Some(archive) = status.archive.as_ref().filter(|archive| !archive.available) {
        rows.push(vec!["archive".into(), (&archive.detail).into()]);
    }
    for (queue, totals) in &status.work.queues {
        let paused = if totals.paused { ", paused" } else { "" };
        let oldest = totals.oldest_pending_ms.map(for_people);
        let oldest = oldest.map_or_else(String::new, |oldest| format!(", oldest waits {oldest}"));
        let counts = counts(&totals.by_state);
        rows.push(vec![
            format!("queue {queue}").into(),
            format!("{counts}{oldest}{paused}").into(),
        ]);
    }
    Report {
        json: answer.body.clone(),
        items: None,
        plain: pairs.iter().map(plain).collect(),
        table: Table { header: vec![], rows },
    }
}

fn pairs(status: &NodeStatus) -> Vec<(String, String)> {
    let mut voters = status.voters.clone();
    voters.sort();
    let mut pairs: Vec<(String, String)> = [
        ("node", status.node_id.clone()),
        ("role", status.role.clone()),
        ("leader", status.leader_id.clone().unwrap_or_else(|| "nobody".into())),
        ("term", status.term.to_string()),
        ("voters", voters.join(",")),
        ("rev", status.rev.0.to_string()),
        ("uptime", for_people(status.uptime_ms).replace(' ', "")),
        ("total", status.work.total_items.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let by_state = status.work.by_status.iter();
    pairs.extend(by_state.map(|(state, count)| (state_name(*state), count.to_string())));
    pairs
}

fn counts(by_state: &std::collections::BTreeMap<JobState, u64>) -> String {
    let parts: Vec<String> = by_state
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {}", state_name(*state)))
        .collect();
    if parts.is_empty() { "empty".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_says_who_leads_and_what_waits() {
        let body = r#"{"node_id":"n1","role":"leader","leader_id":"n1","term":2,"alive_peers":1,"voters":["n2","n1"],
            "learners":[],"commit_index":5,"applied_index":5,"rev":3,"state_hash":"","uptime_ms":2500,
            "version":"0","work":{"total_items":2,"by_status":{"pending":2},"by_type":{},
            "queues":{"default":{"pending":2,"oldest_pending_ms":70000,"paused":true}},
            "is_leader":true,"leader_id":"n1","rev":3}}"#;
        let answer = Answer { value: serde_json::from_str(body).unwrap(), body: body.into() };
        let report = report(&answer);
        assert!(report.plain.contains(&"leader n1".to_owned()), "{:?}", report.plain);
        assert!(report.plain.contains(&"pending 2".to_owned()), "{:?}", report.plain);
        assert!(report.plain.contains(&"voters n1,n2".to_owned()), "{:?}", report.plain);
        let rows = format!("{:?}", report.table.rows);
        assert!(rows.contains("2 pending, oldest waits 1 min 10 s, paused"), "{rows}");
        assert!(!rows.contains("may be old"), "{rows}");
    }

    #[test]
    fn totals_of_a_node_without_a_leader_are_called_old() {
        let body = r#"{"node_id":"n1","role":"follower","leader_id":null,"term":2,"alive_peers":1,"voters":["n1"],
            "learners":[],"commit_index":5,"applied_index":5,"rev":3,"state_hash":"","uptime_ms":2500,
            "version":"0","work":{"total_items":2,"by_status":{"pending":2},"by_type":{},
            "queues":{},"is_leader":false,"leader_id":null,"rev":3}}"#;
        let answer = Answer { value: serde_json::from_str(body).unwrap(), body: body.into() };
        let rows = format!("{:?}", report(&answer).table.rows);
        assert!(rows.contains("may be old"), "{rows}");
    }
}
