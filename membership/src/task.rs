//! The task that owns a member: its socket, its timers and what its handles ask for.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, broadcast, mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    Clock, DatagramSocket, Environment, Event, Figures, Identity, Options,
    complaints::Complaints,
    engine::{Engine, Now, Setup},
    lookup::{Lookup, SEEDS_MAX},
    roster::Roster,
};

/// Events that a slow reader may be behind.
const EVENTS_MAX: usize = 1024;

/// The most datagrams that are taken before the timers are looked at again. It is about what the
/// operating system keeps for a socket: a member that was paused reads what came meanwhile before it
/// decides who did not answer.
const BATCH_MAX: usize = 256;

/// What is read of a datagram; longer ones are nobody's.
const BUFFER_BYTES: usize = 2048;

/// What the handles and the task share.
pub(crate) struct Shared {
    pub(crate) roster: Arc<RwLock<Roster>>,
    pub(crate) events: broadcast::Sender<Event>,
    figures: Mutex<Figures>,
    orders: Mutex<Orders>,
    is_ordered: Notify,
}

/// What the handles ask for; the latest counts.
#[derive(Default)]
pub(crate) struct Orders {
    pub(crate) metadata: Option<Bytes>,
    seeds: Vec<String>,
}

impl Orders {
    pub(crate) fn add_seeds(&mut self, seeds: Vec<String>) {
        self.seeds.extend(seeds);
        self.seeds.truncate(SEEDS_MAX);
    }
}

impl Shared {
    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut lock(&self.orders));
        self.is_ordered.notify_one();
    }

    pub(crate) fn figures(&self) -> Figures {
        *lock(&self.figures)
    }
}

/// How the task is to end; it answers when it has.
pub(crate) enum Command {
    Leave { patience: Duration, done: oneshot::Sender<()> },
    Stop(oneshot::Sender<()>),
}

pub(crate) fn start(
    identity: Identity,
    options: Options,
    environment: &Environment,
    socket: Arc<dyn DatagramSocket>,
) -> (Arc<Shared>, mpsc::Sender<Command>) {
    let roster = Arc::new(RwLock::new(Roster::default()));
    let shared = Arc::new(Shared {
        roster: roster.clone(),
        events: broadcast::channel(EVENTS_MAX).0,
        figures: Mutex::default(),
        orders: Mutex::default(),
        is_ordered: Notify::new(),
    });
    let Options { cluster, profile, keyring, seeds, .. } = options;
    let now = Now { us: 0, wall_ms: environment.clock.wall_ms() };
    let (name, address) = (identity.shared_name(), identity.address());
    let setup = Setup { identity, cluster, keyring, profile, seed: environment.seed };
    let engine = Engine::new(setup, roster, now);
    tracing::info!(%name, %address, ?profile, key_id = engine.key_id(), "gossip begins");
    let task = Task {
        engine,
        socket,
        clock: environment.clock.clone(),
        zero: Instant::now(),
        shared: shared.clone(),
        lookup: Lookup::new(environment.net.clone(), seeds),
        complaints: Complaints::default(),
    };
    let (commands, inbox) = mpsc::channel(1);
    tokio::spawn(task.run(inbox));
    (shared, commands)
}

struct Task {
    engine: Engine,
    socket: Arc<dyn DatagramSocket>,
    clock: Arc<dyn Clock>,
    /// When `Now::us` was 0.
    zero: Instant,
    shared: Arc<Shared>,
    lookup: Lookup,
    complaints: Complaints,
}

/// Why a turn begins.
enum Turn {
    Datagrams,
    Time,
    Orders,
    Seeds(Vec<SocketAddr>),
    End(Option<Command>),
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            match self.turn(&mut inbox).await {
                Turn::Datagrams | Turn::Time => {}
                Turn::Orders => self.take_orders(),
                Turn::Seeds(addresses) => self.engine.set_seeds(addresses, self.now()),
                Turn::End(Some(Command::Leave { patience, done })) => {
                    self.leave(patience).await;
                    // Who left need not wait.
                    let _ = done.send(());
                    return;
                }
                Turn::End(Some(Command::Stop(done))) => {
                    let _ = done.send(());
                    return;
                }
                Turn::End(None) => return,
            }
            self.work();
        }
    }

    /// Waits for something to do. Datagrams are taken at once.
    async fn turn(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Turn {
        let is_alone = self.engine.is_alone();
        let deadline = self.instant(self.engine.deadline_us());
        let Self { engine, socket, clock, zero, shared, lookup, .. } = self;
        tokio::select! {
            command = inbox.recv() => Turn::End(command),
            () = shared.is_ordered.notified() => Turn::Orders,
            addresses = lookup.next(is_alone) => Turn::Seeds(addresses),
            () = poll_fn(|context| take_batch(context, engine, &**socket, &**clock, *zero)) => {
                Turn::Datagrams
            }
            () = sleep_until(deadline) => Turn::Time,
        }
    }

    /// Does what is due, and hands out what came of it.
    fn work(&mut self) {
        // What has come is heard before anybody is held not to have answered.
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Self { engine, socket, clock, zero, .. } = self;
        let _ = take_batch(&mut context, engine, &**socket, &**clock, *zero);
        let now = self.now();
        if self.engine.deadline_us() <= now.us {
            self.engine.on_time(now);
        }
        self.hand_out();
    }

    fn hand_out(&mut self) {
        for (to, datagram) in self.engine.take_datagrams() {
            let sent = self.socket.try_send(&datagram, to);
            self.engine.on_sent(sent.is_ok());
        }
        for event in self.engine.take_events() {
            // Nobody may listen.
            let _ = self.shared.events.send(event);
        }
        let figures = self.engine.figures();
        *lock(&self.shared.figures) = figures;
        self.complaints.look(figures, self.now().us);
    }

    fn take_orders(&mut self) {
        let Orders { metadata, seeds } = std::mem::take(&mut *lock(&self.shared.orders));
        if let Some(metadata) = metadata {
            self.engine.publish(metadata, self.now());
        }
        self.lookup.add(seeds);
    }

    /// Says goodbye until it is understood, or patience ends.
    async fn leave(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        self.engine.leave(self.now());
        self.hand_out();
        while !self.engine.has_left() && Instant::now() < end {
            let deadline = self.instant(self.engine.deadline_us()).min(end);
            let Self { engine, socket, clock, zero, .. } = self;
            tokio::select! {
                () = poll_fn(|context| take_batch(context, engine, &**socket, &**clock, *zero)) => {}
                () = sleep_until(deadline) => {}
            }
            self.engine.on_time(self.now());
            self.hand_out();
        }
    }

    fn now(&self) -> Now {
        now(&*self.clock, self.zero)
    }

    /// When it is `us`, or in an hour if that is later: an early turn does no harm.
    fn instant(&self, us: u64) -> Instant {
        self.zero + Duration::from_micros(us.min(self.now().us + 3_600_000_000))
    }
}

/// Takes the datagrams that are there, some if there are many; pending if there are none.
fn take_batch(
    context: &mut Context<'_>,
    engine: &mut Engine,
    socket: &dyn DatagramSocket,
    clock: &dyn Clock,
    zero: Instant,
) -> Poll<()> {
    let mut buffer = [0; BUFFER_BYTES];
    for taken in 0..BATCH_MAX {
        match socket.poll_receive(context, &mut buffer) {
            Poll::Ready(Ok((length, _))) => {
                engine.on_datagram(&mut buffer[..length], now(clock, zero));
            }
            // What ICMP tells of an earlier datagram: whoever does not answer shows soon enough.
            Poll::Ready(Err(_)) => {}
            Poll::Pending if taken == 0 => return Poll::Pending,
            Poll::Pending => break,
        }
    }
    Poll::Ready(())
}

fn now(clock: &dyn Clock, zero: Instant) -> Now {
    let us = u64::try_from(zero.elapsed().as_micros()).unwrap_or(u64::MAX);
    Now { us, wall_ms: clock.wall_ms() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
