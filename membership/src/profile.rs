//! The timers of SWIM, by how far the members are apart and how many they are.

use std::{
    num::{NonZeroU8, NonZeroUsize},
    time::Duration,
};

use foca::{Config, PeriodicParams};

/// The largest datagram before sealing, bytes, sent or taken. Sealing adds 50, and 1400 is below what
/// every path carries without fragments (RFC 8085 §3.2).
pub(crate) const PACKET_BYTES_MAX: usize = 1350;

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

/// The timers of a profile.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "a bare number says its unit")]
pub(crate) struct Timers {
    /// Between two probes of a member's, ms. A probe that was not answered until the next has failed.
    pub(crate) period_ms: u64,
    /// How long an answer may take until others are asked to probe too, ms.
    pub(crate) rtt_ms: u64,
    /// From a failed probe until the member is down, unless it refutes, ms; of up to 50 members.
    pub(crate) suspicion_ms: u64,
    /// Between two rounds of gossip, ms.
    pub(crate) gossip_ms: u64,
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

    pub(crate) fn timers(self) -> Timers {
        let (period_ms, rtt_ms, suspicion_ms, gossip_ms) = match self {
            Self::Local => (50, 20, 200, 25),
            Self::Lan => (100, 40, 300, 50),
            Self::Wan => (1000, 300, 4000, 200),
        };
        Timers { period_ms, rtt_ms, suspicion_ms, gossip_ms }
    }

    /// As foca takes it, for a cluster of so many members. What depends on their number may change while
    /// foca runs.
    pub(crate) fn config(self, members: usize) -> Config {
        let timers = self.timers();
        let every = |ms, members| {
            Some(PeriodicParams {
                frequency: Duration::from_millis(ms),
                num_members: count(members),
            })
        };
        Config {
            probe_period: Duration::from_millis(timers.period_ms),
            probe_rtt: Duration::from_millis(timers.rtt_ms),
            num_indirect_probes: count(3),
            max_transmissions: transmissions(members),
            suspect_to_down_after: suspicion(timers, members),
            // Each address that was ever heard of costs a look at every datagram: an hour, and then the
            // seeds heal what is left (`seeds.rs`).
            remove_down_after: Some(Duration::from_hours(1)),
            max_packet_size: count(PACKET_BYTES_MAX),
            // Without these three, two sides of a healed partition never speak again.
            notify_down_members: true,
            periodic_announce: every(10_000, 1),
            periodic_announce_to_down_members: every(2_000, 3),
            periodic_gossip: every(timers.gossip_ms, 3),
        }
    }
}

/// A rumour has to reach the suspected member, and its refutation everybody: each takes rounds that
/// grow with the logarithm of the number of members (SWIM §4.2).
fn suspicion(timers: Timers, members: usize) -> Duration {
    let rounds = |members: usize| u64::from(members.max(2).next_power_of_two().ilog2());
    let usual = rounds(50);
    Duration::from_millis(timers.suspicion_ms * rounds(members).max(usual) / usual)
}

/// SWIM §4.1: λ·log(n) transmissions of a rumour reach everybody. λ = 4 in the decimal logarithm, as
/// memberlist has it, and at least 10, which a few members afford for the sake of lossy networks.
fn transmissions(members: usize) -> NonZeroU8 {
    let digits = members.max(1).ilog10() + 1;
    let transmissions = u8::try_from(4 * digits).unwrap_or(u8::MAX);
    NonZeroU8::new(transmissions.max(10)).expect("10 is not 0")
}

fn count(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("the numbers above are not 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_the_number_of_members() {
        let suspicion_ms = |members| Profile::Lan.config(members).suspect_to_down_after.as_millis();
        assert_eq!([1, 5, 50, 64].map(suspicion_ms), [300; 4]);
        assert_eq!([100, 1_000, 10_000].map(suspicion_ms), [350, 500, 700]);
        let transmissions = |members| Profile::Lan.config(members).max_transmissions.get();
        assert_eq!([1, 5, 50, 100, 1_000].map(transmissions), [10, 10, 10, 12, 16]);
    }

    #[test]
    fn a_direct_and_an_indirect_probe_fit_into_a_period() {
        for profile in [Profile::Local, Profile::Lan, Profile::Wan] {
            let timers = profile.timers();
            assert!(2 * timers.rtt_ms < timers.period_ms, "{profile:?}");
            assert!(timers.suspicion_ms >= 3 * timers.period_ms, "{profile:?}");
        }
    }
}
