//! When a member announces itself to which of the addresses it was given.

use std::net::SocketAddr;

use crate::profile::Timers;

/// How often a member that has company looks for a seed that it does not see, µs. Two sides of a
/// partition that outlasted foca's memory of the dead find each other by this.
const COMPANY_EVERY_US: u64 = 15_000_000;

/// The seeds' addresses, and when the next announcement is due.
#[derive(Debug)]
pub(crate) struct Seeds {
    addresses: Vec<SocketAddr>,
    /// When the next announcement is due, µs.
    pub(crate) due_us: u64,
    /// The pause after it while alone: it doubles from `first_us` to `last_us`.
    pause_us: u64,
    first_us: u64,
    last_us: u64,
    is_alone: bool,
    /// Which seed is looked for next while in company.
    turn: usize,
}

impl Seeds {
    pub(crate) fn new(timers: Timers, now_us: u64) -> Self {
        let first_us = 2_000 * timers.gossip_ms;
        let last_us = (2_000 * timers.period_ms).max(1_000_000);
        Self {
            addresses: Vec::new(),
            due_us: now_us,
            pause_us: first_us,
            first_us,
            last_us,
            is_alone: true,
            turn: 0,
        }
    }

    /// Other addresses: who is alone announces itself to them at once.
    pub(crate) fn replace(&mut self, addresses: Vec<SocketAddr>, now_us: u64) {
        if addresses != self.addresses {
            self.addresses = addresses;
            self.hurry(now_us);
        }
    }

    /// Takes note of whether this member is alone.
    pub(crate) fn on_company(&mut self, is_alone: bool, now_us: u64) {
        if is_alone == self.is_alone {
            return;
        }
        self.is_alone = is_alone;
        self.due_us = now_us + COMPANY_EVERY_US;
        self.hurry(now_us);
    }

    /// Whom to announce itself to now; `is_seen` says who is a living member, or this one.
    pub(crate) fn take_due(
        &mut self,
        now_us: u64,
        is_seen: impl Fn(SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        if now_us < self.due_us {
            return Vec::new();
        }
        let unseen = self.addresses.iter().copied().filter(|address| !is_seen(*address));
        let unseen: Vec<SocketAddr> = unseen.collect();
        if self.is_alone {
            self.due_us = now_us + self.pause_us;
            self.pause_us = (2 * self.pause_us).min(self.last_us);
            return unseen;
        }
        self.due_us = now_us + COMPANY_EVERY_US;
        self.turn = self.turn.wrapping_add(1);
        let place = self.turn.checked_rem(unseen.len());
        place.map(|place| unseen[place]).into_iter().collect()
    }

    fn hurry(&mut self, now_us: u64) {
        if self.is_alone {
            self.pause_us = self.first_us;
            self.due_us = now_us;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    fn seeds(count: u16) -> (Seeds, Vec<SocketAddr>) {
        let addresses: Vec<_> =
            (1..=count).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        let mut seeds = Seeds::new(Profile::Lan.timers(), 0);
        seeds.replace(addresses.clone(), 0);
        (seeds, addresses)
    }

    #[test]
    fn alone_it_announces_itself_to_all_and_less_and_less_often() {
        let (mut seeds, addresses) = seeds(3);
        let mut pauses_ms = Vec::new();
        for _ in 0..6 {
            let due_us = seeds.due_us;
            assert!(seeds.take_due(due_us.saturating_sub(1), |_| false).is_empty() || due_us == 0);
            if due_us > 0 {
                assert_eq!(seeds.take_due(due_us, |seed| seed == addresses[0]), addresses[1..]);
            }
            pauses_ms.push((seeds.due_us - due_us) / 1000);
        }
        assert_eq!(pauses_ms, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn in_company_it_looks_for_one_unseen_seed_at_a_time() {
        let (mut seeds, addresses) = seeds(3);
        seeds.on_company(false, 0);
        let mut looked_for = Vec::new();
        for turn in 1..=4 {
            looked_for.extend(seeds.take_due(turn * COMPANY_EVERY_US, |seed| seed == addresses[1]));
        }
        assert_eq!(looked_for, [addresses[2], addresses[0], addresses[2], addresses[0]]);
        assert!(seeds.take_due(5 * COMPANY_EVERY_US, |_| true).is_empty());
    }

    #[test]
    fn who_is_left_alone_announces_itself_at_once() {
        let (mut seeds, addresses) = seeds(1);
        seeds.on_company(false, 0);
        seeds.on_company(true, 7);
        assert_eq!(seeds.take_due(7, |_| false), addresses);
    }
}
