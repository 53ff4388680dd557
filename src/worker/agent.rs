//! The agent's one loop: what is claimed, kept, ended and given back, and when.

use std::{collections::BTreeMap, ffi::OsString, future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    attempt::{Attempt, LOST_GRACE},
    leases::{Leases, Stop},
};
use crate::{
    client::{Answer, Client, ClientError, fresh_request_id},
    queue::{JobId, QueueName, Token, WorkType, WorkerId},
    wire::{
        ClaimBatchResponse, ClaimRequest, Code, GrantedWork, HeartbeatRequest, HeartbeatResponse,
        ReleaseRequest, Work,
    },
};

/// How long one claim waits for jobs.
const CLAIM_WAIT_MS: u64 = 20_000;
/// Between a claim that no server answered and the next.
const CLAIM_PAUSE: Duration = Duration::from_secs(1);
/// How often an agent that holds nothing asks whether it may claim again.
const DRAINED_BEAT: Duration = Duration::from_secs(5);
/// How long a server may take to say what became of a claim that is called back.
const CALL_BACK_PATIENCE: Duration = Duration::from_secs(5);
/// The longest between two heartbeats, however long the leases: so long a worker that was taken for
/// dead, or whose job was cancelled, may go on without knowing it.
const BEAT_MAX: Duration = Duration::from_secs(10);
/// How often an agent that holds leases, or waits for some, looks whether it has slept, and how late it
/// may be for that to be no sleep: whoever has slept asks at once what it still holds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SLEPT: Duration = Duration::from_millis(300);
/// Between a heartbeat that failed and the next.
const BEAT_PAUSE: Duration = Duration::from_millis(500);
/// How long before its end a lease is taken for lost: its command has to be gone by then.
const LEASE_MARGIN: Duration = Duration::from_secs(1);
const _: () = assert!(LOST_GRACE.as_millis() < LEASE_MARGIN.as_millis());

/// What an agent is and does.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// The name under which it claims.
    pub worker: WorkerId,
    /// Its first session: greater than every earlier one under its name.
    pub session: u64,
    /// Served strictly in this order; none: all.
    pub queues: Vec<QueueName>,
    /// Any of these; none: all.
    pub work_types: Vec<WorkType>,
    /// The lease, ms; each job's own when `None`.
    pub lease_ms: Option<u64>,
    /// How many jobs it runs at once, at least 1.
    pub slots: usize,
    /// What it says of itself.
    pub labels: BTreeMap<String, String>,
    /// How long running jobs get to finish once it drains.
    pub drain: Duration,
    /// What its commands find in `QUEUE_ADDR`.
    pub addresses: String,
    /// What it runs for each job …
    pub program: OsString,
    /// … and with what.
    pub arguments: Vec<OsString>,
}

/// What an agent is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Claim no more, and end when what runs has ended.
    Drain,
    /// End what runs, give it back, and end.
    Stop,
}

/// What an agent tells of its work.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A job's command is about to start.
    Started {
        /// The job.
        work: Arc<GrantedWork>,
    },
    /// The server knows how an attempt ended.
    Settled {
        /// The job.
        work: Arc<GrantedWork>,
        /// `completed`, `failed` or `released`.
        how: &'static str,
        /// Why it failed.
        detail: Option<String>,
    },
    /// The server does not take what was to be settled: the job is another's, or was called off.
    NotSettled {
        /// The job.
        work: Arc<GrantedWork>,
        /// As in [`Happening::Settled`].
        how: &'static str,
        /// What it says.
        error: ClientError,
    },
    /// The command was ended before its time; nothing was settled.
    Ended {
        /// The job.
        work: Arc<GrantedWork>,
        /// Why.
        why: Stop,
    },
    /// A claim or a heartbeat got no answer; it is tried again.
    Unanswered {
        /// Why not.
        error: ClientError,
    },
    /// It was taken for dead: it has lost what it held, and goes on under another session.
    Missed {
        /// Which one.
        session: u64,
    },
    /// The server says that it is to claim nothing more, or again that it may.
    Drained {
        /// Which of the two.
        is_drained: bool,
    },
}

/// Who is told. Called from the agent's tasks: it must not block for long.
pub trait Observer: Send + Sync + 'static {
    /// Takes note.
    fn observe(&self, happening: &Happening);
}

/// Why an agent ended by itself. What it ran has been ended, and given back where that was possible.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AgentError {
    /// A later agent has its name.
    #[error("{0}")]
    Superseded(ClientError),
    /// The server refuses its claims for good.
    #[error(transparent)]
    Refused(ClientError),
}

type Claimed = Result<Answer<ClaimBatchResponse>, ClientError>;
type Beaten = Result<Answer<HeartbeatResponse>, ClientError>;

/// See the room's description.
pub struct Agent {
    client: Client,
    options: Arc<AgentOptions>,
    observer: Arc<dyn Observer>,
    /// The session under which it claims.
    session: watch::Sender<u64>,
    leases: Leases,
    attempts: JoinSet<(JobId, Token)>,
    stops: BTreeMap<(JobId, Token), oneshot::Sender<Stop>>,
    /// The claim that is out, and what came of it.
    claiming: Option<(ClaimRequest, JoinHandle<Claimed>)>,
    claim_at: Instant,
    /// The heartbeat that is out, and when it was sent.
    beating: Option<(Instant, JoinHandle<Beaten>)>,
    beat_at: Instant,
    beaten_at: Instant,
    /// What is being called back, and given back, since it drains.
    calling_back: JoinSet<()>,
    /// Whether somebody may still give it orders.
    is_led: bool,
    /// Whether it woke up so late that it may have been missed, and has not asked since.
    has_slept: bool,
    /// Whether a server says that it is to claim nothing.
    is_drained: bool,
    /// When it was told to drain: by when what runs must have ended.
    drained_by: Option<Instant>,
}

/// What the loop wakes up for.
enum Turn {
    Order(Option<Order>),
    Ended(JobId, Token),
    Claimed(Claimed),
    Beaten(Instant, Beaten),
    Time,
}

impl Agent {
    /// An agent that has not begun.
    pub fn new(client: Client, options: AgentOptions, observer: Arc<dyn Observer>) -> Self {
        let now = Instant::now();
        Self {
            client,
            session: watch::Sender::new(options.session),
            options: Arc::new(options),
            observer,
            leases: Leases::default(),
            attempts: JoinSet::new(),
            stops: BTreeMap::new(),
            claiming: None,
            claim_at: now,
            beating: None,
            beat_at: now,
            beaten_at: now,
            calling_back: JoinSet::new(),
            is_led: true,
            has_slept: false,
            is_drained: false,
            drained_by: None,
        }
    }

    /// The session under which it claims: another one when it was taken for dead and is not.
    pub fn session(&self) -> watch::Receiver<u64> {
        self.session.subscribe()
    }

    /// Works until it is told to end, or cannot go on. Who drops the sender of `orders` says `Stop`.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Result<(), AgentError> {
        let mut ended_by = None;
        while self.drained_by.is_none()
            || !self.attempts.is_empty()
            || !self.calling_back.is_empty()
        {
            self.begin_what_is_due();
            match self.turn(&mut orders).await {
                Turn::Order(Some(Order::Drain)) if self.drained_by.is_none() => {
                    self.drain(self.options.drain);
                }
                Turn::Order(order) => {
                    self.is_led &= order.is_some();
                    self.drain(Duration::ZERO);
                }
                Turn::Ended(job, token) => {
                    self.stops.remove(&(job.clone(), token));
                    self.leases.drop(job, token);
                }
                Turn::Claimed(claimed) => {
                    if let Err(error) = self.on_claimed(claimed) {
                        ended_by = Some(error);
                        self.drain(Duration::ZERO);
                    }
                }
                Turn::Beaten(asked, beaten) => self.on_beaten(asked, beaten),
                Turn::Time => {}
            }
        }
        ended_by.map_or(Ok(()), Err)
    }

    /// Claims when there is a free place, beats when it is time, and ends what has to end.
    fn begin_what_is_due(&mut self) {
        let now = Instant::now();
        for (job, token) in self.leases.ended(now, LEASE_MARGIN) {
            self.stop(job, token, Stop::Expired);
        }
        if self.drained_by.is_some_and(|by| by <= now) {
            for (job, token) in self.stops.keys().cloned().collect::<Vec<_>>() {
                self.stop(job, token, Stop::Shutdown);
            }
        }
        if self.may_claim() && self.claim_at <= now {
            let claim = self.claim();
            let (client, asked) = (self.client.clone(), claim.clone());
            let claimed = tokio::spawn(async move { client.claim_batch(asked).await });
            self.claiming = Some((claim, claimed));
        }
        if self.beating.is_none() && self.next_beat().is_some_and(|at| at <= now) {
            let beats = HeartbeatRequest {
                node_id: Some(self.options.worker.clone()),
                items: self.leases.beats(),
            };
            let client = self.client.clone();
            let beaten = tokio::spawn(async move { client.heartbeat(&beats).await });
            self.beating = Some((now, beaten));
            self.beaten_at = now;
            self.has_slept = false;
        }
    }

    fn may_claim(&self) -> bool {
        let has_room = self.attempts.len() < self.options.slots;
        has_room && self.claiming.is_none() && self.drained_by.is_none() && !self.is_drained
    }

    fn claim(&self) -> ClaimRequest {
        let options = &self.options;
        let free = options.slots - self.attempts.len();
        ClaimRequest {
            session: Some(*self.session.borrow()),
            queues: options.queues.clone(),
            work_types: options.work_types.clone(),
            lease_ms: options.lease_ms,
            wait_ms: Some(CLAIM_WAIT_MS),
            request_id: Some(fresh_request_id()),
            labels: options.labels.clone(),
            max: Some(u32::try_from(free).unwrap_or(u32::MAX).min(1000)),
            ..ClaimRequest::new(options.worker.clone())
        }
    }

    fn next_beat(&self) -> Option<Instant> {
        let idle = self.is_drained.then_some(self.beat_at);
        let latest = self.beaten_at + if self.has_slept { Duration::ZERO } else { BEAT_MAX };
        self.leases.next_beat().map(|at| at.min(latest).max(self.beat_at)).or(idle)
    }

    async fn turn(&mut self, orders: &mut mpsc::Receiver<Order>) -> Turn {
        let wake_at = [
            self.leases.next_end(LEASE_MARGIN),
            self.drained_by.filter(|_| !self.stops.is_empty()),
            self.may_claim().then_some(self.claim_at),
            self.next_beat().filter(|_| self.beating.is_none()),
        ];
        let holds_or_may = !self.leases.is_empty() || self.claiming.is_some();
        let look_at = holds_or_may.then(|| Instant::now() + LOOK_EVERY);
        let wake_at = wake_at.into_iter().flatten().chain(look_at).min();
        let turn = tokio::select! {
            biased;
            order = orders.recv(), if self.is_led => Turn::Order(order),
            Some(Ok((job, token))) = self.attempts.join_next() => Turn::Ended(job, token),
            Some(_) = self.calling_back.join_next() => Turn::Time,
            beaten = result(self.beating.as_mut().map(|(_, beating)| beating)) => {
                let asked = self.beating.as_ref().map_or_else(Instant::now, |(asked, _)| *asked);
                Turn::Beaten(asked, beaten)
            }
            claimed = result(self.claiming.as_mut().map(|(_, claiming)| claiming)) => {
                Turn::Claimed(claimed)
            }
            () = until(wake_at) => Turn::Time,
        };
        self.has_slept |= wake_at.is_some_and(|at| Instant::now() > at + SLEPT);
        match turn {
            Turn::Beaten(..) => self.beating = None,
            Turn::Claimed(_) => self.claiming = None,
            Turn::Order(_) | Turn::Ended(..) | Turn::Time => {}
        }
        turn
    }

    fn on_claimed(&mut self, claimed: Claimed) -> Result<(), AgentError> {
        match claimed {
            Ok(answer) => {
                for work in answer.value.items {
                    if let Work::Granted(work) = work {
                        self.begin(Arc::new(*work));
                    }
                }
                Ok(())
            }
            Err(ClientError::Api(error)) if error.code == Code::StaleSession => {
                let session = *self.session.borrow();
                let is_own = error.details.get("current_session") == Some(&session.into());
                if !is_own {
                    return Err(AgentError::Superseded(ClientError::Api(error)));
                }
                // It was declared down, and lives: what it held is another's, and it begins anew.
                self.session.send_replace(session + 1);
                self.observer.observe(&Happening::Missed { session: session + 1 });
                Ok(())
            }
            Err(error) if error.may_be_answered_yet() => {
                self.claim_at = Instant::now() + CLAIM_PAUSE;
                self.observer.observe(&Happening::Unanswered { error });
                Ok(())
            }
            Err(error) => Err(AgentError::Refused(error)),
        }
    }

    fn begin(&mut self, work: Arc<GrantedWork>) {
        let (job, token) = (work.work_id.clone(), work.token);
        // How long the claim waited in line is not known here, so its sending is no measure. But for the
        // way back the answer is exact: `LEASE_MARGIN` makes up for that, and who slept on it asks at once.
        let now = Instant::now();
        self.leases.hold(job.clone(), token, now, work.lease_expires_in_ms);
        self.beat_at = now;
        let attempt = Attempt {
            client: self.client.clone(),
            options: Arc::clone(&self.options),
            observer: Arc::clone(&self.observer),
            work,
        };
        let (stop, stopped) = oneshot::channel();
        self.stops.insert((job.clone(), token), stop);
        self.attempts.spawn(async move {
            attempt.run(stopped).await;
            (job, token)
        });
    }

    fn on_beaten(&mut self, asked: Instant, beaten: Beaten) {
        let answer = match beaten {
            Ok(answer) => answer.value,
            Err(error) => {
                self.beat_at = Instant::now() + BEAT_PAUSE;
                self.observer.observe(&Happening::Unanswered { error });
                return;
            }
        };
        self.beat_at = Instant::now() + if self.is_drained { DRAINED_BEAT } else { Duration::ZERO };
        for item in &answer.items {
            if let Some(why) = self.leases.beaten(item, asked) {
                self.stop(item.work_id.clone(), item.token, why);
            }
        }
        if answer.drain != self.is_drained {
            self.is_drained = answer.drain;
            self.observer.observe(&Happening::Drained { is_drained: answer.drain });
        }
    }

    /// Has a command ended. Its lease is kept only to be given back.
    fn stop(&mut self, job: JobId, token: Token, why: Stop) {
        if why != Stop::Shutdown {
            self.leases.drop(job.clone(), token);
        }
        if let Some(stop) = self.stops.remove(&(job, token)) {
            // It may have ended by itself in this moment.
            let _ = stop.send(why);
        }
    }

    /// Claims no more, and gives what runs this long. A claim that is out is called back: what it was
    /// granted meanwhile is not to wait for its lease's end.
    fn drain(&mut self, patience: Duration) {
        let by = Instant::now() + patience;
        self.drained_by = Some(self.drained_by.map_or(by, |earlier| earlier.min(by)));
        let Some((claim, claiming)) = self.claiming.take() else { return };
        claiming.abort();
        let again = ClaimRequest { wait_ms: None, ..claim };
        let (client, observer) = (self.client.clone(), Arc::clone(&self.observer));
        let call_back = async move {
            let Ok(answer) = client.claim_batch(again).await else { return };
            for work in answer.value.items {
                if let Work::Granted(work) = work {
                    let (work_id, token) = (work.work_id, work.token);
                    let request = ReleaseRequest { work_id, token, delay_ms: None };
                    if let Err(error) = client.release(&request).await {
                        observer.observe(&Happening::Unanswered { error });
                    }
                }
            }
        };
        // What runs is kept, and ended, meanwhile.
        self.calling_back.spawn(async move {
            drop(timeout(CALL_BACK_PATIENCE, call_back).await);
        });
    }
}

/// What a call came to; never, when none is out.
async fn result<T>(
    call: Option<&mut JoinHandle<Result<T, ClientError>>>,
) -> Result<T, ClientError> {
    let Some(call) = call else { return pending().await };
    let lost = |error: tokio::task::JoinError| ClientError::Unknown { reason: error.to_string() };
    call.await.map_err(lost).flatten()
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
