//! Leaving, so that the others see this member down at once.

use foca::{Codec as _, Message};

use crate::{Identity, codec::Codec, profile::Timers};

/// The most members that are told; they tell the others.
const TOLD_MAX: usize = 16;

/// Whom this member has told that it leaves, and who of them has understood.
#[derive(Debug)]
pub(crate) struct Goodbye {
    /// Those that have not said yet that they count this member down.
    untold: Vec<Identity>,
    /// When they are told again, µs.
    pub(crate) due_us: u64,
    pause_us: u64,
}

impl Goodbye {
    /// To some of the `members`, from now on.
    pub(crate) fn new(
        members: impl Iterator<Item = Identity>,
        timers: Timers,
        now_us: u64,
    ) -> Self {
        let pause_us = 1_000 * timers.gossip_ms / 2;
        Self { untold: members.take(TOLD_MAX).collect(), due_us: now_us, pause_us }
    }

    pub(crate) fn is_understood(&self) -> bool {
        self.untold.is_empty()
    }

    /// Who is to be told now.
    pub(crate) fn take_due(&mut self, now_us: u64) -> Vec<Identity> {
        if now_us < self.due_us {
            return Vec::new();
        }
        self.due_us = now_us + self.pause_us;
        self.untold.clone()
    }

    /// Who counts this member down says so to each further datagram of its.
    pub(crate) fn on_gossip(&mut self, mut gossip: &[u8]) {
        if let Ok(header) = Codec.decode_header(&mut gossip)
            && header.message == Message::TurnUndead
        {
            self.untold.retain(|member| *member != header.src);
        }
    }
}
