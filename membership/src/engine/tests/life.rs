//! Members that come, go, hang, restart and move.

use super::world::World;
use crate::{
    Event, Identity, MemberState, Profile,
    engine::{Engine, Now},
};

fn is_down_to_all(world: &World, seen: usize) -> bool {
    world
        .running()
        .filter(|viewer| *viewer != seen)
        .all(|viewer| world.state(viewer, seen) == Some(MemberState::Down))
}

/// What one member saw of another, as words.
fn seen(world: &World, viewer: usize, name: &str) -> Vec<&'static str> {
    let of_it = |event: &&Event| event.member().identity.name() == name;
    let events = world.nodes[viewer].events.iter().map(|(_, event)| event);
    events
        .filter(of_it)
        .map(|event| match event {
            Event::Up(_) => "up",
            Event::Suspect(_) => "suspect",
            Event::Refuted(_) => "refuted",
            Event::Down(_) => "down",
            Event::Rejoined(_) => "rejoined",
            Event::Metadata(_) => "metadata",
        })
        .collect()
}

#[test]
fn a_restarted_member_is_a_later_life_whether_or_not_its_death_was_seen() {
    for down_ms in [0, 5_000] {
        let mut world = World::of(5, Profile::Lan, 1);
        world.run_ms(1_000);
        let earlier = world.identity(4);
        world.kill(4);
        world.run_ms(down_ms);
        world.start(4);
        world.join(4, 0);
        world.run_until(2_000, World::is_whole);
        for viewer in 0..4 {
            let events = seen(&world, viewer, "n4");
            let wanted: &[_] = if down_ms == 0 { &["rejoined"] } else { &["down", "rejoined"] };
            let rest: Vec<_> = events.into_iter().filter(|event| *event != "suspect").collect();
            assert_eq!(rest, wanted);
            assert!(world.sees(viewer, 4).unwrap().identity.incarnation() > earlier.incarnation());
        }
        world.run_ms(10_000);
        assert!(world.is_whole(), "and it stays");
    }
}

// Its incarnations are made of a clock that was set back: the others know a later life, which it has to
// outlive.
#[test]
fn a_member_whose_clock_was_set_back_is_back_within_seconds() {
    for hours in [1, 24 * 365] {
        let mut world = World::of(5, Profile::Lan, 1);
        world.run_ms(1_000);
        world.kill(4);
        world.nodes[4].skew_ms = -3_600_000 * hours;
        world.start(4);
        world.join(4, 0);
        world.run_until(15_000, World::is_whole);
    }
}

#[test]
fn a_member_that_hangs_for_a_moment_is_suspected_at_most() {
    for seed in 0..20 {
        let mut world = World::of(5, Profile::Lan, seed);
        world.run_ms(1_000);
        world.pause(4);
        world.run_ms(250);
        world.resume(4);
        world.run_ms(5_000);
        assert_eq!(world.downs(), 0);
        for viewer in 0..4 {
            let events = seen(&world, viewer, "n4");
            assert!(events.is_empty() || events == ["suspect", "refuted"], "{events:?}");
        }
    }
}

// It hears what came while it hung before it decides who did not answer.
#[test]
fn a_member_that_hung_for_seconds_is_back_and_holds_nobody_down() {
    for seed in 0..20 {
        let mut world = World::of(5, Profile::Lan, seed);
        world.run_ms(1_000);
        world.pause(4);
        world.run_until(3_000, |world| is_down_to_all(world, 4));
        world.run_ms(2_000);
        world.resume(4);
        world.run_until(8_000, World::is_whole);
        world.run_ms(3_000);
        assert_eq!(seen(&world, 4, "n4"), ["rejoined"], "it learns of it itself");
        let of_others =
            |event: &Event| matches!(event, Event::Down(member) if member.identity.name() != "n4");
        assert_eq!(world.count(of_others), 0);
    }
}

#[test]
fn who_leaves_is_down_at_once_and_knows_that_it_was_understood() {
    for (loss_percent, within_ms) in [(0, 200), (30, 600)] {
        for seed in 0..10 {
            let mut world = World::of(5, Profile::Lan, seed);
            world.loss_percent = loss_percent;
            world.run_ms(1_000);
            world.turn(4, Engine::leave);
            let told_ms = world.run_until(within_ms, |world| world.engine(4).has_left());
            world.run_until(within_ms - told_ms.min(within_ms - 5), |world| {
                is_down_to_all(world, 4)
            });
            world.run_ms(2_000);
            assert!(is_down_to_all(&world, 4), "it does not come back");
            assert!(seen(&world, 4, "n4").is_empty(), "nor does it defend itself");
        }
    }
}

#[test]
fn who_leaves_alone_has_left() {
    let mut world = World::new(Profile::Lan, 1);
    let place = world.add();
    world.turn(place, Engine::leave);
    assert!(world.engine(place).has_left());
}

// The later life is shown, to the earlier one too, and neither makes the other flap. When the later one
// is gone, the earlier one is seen again.
#[test]
fn of_two_members_under_one_name_the_later_is_seen() {
    let mut world = World::of(3, Profile::Lan, 1);
    world.run_ms(1_000);
    let twin = world.add();
    world.nodes[twin].name = "n2".into();
    world.start(twin);
    world.join(twin, 0);
    let sees_twin = |world: &World, viewer: usize| {
        let member = world.sees(viewer, twin).unwrap();
        member.identity == world.identity(twin) && member.state == MemberState::Alive
    };
    world.run_until(2_000, |world| [0, 1].iter().all(|viewer| sees_twin(world, *viewer)));
    world.run_ms(30_000);
    for viewer in 0..3 {
        assert_eq!(seen(&world, viewer, "n2"), ["rejoined"]);
        assert!(sees_twin(&world, viewer));
    }
    world.kill(twin);
    let sees_earlier = |world: &World, viewer: usize| {
        world.sees(viewer, 2).is_some_and(|member| member.identity == world.identity(2))
    };
    world.run_until(3_000, |world| (0..3).all(|viewer| sees_earlier(world, viewer)));
}

#[test]
fn a_member_that_moves_to_another_address_is_the_same_member() {
    let mut world = World::of(4, Profile::Lan, 1);
    world.run_ms(1_000);
    world.kill(3);
    let moved = world.add();
    world.nodes[moved].name = "n3".into();
    world.start(moved);
    world.join(moved, 0);
    world.run_ms(5_000);
    for viewer in 0..3 {
        let member = world.sees(viewer, moved).unwrap();
        assert_eq!((member.identity, member.state), (world.identity(moved), MemberState::Alive));
        let events = seen(&world, viewer, "n3");
        assert_eq!(events.last(), Some(&"rejoined"), "{events:?}");
    }
}

#[test]
fn another_name_at_an_address_ends_the_life_that_was_there() {
    let mut world = World::of(3, Profile::Lan, 1);
    world.run_ms(1_000);
    world.kill(2);
    world.nodes[2].name = "m2".into();
    world.start(2);
    world.join(2, 0);
    world.run_ms(3_000);
    for viewer in [0, 1] {
        assert_eq!(seen(&world, viewer, "n2").last(), Some(&"down"));
        assert_eq!(seen(&world, viewer, "m2"), ["up"]);
    }
}

#[test]
fn the_time_of_an_answer_is_measured() {
    let mut world = World::of(3, Profile::Lan, 1);
    world.run_ms(3_000);
    for (viewer, seen) in [(0, 1), (1, 2), (2, 0)] {
        let rtt_us = world.sees(viewer, seen).unwrap().rtt_us.unwrap();
        assert!((400..2_400).contains(&rtt_us), "twice 200 to 1200 µs is not {rtt_us}");
    }
    assert_eq!(world.sees(0, 0).unwrap().rtt_us, None);
}

#[test]
fn the_dead_are_forgotten_after_an_hour() {
    let mut world = World::of(3, Profile::Wan, 1);
    world.kill(2);
    world.run_ms(60_000);
    assert_eq!(world.state(0, 2), Some(MemberState::Down));
    world.run_ms(3_600_000);
    assert_eq!(world.state(0, 2), None);
}

#[test]
fn the_dead_are_bounded() {
    let mut world = World::of(2, Profile::Lan, 1);
    world.turn(0, |engine, now: Now| {
        for number in 0..3_000u16 {
            let [high, low] = number.to_be_bytes();
            let address = std::net::SocketAddr::from(([10, 1, high, low], 8771));
            let identity = Identity::new(&format!("w{number}"), address, 1).unwrap();
            for member in [foca::Member::alive(identity.clone()), foca::Member::down(identity)] {
                let members = std::iter::once(member);
                engine.foca.apply_many(members, false, &mut engine.effects).unwrap();
                engine.settle(now);
            }
        }
    });
    assert_eq!(world.engine(0).roster.read().unwrap().members().count(), 2 + 1_024);
}
