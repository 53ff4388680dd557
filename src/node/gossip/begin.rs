//! How gossip begins: the own name is looked up, the socket is bound, the task starts.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};

use membership::{Environment, Membership, Options, OsDatagrams};
use tokio::{
    net::lookup_host,
    time::{sleep, timeout},
};

use super::{MemberOptions, follow, gossip::Inner};
use crate::node::Clock;

/// How long one look-up of the own name may take, and the pause between two.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(3);
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// Begins, or goes on trying to when the advertised name leads nowhere yet. What was begun ends with the
/// runtime, or with the membership.
pub(super) async fn begin(
    inner: Arc<Inner>,
    options: MemberOptions,
    clock: Arc<dyn Clock>,
    seed: u64,
) -> Result<(), membership::OpenError> {
    let start = Start { options, clock, seed };
    match start.resolve().await {
        Ok(address) => start.run(&inner, address).await,
        Err(error) => {
            let name = &start.options.advertise;
            tracing::warn!(name, %error, "no gossip yet: the advertised name leads nowhere");
            tokio::spawn(start.run_when_resolved(Arc::downgrade(&inner)));
            Ok(())
        }
    }
}

/// What is needed to begin.
struct Start {
    options: MemberOptions,
    clock: Arc<dyn Clock>,
    seed: u64,
}

impl Start {
    async fn run_when_resolved(self, inner: Weak<Inner>) {
        let address = loop {
            sleep(LOOK_UP_PAUSE).await;
            if inner.strong_count() == 0 {
                return;
            }
            if let Ok(address) = self.resolve().await {
                break address;
            }
        };
        let Some(inner) = inner.upgrade() else { return };
        tracing::info!(name = self.options.advertise, %address, "the advertised name leads here");
        if let Err(error) = self.run(&inner, address).await {
            tracing::error!(%error, "this node does not gossip");
        }
    }

    /// Where the others are to send to. Of several addresses one of the family that it listens in.
    async fn resolve(&self) -> io::Result<SocketAddr> {
        if let Ok(address) = self.options.advertise.parse() {
            return Ok(address);
        }
        let found = timeout(LOOK_UP_PATIENCE, lookup_host(&self.options.advertise)).await;
        let mut found = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let is_ipv4 = self.options.listen.is_ipv4();
        let found = found.find(|address| address.is_ipv4() == is_ipv4);
        found.ok_or_else(|| io::Error::other("it has no address of the family that is listened in"))
    }

    async fn run(
        self,
        inner: &Arc<Inner>,
        address: SocketAddr,
    ) -> Result<(), membership::OpenError> {
        let Self { options, clock, seed } = self;
        if address.ip().is_loopback() && !options.listen.ip().is_loopback() {
            let name = &options.advertise;
            tracing::warn!(name, %address, "the advertised name leads other machines to themselves");
        }
        let options = Options {
            name: options.name,
            cluster: options.cluster,
            listen: options.listen,
            advertise: address,
            profile: options.profile,
            keyring: options.keyring,
            seeds: options.seeds,
            incarnation: clock.wall_ms(),
        };
        let environment = Environment {
            net: Arc::new(OsDatagrams),
            clock: Arc::new(move || clock.wall_ms()),
            seed,
        };
        let membership = Membership::open(options, environment).await?;
        let events = membership.events();
        let _ = inner.membership.set(membership.clone());
        tokio::spawn(follow::follow(Arc::downgrade(inner), membership, events));
        Ok(())
    }
}
