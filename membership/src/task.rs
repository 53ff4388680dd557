//! The task that owns a member: its socket, its timers and its requests.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, broadcast, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    DatagramSocket, Environment, Event, Figures, Identity, Options,
    engine::{Engine, Now},
    roster::Roster,
};

/// Events that a slow reader may be behind.
const EVENTS_MAX: usize = 1024;

/// The most seeds that are remembered; further ones are ignored.
const SEEDS_MAX: usize = 64;

/// What the handles and the task share.
pub(crate) struct Shared {
    pub(crate) roster: Arc<RwLock<Roster>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) figures: Mutex<Figures>,
    requests: Mutex<Requests>,
    wake: Notify,
}

/// What the handles ask for; the latest counts.
#[derive(Default)]
pub(crate) struct Requests {
    pub(crate) metadata: Option<Bytes>,
    pub(crate) seeds: Vec<String>,
}

impl Shared {
    pub(crate) fn request(&self, change: impl FnOnce(&mut Requests)) {
        change(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }
}

pub(crate) enum Command {
    Leave { patience: Duration, done: oneshot::Sender<()> },
    Stop(oneshot::Sender<()>),
}

pub(crate) fn start(
    identity: Identity,
    options: Options,
    environment: Environment,
    socket: Arc<dyn DatagramSocket>,
) -> (Arc<Shared>, mpsc::Sender<Command>) {
    let roster = Arc::new(RwLock::new(Roster::default()));
    let shared = Arc::new(Shared {
        roster: roster.clone(),
        events: broadcast::channel(EVENTS_MAX).0,
        figures: Mutex::default(),
        requests: Mutex::default(),
        wake: Notify::new(),
    });
    let (commands, inbox) = mpsc::channel(4);
    let zero = Instant::now();
    let now = Now { us: 0, wall_ms: environment.clock.wall_ms() };
    let engine = Engine::new(identity, options.profile, environment.seed, now, roster);
    let task = Task {
        engine,
        socket,
        environment,
        shared: shared.clone(),
        zero,
        seeds: options.seeds,
        resolve_at: zero,
    };
    tokio::spawn(task.run(inbox));
    (shared, commands)
}

struct Task {
    engine: Engine,
    socket: Arc<dyn DatagramSocket>,
    environment: Environment,
    shared: Arc<Shared>,
    zero: Instant,
    seeds: Vec<String>,
    resolve_at: Instant,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let socket = self.socket.clone();
        let mut buffer = [0; 2048];
        loop {
            if self.resolve_at <= Instant::now() {
                self.resolve_at = Instant::now() + Duration::from_secs(2);
                self.resolve().await;
            }
            self.engine.on_time(self.now());
            self.settle();
            let deadline =
                self.zero + Duration::from_micros(self.engine.deadline_us().min(1 << 40));
            tokio::select! {
                command = inbox.recv() => {
                    match command {
                        Some(Command::Leave { patience: _, done }) => {
                            self.engine.leave(self.now());
                            self.settle();
                            let _ = done.send(());
                        }
                        Some(Command::Stop(done)) => { let _ = done.send(()); }
                        None => {}
                    }
                    return;
                }
                received = poll_fn(|context| socket.poll_receive(context, &mut buffer)) => {
                    if let Ok((length, _)) = received {
                        self.engine.figures.received += 1;
                        self.engine.on_datagram(&buffer[..length], self.now());
                    }
                }
                () = self.shared.wake.notified() => self.take_requests(),
                () = sleep_until(deadline.min(self.resolve_at)) => {}
            }
        }
    }

    fn now(&self) -> Now {
        let us = u64::try_from(self.zero.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { us, wall_ms: self.environment.clock.wall_ms() }
    }

    async fn resolve(&mut self) {
        if !self.engine.is_alone() {
            return;
        }
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for seed in &self.seeds {
            let resolved = self.environment.net.resolve(seed.clone());
            if let Ok(Ok(found)) = timeout(Duration::from_secs(2), resolved).await {
                addresses.extend(found);
            }
        }
        self.engine.set_seeds(addresses);
    }

    fn take_requests(&mut self) {
        let requests = {
            let mut requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *requests)
        };
        if let Some(metadata) = requests.metadata {
            self.engine.publish(metadata, self.now());
        }
        for seed in requests.seeds {
            if !self.seeds.contains(&seed) && self.seeds.len() < SEEDS_MAX {
                self.seeds.push(seed);
                self.resolve_at = Instant::now();
            }
        }
    }

    fn settle(&mut self) {
        for (to, datagram) in self.engine.take_datagrams() {
            match self.socket.try_send(&datagram, to) {
                Ok(()) => self.engine.figures.sent += 1,
                Err(_) => self.engine.figures.unsent += 1,
            }
        }
        let events =
            self.shared.roster.write().unwrap_or_else(PoisonError::into_inner).take_events();
        for event in events {
            let _ = self.shared.events.send(event);
        }
        *self.shared.figures.lock().unwrap_or_else(PoisonError::into_inner) = self.engine.figures;
    }
}
