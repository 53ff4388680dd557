//! How long a death stays unknown, and that nobody alive is held dead.

use super::world::World;
use crate::{Event, MemberState, Profile};

/// Members of one profile on a network that loses.
struct Trial {
    profile: Profile,
    members: usize,
    loss_percent: u32,
    /// One run each.
    seeds: std::ops::Range<u64>,
    /// How long all live, ms.
    quiet_ms: u64,
}

/// From the death of one member, ms, one entry a run: until somebody saw it down, and until all did.
struct Detected {
    first_ms: Vec<u64>,
    all_ms: Vec<u64>,
    /// How many times a living member was held down, by anybody, before the death.
    false_downs: usize,
}

impl Trial {
    fn run(&self) -> Detected {
        let mut detected = Detected { first_ms: vec![], all_ms: vec![], false_downs: 0 };
        for seed in self.seeds.clone() {
            let mut world = World::of(self.members, self.profile, seed);
            world.loss_percent = self.loss_percent;
            // The members' timers are in step: a death comes at any moment between them.
            world.run_ms(self.quiet_ms + seed * 37 % 100);
            detected.false_downs += world.downs();
            let sees_down =
                |world: &World, viewer| world.state(viewer, 0) == Some(MemberState::Down);
            world.kill(0);
            let first_ms = world
                .run_until(30_000, |world| world.running().any(|viewer| sees_down(world, viewer)));
            let rest_ms = world
                .run_until(30_000, |world| world.running().all(|viewer| sees_down(world, viewer)));
            detected.first_ms.push(first_ms);
            detected.all_ms.push(first_ms + rest_ms);
        }
        detected.first_ms.sort_unstable();
        detected.all_ms.sort_unstable();
        detected
    }

    /// Nobody alive is held down, and a death is known to all within so long, ms: in half the runs, and
    /// in each.
    fn holds(&self, half_ms: u64, each_ms: u64) {
        let Detected { first_ms, all_ms, false_downs } = self.run();
        let [half, each] = [all_ms[all_ms.len() / 2], all_ms[all_ms.len() - 1]];
        let found = format!(
            "{:?}, {} members, {} % loss: first seen {first_ms:?}, by all {all_ms:?}",
            self.profile, self.members, self.loss_percent
        );
        assert_eq!(false_downs, 0, "{found}");
        assert!(half <= half_ms && each <= each_ms, "{found}");
    }
}

// A failed probe is at most two periods after the death if it is this member's turn; 300 ms later it is
// down, and a few rounds of gossip later all know.
#[test]
fn five_members_know_of_a_death_within_a_second() {
    for loss_percent in [0, 5, 30] {
        let seeds = 0..40;
        Trial { profile: Profile::Lan, members: 5, loss_percent, seeds, quiet_ms: 20_000 }
            .holds(550, 1_000);
    }
}

#[test]
fn three_members_know_of_a_death_within_a_second() {
    for loss_percent in [0, 5, 30] {
        let seeds = 0..40;
        Trial { profile: Profile::Lan, members: 3, loss_percent, seeds, quiet_ms: 20_000 }
            .holds(550, 1_000);
    }
}

#[test]
fn a_hundred_members_know_of_a_death_within_one_and_a_half_seconds() {
    for loss_percent in [0, 5, 30] {
        let seeds = 0..3;
        Trial { profile: Profile::Lan, members: 100, loss_percent, seeds, quiet_ms: 5_000 }
            .holds(1_000, 1_500);
    }
}

#[test]
fn a_thousand_members_know_of_a_death_within_eleven_seconds() {
    let profile = Profile::Wan;
    Trial { profile, members: 1_000, loss_percent: 30, seeds: 0..1, quiet_ms: 3_000 }
        .holds(11_000, 11_000);
}

#[test]
fn the_local_profile_is_twice_as_fast_and_the_wide_one_takes_seconds() {
    let trial = |profile, loss_percent| Trial {
        profile,
        members: 5,
        loss_percent,
        seeds: 0..20,
        quiet_ms: 10_000,
    };
    for loss_percent in [0, 5, 30] {
        trial(Profile::Local, loss_percent).holds(350, 500);
        trial(Profile::Wan, loss_percent).holds(7_000, 9_000);
    }
}

// Beyond what is promised. At 90 % members are held down and come back all the time; when it ends, all are
// back within seconds.
#[test]
fn sixty_percent_loss_holds_nobody_down_and_ninety_ends_well() {
    for seed in 0..5 {
        let mut world = World::of(20, Profile::Lan, seed);
        world.loss_percent = 60;
        world.run_ms(20_000);
        assert_eq!(world.downs(), 0);
        world.loss_percent = 90;
        world.run_ms(20_000);
        world.loss_percent = 0;
        world.run_until(5_000, World::is_whole);
    }
}

// A clean network, a lossy one and a very lossy one, for ten minutes of virtual time altogether.
#[test]
fn twenty_members_live_through_ten_lossy_minutes() {
    for (loss_percent, minutes) in [(5, 2), (30, 6), (60, 2)] {
        let mut world = World::of(20, Profile::Lan, 7);
        world.loss_percent = loss_percent;
        world.run_ms(minutes * 60_000);
        assert_eq!(world.downs(), 0, "{loss_percent} % loss");
        let rejoined = |event: &Event| matches!(event, Event::Rejoined(_));
        assert_eq!(world.count(rejoined), 0, "{loss_percent} % loss");
        assert!(world.is_whole());
    }
}

// A clean network costs 20 datagrams a second and member, each sent twice.
#[test]
fn a_quiet_cluster_is_quiet() {
    let mut world = World::of(50, Profile::Lan, 1);
    world.run_ms(5_000);
    let before = world.sent;
    world.run_ms(10_000);
    let (datagrams, bytes) = ((world.sent.0 - before.0) / 500, (world.sent.1 - before.1) / 500);
    assert!(datagrams <= 45 && bytes <= 5_000, "{datagrams} datagrams, {bytes} bytes a second");
    assert_eq!(world.count(|_| true), 0, "nothing happens");
}
