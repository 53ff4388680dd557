//! What a member is told when it starts, and the world that it runs in.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::{Datagrams, Keyring, Profile};

/// The longest name of a cluster, bytes.
pub const CLUSTER_BYTES_MAX: usize = 128;

/// How a member starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// The member's name, unique in the cluster; of two under one name, the later life is shown.
    pub name: String,
    /// The cluster's name: members of different clusters do not hear each other. Not empty, at most
    /// [`CLUSTER_BYTES_MAX`] bytes.
    pub cluster: String,
    /// Where datagrams are received. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where the others send to: the address of one host. Port 0 takes the port of `listen`.
    pub advertise: SocketAddr,
    /// The timers. All members of a cluster have the same.
    pub profile: Profile,
    /// The keys that seal the datagrams. Without one, whoever can send a datagram to `listen` can
    /// declare any member down: the caller decides where that is acceptable.
    pub keyring: Option<Keyring>,
    /// Members to announce itself to, as `host:port`. They are resolved again and again while this
    /// member is alone, and now and then afterwards, so that a healed partition grows together.
    /// Its own address may be among them.
    pub seeds: Vec<String>,
    /// Which life of this name this is: greater than in every earlier life. The start time in ms since
    /// the Unix epoch does.
    pub incarnation: u64,
}

/// What a member takes from outside.
#[derive(Clone)]
pub struct Environment {
    /// Sockets and names.
    pub net: Arc<dyn Datagrams>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Seeds the choice of whom to probe and, together with the address and the incarnation, the
    /// nonces. A real node takes it from the operating system's randomness: two lives of one address
    /// with one incarnation *and* one seed would repeat nonces under one key.
    pub seed: u64,
}

/// The wall clock. Timers do not run on it.
pub trait Clock: Send + Sync + 'static {
    /// Since the Unix epoch, ms. It stamps datagrams, and members' changes for people to see.
    fn wall_ms(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Clock for F {
    fn wall_ms(&self) -> u64 {
        self()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Environment").finish_non_exhaustive()
    }
}
