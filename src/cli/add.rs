//! `queue add`: adds a job, or (see `import`) a file of them.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bytes::Bytes;
use clap::Args;

use super::{
    Exit, Failure, get, import, input,
    report::{Cell, Report, Table},
    session::Session,
};
use crate::{
    client::{Answer, fresh_job_id},
    config,
    queue::{GroupName, JobId, QueueName, WorkType},
    wire::{AddRequest, AddResponse, PAYLOAD_BYTES_MAX},
};

/// Add a job, or a file of jobs; prints the id.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Where it waits [default: default].
    #[arg(value_name = "QUEUE", value_parser = QueueName::parse)]
    queue: Option<QueueName>,
    /// What the worker gets: JSON, `@file`, or `-` for stdin [default: {}].
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// Its kind [default: default].
    #[arg(long = "type", value_name = "TYPE", value_parser = WorkType::parse)]
    work_type: Option<WorkType>,
    /// Its id; adding it again under the same id changes nothing [default: a fresh one].
    #[arg(long, value_name = "ID", value_parser = JobId::parse)]
    id: Option<JobId>,
    /// 0 to 100, higher first [default: 50].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    priority: Option<u8>,
    /// Not handed out before this has passed.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    delay: Option<Duration>,
    /// The lease of a claim that asks for none [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    lease: Option<Duration>,
    /// 1 to 1000 [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: Option<u32>,
    /// Expires when nobody claims it within this.
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    expires_in: Option<Duration>,
    /// Blocked until this job has completed; may be repeated.
    #[arg(long, value_name = "ID", value_parser = JobId::parse)]
    after: Vec<JobId>,
    /// At most one job of a group is leased at a time.
    #[arg(long, value_name = "NAME", value_parser = GroupName::parse)]
    group: Option<GroupName>,
    /// For filters; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// Wait for its end, as long as it takes or `--wait=DURATION`, and show it: exit code 7 when it
    /// did not complete, 5 when the time is up.
    #[arg(long, value_name = "DURATION", value_parser = config::duration,
          num_args = 0..=1, require_equals = true, default_missing_value = get::FOREVER)]
    wait: Option<Duration>,
    /// Add every line of this file (`-`: stdin): a JSON object with the fields of `POST /work/add`.
    #[arg(long, value_name = "FILE", conflicts_with_all =
          ["queue", "payload", "work_type", "id", "priority", "delay", "lease", "max_attempts",
           "expires_in", "after", "group", "tag", "wait"])]
    file: Option<PathBuf>,
    /// With `--file`: lines without a `work_id` get `IMPORT-LINE`; an import that broke off goes on
    /// under the same id, and adds nothing twice [default: a fresh one].
    #[arg(long, value_name = "ID", requires = "file", value_parser = import::import_id)]
    import_id: Option<String>,
    /// With `--file`: how many batches are under way at once, 1 to 16; 1 keeps the order of the lines
    /// among jobs of equal priority.
    #[arg(long, value_name = "N", requires = "file", default_value_t = 4,
          value_parser = clap::value_parser!(u8).range(1..=16))]
    in_flight: u8,
}

pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl AddArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if let Some(file) = self.file {
            let import = import::Import::new(self.import_id, usize::from(self.in_flight));
            return import.run(session, &file).await;
        }
        let wait = self.wait;
        let mut request = self.request()?;
        let work_id = request.work_id.get_or_insert_with(fresh_job_id).clone();
        let added = session.client.add(request).await.map_err(Failure::from);
        let answer = added.map_err(|failure| how_to_repeat(failure, &work_id))?;
        match wait {
            Some(_) => get::show(session, &answer.value.work_id, wait).await,
            None => session.end(&report(&answer), Exit::OK),
        }
    }

    fn request(self) -> Result<AddRequest, Failure> {
        let read = |given: String| input::json("--payload", &given, PAYLOAD_BYTES_MAX);
        Ok(AddRequest {
            payload: self.payload.map(read).transpose()?,
            work_id: self.id,
            queue: self.queue,
            work_type: self.work_type,
            priority: self.priority,
            delay_ms: self.delay.map(input::milliseconds),
            lease_ms: self.lease.map(input::milliseconds),
            max_attempts: self.max_attempts,
            expires_in_ms: self.expires_in.map(input::milliseconds),
            depends_on: self.after,
            group: self.group,
            tags: self.tag.into_iter().collect::<BTreeMap<_, _>>(),
            ..AddRequest::default()
        })
    }
}

/// An add that may have happened is repeated under its id, which only this process knows yet.
fn how_to_repeat(failure: Failure, work_id: &JobId) -> Failure {
    if !failure.is_unknown() {
        return failure;
    }
    failure
        .told(|why| format!("{why}; the same command with --id {work_id} adds nothing twice"))
        .with("work_id", work_id.as_str())
}

fn report(answer: &Answer<AddResponse>) -> Report {
    let job = &answer.value;
    let mut pairs: Vec<(&'static str, Cell)> = vec![
        ("work_id", (&job.work_id).into()),
        ("state", Cell::state(job.state)),
        ("queue", (&job.queue).into()),
        ("work_type", (&job.work_type).into()),
        ("priority", job.priority.into()),
    ];
    if job.duplicate {
        pairs.push(("duplicate", "yes: it existed already".into()));
    }
    pairs.push(("rev", job.rev.0.into()));
    Report {
        json: Bytes::clone(&answer.body),
        items: None,
        plain: vec![job.work_id.to_string()],
        table: Table::of_pairs(pairs),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        client::ClientError,
    };

    fn parse(words: &[&str]) -> Result<AddArgs, clap::Error> {
        let cli = Cli::try_parse_from(["queue", "add"].iter().chain(words))?;
        let Command::Add(args) = cli.command else { panic!("it is an add") };
        Ok(args)
    }

    #[test]
    fn flags_become_the_request_that_the_server_would_read() {
        let words =
            ["mail", "--payload", "{\"b\": 1}", "--type", "t", "--priority", "7", "--delay", "5s"];
        let more = ["--after", "x", "--after", "y", "--tag", "k=v=w", "--max-attempts", "2"];
        let request = parse(&[&words[..], &more[..]].concat()).unwrap().request().unwrap();
        let json = serde_json::to_string(&request).unwrap();
        let golden = r#"{"payload":{"b": 1},"queue":"mail","work_type":"t","priority":7,"delay_ms":5000,"max_attempts":2,"depends_on":["x","y"],"tags":{"k":"v=w"}}"#;
        assert_eq!(json, golden);
        assert!(AddRequest::parse(json.as_bytes()).is_ok());
    }

    #[test]
    fn waiting_takes_no_value_or_one_after_an_equals_sign() {
        assert_eq!(parse(&["--wait=2s", "mail"]).unwrap().wait, Some(Duration::from_secs(2)));
        let waits_forever = parse(&["--wait", "mail"]).unwrap();
        assert!(waits_forever.wait > Some(Duration::from_hours(1000)));
        assert_eq!(waits_forever.queue.unwrap().as_str(), "mail");
    }

    #[test]
    fn what_cannot_be_right_is_refused_before_anything_is_sent() {
        for words in [
            &["--priority", "101"][..],
            &["a/b"],
            &["--delay", "5"],
            &["--tag", "k"],
            &["--file", "x", "--payload", "1"],
            &["--import-id", "x"],
            &["--in-flight", "0", "--file", "x"],
        ] {
            assert_eq!(parse(words).unwrap_err().exit_code(), 2, "{words:?}");
        }
    }

    #[test]
    fn an_add_of_unknown_outcome_says_how_to_repeat_it() {
        let id = JobId::parse("a").unwrap();
        let unknown = Failure::from(ClientError::Unknown { reason: "it is gone".into() });
        let told = how_to_repeat(unknown, &id);
        assert!(told.render(false).contains("--id a adds nothing twice"), "{told:?}");
        assert!(told.render(true).contains(r#""work_id":"a""#), "{told:?}");
        let certain = Failure::usage("no");
        assert_eq!(how_to_repeat(certain.clone(), &id), certain);
    }

    #[test]
    fn plain_is_the_bare_id() {
        let body = r#"{"status":"added","work_id":"a","queue":"q","work_type":"t","priority":50,
            "state":"pending","duplicate":true,"rev":3}"#;
        let answer = Answer { value: serde_json::from_str(body).unwrap(), body: body.into() };
        let report = report(&answer);
        assert_eq!(report.plain, ["a"]);
        assert!(format!("{:?}", report.table).contains("existed already"));
    }
}
