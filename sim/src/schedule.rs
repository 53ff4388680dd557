//! What goes wrong, and when: drawn from the seed before the run, so that a seed is one story.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};

/// The names of hosts, by place. A run has the first three, or all five.
pub const HOSTS: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// How many hosts the run of a seed has.
pub fn size(seed: u64) -> usize {
    if seed.is_multiple_of(3) { 5 } else { 3 }
}

/// Whether the hosts of a seed have lifelines; of five seeds one is left to Raft's own timers.
pub fn has_lifelines(seed: u64) -> bool {
    seed % 5 != 2
}

/// A host, by its place in [`HOSTS`].
pub type Place = usize;

/// Who is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// Whoever leads then; the first host when nobody does.
    Leader,
    /// This host.
    Host(Place),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The power of one host is cut: what was not synced is lost, kept in part, or torn.
    Crash(Victim),
    /// The power of all hosts is cut.
    CrashAll,
    /// No bytes pass between one host and the others.
    Isolate(Victim),
    /// Bytes from one host to the others are lost, and come through the other way.
    Mute(Victim),
    /// Bytes to one host from the others are lost, and go through the other way.
    Deafen(Victim),
    /// No bytes pass between the hosts of one side and those of the other.
    Split(Side),
    /// The same, and one host still reaches both sides.
    Bridge(Side, Place),
    /// The wall clock of one host is off by so many ms.
    Jump(Victim, i64),
    /// The leader crashes, and the power of one of the others (the next, or the one after it) is cut for
    /// a moment as soon as it has come to a newer term: a vote that it gave then must be on its disk.
    Ambush(Place),
    /// A follower (the next after the leader, or one after that) is isolated, and the leader crashes the moment
    /// it is back: whoever stands then, its log is behind, and it must not win.
    Stale(Place),
    /// The next sync of one host fails: it must stop, and is started again.
    FailSync(Victim),
    /// Every link is slow.
    Slow,
}

/// Some of the hosts: a bit for each place.
pub type Side = u8;

/// One fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

/// The whole story of a seed with so many hosts, in order of time. Each hits the leader in each way.
pub fn plan(rng: &mut StdRng, size: usize, from: Duration, until: Duration) -> Vec<Planned> {
    let mut certain = vec![
        Fault::Ambush(rng.random_range(1..size)),
        Fault::Crash(Victim::Leader),
        Fault::Isolate(Victim::Leader),
        Fault::Crash(Victim::Host(rng.random_range(0..size))),
        Fault::Mute(Victim::Leader),
        Fault::Deafen(Victim::Leader),
        Fault::Split(side(rng, size)),
        Fault::Jump(Victim::Leader, jump(rng)),
        Fault::Stale(rng.random_range(1..size)),
    ];
    certain.shuffle(rng);
    let mut story = Vec::new();
    let mut at = from;
    while at < until {
        let fault = certain.pop().unwrap_or_else(|| draw(rng, size));
        let lasts = Duration::from_millis(rng.random_range(300..4_000));
        story.push(Planned { at, lasts: lasts.min(until.saturating_sub(at)), fault });
        // Sooner than the last one ends, now and then.
        at += Duration::from_millis(rng.random_range(500..6_000));
    }
    story
}

fn draw(rng: &mut StdRng, size: usize) -> Fault {
    let host = Victim::Host(rng.random_range(0..size));
    match rng.random_range(0..22) {
        0 | 1 => Fault::Crash(Victim::Leader),
        2 | 3 => Fault::Crash(host),
        4 => Fault::CrashAll,
        5 | 6 => Fault::Isolate(Victim::Leader),
        7 => Fault::Isolate(host),
        8 => Fault::Mute(Victim::Leader),
        9 => Fault::Mute(host),
        10 => Fault::FailSync(host),
        11 | 12 => Fault::Ambush(rng.random_range(1..size)),
        13 => Fault::Deafen(Victim::Leader),
        14 => Fault::Deafen(host),
        15 | 16 => Fault::Split(side(rng, size)),
        17 => Fault::Bridge(side(rng, size), rng.random_range(0..size)),
        18 => Fault::Jump(host, jump(rng)),
        19 | 20 => Fault::Stale(rng.random_range(1..size)),
        _ => Fault::Slow,
    }
}

/// Some hosts, not none and not all.
fn side(rng: &mut StdRng, size: usize) -> Side {
    rng.random_range(1..(1 << size) - 1)
}

/// Beyond the second by which a leader's clock may be off, one way or the other; up to an hour.
fn jump(rng: &mut StdRng) -> i64 {
    let ms = [2_000, 60_000, 3_600_000][rng.random_range(0..3)];
    if rng.random() { ms } else { -ms }
}

/// The links that are cut at one moment: (from, to).
pub type Cuts = BTreeSet<(Place, Place)>;

/// The links of so many hosts that a fault cuts, on `victim` if it has one.
pub fn cuts(fault: Fault, victim: Place, size: usize) -> Cuts {
    let is_cut = |from: Place, to: Place| {
        let is_between = |one: Side| (one >> from ^ one >> to) & 1 == 1;
        match fault {
            Fault::Isolate(_) | Fault::Stale(_) => from == victim || to == victim,
            Fault::Mute(_) => from == victim,
            Fault::Deafen(_) => to == victim,
            Fault::Split(one) => is_between(one),
            Fault::Bridge(one, bridge) => is_between(one) && from != bridge && to != bridge,
            _ => false,
        }
    };
    let links = (0..size).flat_map(|from| (0..size).map(move |to| (from, to)));
    links.filter(|(from, to)| from != to && is_cut(*from, *to)).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const FROM: Duration = Duration::from_secs(4);
    const UNTIL: Duration = Duration::from_secs(58);

    fn story(seed: u64) -> Vec<Planned> {
        plan(&mut StdRng::seed_from_u64(seed), size(seed), FROM, UNTIL)
    }

    #[test]
    fn every_story_hits_the_leader_in_each_way() {
        for seed in 0..200 {
            let story = story(seed);
            for certain in [
                Fault::Crash(Victim::Leader),
                Fault::Isolate(Victim::Leader),
                Fault::Mute(Victim::Leader),
                Fault::Deafen(Victim::Leader),
            ] {
                assert!(
                    story.iter().any(|planned| planned.fault == certain),
                    "{seed}: {certain:?}"
                );
            }
            let has = |is: fn(&Fault) -> bool| story.iter().any(|planned| is(&planned.fault));
            assert!(has(|fault| matches!(fault, Fault::Ambush(_))), "{seed}");
            assert!(has(|fault| matches!(fault, Fault::Split(_))), "{seed}");
            assert!(has(|fault| matches!(fault, Fault::Stale(_))), "{seed}");
            assert!(has(|fault| matches!(fault, Fault::Jump(Victim::Leader, _))), "{seed}");
        }
    }

    #[test]
    fn a_story_is_in_order_and_ends_in_time() {
        for seed in 0..200 {
            let story = story(seed);
            assert!(story.is_sorted_by_key(|planned| planned.at));
            assert!(story.iter().all(|planned| planned.at >= FROM));
            assert!(story.iter().all(|planned| planned.at + planned.lasts <= UNTIL));
        }
    }

    #[test]
    fn a_seed_is_one_story() {
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
    }

    #[test]
    fn a_muted_host_still_hears_and_a_deaf_one_is_heard() {
        let victim = Victim::Host(1);
        let isolated = cuts(Fault::Isolate(victim), 1, 3);
        assert_eq!(isolated, Cuts::from([(1, 0), (0, 1), (1, 2), (2, 1)]));
        assert_eq!(cuts(Fault::Mute(victim), 1, 3), Cuts::from([(1, 0), (1, 2)]));
        assert_eq!(cuts(Fault::Deafen(victim), 1, 3), Cuts::from([(0, 1), (2, 1)]));
        assert_eq!(cuts(Fault::Slow, 1, 3), Cuts::new());
    }

    #[test]
    fn a_split_has_two_sides_and_a_bridge_is_on_both() {
        let split = cuts(Fault::Split(0b001), 0, 3);
        assert_eq!(split, cuts(Fault::Isolate(Victim::Host(0)), 0, 3));
        let halves = cuts(Fault::Split(0b00_011), 0, 5);
        assert_eq!(halves.len(), 12);
        let bridged = cuts(Fault::Bridge(0b00_011, 4), 0, 5);
        assert_eq!(bridged.len(), 8);
        assert!(bridged.iter().all(|(from, to)| *from != 4 && *to != 4));
    }
}
