//! Each datagram goes out more than once, so that a lossy network does not make the living look dead.
//!
//! Where 30 % of the datagrams are lost, a probe and its answer fail together half the time; with a
//! second copy of each, a sixth. The copies are a few ms apart, since losses come in bursts. They are
//! copies to the byte but for a mark, so that the receiver's replay window drops all but the first.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::Bytes;

use crate::profile::Timers;

/// How many times a datagram is sent, on a clean network and at most. A gossiping member sends some 20
/// datagrams a second: the worst is still little.
const TIMES_MIN: u32 = 2;
const TIMES_MAX: u32 = 5;

/// After how many probes it is decided whether more or fewer copies are needed.
const PROBES: u32 = 8;

/// So many of them unanswered by the probed member itself are too many; one dead member does not reach
/// it in any but the smallest cluster.
const UNANSWERED_MAX: u32 = 3;

/// The copies that are still to be sent.
#[derive(Debug)]
pub(crate) struct Copies {
    /// When, µs; how many more times; where to; what. In the order of the times.
    due: VecDeque<(u64, u32, SocketAddr, Bytes)>,
    pause_us: u64,
    /// How many times a datagram is sent now.
    times: u32,
    /// Of the probes since `times` was looked at: all, and those unanswered.
    probes: u32,
    unanswered: u32,
}

impl Copies {
    /// All copies of a datagram fit into the time that an answer may take.
    pub(crate) fn new(timers: Timers) -> Self {
        let pause_us = 1_000 * timers.rtt_ms / u64::from(TIMES_MAX);
        Self { due: VecDeque::new(), pause_us, times: TIMES_MIN, probes: 0, unanswered: 0 }
    }

    /// Takes note of whether a probe was answered.
    pub(crate) fn on_probe_ended(&mut self, is_answered: bool) {
        self.probes += 1;
        self.unanswered += u32::from(!is_answered);
        if self.probes < PROBES {
            return;
        }
        if self.unanswered >= UNANSWERED_MAX {
            self.times = (self.times + 1).min(TIMES_MAX);
        } else if self.unanswered == 0 {
            self.times = (self.times - 1).max(TIMES_MIN);
        }
        (self.probes, self.unanswered) = (0, 0);
    }

    /// A datagram was sent once, at `now_us`; `copy` is its copy.
    pub(crate) fn add(&mut self, to: SocketAddr, copy: Bytes, now_us: u64) {
        self.due.push_back((now_us + self.pause_us, self.times - 1, to, copy));
    }

    /// What is to be sent again now.
    pub(crate) fn take_due(&mut self, now_us: u64) -> Vec<(SocketAddr, Bytes)> {
        let mut taken = Vec::new();
        while let Some((_, more, to, copy)) = self.due.pop_front_if(|(at_us, ..)| *at_us <= now_us)
        {
            if more > 1 {
                self.due.push_back((now_us + self.pause_us, more - 1, to, copy.clone()));
            }
            taken.push((to, copy));
        }
        taken
    }

    /// When something is to be sent again, µs.
    pub(crate) fn due_us(&self) -> u64 {
        self.due.front().map_or(u64::MAX, |(at_us, ..)| *at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    fn copies() -> Copies {
        Copies::new(Profile::Lan.timers())
    }

    fn to() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 8771))
    }

    /// When the copies of a datagram that is sent at 0 are sent, ms.
    fn sent_ms(copies: &mut Copies) -> Vec<u64> {
        copies.add(to(), Bytes::from_static(b"gossip"), 0);
        let mut sent_ms = Vec::new();
        while copies.due_us() != u64::MAX {
            let due_us = copies.due_us();
            assert_eq!(copies.take_due(due_us - 1), []);
            assert_eq!(copies.take_due(due_us), [(to(), Bytes::from_static(b"gossip"))]);
            sent_ms.push(due_us / 1_000);
        }
        sent_ms
    }

    #[test]
    fn more_copies_are_sent_while_probes_are_unanswered_and_fewer_afterwards() {
        let mut copies = copies();
        assert_eq!(sent_ms(&mut copies), [8]);
        let probes = |copies: &mut Copies, unanswered| {
            (0..PROBES).for_each(|probe| copies.on_probe_ended(probe >= unanswered));
        };
        probes(&mut copies, 2);
        assert_eq!(sent_ms(&mut copies), [8], "one dead member is no lossy network");
        (0..9).for_each(|_| probes(&mut copies, 3));
        assert_eq!(
            sent_ms(&mut copies),
            [8, 16, 24, 32],
            "bounded, and within the time of an answer"
        );
        probes(&mut copies, 1);
        assert_eq!(sent_ms(&mut copies).len(), 4);
        (0..9).for_each(|_| probes(&mut copies, 0));
        assert_eq!(sent_ms(&mut copies), [8]);
    }
}
