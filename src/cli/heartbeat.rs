//! `queue heartbeat`: extends the lease of a claimed job.

use std::time::Duration;

use clap::Args;

use super::{
    Exit, Failure, input,
    report::{Report, Table, for_people, serde_name},
    session::Session,
    settle,
};
use crate::{
    client::Answer,
    config,
    wire::{Beat, BeatStatus, HeartbeatRequest, HeartbeatResponse, RESULT_BYTES_MAX},
};

/// Extend the lease of a claimed job; exit code 4 when it is lost or cancelled.
#[derive(Debug, Args)]
pub(super) struct HeartbeatArgs {
    #[command(flatten)]
    holding: settle::HoldingArgs,
    /// The lease from now [default: as it was granted].
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    lease: Option<Duration>,
    /// How far it is, for `get`: JSON, `@file`, or `-` for stdin.
    #[arg(long, value_name = "JSON")]
    progress: Option<String>,
}

impl HeartbeatArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let read = |given: String| input::json("--progress", &given, RESULT_BYTES_MAX);
        let beat = Beat {
            work_id: self.holding.work_id,
            token: self.holding.token,
            lease_ms: self.lease.map(input::milliseconds),
            progress: self.progress.map(read).transpose()?,
        };
        let beats = HeartbeatRequest { node_id: None, items: vec![beat] };
        let answer = session.client.heartbeat(&beats).await?;
        session.end(&report(&answer), exit(&answer.value))
    }
}

fn exit(answer: &HeartbeatResponse) -> Exit {
    let is_held = answer.items.iter().all(|item| item.status == BeatStatus::Extended);
    if is_held { Exit::OK } else { Exit::CONFLICT }
}

fn report(answer: &Answer<HeartbeatResponse>) -> Report {
    let items = &answer.value.items;
    let row = |item: &crate::wire::Beaten| {
        let left = item.lease_expires_in_ms.map_or_else(String::new, for_people);
        vec![item.work_id.as_str().into(), serde_name(&item.status).into(), left.into()]
    };
    Report {
        json: answer.body.clone(),
        items: Some(items.iter().filter_map(|item| serde_json::to_string(item).ok()).collect()),
        plain: items.iter().map(|item| serde_name(&item.status)).collect(),
        table: Table {
            header: vec!["WORK ID", "STATUS", "LEASE LEFT"],
            rows: items.iter().map(row).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lease_is_a_conflict() {
        let body = r#"{"items":[{"work_id":"a","token":3,"status":"lost"}],"drain":false,"rev":1}"#;
        let value: HeartbeatResponse = serde_json::from_str(body).unwrap();
        assert_eq!(exit(&value), Exit::CONFLICT);
        let report = report(&Answer { value, body: body.into() });
        assert_eq!(report.plain, ["lost"]);
        assert_eq!(report.items.unwrap(), [r#"{"work_id":"a","token":3,"status":"lost"}"#]);
    }
}
