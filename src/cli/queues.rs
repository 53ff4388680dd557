//! `queue queues`: how the queues stand, and what they are held to.

use clap::Args;
use serde_json::json;

use super::{
    Exit, Failure,
    pages::{Pages, items_of},
    report::{Cell, Reader, Report, Table, for_people, shortened, state_name},
    session::Session,
};
use crate::{
    client::Answer,
    queue::{JobState, QueueName},
    wire::{Queue, QueueResponse, QueuesResponse},
};

const EXAMPLES: &str = "\
Examples:
  queue queues                     every queue: what waits, what is leased, what it is held to
  queue queues mail                one of them, whole

A queue exists from its first job or `queue set-queue` on.";

/// Show the queues and what they are held to, or one of them; prints the names.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QueuesArgs {
    /// Only this one, with all that there is to say of it.
    #[arg(value_name = "QUEUE", value_parser = QueueName::parse)]
    queue: Option<QueueName>,
}

impl QueuesArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self.queue {
            Some(queue) => {
                let answer = session.client.queue(&queue).await?;
                session.end(&whole(&answer), Exit::OK)
            }
            None => list(session).await,
        }
    }
}

async fn list(session: &Session) -> Result<Exit, Failure> {
    let mut pages = Pages::new(session.look, "queues");
    let mut count = 0;
    let mut after: Option<QueueName> = None;
    loop {
        let answer = session.client.queues(after.as_ref()).await?;
        let list = &answer.value;
        count += list.queues.len();
        if list.next.is_none() {
            let rest = json!({"count": count, "next": null, "rev": list.rev});
            let note = (count == 0).then_some("no queues");
            pages.finish(&report(&answer), &rest, note)?;
            return Ok(Exit::OK);
        }
        if pages.print(&report(&answer))? == Reader::Gone {
            return Ok(Exit::OK);
        }
        after = answer.value.next;
    }
}

fn report(answer: &Answer<QueuesResponse>) -> Report {
    let queues = &answer.value.queues;
    Report {
        json: answer.body.clone(),
        items: Some(items_of(&answer.body, "queues")),
        plain: queues.iter().map(|queue| queue.queue.to_string()).collect(),
        table: Table::list(
            ["QUEUE", "PENDING", "WAITING", "LEASED", "FAILED", "OLDEST", "LIMITS"],
            queues.iter().map(row),
        ),
    }
}

fn row(queue: &Queue) -> [Cell; 7] {
    let count = |state| queue.by_status.get(&state).copied().unwrap_or(0);
    let oldest = queue.oldest_pending_ms.map_or_else(String::new, for_people);
    [
        shortened(queue.queue.as_str(), 32).into(),
        count(JobState::Pending).into(),
        (count(JobState::Scheduled) + count(JobState::Blocked)).into(),
        queue.leased.into(),
        count(JobState::Failed).into(),
        oldest.into(),
        limits(queue).into(),
    ]
}

/// `paused, 15 of 100 jobs, 3 of 3 leased, 50/s`: only what is set.
fn limits(queue: &Queue) -> String {
    let of = |count: u64, limit: Option<u64>, what: &str| {
        limit.map(|limit| format!("{count} of {limit} {what}"))
    };
    let limits = [
        queue.paused.then(|| "paused".to_owned()),
        of(queue.jobs, queue.max_jobs, "jobs"),
        of(queue.bytes, queue.max_bytes, "bytes"),
        of(queue.leased, queue.max_leased, "leased"),
        queue.rate_per_second.map(|rate| format!("{rate}/s")),
    ];
    limits.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn whole(answer: &Answer<QueueResponse>) -> Report {
    let pairs = pairs(&answer.value.queue);
    Report {
        json: answer.body.clone(),
        items: None,
        plain: pairs.iter().map(|(name, value)| format!("{name} {value}")).collect(),
        table: Table {
            header: vec![],
            rows: pairs.iter().map(|(name, value)| vec![name.into(), value.into()]).collect(),
        },
    }
}

/// A queue under the names of the contract, `none` where nothing is set; its states are those that have
/// a job.
pub(super) fn pairs(queue: &Queue) -> Vec<(String, String)> {
    let setting =
        |value: Option<u64>| value.map_or_else(|| "none".into(), |value| value.to_string());
    let mut pairs: Vec<(String, String)> = [
        ("queue", queue.queue.to_string()),
        ("paused", queue.paused.to_string()),
        ("max_jobs", setting(queue.max_jobs)),
        ("max_bytes", setting(queue.max_bytes)),
        ("default_lease_ms", setting(queue.default_lease_ms)),
        ("max_attempts", setting(queue.max_attempts.map(u64::from))),
        ("max_leased", setting(queue.max_leased)),
        ("rate_per_second", setting(queue.rate_per_second.map(u64::from))),
        ("jobs", queue.jobs.to_string()),
        ("bytes", queue.bytes.to_string()),
        ("leased", queue.leased.to_string()),
        ("oldest_pending_ms", setting(queue.oldest_pending_ms)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let by_status = queue.by_status.iter();
    pairs.extend(by_status.map(|(state, count)| (state_name(*state), count.to_string())));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = r#"{"queue":"mail","paused":true,"max_jobs":100,"max_bytes":null,"default_lease_ms":60000,
        "max_attempts":null,"max_leased":3,"rate_per_second":50,"jobs":15,"bytes":900,"leased":3,
        "by_status":{"pending":9,"scheduled":2,"blocked":1,"claimed":3,"failed":4},"oldest_pending_ms":63000"#;

    #[test]
    fn a_queue_is_a_name_for_scripts_and_a_row_for_people() {
        let body = format!("{{\"queues\":[{QUEUE}}}],\"count\":1,\"rev\":7}}");
        let answer = Answer { value: serde_json::from_str(&body).unwrap(), body: body.into() };
        let report = report(&answer);
        assert_eq!(report.plain, ["mail"]);
        let limits = "paused, 15 of 100 jobs, 3 of 3 leased, 50/s";
        let row = ["mail", "9", "3", "3", "4", "1 min 3 s", limits].map(Cell::from);
        assert_eq!(report.table.rows, [row.to_vec()]);
    }

    #[test]
    fn one_queue_is_shown_whole() {
        let body = format!("{QUEUE},\"rev\":7}}");
        let answer = Answer { value: serde_json::from_str(&body).unwrap(), body: body.into() };
        let plain = whole(&answer).plain.join("\n");
        for claim in ["max_jobs 100\n", "max_bytes none\n", "default_lease_ms 60000\n", "failed 4"]
        {
            assert!(plain.contains(claim), "{claim} in {plain}");
        }
    }
}
