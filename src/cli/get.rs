//! `queue get`: shows a job, or waits for its end.

use std::time::Duration;

use clap::Args;

use super::{
    Exit, Failure,
    report::{Cell, Report, Table, for_people, serde_name, shortened, state_name},
    session::Session,
};
use crate::{
    client::Answer,
    config,
    queue::JobId,
    wire::{Attempt, GetResponse, Job},
};

/// As long as it takes.
pub(super) const FOREVER: &str = "8760h";

/// Show a job, or wait for its end.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// The job.
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    work_id: JobId,
    /// Wait for its end, as long as it takes or `--wait=DURATION`: exit code 7 when it did not
    /// complete, 5 when the time is up.
    #[arg(long, value_name = "DURATION", value_parser = config::duration,
          num_args = 0..=1, require_equals = true, default_missing_value = FOREVER)]
    wait: Option<Duration>,
}

impl GetArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        show(session, &self.work_id, self.wait).await
    }
}

/// Shows a job, with a `wait` at its end, and then exits by how it ended.
pub(super) async fn show(
    session: &Session,
    work_id: &JobId,
    wait: Option<Duration>,
) -> Result<Exit, Failure> {
    let answer = session.client.get(work_id, wait.unwrap_or_default()).await?;
    let exit = match wait {
        Some(_) => Exit::of_waited_for(answer.value.job.state),
        None => Exit::OK,
    };
    session.end(&report(&answer), exit)
}

fn report(answer: &Answer<GetResponse>) -> Report {
    let job = &answer.value.job;
    Report {
        json: answer.body.clone(),
        items: None,
        plain: vec![format!("{} {}", job.work_id, state_name(job.state))],
        table: Table::of_pairs(pairs(job)),
    }
}

fn pairs(job: &Job) -> Vec<(&'static str, Cell)> {
    let mut pairs: Vec<(&'static str, Cell)> =
        vec![("work_id", (&job.work_id).into()), ("state", Cell::state(job.state))];
    pairs.extend(job.queue.as_ref().map(|queue| ("queue", queue.into())));
    pairs.extend(job.work_type.as_ref().map(|work_type| ("work_type", work_type.into())));
    pairs.extend(job.priority.map(|priority| ("priority", priority.into())));
    if let (Some(attempt), Some(max_attempts)) = (job.attempt, job.max_attempts) {
        pairs.push(("attempts", format!("{attempt} of {max_attempts}").into()));
    }
    let text = |raw: &serde_json::value::RawValue| Cell::from(shortened(raw.get(), 200));
    pairs.extend(job.node_id.as_ref().map(|holder| ("held by", holder.into())));
    pairs.extend(job.token.map(|token| ("token", token.0.into())));
    pairs.extend(job.lease_expires_in_ms.map(|left| ("lease left", for_people(left).into())));
    pairs.extend(job.ready_in_ms.map(|left| ("ready in", for_people(left).into())));
    if !job.depends_on.is_empty() {
        let names: Vec<&str> = job.depends_on.iter().map(JobId::as_str).collect();
        pairs.push(("after", shortened(&names.join(", "), 200).into()));
    }
    pairs.extend(job.group.as_ref().map(|group| ("group", group.into())));
    if !job.tags.is_empty() {
        let tags: Vec<String> =
            job.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.push(("tags", shortened(&tags.join(", "), 200).into()));
    }
    pairs.extend(job.payload.as_deref().map(|payload| ("payload", text(payload))));
    pairs.extend(job.progress.as_deref().map(|progress| ("progress", text(progress))));
    pairs.extend(job.result.as_deref().map(|result| ("result", text(result))));
    pairs.extend(job.error.as_ref().map(|error| ("error", shortened(error, 200).into())));
    pairs.extend(job.attempts.iter().map(|attempt| ("attempt", in_a_line(attempt).into())));
    pairs
}

/// `2: w1 (token 7), failed after 1.5 s: boom`.
fn in_a_line(attempt: &Attempt) -> String {
    let how = attempt.end.map_or_else(|| "under way".to_owned(), |end| serde_name(&end));
    let took = attempt.ended_at_ms.map(|end| end.saturating_sub(attempt.claimed_at_ms));
    let took = took.map_or_else(String::new, |took| format!(" after {}", for_people(took)));
    let error = attempt.error.as_ref();
    let error = error.map_or_else(String::new, |error| format!(": {}", shortened(error, 80)));
    let Attempt { attempt: number, node_id, token, .. } = attempt;
    format!("{number}: {node_id} (token {}), {how}{took}{error}", token.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = r#"{"work_id":"a","queue":"q","work_type":"t","state":"failed","payload":{"n":1},
        "priority":50,"attempt":1,"max_attempts":1,"error":"boom","depends_on":["x","y"],"group":"disk","tags":{"k":"v"},"added_at_ms":1,"rev":9,
        "attempts":[{"attempt":1,"token":4,"node_id":"w","claimed_at_ms":5,"ended_at_ms":1505,"end":"failed","error":"boom"}]}"#;

    #[test]
    fn a_job_is_shown_with_its_attempts() {
        let answer = Answer { value: serde_json::from_str(FAILED).unwrap(), body: FAILED.into() };
        let report = report(&answer);
        assert_eq!(report.plain, ["a failed"]);
        let rows = format!("{:?}", report.table.rows);
        let attempt = "1: w (token 4), failed after 1.5 s: boom";
        for claim in ["1 of 1", "boom", attempt, "x, y", "disk", "k=v", "{\\\"n\\\":1}"] {
            assert!(rows.contains(claim), "{claim} in {rows}");
        }
    }
}
