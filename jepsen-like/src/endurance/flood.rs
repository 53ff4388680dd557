//! Sends forged datagrams to every node at a steady rate.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::forgery::{Kind, Material};
use crate::{
    chance::Chance,
    exit::Failure,
    network::{Datagram, RawSocket, Tap},
};

/// How often new material is taken from what was heard.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// The least that the flood sleeps when it is ahead.
const NAP: Duration = Duration::from_millis(1);

/// How many datagrams of each kind were sent to each node, and to whom the kernel took none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) by_kind: BTreeMap<Kind, u64>,
    pub(super) by_node: BTreeMap<Ipv4Addr, u64>,
    pub(super) refused: u64,
}

/// A running flood.
pub(super) struct Flood {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Sent>,
}

/// What it is to do.
pub(super) struct Orders {
    pub(super) nodes: Vec<SocketAddrV4>,
    /// Whose datagrams are sealed with another key.
    pub(super) stranger: Ipv4Addr,
    /// A second, to each node.
    pub(super) rate: u32,
    pub(super) seed: u64,
}

impl Flood {
    pub(super) fn start(orders: Orders, tap: Tap) -> Result<Self, Failure> {
        let socket = RawSocket::open()?;
        let is_over = Arc::<AtomicBool>::default();
        let thread = {
            let is_over = Arc::clone(&is_over);
            std::thread::Builder::new()
                .name("flood".to_owned())
                .spawn(move || run(&orders, &tap, &socket, &is_over))
                .map_err(Failure::harness("starting the flood"))?
        };
        Ok(Self { is_over, thread })
    }

    /// Ends it. What it sent is with the nodes.
    pub(super) fn finish(self) -> Sent {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn run(orders: &Orders, tap: &Tap, socket: &RawSocket, is_over: &AtomicBool) -> Sent {
    let mut chance = Chance::of(orders.seed);
    let mut sent = Sent::default();
    let begun = Instant::now();
    // Of each node; all get the same number.
    let mut count = 0_u64;
    let mut material = materials(orders, tap);
    let mut refreshed = begun;
    while !is_over.load(Ordering::Relaxed) {
        if refreshed.elapsed() >= REFRESH_EVERY {
            material = materials(orders, tap);
            refreshed = Instant::now();
        }
        let due = due(begun.elapsed(), orders.rate);
        if count >= due {
            std::thread::sleep(NAP);
            continue;
        }
        let number = usize::try_from(count).expect("a run is not that long");
        let kind = Kind::ALL[number % Kind::ALL.len()];
        for material in &material {
            let Some(datagram) = material.forge(kind, &mut chance) else { continue };
            if socket.send(&datagram) {
                *sent.by_kind.entry(kind).or_default() += 1;
                *sent.by_node.entry(*datagram.to.ip()).or_default() += 1;
            } else {
                sent.refused += 1;
            }
        }
        count += 1;
    }
    sent
}

/// How many are due to each node by now.
fn due(elapsed: Duration, rate: u32) -> u64 {
    u64::try_from(elapsed.as_micros() * u128::from(rate) / 1_000_000).unwrap_or(u64::MAX)
}

fn materials(orders: &Orders, tap: &Tap) -> Vec<Material> {
    let strange = tap.of(orders.stranger);
    let heard: Vec<Datagram> = orders.nodes.iter().flat_map(|node| tap.of(*node.ip())).collect();
    let material = |to: &SocketAddrV4| {
        // A kernel takes nothing from outside that names an address of its own as its sender.
        let of_another = heard.iter().filter(|datagram| datagram.from.ip() != to.ip()).cloned();
        let (own, of_others) = of_another.partition(|datagram| datagram.to == *to);
        let others = orders.nodes.iter().copied().filter(|node| node != to).collect();
        Material { to: *to, others, own, of_others, strange: strange.clone() }
    };
    orders.nodes.iter().map(material).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_on_the_whole() {
        assert_eq!(due(Duration::ZERO, 10_000), 0);
        assert_eq!(due(Duration::from_millis(1), 10_000), 10);
        assert_eq!(due(Duration::from_mins(1), 10_000), 600_000);
    }
}
