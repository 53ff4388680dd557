//! A UDP datagram as it is on the wire: read from an IPv4 packet, and made into one.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The number of UDP in an IPv4 header.
const UDP: u8 = 17;
/// An IPv4 header without options.
const IP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    /// Of a whole IPv4 packet; `None` when it holds no whole UDP datagram.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 0x0f) * 4;
        let is_fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff != 0;
        if first >> 4 != 4 || header < IP_BYTES || packet.get(9) != Some(&UDP) || is_fragment {
            return None;
        }
        let address = |at: usize| -> Option<Ipv4Addr> {
            let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes))
        };
        let udp = packet.get(header..)?;
        let number = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
        let length = usize::from(number(4)?);
        Some(Self {
            from: SocketAddrV4::new(address(12)?, number(0)?),
            to: SocketAddrV4::new(address(16)?, number(2)?),
            payload: udp.get(UDP_BYTES..length)?.to_vec(),
        })
    }

    /// As a raw socket takes it: the kernel adds the identification and the header's checksum. UDP's own
    /// is left out, as IPv4 allows (RFC 768).
    pub(super) fn packet(&self) -> Vec<u8> {
        let length = IP_BYTES + UDP_BYTES + self.payload.len();
        let number = |length: usize| u16::try_from(length).expect("a datagram is below 64 KiB");
        let mut packet = Vec::with_capacity(length);
        packet.extend([0x45, 0]);
        packet.extend(number(length).to_be_bytes());
        // Identification, fragments: none; 64 hops; the checksum.
        packet.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
        packet.extend(self.from.ip().octets());
        packet.extend(self.to.ip().octets());
        packet.extend(self.from.port().to_be_bytes());
        packet.extend(self.to.port().to_be_bytes());
        packet.extend(number(UDP_BYTES + self.payload.len()).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(&self.payload);
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram() -> Datagram {
        Datagram {
            from: SocketAddrV4::new(Ipv4Addr::new(10, 77, 1, 1), 8771),
            to: SocketAddrV4::new(Ipv4Addr::new(10, 77, 2, 1), 20_001),
            payload: b"gossip".to_vec(),
        }
    }

    #[test]
    fn what_is_made_is_read() {
        assert_eq!(Datagram::parse(&datagram().packet()), Some(datagram()));
        let empty = Datagram { payload: vec![], ..datagram() };
        assert_eq!(Datagram::parse(&empty.packet()), Some(empty));
    }

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_none() {
        let packet = datagram().packet();
        for length in 0..packet.len() {
            assert_eq!(Datagram::parse(&packet[..length]), None, "{length} bytes");
        }
        let mut tcp = packet.clone();
        tcp[9] = 6;
        let mut fragment = packet.clone();
        fragment[6] = 0x20;
        let mut other_version = packet;
        other_version[0] = 0x65;
        for packet in [tcp, fragment, other_version] {
            assert_eq!(Datagram::parse(&packet), None);
        }
    }
}
