//! What goes wrong, and when: drawn from the seed before the run, so that a seed is one story.

use std::{collections::BTreeSet, time::Duration};

use rand::{RngExt, rngs::StdRng, seq::SliceRandom};

/// The hosts, by place.
pub const HOSTS: [&str; 3] = ["n1", "n2", "n3"];

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
    /// The leader crashes, and the power of one of the others (the next, or the one after it) is cut for
    /// a moment as soon as it has come to a newer term: a vote that it gave then must be on its disk.
    Ambush(Place),
    /// The next sync of one host fails: it must stop, and is started again.
    FailSync(Victim),
    /// Every link is slow.
    Slow,
}

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

/// The whole story of a seed, in order of time. Each has at least a crash and an isolation of the leader
/// and an ambush.
pub fn plan(rng: &mut StdRng, from: Duration, until: Duration) -> Vec<Planned> {
    let mut certain = vec![
        Fault::Ambush(rng.random_range(1..HOSTS.len())),
        Fault::Crash(Victim::Leader),
        Fault::Isolate(Victim::Leader),
        Fault::Crash(Victim::Host(rng.random_range(0..HOSTS.len()))),
        Fault::Mute(Victim::Leader),
    ];
    certain.shuffle(rng);
    let mut story = Vec::new();
    let mut at = from;
    while at < until {
        let fault = certain.pop().unwrap_or_else(|| draw(rng));
        let lasts = Duration::from_millis(rng.random_range(300..4_000));
        story.push(Planned { at, lasts: lasts.min(until.saturating_sub(at)), fault });
        // Sooner than the last one ends, now and then.
        at += Duration::from_millis(rng.random_range(500..6_000));
    }
    story
}

fn draw(rng: &mut StdRng) -> Fault {
    let host = Victim::Host(rng.random_range(0..HOSTS.len()));
    match rng.random_range(0..14) {
        0 | 1 => Fault::Crash(Victim::Leader),
        2 | 3 => Fault::Crash(host),
        4 => Fault::CrashAll,
        5 | 6 => Fault::Isolate(Victim::Leader),
        7 => Fault::Isolate(host),
        8 => Fault::Mute(Victim::Leader),
        9 => Fault::Mute(host),
        10 => Fault::FailSync(host),
        11 | 12 => Fault::Ambush(rng.random_range(1..HOSTS.len())),
        _ => Fault::Slow,
    }
}

/// The links that are cut at one moment: (from, to).
pub type Cuts = BTreeSet<(Place, Place)>;

/// The links that a fault cuts on `victim`.
pub fn cuts(fault: Fault, victim: Place) -> Cuts {
    let others = (0..HOSTS.len()).filter(move |other| *other != victim);
    match fault {
        Fault::Isolate(_) => others.flat_map(|other| [(victim, other), (other, victim)]).collect(),
        Fault::Mute(_) => others.map(|other| (victim, other)).collect(),
        _ => Cuts::new(),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const FROM: Duration = Duration::from_secs(4);
    const UNTIL: Duration = Duration::from_secs(58);

    fn story(seed: u64) -> Vec<Planned> {
        plan(&mut StdRng::seed_from_u64(seed), FROM, UNTIL)
    }

    #[test]
    fn every_story_hits_the_leader_in_each_way() {
        for seed in 0..200 {
            let story = story(seed);
            for certain in [
                Fault::Crash(Victim::Leader),
                Fault::Isolate(Victim::Leader),
                Fault::Mute(Victim::Leader),
            ] {
                assert!(
                    story.iter().any(|planned| planned.fault == certain),
                    "{seed}: {certain:?}"
                );
            }
            assert!(
                story.iter().any(|planned| matches!(planned.fault, Fault::Ambush(_))),
                "{seed}"
            );
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
    fn a_muted_host_still_hears() {
        let isolated = cuts(Fault::Isolate(Victim::Host(1)), 1);
        assert_eq!(isolated, Cuts::from([(1, 0), (0, 1), (1, 2), (2, 1)]));
        assert_eq!(cuts(Fault::Mute(Victim::Host(1)), 1), Cuts::from([(1, 0), (1, 2)]));
        assert_eq!(cuts(Fault::Slow, 1), Cuts::new());
    }
}
