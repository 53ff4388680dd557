//! `queue run`: a command as a job.
//!
//! ```text
//!   a server? ── no ──▶ embed one
//!       │ yes                │
//!       └──────┬─────────────┘
//!            add ─▶ claim ─▶ start ─▶ command ∥ heartbeats ∥ signals ─▶ complete / fail ─▶ its status
//! ```

use std::{ffi::OsString, io, path::PathBuf, process::ExitStatus, time::Duration};

use clap::Args;
use serde_json::{json, value::to_raw_value};
use tokio::time::Instant;
use ulid::Ulid;

use super::{
    Exit, Failure,
    child::{self, exit_of},
    embedded::Embedded,
    input,
    lease::{self, Ended},
    report::{complain, for_people},
    session,
    signals::Signals,
};
use crate::{
    client::{Client, Options},
    config::{self, ClientConfig, Surroundings},
    queue::{QueueName, WorkType, WorkerId},
    wire::{
        AddRequest, ClaimRequest, CompleteRequest, ERROR_BYTES_MAX, FailRequest, GrantedWork, Work,
    },
};

/// What a server has to answer in, to be the one that is used.
const PROBE: Duration = Duration::from_millis(500);
/// How long the job that was just added may take to be claimed, an election included.
const CLAIM_WAIT: Duration = Duration::from_secs(10);
/// What a command gets, after it was asked to end, before it is made to.
const GRACE: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  queue run -- make test
  queue run --addr http://n1:8770 -- ./nightly.sh

The command finds QUEUE_ADDR, QUEUE_WORK_ID, QUEUE_TOKEN and QUEUE_ATTEMPT in its
environment. The exit code is the command's (128 and the signal's number when a signal
ended it, 127 when it was not found), 4 when the job was cancelled or its lease lost,
130 after Ctrl-C.";

/// Run a command as a job, and exit with its status.
///
/// The server at `--addr` is used when one answers; else this process is one for as long as the command
/// runs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// The job's kind.
    #[arg(long = "type", value_name = "TYPE", default_value = "run", value_parser = WorkType::parse)]
    work_type: WorkType,
    /// The lease, extended while the command runs.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = config::duration)]
    lease: Duration,
    /// Be a server, whoever else answers, and keep its data there [default: a folder that is removed
    /// at the end].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The command.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl RunArgs {
    pub(super) fn run(
        self,
        config: &ClientConfig,
        surroundings: &Surroundings,
    ) -> Result<Exit, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let no_threads =
            |error: io::Error| Failure::new(Exit::FAILED, "threads", error.to_string());
        runtime.map_err(no_threads)?.block_on(self.find_server_and_run(config, surroundings))
    }

    async fn find_server_and_run(
        self,
        config: &ClientConfig,
        surroundings: &Surroundings,
    ) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let probe = session::client(&config.addresses, PROBE, Duration::ZERO)?;
        if self.data_dir.is_none() && probe.health().await.is_ok() {
            let client =
                session::client(&config.addresses, config.timeout, Options::DEFAULT_PATIENCE)?;
            return self.run_as_job(&client, &config.addresses.join(","), &mut signals).await;
        }
        if config.is_addressed && self.data_dir.is_none() {
            let addresses = config.addresses.join(", ");
            complain(&format!("no server answers at {addresses}: this process is one\n"));
        }
        let embedded = Embedded::start(self.data_dir.as_deref(), surroundings).await?;
        let address = embedded.address.clone();
        let client = session::client(
            std::slice::from_ref(&address),
            config.timeout,
            Options::DEFAULT_PATIENCE,
        )?;
        let ended = tokio::select! {
            biased;
            ended = self.run_as_job(&client, &address, &mut signals) => ended,
            reason = embedded.failed() => {
                Err(Failure::new(Exit::FAILED, "replica_failed", format!("the queue cannot go on: {reason}")))
            }
        };
        embedded.stop().await;
        ended
    }

    async fn run_as_job(
        self,
        client: &Client,
        addresses: &str,
        signals: &mut Signals,
    ) -> Result<Exit, Failure> {
        let worker = worker_of_this_process();
        let (work, asked) = self.add_and_claim(client, &worker).await?;
        let started = Instant::now();
        let variables = [
            ("QUEUE_ADDR", addresses.to_owned()),
            ("QUEUE_WORK_ID", work.work_id.to_string()),
            ("QUEUE_TOKEN", work.token.0.to_string()),
            ("QUEUE_ATTEMPT", work.attempt.to_string()),
        ];
        let job = Job { client, work: &work, started };
        let mut running = match child::start(&self.command, &variables) {
            Ok(running) => running,
            Err(failure) => {
                job.fail(&failure.render(false)).await?;
                return Err(failure);
            }
        };
        let ended = tokio::select! {
            biased;
            status = running.ended() => End::Command(status),
            ended = hold(client, &worker, &work, asked) => End::Lease(ended),
            () = signals.next() => End::Signal,
        };
        match ended {
            End::Command(status) => job.settle(status).await,
            End::Lease(ended) => {
                running.end(GRACE).await;
                let message =
                    format!("job {} {}; the command was ended", work.work_id, ended.reason());
                Err(Failure::new(Exit::CONFLICT, "lost_lease", message))
            }
            End::Signal => {
                running.end(GRACE).await;
                job.fail("interrupted").await?;
                job.say("failed", "interrupted");
                Ok(Exit::INTERRUPTED)
            }
        }
    }

    /// Adds the job to a queue that no other worker knows, and claims it.
    async fn add_and_claim(
        &self,
        client: &Client,
        worker: &WorkerId,
    ) -> Result<(GrantedWork, Instant), Failure> {
        let queue = format!("run.{}", Ulid::generate());
        let queue = QueueName::parse(&queue).expect("a ULID is 26 letters and digits");
        let words: Vec<_> = self.command.iter().map(|word| word.to_string_lossy()).collect();
        let payload = to_raw_value(&json!({ "command": words }));
        let added = client
            .add(AddRequest {
                payload: payload.ok(),
                queue: Some(queue.clone()),
                work_type: Some(self.work_type.clone()),
                lease_ms: Some(input::milliseconds(self.lease)),
                // It runs here and now: there is nobody who would retry it.
                max_attempts: Some(1),
                ..AddRequest::default()
            })
            .await?;
        let asked = Instant::now();
        let claim = ClaimRequest {
            queues: vec![queue],
            wait_ms: Some(input::milliseconds(CLAIM_WAIT)),
            ..ClaimRequest::new(worker.clone())
        };
        match client.claim(claim).await?.value.work {
            Some(Work::Granted(work)) => Ok((*work, asked)),
            Some(Work::Lost(_)) | None => {
                let message = format!("job {} could not be claimed", added.value.work_id);
                Err(Failure::new(Exit::CONFLICT, "not_claimed", message))
            }
        }
    }
}

/// How the running ended.
enum End {
    Command(io::Result<ExitStatus>),
    Lease(Ended),
    Signal,
}

/// Says that the job runs, and keeps its lease until it ends.
async fn hold(client: &Client, worker: &WorkerId, work: &GrantedWork, asked: Instant) -> Ended {
    let say_so = async {
        // A heartbeat says the same, so a `start` that is lost does no harm.
        drop(client.start(work.work_id.clone(), work.token).await);
        std::future::pending().await
    };
    tokio::select! {
        ended = lease::keep(client, worker, work, asked) => ended,
        never = say_so => never,
    }
}

fn worker_of_this_process() -> WorkerId {
    let name = format!("run-{}-{}", std::process::id(), Ulid::generate());
    WorkerId::parse(&name).expect("digits, a ULID and dashes are a worker's name")
}

/// The job while its command runs.
struct Job<'a> {
    client: &'a Client,
    work: &'a GrantedWork,
    started: Instant,
}

impl Job<'_> {
    /// Records how the command ended, and ends likewise.
    async fn settle(&self, status: io::Result<ExitStatus>) -> Result<Exit, Failure> {
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                let message = format!("cannot wait for the command: {error}");
                self.fail(&message).await?;
                return Err(Failure::new(Exit::FAILED, "command", message));
            }
        };
        let exit = exit_of(status);
        if !status.success() {
            self.fail(&format!("the command ended with {status}")).await?;
            self.say("failed", &format!("exit {}", exit.0));
            return Ok(exit);
        }
        let request = CompleteRequest {
            work_id: self.work.work_id.clone(),
            token: self.work.token,
            result: to_raw_value(&json!({ "exit_code": exit.0 })).ok(),
            then: vec![],
        };
        self.client.complete(&request).await?;
        self.say("completed", &format!("exit {}", exit.0));
        Ok(exit)
    }

    async fn fail(&self, error: &str) -> Result<(), Failure> {
        let error: String = error.trim_end().chars().take(ERROR_BYTES_MAX / 4).collect();
        let request = FailRequest {
            work_id: self.work.work_id.clone(),
            token: self.work.token,
            error: Some(error),
            retry: Some(false),
            retry_in_ms: None,
        };
        self.client.fail(&request).await?;
        Ok(())
    }

    /// One line on stderr: stdout is the command's.
    fn say(&self, how: &str, detail: &str) {
        let took_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let GrantedWork { work_id, attempt, .. } = self.work;
        let took = for_people(took_ms);
        complain(&format!("job {work_id} {how} in {took} (attempt {attempt}, {detail})\n"));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::args::{Cli, Command};

    #[test]
    fn everything_after_the_dashes_is_the_command() {
        let words = ["queue", "run", "--lease", "5s", "--", "make", "-o", "x", "--addr", "y"];
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Run(args) = cli.command else { panic!("it is a run") };
        assert_eq!(args.command, ["make", "-o", "x", "--addr", "y"]);
        assert!(cli.global.addr.is_none());
        assert!(Cli::try_parse_from(["queue", "run"]).is_err());
        assert!(Cli::try_parse_from(["queue", "run", "make"]).is_err(), "the dashes are needed");
    }
}
