//! `queue worker`: an agent, from the command line.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tokio::sync::mpsc;

use super::{
    Exit, Failure, add::tag, gossiping::Gossiping, input, report::complain, session,
    signals::Signals,
};
use crate::{
    client::Options,
    config::{self, ClientConfig, Surroundings},
    queue::{QueueName, WorkType, WorkerId},
    worker::{Agent, AgentError, AgentOptions, Happening, Observer, Order, Stop},
};

const EXAMPLES: &str = "\
Examples:
  queue worker -- ./convert.sh
  queue worker urgent default --slots 4 --worker gpu-7 -- python3 train.py

The command finds the payload on its stdin, and QUEUE_ADDR, QUEUE_WORK_ID, QUEUE_TOKEN, QUEUE_ATTEMPT,
QUEUE_NAME (the queue's), QUEUE_WORK_TYPE and QUEUE_WORKER in its environment. The last line of its
stdout that is JSON is the job's result. An exit status other than 0 fails the attempt, with the end
of its stderr as the error. Its process group is ended when the job is cancelled or its lease lost.

SIGTERM or Ctrl-C: nothing more is claimed, and what runs may finish; a second one gives it back. The
exit code is 0 then, and 4 when a later worker of the same name has taken over.";

/// Claim jobs and run a command for each, until told to stop.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WorkerArgs {
    /// Served strictly in this order [default: all, highest priority first].
    #[arg(value_name = "QUEUE", value_parser = QueueName::parse)]
    queues: Vec<QueueName>,
    /// Who holds the leases; a later worker of the same name takes over [default: the host's name and
    /// the number of this process].
    #[arg(long, value_name = "NAME", env = "QUEUE_WORKER", value_parser = WorkerId::parse)]
    worker: Option<WorkerId>,
    /// How many jobs run at once.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    slots: u16,
    /// Only jobs of this type; may be repeated.
    #[arg(long = "type", value_name = "TYPE", value_parser = WorkType::parse)]
    work_types: Vec<WorkType>,
    /// The lease, extended while a command runs [default: each job's own].
    #[arg(long, value_name = "DURATION", value_parser = config::duration)]
    lease: Option<Duration>,
    /// What running jobs get to finish in after SIGTERM.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = config::duration)]
    drain: Duration,
    /// What the worker says of itself; may be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = tag)]
    labels: Vec<(String, String)>,
    /// Do not gossip: should this worker die, its jobs wait for the end of their leases.
    #[arg(long)]
    no_gossip: bool,
    /// The keys that seal the cluster's gossip, as on its nodes.
    #[arg(long, value_name = "FILE", env = "QUEUE_GOSSIP_KEY_FILE")]
    gossip_key_file: Option<PathBuf>,
    /// The command.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl WorkerArgs {
    pub(super) fn run(
        self,
        config: &ClientConfig,
        surroundings: &Surroundings,
    ) -> Result<Exit, Failure> {
        let no_threads =
            |error: io::Error| Failure::new(Exit::FAILED, "threads", error.to_string());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(no_threads)?;
        let ended = runtime.block_on(self.work(config, surroundings));
        // A read of a stream that a command's child holds open must not keep the process.
        runtime.shutdown_background();
        ended
    }

    async fn work(
        self,
        config: &ClientConfig,
        surroundings: &Surroundings,
    ) -> Result<Exit, Failure> {
        let mut signals = Signals::new()?;
        let client = session::client(&config.addresses, config.timeout, Options::DEFAULT_PATIENCE)?;
        let no_gossip = self.no_gossip;
        let key_file = self.gossip_key_file.clone();
        let options = self.options(config, surroundings)?;
        let (worker, session) = (options.worker.clone(), options.session);
        let (labels, addresses) = (options.labels.clone(), options.addresses.clone());
        let agent = Agent::new(client.clone(), options, Arc::new(Teller));
        let gossiping = if no_gossip {
            None
        } else {
            let session = agent.session();
            Some(Gossiping::start(client, &worker, session, labels, key_file.as_deref())?)
        };
        complain(&format!("worker {worker} (session {session}) of {addresses}\n"));
        let (order, orders) = mpsc::channel(2);
        let mut is_draining = false;
        let mut agent = std::pin::pin!(agent.run(orders));
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut agent => break ended,
                () = signals.next() => {
                    let (said, what) = if is_draining {
                        (Order::Stop, "giving back what runs\n")
                    } else {
                        (Order::Drain, "claiming no more; a second signal gives back what runs\n")
                    };
                    is_draining = true;
                    // A third signal finds no room, and nothing more to say.
                    if order.try_send(said).is_ok() {
                        complain(what);
                    }
                }
            }
        };
        if let Some(gossiping) = gossiping {
            gossiping.end().await;
        }
        match ended {
            Ok(()) => Ok(Exit::OK),
            Err(AgentError::Superseded(error)) => Err(Failure::from(error)
                .told(|error| format!("another worker has taken over as {worker}: {error}"))),
            Err(AgentError::Refused(error)) => Err(error.into()),
        }
    }

    fn options(
        self,
        config: &ClientConfig,
        surroundings: &Surroundings,
    ) -> Result<AgentOptions, Failure> {
        let mut command = self.command.into_iter();
        let program = command.next().ok_or_else(|| Failure::usage("there is no command to run"))?;
        let name = || {
            let host = surroundings.host_name.as_deref().unwrap_or("worker");
            let name = format!("{host}-{}", std::process::id());
            WorkerId::parse(&name).map_err(|fault| Failure::usage(format!("--worker: {fault}")))
        };
        // Greater with every start of a worker, unless its machine's clock was set back.
        let session = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Ok(AgentOptions {
            worker: self.worker.map_or_else(name, Ok)?,
            session: u64::try_from(session).unwrap_or(u64::MAX),
            queues: self.queues,
            work_types: self.work_types,
            lease_ms: self.lease.map(input::milliseconds),
            slots: self.slots.into(),
            labels: self.labels.into_iter().collect::<BTreeMap<_, _>>(),
            drain: self.drain,
            addresses: config.addresses.join(","),
            program,
            arguments: command.collect(),
        })
    }
}

/// Tells of an agent's work on stderr: stdout is the commands'.
struct Teller;

impl Observer for Teller {
    fn observe(&self, happening: &Happening) {
        complain(&match happening {
            Happening::Started { work } => {
                let (id, attempt, of) = (&work.work_id, work.attempt, work.max_attempts);
                format!("job {id} started (queue {}, attempt {attempt} of {of})\n", work.queue)
            }
            Happening::Settled { work, how, detail } => match detail {
                Some(detail) => format!("job {} {how}: {detail}\n", work.work_id),
                None => format!("job {} {how}\n", work.work_id),
            },
            Happening::NotSettled { work, how, error } => {
                format!("job {} could not be {how}: {error}\n", work.work_id)
            }
            Happening::Ended { work, why } => {
                let why = match why {
                    Stop::Cancelled => "was cancelled",
                    Stop::Lost => "lost its lease",
                    Stop::Expired => "could not extend its lease",
                    Stop::Shutdown => "was not given back in time",
                };
                format!("job {} {why}; its command was ended\n", work.work_id)
            }
            Happening::Unanswered { error } => format!("{error}; trying again\n"),
            Happening::Missed { session } => {
                format!("taken for dead; going on under session {session}\n")
            }
            Happening::Drained { is_drained: true } => {
                "told to claim no more, until `queue undrain`\n".to_owned()
            }
            Happening::Drained { is_drained: false } => "claiming again\n".to_owned(),
        });
    }
}
