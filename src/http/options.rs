//! What the server is told: where it listens, and every bound it keeps.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::Operator;

/// Where and how the server listens.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The address to bind. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether an address that is not loopback may be bound although nothing protects it.
    pub exposure: Exposure,
    /// The bounds.
    pub limits: Limits,
    /// The process around the server; without one it takes no orders.
    pub operator: Option<Arc<dyn Operator>>,
}

impl HttpOptions {
    /// Listens on this address, on loopback alone, with the default limits.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, exposure: Exposure::default(), limits: Limits::default(), operator: None }
    }
}

/// Who may reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exposure {
    /// This machine alone; any other address is refused.
    #[default]
    LoopbackOnly,
    /// Anyone who reaches the address, with no protection: `--insecure`.
    Insecure,
}

/// The server's bounds. `docs/api.md`, "Limits", has them.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request body, bytes; 8 MiB.
    pub body_bytes_max: usize,
    /// What all bodies that are being read may take together, bytes; 256 MiB.
    pub bodies_bytes_max: usize,
    /// The largest request head (request line and headers), bytes; 16 KiB.
    pub header_bytes_max: usize,
    /// Within this a request's head must have come, from its first byte (on a fresh connection: from
    /// the connection); 5 s.
    pub header_timeout: Duration,
    /// The longest pause within a body; 10 s. After as long, it must also have come at
    /// [`Limits::body_bytes_per_second_min`] on average.
    pub body_idle_timeout: Duration,
    /// The least average rate of a body, bytes per second; 1024.
    pub body_bytes_per_second_min: u32,
    /// The longest that a write may make no progress; 10 s.
    pub write_timeout: Duration,
    /// The least average rate at which a client takes an answer, bytes per second, after
    /// [`Limits::write_timeout`]: then its connection is cut; 16 KiB.
    pub answer_bytes_per_second_min: u32,
    /// A connection without a request is closed after this; 2 min.
    pub idle_timeout: Duration,
    /// The most connections at once; further ones wait in the listener's backlog; 8192.
    pub connections_max: usize,
    /// The most HTTP/2 streams of one connection; 128.
    pub streams_max: u32,
    /// How long a request is held while there is no leader, unless its `X-Queue-Hold-Ms` says
    /// otherwise; at most 60 s; 5 s.
    pub hold: Hold,
    /// How long a server that stops still listens and answers, with `connection: close`, so that clients of
    /// kept connections learn of it by an answer and not by a reset; 500 ms.
    pub farewell: Duration,
    /// What requests in flight get to finish in after that; 10 s.
    pub drain_timeout: Duration,
    /// A stream of events that has nothing to tell says so this often; 15 s.
    pub event_heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 << 20,
            bodies_bytes_max: 256 << 20,
            header_bytes_max: 16 << 10,
            header_timeout: Duration::from_secs(5),
            body_idle_timeout: Duration::from_secs(10),
            body_bytes_per_second_min: 1024,
            write_timeout: Duration::from_secs(10),
            answer_bytes_per_second_min: 16 << 10,
            idle_timeout: Duration::from_mins(2),
            connections_max: 8192,
            streams_max: 128,
            hold: Hold::new(Duration::from_secs(5)),
            farewell: Duration::from_millis(500),
            drain_timeout: Duration::from_secs(10),
            event_heartbeat: Duration::from_secs(15),
        }
    }
}

/// How long a request is held while there is no leader. Clones share it, and it may change while the
/// server runs.
#[derive(Debug, Clone)]
pub struct Hold(Arc<AtomicU64>);

impl Hold {
    /// That long, in whole milliseconds.
    pub fn new(hold: Duration) -> Self {
        let shared = Self(Arc::default());
        shared.set(hold);
        shared
    }

    /// For how long the next request is held.
    pub fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// Changes it; requests that are held already keep what they had.
    pub fn set(&self, hold: Duration) {
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
        self.0.store(hold_ms, Ordering::Relaxed);
    }
}

/// Why the server did not start. Nothing listens after any of these.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is not loopback, nothing protects it, and nobody said that this is wanted.
    #[error(
        "refusing to listen on {address}: it is not a loopback address and requests are not \
         authenticated; bind 127.0.0.1, or say that an open port is wanted"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be bound.
    #[error("cannot listen for clients on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
