//! How metadata spreads.

use bytes::Bytes;

use super::world::World;
use crate::{Event, METADATA_BYTES_MAX, MemberState, Profile};

fn publish(world: &mut World, place: usize, bytes: &'static str) {
    world.turn(place, |engine, now| engine.publish(Bytes::from_static(bytes.as_bytes()), now));
}

fn all_have(world: &World, of: usize, bytes: &str) -> bool {
    world.running().all(|viewer| {
        world.sees(viewer, of).and_then(|member| member.metadata).is_some_and(|has| has == bytes)
    })
}

#[test]
fn what_is_published_reaches_all_and_replaces_what_was() {
    for loss_percent in [0, 30] {
        let mut world = World::of(30, Profile::Lan, 1);
        world.loss_percent = loss_percent;
        publish(&mut world, 3, "first");
        world.run_until(1_000, |world| all_have(world, 3, "first"));
        publish(&mut world, 3, "second");
        publish(&mut world, 3, "third");
        world.run_until(1_000, |world| all_have(world, 3, "third"));
        world.run_ms(5_000);
        assert!(all_have(&world, 3, "third"));
        let told = |event: &Event| matches!(event, Event::Metadata(_));
        assert!(world.count(told) <= 30 * 3, "each is told once");
    }
}

#[test]
fn the_same_bytes_again_are_no_event() {
    let mut world = World::of(3, Profile::Lan, 1);
    publish(&mut world, 0, "same");
    world.run_ms(1_000);
    publish(&mut world, 0, "same");
    world.run_ms(1_000);
    assert_eq!(world.count(|event| matches!(event, Event::Metadata(_))), 3);
}

// Every copy of what was published is long gone when they come.
#[test]
fn who_comes_late_or_comes_back_asks() {
    for loss_percent in [0, 30] {
        let mut world = World::of(20, Profile::Lan, 1);
        world.loss_percent = loss_percent;
        for place in 0..20 {
            publish(&mut world, place, "here");
        }
        world.run_ms(5_000);
        world.kill(7);
        world.run_ms(2_000);
        world.start(7);
        world.join(7, 0);
        let late = world.add();
        world.join(late, 1);
        publish(&mut world, 7, "back");
        publish(&mut world, late, "late");
        world.run_until(3_000, |world| {
            let others = (0..20).filter(|place| *place != 7);
            others.into_iter().all(|place| all_have(world, place, "here"))
                && all_have(world, 7, "back")
                && all_have(world, late, "late")
        });
    }
}

// A life that goes on as a later one publishes under it what it published before.
#[test]
fn a_renewed_life_keeps_its_metadata() {
    let mut world = World::of(5, Profile::Lan, 1);
    publish(&mut world, 4, "mine");
    world.run_ms(1_000);
    world.pause(4);
    world.run_until(3_000, |world| world.state(0, 4) == Some(MemberState::Down));
    world.run_ms(1_000);
    world.resume(4);
    world.run_until(8_000, |world| world.is_whole() && all_have(world, 4, "mine"));
}

// A restarted member that has published nothing yet does not show what it was before.
#[test]
fn a_later_life_does_not_inherit() {
    let mut world = World::of(3, Profile::Lan, 1);
    publish(&mut world, 2, "before");
    world.run_ms(1_000);
    world.kill(2);
    world.start(2);
    world.join(2, 0);
    world.run_ms(5_000);
    assert_eq!(world.sees(0, 2).unwrap().metadata, None);
}

#[test]
fn the_longest_metadata_of_the_longest_names_fits_and_spreads() {
    let mut world = World::new(Profile::Lan, 1);
    let long = Bytes::from(vec![b'm'; METADATA_BYTES_MAX]);
    for place in 0..5 {
        world.add();
        world.nodes[place].name = format!("{place:0128}");
        world.start(place);
        world.join(place, 0);
        let long = long.clone();
        world.turn(place, |engine, now| engine.publish(long, now));
    }
    world.run_until(3_000, |world| {
        let is_long = |viewer, seen| {
            world.sees(viewer, seen).is_some_and(|member| member.metadata.as_ref() == Some(&long))
        };
        (0..5).all(|viewer| (0..5).all(|seen| is_long(viewer, seen)))
    });
}
