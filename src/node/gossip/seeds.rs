//! Where to look for other members: names are looked up again and again, since what they lead to changes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::Duration,
};

use tokio::{net::lookup_host, time::timeout};

/// How long one look-up may take.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(3);
/// The most addresses that are looked for at a time.
const SEEDS_MAX: usize = 64;

/// Where `address` (`host:port`) leads; `None`: nowhere now, or to addresses of another family than
/// `bound`, which cannot send there.
pub(super) async fn resolve(address: &str, bound: SocketAddr) -> Option<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Some(address);
    }
    let found = timeout(LOOK_UP_PATIENCE, lookup_host(address)).await;
    let mut found = found.ok()?.ok()?;
    found.find(|found| found.is_ipv4() == bound.is_ipv4())
}

/// What of these addresses leads to somebody other than `me`, and to none of those who are known to be
/// alive.
pub(super) async fn missing(
    addresses: BTreeSet<String>,
    me: SocketAddr,
    alive: &BTreeSet<SocketAddr>,
) -> Vec<SocketAddr> {
    let mut missing = BTreeSet::new();
    for address in addresses.into_iter().take(SEEDS_MAX) {
        missing.extend(resolve(&address, me).await);
    }
    missing.into_iter().filter(|address| *address != me && !alive.contains(address)).collect()
}
