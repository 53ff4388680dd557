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

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use tokio::time::sleep;

    use super::*;
    use crate::DatagramSocket;

    /// A resolver that takes as many ms as the host's name says, and knows no other names.
    #[derive(Default)]
    struct Slow {
        asked: Mutex<Vec<String>>,
    }

    impl Datagrams for Slow {
        fn bind(&self, _listen: SocketAddr) -> io::Result<Arc<dyn DatagramSocket>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn resolve(&self, host_and_port: String) -> Resolved {
            self.asked.lock().unwrap().push(host_and_port.clone());
            Box::pin(async move {
                let (host, port) = host_and_port.split_once(':').unwrap();
                let took_ms = host.parse().map_err(|_| io::ErrorKind::NotFound)?;
                sleep(Duration::from_millis(took_ms)).await;
                Ok(vec![SocketAddr::from(([10, 0, 0, 1], port.parse().unwrap()))])
            })
        }
    }

    fn lookup(seeds: &[&str]) -> (Lookup, Arc<Slow>) {
        let net = Arc::new(Slow::default());
        let seeds = seeds.iter().copied().map(str::to_owned).collect();
        (Lookup::new(net.clone(), seeds), net)
    }

    fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
        addresses.iter().map(SocketAddr::port).collect()
    }

    // A member takes turns all the time, each of which drops the future.
    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_awaited_across_turns() {
        let (mut lookup, net) = lookup(&["500:1"]);
        for _ in 0..49 {
            assert!(timeout(Duration::from_millis(10), lookup.next(true)).await.is_err());
        }
        let addresses = timeout(Duration::from_millis(20), lookup.next(true)).await.unwrap();
        assert_eq!(ports(&addresses), [1]);
        assert_eq!(net.asked.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_dead_resolver_or_unknown_name_does_not_keep_the_others_out() {
        let (mut lookup, _net) = lookup(&["999999:1", "nowhere:2", "5:3"]);
        let start = Instant::now();
        let mut addresses = Vec::new();
        for _ in 0..3 {
            addresses = lookup.next(true).await;
        }
        assert_eq!(ports(&addresses), [3]);
        assert!(start.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn rounds_are_frequent_while_alone_and_a_new_seed_begins_one() {
        let (mut lookup, net) = lookup(&["1:1"]);
        for (is_alone, pause) in [(true, ALONE_EVERY), (false, COMPANY_EVERY)] {
            lookup.next(is_alone).await;
            let start = Instant::now();
            lookup.next(is_alone).await;
            assert!(start.elapsed() >= pause);
        }
        let start = Instant::now();
        lookup.add(vec!["1:2".into(), "1:1".into()]);
        lookup.next(false).await;
        let addresses = lookup.next(false).await;
        assert_eq!(ports(&addresses), [1, 2]);
        assert!(start.elapsed() < ALONE_EVERY);
        lookup.add((0..100).map(|port| format!("1:{port}")).collect());
        assert_eq!(lookup.seeds.len(), SEEDS_MAX);
        assert!(net.asked.lock().unwrap().len() <= 6);
    }
}
