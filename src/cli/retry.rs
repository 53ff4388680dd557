//! `queue retry`: puts finished jobs back, one by its id or those of a queue.

use clap::{ArgGroup, Args};
use serde_json::json;

use super::{
    Exit, Failure,
    pages::{Pages, items_of, page_of},
    report::{Report, Table},
    session::Session,
    states,
};
use crate::{
    client::{Answer, ClientError},
    queue::{JobId, JobState, QueueName},
    wire::{PAGE_MAX, Retried, RetriedJobs, RetryRequest, RetryResponse},
};

const EXAMPLES: &str = "\
Examples:
  queue retry 01J8ZQ4N3V6W1T0R5B7C9D2E4F
  queue retry --queue mail --dry-run           which of the dead letters would be tried again
  queue retry --queue mail --all
  queue retry --queue mail --state expired --limit 10";

/// Put finished jobs back, with a fresh count of attempts; prints the ids.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("which").args(["work_id", "queue"]).required(true))]
pub(super) struct RetryArgs {
    /// The job.
    #[arg(value_name = "ID", value_parser = JobId::parse,
          conflicts_with_all = ["state", "limit", "all"])]
    work_id: Option<JobId>,
    /// Jobs of this queue, the first added first.
    #[arg(long, value_name = "QUEUE", value_parser = QueueName::parse)]
    queue: Option<QueueName>,
    /// In which state.
    #[arg(long, value_name = "STATE", requires = "queue", default_value = "failed",
          value_parser = states::terminal())]
    state: JobState,
    /// This many at the most.
    #[arg(long, value_name = "N", requires = "queue", default_value_t = 100,
          value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// As many as there are when it begins.
    #[arg(long, requires = "queue", conflicts_with = "limit")]
    all: bool,
    /// Change nothing, and print which jobs it would be; of more than 1000 the first 1000.
    #[arg(long)]
    dry_run: bool,
}

impl RetryArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match (self.work_id, self.queue) {
            (Some(work_id), _) => retry_once(session, Retried::Job { work_id }, self.dry_run).await,
            (None, Some(queue)) if self.dry_run => {
                let limit = if self.all { PAGE_MAX } else { page_of(self.limit) };
                let which = Retried::Jobs(RetriedJobs { queue, state: self.state, limit });
                retry_once(session, which, true).await
            }
            (None, Some(queue)) => {
                let limit = if self.all { None } else { Some(self.limit) };
                retry_many(session, &queue, self.state, limit).await
            }
            (None, None) => unreachable!("one of them is required"),
        }
    }
}

async fn retry_once(session: &Session, which: Retried, dry_run: bool) -> Result<Exit, Failure> {
    let answer = session.client.retry(request(which, dry_run)).await?;
    let note = note(answer.value.count, &answer.value);
    // The one page that there is stands for itself.
    Pages::new(session.look, "work_ids").finish(&report(&answer), &json!({}), Some(&note))?;
    Ok(Exit::OK)
}

/// Round after round, each printed when it is done. Without a `limit` the rounds end with the number of
/// jobs that there were: one that fails again meanwhile is no reason to go on for ever.
async fn retry_many(
    session: &Session,
    queue: &QueueName,
    state: JobState,
    limit: Option<u64>,
) -> Result<Exit, Failure> {
    let mut left = match limit {
        Some(limit) => limit,
        None => count_in(session, queue, state).await?.max(1),
    };
    let mut pages = Pages::new(session.look, "work_ids");
    let mut count = 0;
    loop {
        let limit = page_of(left);
        let which = Retried::Jobs(RetriedJobs { queue: queue.clone(), state, limit });
        let answer = session.client.retry(request(which, false)).await;
        let answer = answer.map_err(|error| after(Failure::from(error), count))?;
        let round = &answer.value;
        count += round.count;
        left = left.saturating_sub(round.count as u64);
        if left == 0 || round.count < limit as usize {
            let rest = json!({"status": round.status, "count": count, "dry_run": false,
                              "more": round.more, "rev": round.rev});
            pages.finish(&report(&answer), &rest, Some(&note(count, round)))?;
            return Ok(Exit::OK);
        }
        // Whoever does not read the ids to their end wants the jobs put back all the same.
        pages.print(&report(&answer))?;
    }
}

/// How many jobs of a queue are in a state.
async fn count_in(
    session: &Session,
    queue: &QueueName,
    state: JobState,
) -> Result<u64, ClientError> {
    let answer = session.client.queue(queue).await?;
    Ok(answer.value.queue.by_status.get(&state).copied().unwrap_or(0))
}

fn request(which: Retried, dry_run: bool) -> RetryRequest {
    RetryRequest { which, dry_run, request_id: None }
}

/// A failure after `count` jobs were put back in earlier rounds.
fn after(failure: Failure, count: usize) -> Failure {
    if count == 0 {
        return failure;
    }
    failure
        .told(|message| format!("{message}\n{count} jobs were put back before that"))
        .with("count", count)
}

fn report(answer: &Answer<RetryResponse>) -> Report {
    let ids: Vec<String> = answer.value.work_ids.iter().map(ToString::to_string).collect();
    Report {
        json: answer.body.clone(),
        items: Some(items_of(&answer.body, "work_ids")),
        table: Table::list(["WORK ID"], ids.iter().map(|id| [id.into()])),
        plain: ids,
    }
}

fn note(count: usize, answer: &RetryResponse) -> String {
    let jobs = if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") };
    let done = if answer.dry_run { "would be put back" } else { "put back" };
    let more = if answer.more { "; there are more: --limit N or --all" } else { "" };
    format!("{jobs} {done}{more}")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn answer(body: &'static str) -> Answer<RetryResponse> {
        Answer { value: serde_json::from_str(body).unwrap(), body: body.into() }
    }

    #[test]
    fn a_retry_is_ids_for_scripts_and_a_count_for_people() {
        let answer = answer(
            r#"{"status":"retried","count":2,"work_ids":["a","b"],"dry_run":true,"more":true,"rev":9}"#,
        );
        let report = report(&answer);
        assert_eq!(
            (report.plain.join(" "), report.items.unwrap().join(" ")),
            ("a b".into(), r#""a" "b""#.into())
        );
        let note = note(2, &answer.value);
        assert_eq!(note, "2 jobs would be put back; there are more: --limit N or --all");
    }

    #[test]
    fn a_round_that_fails_says_what_was_done_before_it() {
        let failure = || Failure::usage("it is broken");
        assert_eq!(after(failure(), 0), failure());
        let told = after(failure(), 2000).render(true);
        assert!(
            told.contains("2000 jobs were put back") && told.contains(r#""count":2000"#),
            "{told}"
        );
    }

    #[test]
    fn one_job_or_a_queue_is_named_and_not_both() {
        let parse = |words: &[&str]| {
            Cli::try_parse_from([&["queue", "retry"], words].concat())
                .map_err(|error| error.to_string())
        };
        for good in [&["a"][..], &["a", "--dry-run"], &["--queue", "q", "--all", "--dry-run"]] {
            parse(good).unwrap();
        }
        for (bad, hint) in [
            (&[][..], "--queue"),
            (&["a", "--queue", "q"], "cannot be used"),
            (&["a", "--limit", "3"], "--limit"),
            (&["--queue", "q", "--all", "--limit", "3"], "cannot be used"),
            (&["--queue", "q", "--state", "pending"], "expired"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(hint), "{bad:?}: {error}");
        }
    }
}
