//! The handle of a running member.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLockReadGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{broadcast, oneshot};

use crate::{
    CLUSTER_BYTES_MAX, Environment, Event, Figures, Identity, InvalidIdentity, Member, Options,
    roster::Roster,
    task::{self, Command, Shared},
};

/// A running member: a cheap handle to the task that owns it. When the last handle is gone, the task
/// ends without a goodbye.
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
    commands: tokio::sync::mpsc::Sender<Command>,
}

/// Why a member was not opened. Nothing runs.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The cluster has no name, or one that is too long.
    #[error("a cluster's name has 1 to {CLUSTER_BYTES_MAX} bytes")]
    Cluster,
    /// The member has no name.
    #[error("a member's name is not empty")]
    Nameless,
    /// The name or the advertised address.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    /// The address to listen at is not to be had.
    #[error("cannot receive datagrams at {listen}: {source}")]
    Bind {
        /// Where.
        listen: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

impl Membership {
    /// Binds the socket and starts the member, on the current tokio runtime. It returns at once:
    /// whether anybody answers shows in [`Membership::members`].
    #[expect(clippy::unused_async, reason = "it needs a runtime, and says so")]
    pub async fn open(options: Options, environment: Environment) -> Result<Self, OpenError> {
        if options.cluster.is_empty() || options.cluster.len() > CLUSTER_BYTES_MAX {
            return Err(OpenError::Cluster);
        }
        if options.name.is_empty() {
            return Err(OpenError::Nameless);
        }
        let listen = options.listen;
        let bind = |source| OpenError::Bind { listen, source };
        let socket = environment.net.bind(listen).map_err(bind)?;
        let mut advertise = options.advertise;
        if advertise.port() == 0 {
            advertise.set_port(socket.local_address().map_err(bind)?.port());
        }
        let identity = Identity::new(&options.name, advertise, options.incarnation)?;
        let (shared, commands) = task::start(identity, options, &environment, socket);
        Ok(Self { shared, commands })
    }

    /// Everybody known, by name: this member included, and those that went down within the hour.
    pub fn members(&self) -> Vec<Member> {
        self.roster().members().cloned().collect()
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<Member> {
        self.roster().member(name).cloned()
    }

    /// What happens from now on. The channel is bounded: who lags behind is told so, and reads
    /// [`Membership::members`] again.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.shared.events.subscribe()
    }

    /// Gives this member's metadata to all others, in place of what it gave before. At most
    /// [`crate::METADATA_BYTES_MAX`] bytes; more is a mistake of the caller's, and panics.
    pub fn publish(&self, metadata: Bytes) {
        assert!(metadata.len() <= crate::METADATA_BYTES_MAX, "metadata fits into a datagram");
        self.shared.order(|orders| orders.metadata = Some(metadata));
    }

    /// More members to announce itself to, as `host:port`; at most 64 in all, the rest is ignored.
    pub fn join(&self, seeds: Vec<String>) {
        self.shared.order(|orders| orders.add_seeds(seeds));
    }

    /// What was counted so far.
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Says goodbye, so that the others see this member down at once, and ends the task. Returns when
    /// some have heard it, or after `patience`.
    pub async fn leave(&self, patience: Duration) {
        self.command(|done| Command::Leave { patience, done }).await;
    }

    /// Ends the task without a goodbye: the others find out.
    pub async fn stop(&self) {
        self.command(Command::Stop).await;
    }

    /// Sends a command and waits until the task has ended; it may have ended before.
    async fn command(&self, command: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(command(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }

    fn roster(&self) -> RwLockReadGuard<'_, Roster> {
        self.shared.roster.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Membership").finish_non_exhaustive()
    }
}
