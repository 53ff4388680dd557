//! The addresses of the seeds, looked up again and again.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::time::{Instant, Timeout, sleep_until, timeout};

use crate::{Datagrams, Resolved};

/// The most seeds that are remembered; further ones are ignored.
pub(crate) const SEEDS_MAX: usize = 64;

/// The most addresses of a seed that are taken.
const ADDRESSES_MAX: usize = 8;

/// How long one seed may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two rounds while alone, and otherwise.
const ALONE_EVERY: Duration = Duration::from_secs(2);
const COMPANY_EVERY: Duration = Duration::from_mins(1);

/// Looks up the seeds, one after the other, round after round. A seed that cannot be looked up keeps the
/// addresses that it had.
pub(crate) struct Lookup {
    net: Arc<dyn Datagrams>,
    seeds: Vec<(String, Vec<SocketAddr>)>,
    /// When the last round ended; `None` if one is under way, or is to begin at once.
    ended: Option<Instant>,
    /// Which seed of the round is next.
    next: usize,
    /// The look-up of that seed, if it has begun.
    begun: Option<Pin<Box<Timeout<Resolved>>>>,
}

impl Lookup {
    pub(crate) fn new(net: Arc<dyn Datagrams>, seeds: Vec<String>) -> Self {
        let mut lookup = Self { net, seeds: Vec::new(), ended: None, next: 0, begun: None };
        lookup.add(seeds);
        lookup
    }

    /// Further seeds; they are looked up at once.
    pub(crate) fn add(&mut self, seeds: Vec<String>) {
        for seed in seeds {
            let is_known = self.seeds.iter().any(|(known, _)| *known == seed);
            if !is_known && self.seeds.len() < SEEDS_MAX {
                self.seeds.push((seed, Vec::new()));
                self.ended = None;
            }
        }
    }

    /// All addresses known, after the next seed was looked up. Dropped while it waits, it goes on where it
    /// was when it is called again.
    pub(crate) async fn next(&mut self, is_alone: bool) -> Vec<SocketAddr> {
        if self.seeds.is_empty() {
            return std::future::pending().await;
        }
        if let Some(ended) = self.ended {
            sleep_until(ended + if is_alone { ALONE_EVERY } else { COMPANY_EVERY }).await;
            self.ended = None;
        }
        let (seed, addresses) = &mut self.seeds[self.next];
        let begin = || Box::pin(timeout(PATIENCE, self.net.resolve(seed.clone())));
        let looked_up = self.begun.get_or_insert_with(begin).await;
        self.begun = None;
        match looked_up {
            Ok(Ok(mut found)) => {
                found.truncate(ADDRESSES_MAX);
                *addresses = found;
            }
            Ok(Err(error)) => tracing::debug!(%seed, %error, "a seed leads nowhere"),
            Err(_) => tracing::debug!(%seed, "a seed takes too long to look up"),
        }
        self.next = (self.next + 1) % self.seeds.len();
        if self.next == 0 {
            self.ended = Some(Instant::now());
        }
        self.seeds.iter().flat_map(|(_, addresses)| addresses.iter().copied()).collect()
    }
}
