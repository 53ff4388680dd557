//! One attempt at one job: its command, from the start to the answer that settles it.

use std::{
    process::ExitStatus,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::{
    io::{self, AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    agent::{AgentOptions, Happening, Observer},
    child::{Child, Input},
    leases::Stop,
    output::{self, Look, Tail},
};
use crate::{
    client::{Client, ClientError},
    wire::{CompleteRequest, ERROR_BYTES_MAX, FailRequest, GrantedWork, ReleaseRequest},
};

/// What a command gets to end in whose lease is lost: somebody else may run the job already.
pub(super) const LOST_GRACE: Duration = Duration::from_millis(800);
/// And one whose agent stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long what a command printed is still taken in after its end: what it has started may hold on to
/// its output for ever.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to settle a job; the client has tried every server for a while in each.
const SETTLE_PAUSE: Duration = Duration::from_millis(500);

/// What an attempt is made with.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) client: Client,
    pub(super) options: Arc<AgentOptions>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) work: Arc<GrantedWork>,
}

impl Attempt {
    /// Runs the command until it ends or must, and settles the job. Returns when nothing runs any more
    /// and the job is settled, or cannot be.
    pub(super) async fn run(self, mut stop: oneshot::Receiver<Stop>) {
        self.observe(&Happening::Started { work: Arc::clone(&self.work) });
        let mut child = match self.start() {
            Ok(child) => child,
            Err(error) => return self.settle(Settlement::Fail(error), Some(stop)).await,
        };
        let streams = Streams::of(&mut child, self.work.payload.clone());
        let say_so = async {
            // A heartbeat says the same, so a `start` that is lost does no harm.
            drop(self.client.start(self.work.work_id.clone(), self.work.token).await);
            std::future::pending().await
        };
        let ended = tokio::select! {
            biased;
            Ok(stop) = &mut stop => Err(stop),
            status = child.ended() => Ok(status),
            never = say_so => never,
        };
        match ended {
            Ok(Ok(status)) => self.settle(Settlement::of(status, streams).await, Some(stop)).await,
            Ok(Err(error)) => {
                let error = format!("cannot wait for the command: {error}");
                self.settle(Settlement::Fail(error), Some(stop)).await;
            }
            Err(Stop::Shutdown) => {
                child.end(SHUTDOWN_GRACE).await;
                self.settle(Settlement::Release, None).await;
            }
            Err(why) => {
                child.end(LOST_GRACE).await;
                self.observe(&Happening::Ended { work: Arc::clone(&self.work), why });
            }
        }
    }

    fn start(&self) -> Result<Child, String> {
        let AgentOptions { program, arguments, addresses, .. } = &*self.options;
        let work = &self.work;
        let variables = [
            ("QUEUE_ADDR", addresses.clone()),
            ("QUEUE_WORK_ID", work.work_id.to_string()),
            ("QUEUE_TOKEN", work.token.0.to_string()),
            ("QUEUE_ATTEMPT", work.attempt.to_string()),
            ("QUEUE_NAME", work.queue.to_string()),
            ("QUEUE_WORK_TYPE", work.work_type.to_string()),
            ("QUEUE_WORKER", self.options.worker.to_string()),
        ];
        let child = Child::start(program, arguments, &variables, Input::Pipes);
        child.map_err(|error| error.to_string())
    }

    /// Tells the server, again and again while it may help and the lease holds.
    /// `stop` is what may still end that; `None` when it has come already.
    async fn settle(&self, settlement: Settlement, stop: Option<oneshot::Receiver<Stop>>) {
        let told = async {
            loop {
                match self.tell(&settlement).await {
                    Err(error) if error.may_be_answered_yet() => sleep(SETTLE_PAUSE).await,
                    told => return told,
                }
            }
        };
        let work = Arc::clone(&self.work);
        let happening = tokio::select! {
            biased;
            told = told => match told {
                Ok(()) => Happening::Settled { work, how: settlement.name(), detail: settlement.detail() },
                Err(error) => Happening::NotSettled { work, how: settlement.name(), error },
            },
            Some(why) = told_to_end(stop) => Happening::Ended { work, why },
        };
        self.observe(&happening);
    }

    async fn tell(&self, settlement: &Settlement) -> Result<(), ClientError> {
        let (work_id, token) = (self.work.work_id.clone(), self.work.token);
        match settlement {
            Settlement::Complete(result) => {
                let result = result.clone();
                let request = CompleteRequest { work_id, token, result, then: vec![] };
                self.client.complete(&request).await.map(drop)
            }
            Settlement::Fail(error) => {
                let error = Some(error.clone());
                let request = FailRequest { work_id, token, error, retry: None, retry_in_ms: None };
                self.client.fail(&request).await.map(drop)
            }
            Settlement::Release => {
                let request = ReleaseRequest { work_id, token, delay_ms: None };
                self.client.release(&request).await.map(drop)
            }
        }
    }

    fn observe(&self, happening: &Happening) {
        self.observer.observe(happening);
    }
}

/// Why settling must end. One whose agent stops gets a moment more: its command has done its work.
async fn told_to_end(stop: Option<oneshot::Receiver<Stop>>) -> Option<Stop> {
    let why = stop?.await.ok()?;
    if why == Stop::Shutdown {
        sleep(SHUTDOWN_GRACE).await;
    }
    Some(why)
}

/// How a job is settled.
enum Settlement {
    Complete(Option<Box<RawValue>>),
    Fail(String),
    Release,
}

impl Settlement {
    async fn of(status: ExitStatus, streams: Streams) -> Self {
        let (result, complaint) = streams.end().await;
        if status.success() {
            return Self::Complete(result);
        }
        let complaint = if complaint.is_empty() { complaint } else { format!(": {complaint}") };
        let error = format!("the command ended with {status}{complaint}");
        Self::Fail(error.chars().take(ERROR_BYTES_MAX / 4).collect())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Complete(_) => "completed",
            Self::Fail(_) => "failed",
            Self::Release => "released",
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Fail(error) => Some(error.clone()),
            Self::Complete(_) | Self::Release => None,
        }
    }
}

/// The tasks that feed a command and take in what it prints.
struct Streams {
    feed: JoinHandle<()>,
    stdout: (JoinHandle<()>, Arc<Mutex<output::Result>>),
    stderr: (JoinHandle<()>, Arc<Mutex<Tail>>),
}

impl Streams {
    fn of(child: &mut Child, payload: Box<RawValue>) -> Self {
        let (mut stdin, stdout, stderr) = child.pipes().expect("they were asked for");
        Self {
            // A command that does not read its payload has no need of it.
            feed: tokio::spawn(async move {
                drop(stdin.write_all(payload.get().as_bytes()).await);
            }),
            stdout: pass(stdout, io::stdout(), output::Result::new()),
            stderr: pass(stderr, io::stderr(), Tail::default()),
        }
    }

    /// The result and the last complaint.
    async fn end(self) -> (Option<Box<RawValue>>, String) {
        let Self { feed, stdout, stderr } = self;
        feed.abort();
        let (result, complaint) =
            tokio::join!(taken(stdout, output::Result::end), taken(stderr, Tail::text));
        (result, complaint)
    }
}

fn pass<L: Look + Send + 'static>(
    from: impl AsyncRead + Send + Unpin + 'static,
    to: impl AsyncWrite + Send + Unpin + 'static,
    look: L,
) -> (JoinHandle<()>, Arc<Mutex<L>>) {
    let look = Arc::new(Mutex::new(look));
    let looking = Arc::clone(&look);
    (tokio::spawn(async move { output::pass(from, to, &looking).await }), look)
}

/// What a stream has held until its end, or until somebody has held it open for too long.
async fn taken<L, T>(
    (mut stream, look): (JoinHandle<()>, Arc<Mutex<L>>),
    take: impl FnOnce(&mut L) -> T,
) -> T {
    drop(timeout(OUTPUT_PATIENCE, &mut stream).await);
    stream.abort();
    take(&mut look.lock().expect("nothing panics while it looks"))
}
