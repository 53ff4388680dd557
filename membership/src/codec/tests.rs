use foca::Codec as _;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

fn member(name: &str, address: &str, incarnation: u64) -> Identity {
    Identity::new(name, address.parse().unwrap(), incarnation).unwrap()
}

fn n1() -> Identity {
    member("n1", "10.0.0.1:8771", 0x0102)
}

fn n2() -> Identity {
    member("n2", "[fd00::2]:8771", 0x0304)
}

fn messages() -> Vec<Message<Identity>> {
    let (target, origin, probe_number) = (n1(), n2(), 9);
    vec![
        Message::Ping(1),
        Message::Ack(2),
        Message::PingReq { target: target.clone(), probe_number },
        Message::IndirectPing { origin: origin.clone(), probe_number },
        Message::IndirectAck { target, probe_number },
        Message::ForwardedAck { origin, probe_number },
        Message::Announce,
        Message::Feed,
        Message::Gossip,
        Message::Broadcast,
        Message::TurnUndead,
    ]
}

fn header(message: Message<Identity>) -> Header<Identity> {
    Header { src: n1(), src_incarnation: 5, dst: n2(), message }
}

fn encoded_header(header: &Header<Identity>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec.encode_header(header, &mut bytes).unwrap();
    bytes
}

fn encoded_member(member: &Member<Identity>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec.encode_member(member, &mut bytes).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

// name (length u64, bytes) │ address (family u32, octets, port u16) │ incarnation u64
const N1: &str = "02000000000000006e31 00000000 0a000001 4322 0201000000000000";
const N2: &str = "02000000000000006e32 01000000 fd000000000000000000000000000002 \
                  4322 0403000000000000";

fn golden(parts: &[&str]) -> String {
    parts.concat().replace(' ', "")
}

#[test]
fn a_ping_has_its_golden_bytes() {
    let bytes = encoded_header(&header(Message::Ping(7)));
    // version, length 75 │ src │ src_incarnation │ dst │ tag 0, probe number
    assert_eq!(hex(&bytes), golden(&["01 004b", N1, "0500", N2, "00000000 07"]));
}

#[test]
fn a_request_to_probe_has_its_golden_bytes() {
    let message = Message::PingReq { target: n1(), probe_number: 9 };
    let bytes = encoded_header(&header(message));
    assert_eq!(hex(&bytes), golden(&["01 0067", N1, "0500", N2, "02000000", N1, "09"]));
}

#[test]
fn members_have_their_golden_bytes() {
    let states = [(State::Alive, "00"), (State::Suspect, "01"), (State::Down, "02")];
    for (state, tag) in states {
        let bytes = encoded_member(&Member::new(n1(), 3, state));
        assert_eq!(hex(&bytes), golden(&["0022", N1, "0300", tag, "000000"]));
    }
}

#[test]
fn message_tags_stay_as_they_are() {
    for (tag, message) in (0u8..).zip(messages()) {
        let bytes = encoded_header(&header(message));
        // version 1, length 2, n1 28, src_incarnation 2, n2 40
        assert_eq!(bytes[73..77], [tag, 0, 0, 0]);
    }
}

#[test]
fn every_message_comes_back_as_it_went_and_leaves_the_rest() {
    for message in messages() {
        let header = header(message);
        let mut bytes = encoded_header(&header);
        bytes.extend_from_slice(b"rest");
        let mut datagram = &bytes[..];
        assert_eq!(Codec.decode_header(&mut datagram).unwrap(), header);
        assert_eq!(datagram, b"rest");
    }
}

#[test]
fn every_member_comes_back_as_it_went_and_leaves_the_rest() {
    for state in [State::Alive, State::Suspect, State::Down] {
        let member = Member::new(n2(), u16::MAX, state);
        let mut bytes = encoded_member(&member);
        bytes.extend_from_slice(b"rest");
        let mut datagram = &bytes[..];
        assert_eq!(Codec.decode_member(&mut datagram).unwrap(), member);
        assert_eq!(datagram, b"rest");
    }
}

#[test]
fn a_full_datagram_is_left_as_it_was() {
    let member = Member::alive(n1());
    let header = header(Message::Gossip);
    for room in 0..encoded_member(&member).len() {
        let mut buffer = Vec::from(*b"kept").limit(room);
        let error = Codec.encode_member(&member, &mut buffer).unwrap_err();
        assert!(matches!(error, CodecError::Full));
        assert_eq!(buffer.into_inner(), b"kept");
    }
    for room in 0..encoded_header(&header).len() {
        let mut buffer = Vec::from(*b"kept").limit(room);
        assert!(matches!(Codec.encode_header(&header, &mut buffer), Err(CodecError::Full)));
        assert_eq!(buffer.into_inner(), b"kept");
    }
}

#[test]
fn the_longest_identities_fit_an_item() {
    let longest = member(&"n".repeat(128), "[fd00::2]:8771", u64::MAX);
    let message = Message::PingReq { target: longest.clone(), probe_number: 9 };
    let header = Header { src: longest.clone(), src_incarnation: 1, dst: longest, message };
    let bytes = encoded_header(&header);
    assert_eq!(bytes.len(), 3 + 505);
    assert_eq!(Codec.decode_header(&bytes[..]).unwrap(), header);
}

#[test]
fn a_truncated_item_is_an_error() {
    let header = encoded_header(&header(Message::Ping(1)));
    for length in 0..header.len() {
        assert!(Codec.decode_header(&header[..length]).is_err());
    }
    let member = encoded_member(&Member::alive(n1()));
    for length in 0..member.len() {
        assert!(Codec.decode_member(&member[..length]).is_err());
    }
}

#[test]
fn another_version_is_refused() {
    let mut bytes = encoded_header(&header(Message::Ping(1)));
    bytes[0] = 2;
    assert!(matches!(Codec.decode_header(&bytes[..]), Err(CodecError::Version(2))));
}

#[test]
fn an_item_with_bytes_left_over_is_refused() {
    let mut bytes = encoded_member(&Member::alive(n1()));
    bytes.push(0);
    bytes[1] += 1;
    assert!(matches!(Codec.decode_member(&bytes[..]), Err(CodecError::Malformed(_))));
}

#[test]
fn a_claimed_length_allocates_nothing() {
    // The item's own length, then the length of the name inside it.
    let mut bytes = encoded_member(&Member::alive(n1()));
    bytes[2..10].fill(0xff);
    assert!(matches!(Codec.decode_member(&bytes[..]), Err(CodecError::Malformed(_))));
    bytes[..2].fill(0xff);
    assert!(matches!(Codec.decode_member(&bytes[..]), Err(CodecError::TooLong(0xffff))));
}

#[test]
fn an_identity_that_could_not_be_made_is_not_decoded() {
    let good = encoded_member(&Member::alive(n1()));
    // The name's first byte, the state's tag, the address's port.
    for (place, hostile) in [(10, b'\n'), (10, 0xff), (32, 3)] {
        let mut bytes = good.clone();
        bytes[place] = hostile;
        assert!(Codec.decode_member(&bytes[..]).is_err(), "{place}");
    }
    let mut bytes = good;
    bytes[20..22].fill(0);
    assert!(Codec.decode_member(&bytes[..]).is_err());
}

// Hostile bytes: whatever they are, an answer and no panic; what decodes, encodes to the same bytes.
#[test]
fn hostile_bytes_are_refused_or_mean_what_they_say() {
    let mut rng = StdRng::seed_from_u64(1);
    let good = encoded_header(&header(Message::PingReq { target: n1(), probe_number: 9 }));
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..4) {
            let place = rng.random_range(0..bytes.len());
            bytes[place] = rng.random();
        }
        bytes.truncate(rng.random_range(0..=bytes.len()));
        if let Ok(header) = Codec.decode_header(&bytes[..]) {
            assert!(bytes.starts_with(&encoded_header(&header)));
        }
        if let Ok(member) = Codec.decode_member(&bytes[..]) {
            assert!(bytes.starts_with(&encoded_member(&member)));
        }
    }
}
