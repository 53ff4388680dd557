//! Gathering: whatever waits goes together into one bounded batch. Without load a request goes at
//! once; while batches are in flight the next one fills. No timer is involved.

use std::{
    collections::VecDeque,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, timeout_at},
};

use super::{
    Reason,
    admission::{Admission, Lane, Permit},
    codec::{self, CodecError},
};
use crate::queue::{Action, Command, Outcome};

/// The bytes of one batch, unless a single request is larger (guarantees, rule 9).
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// The steps on jobs of one batch, unless a single request has more (guarantees, rule 9).
pub(super) const BATCH_STEPS: usize = 2_000;

/// Commands that travel together, encoded once; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Work {
    /// As they stand in an entry.
    pub(super) commands: Vec<Bytes>,
    /// Their bytes.
    pub(super) bytes: usize,
    /// How many jobs they may touch.
    pub(super) steps: usize,
    /// The lane of the least urgent of them.
    pub(super) lane: Lane,
    /// Its place among what is under way. It rides along so that what still lies in a queue is
    /// counted, whether or not its caller still waits.
    permit: Option<Arc<Permit>>,
}

impl Work {
    /// No command: an entry that only lets time pass.
    pub(super) fn tick() -> Self {
        Self { commands: Vec::new(), bytes: 0, steps: 0, lane: Lane::Holder, permit: None }
    }

    /// One command.
    pub(super) fn one(command: &Command) -> Self {
        let mut work = Self::tick();
        work.push(command, codec::encode_command(command));
        work
    }

    /// Commands in their order, cut where one batch ends.
    pub(super) fn cut(commands: &[Command]) -> Vec<Self> {
        let mut pieces: Vec<Self> = Vec::new();
        for command in commands {
            let encoded = codec::encode_command(command);
            let has_room = |piece: &Self| piece.has_room(steps(command), encoded.len());
            if !pieces.last().is_some_and(has_room) {
                pieces.push(Self::tick());
            }
            if let Some(piece) = pieces.last_mut() {
                piece.push(command, encoded);
            }
        }
        pieces
    }

    /// What a peer sent. Each command is decoded: what this version cannot read must not get into
    /// the log, where it would stop every replica.
    pub(super) fn received(commands: Vec<Bytes>) -> Result<Self, CodecError> {
        let mut work = Self::tick();
        for encoded in commands {
            let command = codec::decode_command(&encoded)?;
            work.push(&command, encoded);
        }
        Ok(work)
    }

    /// Counts it among what is under way, until its last clone is gone.
    pub(super) fn admit(mut self, admission: &Arc<Admission>) -> Result<Self, Reason> {
        let permit = admission.admit(self.lane, self.commands.len(), self.bytes)?;
        self.permit = Some(Arc::new(permit));
        Ok(self)
    }

    fn push(&mut self, command: &Command, encoded: Bytes) {
        self.bytes += encoded.len();
        self.steps += steps(command);
        self.lane = self.lane.max(Lane::of(command));
        self.commands.push(encoded);
    }

    fn has_room(&self, steps: usize, bytes: usize) -> bool {
        self.steps + steps <= BATCH_STEPS && self.bytes + bytes <= BATCH_BYTES
    }
}

/// How many jobs a command may touch.
fn steps(command: &Command) -> usize {
    match command {
        Command::Add(add) => add.jobs.len(),
        Command::Claim(claim) => usize::try_from(claim.max).unwrap_or(usize::MAX),
        Command::Heartbeat(heartbeat) => heartbeat.items.len(),
        Command::Complete(complete) => 1 + complete.then.len(),
        Command::Operate(operation) => match &operation.action {
            Action::RetryJobs(retry) => usize::try_from(retry.limit).unwrap_or(usize::MAX),
            _ => 1,
        },
        Command::Start(_)
        | Command::Fail(_)
        | Command::Release(_)
        | Command::Cancel(_)
        | Command::WorkerDown(_) => 1,
    }
}

/// Why one attempt had no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setback {
    /// Certainly not proposed by this attempt: try elsewhere.
    NotProposed,
    /// Certainly not proposed: the leader is overloaded.
    Overloaded {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
    /// Certainly not proposed: too many claims wait at the leader.
    TooManyWaiters {
        /// Try again after this, ms.
        retry_after_ms: u64,
    },
    /// Certainly not proposed: the leader's disk is (nearly) full.
    DiskFull,
    /// It may have been proposed: it may be applied, now or later. Repeating it is safe.
    Unknown,
}

impl From<Reason> for Setback {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Overloaded { retry_after_ms } => Self::Overloaded { retry_after_ms },
            Reason::TooManyWaiters { retry_after_ms } => Self::TooManyWaiters { retry_after_ms },
            Reason::DiskFull => Self::DiskFull,
            Reason::NoLeader | Reason::NotReady | Reason::ShuttingDown => Self::NotProposed,
        }
    }
}

/// What one attempt came to: one outcome a command.
pub(super) type Attempt = Result<Vec<Outcome>, Setback>;

/// Work that waits for a place in a batch.
#[derive(Debug)]
pub(super) struct Submission {
    /// What to carry out.
    pub(super) work: Work,
    /// Not to be proposed from then on.
    pub(super) deadline: Instant,
    was_taken: Arc<AtomicBool>,
    reply: oneshot::Sender<Attempt>,
}

impl Submission {
    /// Answers it. Its caller may be gone.
    pub(super) fn answer(self, attempt: Attempt) {
        let _ = self.reply.send(attempt);
    }
}

/// Answers each of a batch alike.
pub(super) fn answer_all(batch: Vec<Submission>, setback: Setback) {
    for submission in batch {
        submission.answer(Err(setback));
    }
}

/// Hands a batch's outcomes back, each submission its own.
pub(super) fn hand_back(batch: Vec<Submission>, outcomes: Vec<Outcome>) {
    let expected: usize = batch.iter().map(|submission| submission.work.commands.len()).sum();
    assert_eq!(outcomes.len(), expected, "an entry answers each of its commands");
    let mut outcomes = outcomes.into_iter();
    for submission in batch {
        let own = outcomes.by_ref().take(submission.work.commands.len()).collect();
        submission.answer(Ok(own));
    }
}

/// What waits, by lane.
#[derive(Debug, Default)]
struct Waiting {
    lanes: [VecDeque<Submission>; Lane::COUNT],
    is_closed: bool,
}

impl Waiting {
    fn push(&mut self, submission: Submission) {
        if self.is_closed {
            submission.answer(Err(Setback::NotProposed));
        } else {
            self.lanes[submission.work.lane as usize].push_back(submission);
        }
    }

    /// The next batch: lane by lane, in order, as much as fits. What is past its deadline, or whose
    /// caller is gone, is dropped here: it is certainly never proposed.
    fn take(&mut self, now: Instant) -> Vec<Submission> {
        let mut batch: Vec<Submission> = Vec::new();
        let mut load = Work::tick();
        for lane in &mut self.lanes {
            while let Some(next) = lane.front() {
                let is_dead = next.deadline <= now || next.reply.is_closed();
                if !is_dead && !batch.is_empty() && !load.has_room(next.work.steps, next.work.bytes)
                {
                    return batch;
                }
                let Some(next) = lane.pop_front() else { break };
                if is_dead {
                    next.answer(Err(Setback::NotProposed));
                    continue;
                }
                load.steps += next.work.steps;
                load.bytes += next.work.bytes;
                next.was_taken.store(true, Ordering::Relaxed);
                batch.push(next);
            }
        }
        batch
    }
}

/// Gathers submissions and carries the batches, a few at a time, in order.
#[derive(Debug, Default)]
pub(super) struct Pump {
    waiting: Mutex<Waiting>,
    bell: Notify,
}

impl Pump {
    /// Waits for one attempt at `work`, at most until `deadline`. Dropping the future withdraws
    /// what is not under way yet.
    pub(super) async fn submit(&self, work: Work, deadline: Instant) -> Attempt {
        self.enqueue(work, deadline).outcome().await
    }

    /// Puts work in line; several pieces that are enqueued one after the other keep their order.
    pub(super) fn enqueue(&self, work: Work, deadline: Instant) -> Pending<'_> {
        let (reply, answer) = oneshot::channel();
        let was_taken = Arc::new(AtomicBool::new(false));
        let submission = Submission { work, deadline, was_taken: Arc::clone(&was_taken), reply };
        self.lock().push(submission);
        self.bell.notify_one();
        Pending { pump: self, deadline, was_taken, answer }
    }

    /// Carries batches until the future is dropped, `in_flight_max` at a time. Each batch's future
    /// is polled for the first time in the order of the batches, so proposals keep their order.
    pub(super) async fn run<F: Future<Output = ()>>(
        &self,
        in_flight_max: usize,
        carry: impl Fn(Vec<Submission>) -> F,
    ) {
        let mut in_flight: Vec<Pin<Box<F>>> = Vec::with_capacity(in_flight_max);
        loop {
            let bell = self.bell.notified();
            while in_flight.len() < in_flight_max {
                let batch = self.lock().take(Instant::now());
                if batch.is_empty() {
                    break;
                }
                in_flight.push(Box::pin(carry(batch)));
                poll_each(&mut in_flight).await;
            }
            let has_room = in_flight.len() < in_flight_max;
            next_event(&mut in_flight, has_room.then_some(bell)).await;
        }
    }

    /// Refuses what waits and whatever comes later.
    pub(super) fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        for submission in waiting.lanes.iter_mut().flat_map(|lane| lane.drain(..)) {
            submission.answer(Err(Setback::NotProposed));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nothing panics while the waiting are locked")
    }
}

/// Work in line or under way.
#[derive(Debug)]
pub(super) struct Pending<'a> {
    pump: &'a Pump,
    deadline: Instant,
    was_taken: Arc<AtomicBool>,
    answer: oneshot::Receiver<Attempt>,
}

impl Pending<'_> {
    /// What it came to, at the latest at its deadline.
    pub(super) async fn outcome(self) -> Attempt {
        if let Ok(Ok(attempt)) = timeout_at(self.deadline, self.answer).await {
            return attempt;
        }
        // `take` sets the flag under this lock and takes nothing that is past its deadline, so what
        // is not taken now never will be.
        let _waiting = self.pump.lock();
        let was_taken = self.was_taken.load(Ordering::Relaxed);
        Err(if was_taken { Setback::Unknown } else { Setback::NotProposed })
    }
}

/// Polls every future once, oldest first, and drops those that are done.
async fn poll_each<F: Future<Output = ()>>(in_flight: &mut Vec<Pin<Box<F>>>) {
    std::future::poll_fn(|context| {
        in_flight.retain_mut(|carried| carried.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Waits until a future is done or the bell, if any, has rung.
async fn next_event<F: Future<Output = ()>>(
    in_flight: &mut Vec<Pin<Box<F>>>,
    bell: Option<impl Future<Output = ()>>,
) {
    let mut bell = pin!(bell);
    std::future::poll_fn(|context| {
        let before = in_flight.len();
        in_flight.retain_mut(|carried| carried.as_mut().poll(context).is_pending());
        let has_rung = bell.as_mut().as_pin_mut().is_some_and(|bell| bell.poll(context).is_ready());
        if has_rung || in_flight.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests;
