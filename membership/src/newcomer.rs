//! When a newcomer asks for further members: an answer has room for some twenty.

use crate::profile::Timers;

/// After so many answers without anybody new it knows all, or nearly: the periodic announcements of
/// foca's find the rest.
const VAIN_MAX: u32 = 8;

/// When the next member is asked, and whether it still helps.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// When the next one is to be asked, µs.
    pub(crate) due_us: u64,
    pause_us: u64,
    /// How many members were known at the last question.
    known: usize,
    /// How many questions in a row brought nobody new.
    vain: u32,
}

impl Newcomer {
    pub(crate) fn new(timers: Timers) -> Self {
        let pause_us = 2_000 * timers.gossip_ms;
        Self { due_us: u64::MAX, pause_us, known: 0, vain: 0 }
    }

    pub(crate) fn on_joined(&mut self, now_us: u64) {
        (self.known, self.vain) = (0, 0);
        self.due_us = now_us + self.pause_us;
    }

    /// Somebody is being asked, while so many are known.
    pub(crate) fn on_asked(&mut self, known: usize, now_us: u64) {
        self.vain = if known > self.known { 0 } else { self.vain + 1 };
        self.known = known;
        self.due_us = if self.vain < VAIN_MAX { now_us + self.pause_us } else { u64::MAX };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn it_asks_on_while_it_learns_and_for_a_while_after() {
        let mut newcomer = Newcomer::new(Profile::Lan.timers());
        assert_eq!(newcomer.due_us, u64::MAX);
        newcomer.on_joined(0);
        let mut asked = 0;
        while newcomer.due_us != u64::MAX {
            asked += 1;
            assert_eq!(newcomer.due_us, asked * 100_000);
            let known = 10 * usize::try_from(asked.min(5)).unwrap();
            newcomer.on_asked(known, newcomer.due_us);
        }
        assert_eq!(asked, 5 + 8);
    }
}
