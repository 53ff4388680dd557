//! `queue claim`: leases jobs to a worker.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;

use super::{
    Exit, Failure, input,
    report::{Cell, Report, Table, for_people, shortened, state_name},
    session::Session,
};
use crate::{
    config,
    queue::{QueueName, WorkType, WorkerId},
    wire::{ClaimRequest, Work},
};

/// Claim jobs for a worker; prints `id token`, exit code 8 when there is none.
#[derive(Debug, Args)]
pub(super) struct ClaimArgs {
    /// Served strictly in this order [default: all, highest priority first].
    #[arg(value_name = "QUEUE", value_parser = QueueName::parse)]
    queues: Vec<QueueName>,
    /// Who will hold the lease.
    #[arg(long, value_name = "NAME", value_parser = WorkerId::parse)]
    worker: WorkerId,
    /// Only jobs of this type; may be repeated.
    #[arg(long = "type", value_name = "TYPE", value_parser = WorkType::parse)]
    work_types: Vec<WorkType>,
    /// Wait this long for work.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    wait: Option<Duration>,
    /// The lease [default: each job's own].
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    lease: Option<Duration>,
    /// Up to this many jobs at once, 1 to 1000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max: Option<u32>,
}

impl ClaimArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let claim = ClaimRequest {
            queues: self.queues,
            work_types: self.work_types,
            lease_ms: self.lease.map(input::milliseconds),
            wait_ms: self.wait.map(input::milliseconds),
            max: self.max,
            ..ClaimRequest::new(self.worker)
        };
        let (items, body) = if self.max.is_some() {
            let answer = session.client.claim_batch(claim).await?;
            (answer.value.items, answer.body)
        } else {
            let answer = session.client.claim(claim).await?;
            (answer.value.work.into_iter().collect(), answer.body)
        };
        let exit = if items.is_empty() { Exit::NOTHING_TO_CLAIM } else { Exit::OK };
        session.end(&report(&items, body), exit)
    }
}

fn report(items: &[Work], json: Bytes) -> Report {
    let plain = |item: &Work| match item {
        Work::Granted(work) => format!("{} {}", work.work_id, work.token.0),
        Work::Lost(work) => format!("{} {} lost", work.work_id, work.token.0),
    };
    Report {
        json,
        items: Some(items.iter().filter_map(|item| serde_json::to_string(item).ok()).collect()),
        plain: items.iter().map(plain).collect(),
        table: table(items),
    }
}

fn table(items: &[Work]) -> Table {
    if items.is_empty() {
        return Table { header: vec![], rows: vec![vec!["no work available".into()]] };
    }
    let row = |item: &Work| match item {
        Work::Granted(work) => vec![
            (&work.work_id).into(),
            work.token.0.into(),
            (&work.queue).into(),
            (&work.work_type).into(),
            format!("{} of {}", work.attempt, work.max_attempts).into(),
            for_people(work.lease_expires_in_ms).into(),
            shortened(work.payload.get(), 60).into(),
        ],
        Work::Lost(work) => {
            let mut row: Vec<Cell> = vec![(&work.work_id).into(), work.token.0.into()];
            row.extend(["", "", "", "lost"].map(Cell::from));
            row.push(state_name(work.state).into());
            row
        }
    };
    Table {
        header: vec!["WORK ID", "TOKEN", "QUEUE", "TYPE", "ATTEMPT", "LEASE LEFT", "PAYLOAD"],
        rows: items.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: &str = r#"{"work_id":"a","queue":"q","work_type":"t","payload":{"n":1},"priority":50,
        "attempt":1,"max_attempts":3,"token":12,"lease_ms":30000,"lease_expires_in_ms":29998,
        "added_at_ms":5,"tags":{}}"#;

    #[test]
    fn plain_is_id_and_token_for_scripts() {
        let items = [serde_json::from_str(WORK).unwrap()];
        let report = report(&items, Bytes::new());
        assert_eq!(report.plain, ["a 12"]);
        assert_eq!(report.items.unwrap().len(), 1);
        assert_eq!(report.table.rows[0].len(), report.table.header.len());
    }

    #[test]
    fn nothing_to_claim_is_said_to_people_and_is_nothing_to_scripts() {
        let report = report(&[], Bytes::from_static(b"{}"));
        assert!(report.plain.is_empty());
        assert_eq!(report.table.rows, [["no work available".into()]]);
    }

    #[test]
    fn a_lost_job_of_a_repeated_claim_is_marked() {
        let lost = r#"{"work_id":"a","token":12,"lost":true,"state":"pending"}"#;
        let report = report(&[serde_json::from_str(lost).unwrap()], Bytes::new());
        assert_eq!(report.plain, ["a 12 lost"]);
        assert_eq!(report.table.rows[0].len(), report.table.header.len());
    }
}
