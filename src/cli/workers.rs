//! `queue workers`: who was granted jobs lately.

use clap::Args;
use serde_json::json;

use super::{
    Exit, Failure,
    pages::{Pages, items_of},
    report::{Cell, Reader, Report, Table, for_people, shortened},
    session::Session,
};
use crate::{
    client::Answer,
    queue::WorkerId,
    wire::{Worker, WorkerResponse, WorkersResponse},
};

const NOTES: &str = "\
A worker is forgotten an hour after its last grant or heartbeat, unless it holds a job. When it was
last seen is known to ten seconds.";

/// Show the workers that were granted jobs lately, or one of them; prints the names.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct WorkersArgs {
    /// Only this one.
    #[arg(value_name = "WORKER", value_parser = WorkerId::parse)]
    worker: Option<WorkerId>,
}

impl WorkersArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self.worker {
            Some(worker) => {
                let answer = session.client.worker(&worker).await?;
                session.end(&whole(&answer), Exit::OK)
            }
            None => list(session).await,
        }
    }
}

async fn list(session: &Session) -> Result<Exit, Failure> {
    let mut pages = Pages::new(session.look, "workers");
    let mut count = 0;
    let mut after: Option<WorkerId> = None;
    loop {
        let answer = session.client.workers(after.as_ref()).await?;
        let list = &answer.value;
        count += list.workers.len();
        if list.next.is_none() {
            let rest = json!({"count": count, "next": null, "rev": list.rev});
            let note = (count == 0).then_some("no workers");
            pages.finish(&report(&answer), &rest, note)?;
            return Ok(Exit::OK);
        }
        if pages.print(&report(&answer))? == Reader::Gone {
            return Ok(Exit::OK);
        }
        after = answer.value.next;
    }
}

fn report(answer: &Answer<WorkersResponse>) -> Report {
    let workers = &answer.value.workers;
    Report {
        json: answer.body.clone(),
        items: Some(items_of(&answer.body, "workers")),
        plain: workers.iter().map(|worker| worker.node_id.to_string()).collect(),
        table: Table::list(
            ["WORKER", "HOLDS", "DRAINING", "LAST SEEN", "LABELS"],
            workers.iter().map(row),
        ),
    }
}

fn row(worker: &Worker) -> [Cell; 5] {
    [
        (&worker.node_id).into(),
        worker.held.into(),
        draining(worker).into(),
        last_seen(worker).into(),
        shortened(&labels(worker), 60).into(),
    ]
}

fn whole(answer: &Answer<WorkerResponse>) -> Report {
    let worker = &answer.value.worker;
    let mut pairs: Vec<(&'static str, Cell)> = vec![
        ("worker", (&worker.node_id).into()),
        ("holds", worker.held.into()),
        ("draining", draining(worker).into()),
        ("last seen", last_seen(worker).into()),
    ];
    pairs.extend(worker.session.map(|session| {
        let state = if worker.down { " (down)" } else { "" };
        ("session", format!("{session}{state}").into())
    }));
    if !worker.labels.is_empty() {
        pairs.push(("labels", labels(worker).into()));
    }
    let state = if worker.draining { " draining" } else { "" };
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![format!("{} {}{state}", worker.node_id, worker.held)],
        table: Table::of_pairs(pairs),
    }
}

fn draining(worker: &Worker) -> &'static str {
    if worker.draining { "yes" } else { "no" }
}

fn last_seen(worker: &Worker) -> String {
    format!("{} ago", for_people(worker.last_seen_ms_ago))
}

fn labels(worker: &Worker) -> String {
    let labels = worker.labels.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: &str = r#"{"node_id":"w1","labels":{"gpu":"a100","zone":"b"},"session":7,
        "draining":true,"held":2,"last_seen_at_ms":5,"last_seen_ms_ago":63000"#;

    #[test]
    fn a_worker_is_a_name_for_scripts_and_a_row_for_people() {
        let body = format!("{{\"workers\":[{WORKER}}}],\"count\":1,\"rev\":7}}");
        let answer = Answer { value: serde_json::from_str(&body).unwrap(), body: body.into() };
        let report = report(&answer);
        assert_eq!(report.plain, ["w1"]);
        let row = ["w1", "2", "yes", "1 min 3 s ago", "gpu=a100, zone=b"].map(Cell::from);
        assert_eq!(report.table.rows, [row.to_vec()]);
    }

    #[test]
    fn one_worker_is_shown_with_what_it_holds() {
        let body = format!("{WORKER},\"rev\":7}}");
        let answer = Answer { value: serde_json::from_str(&body).unwrap(), body: body.into() };
        let report = whole(&answer);
        assert_eq!(report.plain, ["w1 2 draining"]);
        let rows = format!("{:?}", report.table.rows);
        assert!(rows.contains("gpu=a100, zone=b") && rows.contains("session"), "{rows}");
    }
}
