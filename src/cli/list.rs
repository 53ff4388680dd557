//! `queue list`: jobs in the order in which they were added.

use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use super::{
    Exit, Failure, add,
    pages::{Pages, items_of, page_of},
    report::{Cell, Reader, Report, Table, for_people, shortened},
    session::Session,
    states,
};
use crate::{
    client::{Answer, ListRequest},
    queue::{JobState, QueueName, WorkType},
    wire::{Job, ListResponse},
};

const EXAMPLES: &str = "\
Examples:
  queue list mail --state failed               the first 100 dead letters of a queue
  queue list --state claimed,running --all     every job that a worker holds
  queue list --tag customer=7 -o jsonl --all | jq .payload

JSON is one object, also of a list that took many requests; its `next` is what --after takes to go on.";

/// List jobs, in the order in which they were added; prints the ids.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListArgs {
    /// Only those of this queue [default: of all].
    #[arg(value_name = "QUEUE", value_parser = QueueName::parse)]
    queue: Option<QueueName>,
    /// The same, as `retry` has it.
    #[arg(long = "queue", value_name = "QUEUE", value_parser = QueueName::parse,
          conflicts_with = "queue", hide = true)]
    queue_flag: Option<QueueName>,
    /// Only those in this state; comma-separated or repeated.
    #[arg(long = "state", value_name = "STATE", value_parser = states::any(), value_delimiter = ',')]
    states: Vec<JobState>,
    /// Only those of this type.
    #[arg(long = "type", value_name = "TYPE", value_parser = WorkType::parse)]
    work_type: Option<WorkType>,
    /// Only those with this tag; may be repeated.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = add::tag)]
    tags: Vec<(String, String)>,
    /// This many at the most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All of them, however many.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Go on where an earlier list ended: its `next`.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
}

impl ListArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let mut left = if self.all { u64::MAX } else { self.limit };
        let mut wanted = self.request();
        let mut pages = Pages::new(session.look, "items");
        loop {
            wanted.limit = page_of(left);
            let answer = session.client.list(&wanted).await?;
            left = left.saturating_sub(answer.value.items.len() as u64);
            if left == 0 || answer.value.next.is_none() {
                let list = &answer.value;
                let rest = json!({"next": list.next, "rev": list.rev});
                pages.finish(&report(&answer), &rest, note(list).as_deref())?;
                return Ok(Exit::OK);
            }
            if pages.print(&report(&answer))? == Reader::Gone {
                return Ok(Exit::OK);
            }
            wanted.after = answer.value.next;
        }
    }

    fn request(self) -> ListRequest {
        ListRequest {
            queue: self.queue.or(self.queue_flag),
            states: self.states,
            work_type: self.work_type,
            tags: self.tags,
            limit: 0,
            after: self.after,
        }
    }
}

/// How people see what follows the last page.
fn note(list: &ListResponse) -> Option<String> {
    match &list.next {
        Some(next) => {
            Some(format!("There are more: --limit N, --all, or --after {next} to go on from here."))
        }
        None if list.items.is_empty() => Some("no jobs".into()),
        None => None,
    }
}

fn report(answer: &Answer<ListResponse>) -> Report {
    let jobs = &answer.value.items;
    let now_ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis());
    let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
    Report {
        json: answer.body.clone(),
        items: Some(items_of(&answer.body, "items")),
        plain: jobs.iter().map(|job| job.work_id.to_string()).collect(),
        table: Table::list(
            ["WORK ID", "QUEUE", "TYPE", "STATE", "PRIORITY", "ATTEMPTS", "AGE"],
            jobs.iter().map(|job| row(job, now_ms)),
        ),
    }
}

fn row(job: &Job, now_ms: u64) -> [Cell; 7] {
    let name = |name: Option<&str>| shortened(name.unwrap_or_default(), 16).into();
    let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
    let age = job.added_at_ms.map(|added| for_people(now_ms.saturating_sub(added)));
    [
        (&job.work_id).into(),
        name(job.queue.as_ref().map(QueueName::as_str)),
        name(job.work_type.as_ref().map(WorkType::as_str)),
        Cell::state(job.state),
        number(job.priority.map(u32::from)).into(),
        format!("{} of {}", number(job.attempt), number(job.max_attempts)).into(),
        age.unwrap_or_default().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{"items":[
        {"work_id":"a","queue":"a-queue-with-a-long-name","work_type":"t","state":"failed","priority":50,
         "attempt":1,"max_attempts":3,"added_at_ms":1,"attempts":[]},
        {"work_id":"b","queue":"q","work_type":"t","state":"pending","priority":9,"attempt":0,
         "max_attempts":3,"added_at_ms":1,"attempts":[]}],"next":"c1-2","rev":9}"#;

    fn answer() -> Answer<ListResponse> {
        Answer { value: serde_json::from_str(PAGE).unwrap(), body: PAGE.into() }
    }

    #[test]
    fn a_list_is_ids_for_scripts_and_rows_for_people() {
        let report = report(&answer());
        assert_eq!(report.plain, ["a", "b"]);
        let rows = format!("{:?}", report.table.rows);
        for claim in ["a-queue-with-a-…", "failed", "1 of 3", " d "] {
            assert!(rows.contains(claim), "{claim} in {rows}");
        }
    }

    #[test]
    fn people_are_told_that_there_are_more() {
        let mut list = answer().value;
        assert!(note(&list).unwrap().contains("--after c1-2"));
        list.next = None;
        assert_eq!(note(&list), None);
    }
}
