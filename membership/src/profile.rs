//! The timers of SWIM, by how far the members are apart.

use std::{
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};

use foca::{Config, PeriodicParams};

/// The largest datagram before sealing, bytes, sent or taken. Sealing adds 42, and 1392 stays below
/// what every path carries without fragments (1400, RFC 8085 §3.2).
pub const PACKET_BYTES_MAX: usize = 1350;

/// How patient the members are with each other. All members of a cluster have the same profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One machine: tests and trials.
    Local,
    /// Up to about 50 members in one data centre.
    Lan,
    /// More members, or farther apart.
    Wan,
}

impl Profile {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }

    /// The one of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Local, Self::Lan, Self::Wan].into_iter().find(|profile| profile.as_str() == name)
    }

    /// As foca takes it.
    pub fn config(self) -> Config {
        let (period, rtt, suspicion, gossip) = match self {
            Self::Local => (50, 20, 150, 25),
            Self::Lan => (100, 40, 300, 50),
            Self::Wan => (1000, 300, 4000, 200),
        };
        let often = |frequency: Duration| Some(PeriodicParams { frequency, num_members: count(3) });
        Config {
            probe_period: Duration::from_millis(period),
            probe_rtt: Duration::from_millis(rtt),
            num_indirect_probes: count(3),
            max_transmissions: NonZeroU8::new(10).expect("10 is not 0"),
            suspect_to_down_after: Duration::from_millis(suspicion),
            // An address is remembered, not each of its lives, so a long memory stays small.
            remove_down_after: Some(Duration::from_hours(48)),
            max_packet_size: count(PACKET_BYTES_MAX),
            // Without these three, two sides of a healed partition never speak again.
            notify_down_members: true,
            periodic_announce: often(Duration::from_secs(30)),
            periodic_announce_to_down_members: often(Duration::from_secs(10)),
            periodic_gossip: often(Duration::from_millis(gossip)),
        }
    }
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("the numbers above are not 0")
}
