//! Cuts in the network, and how they heal.

use super::world::World;
use crate::{Event, MemberState, Profile};

const FEW: usize = 2;

/// Two members on one side, the others on the other.
fn is_same_side(from: usize, to: usize) -> bool {
    (from < FEW) == (to < FEW)
}

fn sides_are_apart(world: &World) -> bool {
    world.running().all(|viewer| {
        world.running().all(|seen| {
            let is_down = world.state(viewer, seen) == Some(MemberState::Down);
            is_down != is_same_side(viewer, seen)
        })
    })
}

#[test]
fn the_sides_of_a_partition_hold_each_other_down_and_come_together_again() {
    for seed in 0..10 {
        let mut world = World::of(5, Profile::Lan, seed);
        world.cut(is_same_side);
        world.run_until(3_000, sides_are_apart);
        world.run_ms(60_000);
        assert!(sides_are_apart(&world), "they stay apart");
        world.cut(|_, _| true);
        world.run_until(8_000, World::is_whole);
        let downs = world.downs();
        world.run_ms(10_000);
        assert_eq!(world.downs(), downs, "and together");
    }
}

#[test]
fn a_partition_on_a_lossy_network_heals_too() {
    for seed in 0..10 {
        let mut world = World::of(5, Profile::Lan, seed);
        world.loss_percent = 30;
        world.cut(is_same_side);
        world.run_until(5_000, sides_are_apart);
        world.cut(|_, _| true);
        world.run_until(10_000, World::is_whole);
    }
}

// After an hour each side has forgotten the other: the seeds bring them together.
#[test]
fn a_partition_that_outlasts_memory_heals_by_the_seeds() {
    let mut world = World::of(5, Profile::Wan, 1);
    world.cut(is_same_side);
    world.run_ms(90 * 60_000);
    assert_eq!(world.state(0, 4), None, "forgotten");
    world.cut(|_, _| true);
    world.run_until(60_000, World::is_whole);
}

#[test]
fn a_member_that_one_other_does_not_hear_is_not_down() {
    for seed in 0..10 {
        let mut world = World::of(5, Profile::Lan, seed);
        world.cut(|from, to| (from, to) != (0, 1));
        world.run_ms(20_000);
        assert_eq!(world.downs(), 0, "the others probe it too");
        assert_eq!(world.count(|event| matches!(event, Event::Suspect(_))), 0);
    }
}

#[test]
fn who_is_cut_off_both_ways_is_down_and_back() {
    let mut world = World::of(5, Profile::Lan, 1);
    world.cut(|from, to| from != 0 && to != 0);
    world.run_until(2_000, |world| {
        (1..5).all(|viewer| world.state(viewer, 0) == Some(MemberState::Down))
    });
    world.run_until(10_000, |world| {
        (1..5).all(|seen| world.state(0, seen) == Some(MemberState::Down))
    });
    world.cut(|_, _| true);
    world.run_until(10_000, World::is_whole);
}

// Situation: one member is cut off for so long that it holds all others down, and comes back. Claim: none of
// these is held down by another for it, not for a moment: what it could not hear it keeps to itself.
#[test]
fn who_was_cut_off_has_nobody_declared_down() {
    for seed in 0..20 {
        let mut world = World::of(5, Profile::Lan, seed);
        world.cut(|from, to| from != 0 && to != 0);
        world.run_until(10_000, |world| {
            let is_down = |viewer, seen| world.state(viewer, seen) == Some(MemberState::Down);
            (1..5).all(|other| is_down(other, 0) && is_down(0, other))
        });
        world.cut(|_, _| true);
        world.run_until(10_000, World::is_whole);
        world.run_ms(5_000);
        let others = ["n1", "n2", "n3", "n4"];
        let is_of_another = |event: &Event| matches!(event, Event::Down(member) if others.contains(&member.identity.name()));
        assert_eq!(
            world.count(is_of_another),
            4,
            "by the one that was cut off, and by nobody else"
        );
    }
}

#[test]
fn members_that_start_in_any_order_find_each_other() {
    for seed in 0..10 {
        let mut world = World::new(Profile::Lan, seed);
        world.loss_percent = 5;
        let first = world.add();
        for pause_ms in [0, 700, 0, 3_000] {
            world.run_ms(pause_ms);
            let place = world.add();
            world.join(place, first);
        }
        world.run_until(3_000, World::is_whole);
    }
}

// An answer has room for some twenty members: a newcomer asks on.
#[test]
fn a_newcomer_to_many_knows_all_soon() {
    let mut world = World::of(100, Profile::Lan, 1);
    let place = world.add();
    world.join(place, 0);
    world.run_until(5_000, World::is_whole);
}

// The seed is not there yet: who waits for it finds it.
#[test]
fn a_seed_that_starts_late_is_found() {
    let mut world = World::new(Profile::Lan, 1);
    let seed = world.add();
    world.kill(seed);
    for _ in 0..4 {
        let place = world.add();
        world.join(place, seed);
    }
    world.run_ms(60_000);
    world.start(seed);
    world.run_until(3_000, World::is_whole);
}
