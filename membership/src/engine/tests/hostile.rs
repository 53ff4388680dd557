//! Whoever has no key changes nothing.

use std::collections::BTreeMap;

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use super::world::World;
use crate::{
    Figures, Identity, Keyring, Profile,
    envelope::{Envelope, SEAL_BYTES},
};

fn keyring(byte: u8) -> Keyring {
    Keyring::parse(&format!("{byte:02x}").repeat(32)).unwrap()
}

fn sealed_world() -> World {
    let mut world = World::new(Profile::Lan, 1);
    world.keyring = Some(keyring(1));
    let first = world.add();
    for _ in 1..5 {
        let place = world.add();
        world.join(place, first);
    }
    world.run_until(3_000, World::is_whole);
    world.run_ms(2_000);
    world
}

#[test]
fn ten_thousand_hostile_datagrams_a_second_change_nothing_and_leave_nothing() {
    let mut world = sealed_world();
    let events = world.count(|_| true);
    let mut rng = StdRng::seed_from_u64(7);
    let recorded = recorded(&mut world);
    let stranger = Identity::new("n9", "10.0.0.9:8771".parse().unwrap(), 1).unwrap();
    let mut other_key = Envelope::new("main", Some(&keyring(2)), &stranger, 9);
    let before = world.engine(0).figures();
    let mut sent = BTreeMap::from([("garbage", 0), ("wrong key", 0), ("changed", 0), ("old", 0)]);
    for _ in 0..2_000 {
        for _ in 0..10 {
            let kind = *sent.keys().nth(rng.random_range(0..4)).unwrap();
            let mut datagram = match kind {
                "garbage" => {
                    let mut bytes = vec![0; rng.random_range(0..2_048)];
                    rng.fill_bytes(&mut bytes);
                    if let Some(first) = bytes.first_mut().filter(|_| rng.random()) {
                        *first = 1;
                    }
                    bytes
                }
                "wrong key" => {
                    let wall_ms = world.now(0).wall_ms;
                    other_key.close(&vec![1; rng.random_range(0..1_350)], wall_ms)
                }
                _ => recorded[rng.random_range(0..recorded.len())].clone(),
            };
            if kind == "changed" {
                let place = rng.random_range(1..datagram.len());
                datagram[place] ^= 1 << rng.random_range(0..8);
                if rng.random() {
                    datagram.truncate(place);
                }
            }
            *sent.get_mut(kind).unwrap() += 1;
            world.turn(0, |engine, now| engine.on_datagram(&mut datagram, now));
        }
        world.run_ms(1);
    }
    assert!(world.is_whole());
    assert_eq!(world.count(|_| true), events, "nobody changed state");
    assert_eq!(world.engine(0).roster.read().unwrap().members().count(), 5);
    assert_eq!(world.engine(0).effects.notices.len(), 0);
    let after = world.engine(0).figures();
    let dropped = |figures: Figures| {
        figures.dropped_malformed + figures.dropped_unopened + figures.dropped_replayed
    };
    assert_eq!(dropped(after) - dropped(before), 20_000, "{sent:?} {after:?}");
    assert!(after.dropped_replayed - before.dropped_replayed >= sent["old"]);
    assert!(after.dropped_unopened - before.dropped_unopened >= sent["wrong key"]);
    assert_eq!(after.dropped_refused, before.dropped_refused, "foca sees none of it");
}

/// What one member sends to another in a while, which takes it all.
fn recorded(world: &mut World) -> Vec<Vec<u8>> {
    let mut recorded = Vec::new();
    for _ in 0..200 {
        let gossip = {
            let engine = world.engine(1);
            let from = engine.foca.identity().clone();
            super::super::message(&from, &world.identity(0), foca::Message::Broadcast)
        };
        let mut datagram = Vec::new();
        world.turn(1, |engine, now| datagram = engine.envelope.close(&gossip, now.wall_ms));
        recorded.push(datagram.clone());
        world.turn(0, |engine, now| engine.on_datagram(&mut datagram, now));
    }
    assert!(recorded.iter().all(|datagram| datagram.len() > SEAL_BYTES));
    recorded
}

// Within its 30 s the sequence tells; after them the time of sending does.
#[test]
fn a_recorded_datagram_is_dropped_however_much_later_it_comes() {
    let mut world = sealed_world();
    let recorded = recorded(&mut world);
    let mut figures = world.engine(0).figures();
    for pause_ms in [0, 5_000, 24_000, 10_000, 3_600_000] {
        world.run_ms(pause_ms);
        let before = world.engine(0).figures();
        for datagram in &recorded {
            world.turn(0, |engine, now| engine.on_datagram(&mut datagram.clone(), now));
        }
        figures = world.engine(0).figures();
        let replayed = figures.dropped_replayed - before.dropped_replayed;
        assert_eq!(replayed + figures.dropped_stale - before.dropped_stale, 200, "{pause_ms}");
    }
    assert_eq!(figures.dropped_refused, 0);
}

#[test]
fn a_member_without_the_key_is_not_heard_and_hears_nobody() {
    let mut world = sealed_world();
    for key in [None, Some(keyring(2))] {
        world.keyring = key;
        let stranger = world.add();
        world.join(stranger, 0);
        world.run_ms(5_000);
        assert!((0..5).all(|viewer| world.state(viewer, stranger).is_none()));
        assert!((0..5).all(|seen| world.state(stranger, seen).is_none()));
    }
}

// A clock that is off by more than the window is not heard, and says so in its figures.
#[test]
fn a_clock_that_is_half_a_minute_off_is_stale() {
    let mut world = sealed_world();
    let late = world.add();
    world.kill(late);
    world.nodes[late].skew_ms = -31_000;
    world.start(late);
    world.join(late, 0);
    world.run_ms(5_000);
    assert_eq!(world.state(0, late), None);
    assert!(world.engine(0).figures().dropped_stale > 0);
}

// Even with the key: what foca or the codec does not understand is dropped and counted.
#[test]
fn sealed_nonsense_is_refused() {
    let mut world = sealed_world();
    let mut rng = StdRng::seed_from_u64(7);
    let insider = Identity::new("n1", "10.0.0.2:8771".parse().unwrap(), 1).unwrap();
    let mut envelope = Envelope::new("main", Some(&keyring(1)), &insider, 9);
    for _ in 0..5_000 {
        let mut bytes = vec![0; rng.random_range(0..=1_350)];
        rng.fill_bytes(&mut bytes);
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        let mut datagram = envelope.close(&bytes, world.now(0).wall_ms);
        world.turn(0, |engine, now| engine.on_datagram(&mut datagram, now));
    }
    assert_eq!(world.engine(0).figures().dropped_refused, 5_000);
    assert!(world.is_whole());
}
