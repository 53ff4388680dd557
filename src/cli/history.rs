//! `queue history`: finished jobs.

use clap::Args;
use serde_json::value::RawValue;

use super::{
    Exit, Failure,
    pages::items_of,
    report::{Cell, Report, Table, complain, for_people, shortened, state_name},
    session::Session,
    states,
};
use crate::{
    client::Answer,
    queue::{JobState, QueueName, WorkType},
    wire::{HistoryResponse, Job},
};

/// Show finished jobs, the last one first.
///
/// Jobs that have left the queue's state come from the archive of the node that answers, as far as it
/// has them.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Only jobs that ended so; comma-separated or repeated.
    #[arg(long = "status", visible_alias = "state", value_name = "STATUS",
          value_parser = states::terminal(), value_delimiter = ',')]
    states: Vec<JobState>,
    /// The most jobs, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl HistoryArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let answer = session.client.history(&self.states, self.limit).await?;
        if let Some(reason) = &answer.value.archive_unavailable
            && !session.look.is_json()
        {
            complain(&format!("note: nothing of the archive is shown: {reason}\n"));
        }
        session.end(&report(&answer), Exit::OK)
    }
}

fn report(answer: &Answer<HistoryResponse>) -> Report {
    let jobs = &answer.value.history;
    let plain = |job: &Job| format!("{} {}", job.work_id, state_name(job.state));
    Report {
        json: answer.body.clone(),
        items: Some(items_of(&answer.body, "history")),
        plain: jobs.iter().map(plain).collect(),
        table: table(jobs),
    }
}

fn table(jobs: &[Job]) -> Table {
    if jobs.is_empty() {
        return Table::of_pairs([("history", "no finished jobs".into())]);
    }
    Table {
        header: vec!["WORK ID", "STATE", "QUEUE", "TYPE", "ATTEMPTS", "AFTER", "OUTCOME", "FROM"],
        rows: jobs.iter().map(row).collect(),
    }
}

fn row(job: &Job) -> Vec<Cell> {
    let name = |name: Option<&str>| Cell::from(name.unwrap_or_default());
    let took = job.added_at_ms.zip(job.ended_at_ms);
    let took = took.map(|(added, ended)| for_people(ended.saturating_sub(added)));
    let outcome = job.error.as_deref().or(job.result.as_deref().map(RawValue::get));
    vec![
        (&job.work_id).into(),
        Cell::state(job.state),
        name(job.queue.as_ref().map(QueueName::as_str)),
        name(job.work_type.as_ref().map(WorkType::as_str)),
        job.attempt.map_or_else(String::new, |attempt| attempt.to_string()).into(),
        took.unwrap_or_default().into(),
        shortened(outcome.unwrap_or_default(), 60).into(),
        (if job.archived { "archive" } else { "queue" }).into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_jobs_are_shown_with_how_they_ended_and_where_they_are() {
        let body = r#"{"history":[
            {"work_id":"b","state":"completed","queue":"q","work_type":"t","attempt":1,"result":{"n":1},"added_at_ms":1000,"ended_at_ms":2500},
            {"work_id":"a","state":"failed","queue":"q","work_type":"t","attempt":3,"error":"boom","archived":true}],"count":2,"rev":9}"#;
        let answer = Answer { value: serde_json::from_str(body).unwrap(), body: body.into() };
        let report = report(&answer);
        assert_eq!(report.plain, ["b completed", "a failed"]);
        let items = report.items.unwrap();
        assert!(items[0].starts_with(r#"{"work_id":"b","state":"completed","#), "{items:?}");
        let rows = format!("{:?}", report.table.rows);
        for claim in ["1.5 s", "{\\\"n\\\":1}", "boom", "archive"] {
            assert!(rows.contains(claim), "{claim} in {rows}");
        }
    }
}
