//! What tells a member from every other, and from its own earlier lives.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// The longest name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// A member: one life of one node at one address.
///
/// It travels in every datagram, so it is small. SWIM refutes a suspicion with a counter of its own,
/// inside one life; a member that was declared down comes back as a new life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Identity {
    name: Arc<str>,
    address: SocketAddr,
    incarnation: u64,
}

/// Why something is not an identity. Nothing was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// The name is too long, or has other characters.
    #[error("a member's name must be at most 128 characters of A-Z a-z 0-9 . _ : -")]
    Name,
    /// Nobody can be reached there.
    #[error("a member's address must be that of one host, with a port")]
    Address,
}

impl Identity {
    /// A member as it names itself. `incarnation` must be greater than in every earlier life at this
    /// address: the start time in ms since the Unix epoch does, as does a persisted counter.
    pub fn new(name: &str, address: SocketAddr, incarnation: u64) -> Result<Self, InvalidIdentity> {
        Self::check_name(name)?;
        // Whoever gossips an address makes all members send to it: one host only.
        let ip = address.ip().to_canonical();
        let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || is_broadcast {
            return Err(InvalidIdentity::Address);
        }
        Ok(Self { name: name.into(), address, incarnation })
    }

    pub(crate) fn check_name(name: &str) -> Result<(), InvalidIdentity> {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        let is_valid = name.len() <= NAME_BYTES_MAX && name.bytes().all(is_plain);
        is_valid.then_some(()).ok_or(InvalidIdentity::Name)
    }

    /// Whoever is at `address`: what a newcomer announces itself to. It loses to every real member.
    pub fn seed(address: SocketAddr) -> Result<Self, InvalidIdentity> {
        Self::new("", address, 0)
    }

    /// The node's name; empty of a seed only.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }

    /// The same member, so many lives later.
    pub(crate) fn later_by(&self, lives: u64) -> Self {
        Self { incarnation: self.incarnation.saturating_add(lives), ..self.clone() }
    }

    /// Where its datagrams go. An IPv6 address loses its flow label and scope on the way.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which life of the node this is; greater is later.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

impl foca::Identity for Identity {
    type Addr = SocketAddr;

    /// A next life after having been declared down: `None`, and so defunct, after the last number.
    fn renew(&self) -> Option<Self> {
        let incarnation = self.incarnation.checked_add(1)?;
        Some(Self { incarnation, ..self.clone() })
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The later life wins. Two names with one incarnation are a mistake of configuration; the name
    /// decides, so that all members decide alike.
    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.incarnation, &self.name) > (adversary.incarnation, &adversary.name)
    }
}

impl<'de> Deserialize<'de> for Identity {
    /// Checks what [`Identity::new`] checks: the bytes may be anybody's.
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let (name, address, incarnation) = <(&str, SocketAddr, u64)>::deserialize(source)?;
        Self::new(name, address, incarnation).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use foca::Identity as _;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn member(name: &str, incarnation: u64) -> Identity {
        Identity::new(name, address("10.0.0.1:8771"), incarnation).unwrap()
    }

    #[test]
    fn a_renewed_member_wins_over_its_earlier_life() {
        let earlier = member("n1", 7);
        let later = earlier.renew().unwrap();
        assert_eq!(later.incarnation(), 8);
        assert_eq!(later.addr(), earlier.addr());
        assert!(later.win_addr_conflict(&earlier));
        assert!(!earlier.win_addr_conflict(&later));
    }

    #[test]
    fn the_last_incarnation_has_no_next() {
        assert_eq!(member("n1", u64::MAX).renew(), None);
    }

    #[test]
    fn exactly_one_of_two_names_at_one_address_wins() {
        let (one, other) = (member("n1", 7), member("n2", 7));
        assert!(other.win_addr_conflict(&one));
        assert!(!one.win_addr_conflict(&other));
    }

    #[test]
    fn a_seed_loses_to_the_member_at_its_address() {
        let seed = Identity::seed(address("10.0.0.1:8771")).unwrap();
        assert!(member("n1", 0).win_addr_conflict(&seed));
    }

    #[test]
    fn an_address_of_no_host_or_of_many_is_refused() {
        for bad in [
            "0.0.0.0:1",
            "[::]:1",
            "10.0.0.1:0",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "255.255.255.255:1",
            "[::ffff:224.0.0.1]:1",
        ] {
            assert_eq!(Identity::new("n", address(bad), 1), Err(InvalidIdentity::Address), "{bad}");
        }
    }

    #[test]
    fn a_name_is_short_and_plain() {
        let at = address("10.0.0.1:8771");
        assert!(Identity::new(&"n".repeat(128), at, 1).is_ok());
        for bad in ["n".repeat(129), "a b".into(), "a\n".into(), "é".into()] {
            assert_eq!(Identity::new(&bad, at, 1), Err(InvalidIdentity::Name), "{bad}");
        }
    }
}
