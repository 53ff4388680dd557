//! Members of our identity and codec, driven by foca in virtual time: no socket, no clock, no task.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::{collections::BTreeMap, net::SocketAddr};

use bytes::Bytes;
use foca::{AccumulatingRuntime, Foca, NoCustomBroadcast, OwnedNotification, Timer};
use membership::{Codec, Identity, PACKET_BYTES_MAX, Profile};
use rand::{RngExt, SeedableRng, rngs::StdRng};

type Member = Foca<Identity, Codec, StdRng, NoCustomBroadcast>;

/// One way, ms.
const DELAY_MS: u64 = 1;

enum Due {
    Datagram(SocketAddr, Bytes),
    Timer(SocketAddr, Timer<Identity>),
}

/// A cluster on one virtual clock.
struct World {
    now_ms: u64,
    due: BTreeMap<(u64, u64), Due>,
    sequence: u64,
    members: BTreeMap<SocketAddr, Member>,
    notices: Vec<(u64, SocketAddr, OwnedNotification<Identity>)>,
}

impl World {
    fn new() -> Self {
        Self {
            now_ms: 0,
            due: BTreeMap::new(),
            sequence: 0,
            members: BTreeMap::new(),
            notices: Vec::new(),
        }
    }

    /// Starts a member; timers of an earlier life at its address have died with that life.
    fn start(&mut self, name: &str, incarnation: u64) -> Identity {
        let number: u16 = name[1..].parse().unwrap();
        let address = SocketAddr::from(([10, 0, 0, 1], 8000 + number));
        self.due.retain(|_, due| !matches!(due, Due::Timer(at, _) if *at == address));
        let identity = Identity::new(name, address, incarnation).unwrap();
        let rng = StdRng::seed_from_u64(u64::from(number));
        let foca = Foca::new(identity.clone(), Profile::Lan.config(), rng, Codec);
        self.members.insert(address, foca);
        identity
    }

    fn join(&mut self, member: &Identity, seed: &Identity) {
        let seed = Identity::seed(seed.address()).unwrap();
        self.turn(member.address(), |foca, runtime| foca.announce(seed, runtime).unwrap());
    }

    /// One call of one member, and everything that came of it.
    fn turn(
        &mut self,
        at: SocketAddr,
        call: impl FnOnce(&mut Member, &mut AccumulatingRuntime<Identity>),
    ) {
        let Some(foca) = self.members.get_mut(&at) else { return };
        let mut runtime = AccumulatingRuntime::new();
        call(foca, &mut runtime);
        while let Some((to, bytes)) = runtime.to_send() {
            assert!(bytes.len() <= PACKET_BYTES_MAX);
            self.at(DELAY_MS, Due::Datagram(to.address(), bytes));
        }
        while let Some((after, timer)) = runtime.to_schedule() {
            self.at(after.as_millis().try_into().unwrap(), Due::Timer(at, timer));
        }
        while let Some(notice) = runtime.to_notify() {
            self.notices.push((self.now_ms, at, notice));
        }
    }

    fn at(&mut self, after_ms: u64, due: Due) {
        self.sequence += 1;
        self.due.insert((self.now_ms + after_ms, self.sequence), due);
    }

    fn run_until(&mut self, until_ms: u64) {
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= until_ms) {
            let ((now_ms, _), due) = entry.remove_entry();
            self.now_ms = now_ms;
            match due {
                Due::Datagram(to, bytes) => {
                    self.turn(to, |foca, runtime| foca.handle_data(&bytes, runtime).unwrap());
                }
                Due::Timer(at, timer) => {
                    self.turn(at, |foca, runtime| foca.handle_timer(timer, runtime).unwrap());
                }
            }
        }
        self.now_ms = until_ms;
    }

    fn sees(&self, viewer: &Identity) -> Vec<String> {
        let foca = &self.members[&viewer.address()];
        let mut names: Vec<String> =
            foca.iter_members().map(|member| member.id().name().to_owned()).collect();
        names.sort();
        names
    }

    fn when(&self, viewer: &Identity, wanted: &OwnedNotification<Identity>) -> Option<u64> {
        let is_it = |at: &SocketAddr, notice| *at == viewer.address() && notice == wanted;
        self.notices.iter().find(|(_, at, notice)| is_it(at, notice)).map(|(when, ..)| *when)
    }
}

#[test]
fn two_become_members_and_one_learns_of_the_death_of_the_other() {
    let mut world = World::new();
    let (n1, n2) = (world.start("n1", 1), world.start("n2", 1));
    world.join(&n2, &n1);
    world.run_until(1_000);
    assert_eq!(world.sees(&n1), ["n2"]);
    assert_eq!(world.sees(&n2), ["n1"]);

    world.members.remove(&n2.address());
    world.run_until(5_000);
    assert!(world.sees(&n1).is_empty());
    let down = world.when(&n1, &OwnedNotification::MemberDown(n2)).unwrap();
    assert!(down <= 1_000 + 2_000, "known down at {down} ms");
}

#[test]
fn nobody_is_called_down_in_ten_quiet_minutes() {
    let mut world = World::new();
    let n1 = world.start("n1", 1);
    for name in ["n2", "n3", "n4", "n5"] {
        let member = world.start(name, 1);
        world.join(&member, &n1);
    }
    world.run_until(600_000);
    assert_eq!(world.sees(&n1), ["n2", "n3", "n4", "n5"]);
    let is_down =
        |notice: &OwnedNotification<_>| matches!(notice, OwnedNotification::MemberDown(_));
    assert!(!world.notices.iter().any(|(_, _, notice)| is_down(notice)));
}

#[test]
fn a_restarted_member_takes_the_place_of_its_earlier_life() {
    let mut world = World::new();
    let (n1, n2) = (world.start("n1", 1), world.start("n2", 1));
    world.join(&n2, &n1);
    world.run_until(1_000);
    let reborn = world.start("n2", 2);
    world.join(&reborn, &n1);
    world.run_until(2_000);
    assert_eq!(world.sees(&n1), ["n2"]);
    assert!(world.when(&n1, &OwnedNotification::Rename(n2, reborn)).is_some());
}

// Hostile bytes against a whole member: an error or nothing, never a panic, and nobody new.
#[test]
fn hostile_datagrams_change_nothing() {
    let mut world = World::new();
    let (n1, n2) = (world.start("n1", 1), world.start("n2", 1));
    world.join(&n2, &n1);
    world.run_until(1_000);
    let mut rng = StdRng::seed_from_u64(7);
    let foca = world.members.get_mut(&n1.address()).unwrap();
    for _ in 0..5_000 {
        let mut bytes = vec![0; rng.random_range(0..=PACKET_BYTES_MAX + 1)];
        rng.fill(&mut bytes[..]);
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        assert!(foca.handle_data(&bytes, AccumulatingRuntime::new()).is_err());
    }
    assert_eq!(world.sees(&n1), ["n2"]);
}
