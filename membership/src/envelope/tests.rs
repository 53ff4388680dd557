use super::*;

const NOW_MS: u64 = 1_700_000_000_000;

fn identity(name: &str, incarnation: u64) -> Identity {
    Identity::new(name, "10.0.0.1:8771".parse().unwrap(), incarnation).unwrap()
}

fn keyring(bytes: &[u8]) -> Keyring {
    let lines: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}").repeat(32)).collect();
    Keyring::parse(&lines.join("\n")).unwrap()
}

fn sealed(keys: &[u8], seed: u64) -> Envelope {
    Envelope::new("main", Some(&keyring(keys)), &identity("n1", 1), seed)
}

fn plain(cluster: &str, seed: u64) -> Envelope {
    Envelope::new(cluster, None, &identity("n1", 1), seed)
}

fn opened(envelope: &mut Envelope, datagram: &[u8], wall_ms: u64) -> Result<Vec<u8>, Refusal> {
    envelope.open(&mut datagram.to_vec(), wall_ms).map(<[u8]>::to_vec)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

// Made by another implementation (libsodium's XChaCha20-Poly1305) from the layout in the module's head:
// the key is 32 times 2a, the stream 16 times 07, the number 1.
#[test]
fn a_sealed_datagram_has_its_golden_bytes() {
    let mut envelope = sealed(&[0x2a], 7);
    envelope.stream = [7; 16];
    let datagram = envelope.close(b"gossip", NOW_MS);
    assert_eq!(datagram.len(), SEAL_BYTES + 6);
    let golden = [
        "01fb", // version, key id
        "07070707070707070707070707070707",
        "0000000000000001",                 // stream, number
        "365fee16fa065ad314df65355ad3",     // sent_ms, gossip
        "4ceef6786e5bdfb74a2deae7620ba945", // tag
    ];
    assert_eq!(hex(&datagram), golden.concat());
}

#[test]
fn a_plain_datagram_has_its_golden_bytes() {
    let mut envelope = plain("main", 7);
    envelope.stream = [7; 16];
    let golden = [
        "02",
        "1f5962a2ce9803c8", // version, cluster
        "07070707070707070707070707070707",
        "0000000000000001", // stream, number
        "676f73736970",     // gossip
    ];
    assert_eq!(hex(&envelope.close(b"gossip", NOW_MS)), golden.concat());
}

#[test]
fn what_one_seals_another_opens() {
    let (mut from, mut to) = (sealed(&[1], 1), sealed(&[1], 2));
    for number in 0..3_000u32 {
        let datagram = from.close(&number.to_be_bytes(), NOW_MS);
        assert_eq!(opened(&mut to, &datagram, NOW_MS).unwrap(), number.to_be_bytes());
    }
}

// Rotation: old and new are both known everywhere before the new one seals anywhere.
#[test]
fn keys_rotate_while_every_datagram_opens() {
    let steps: [&[u8]; 4] = [&[1], &[1, 2], &[2, 1], &[2]];
    for pair in steps.windows(2) {
        for (from, to) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let datagram = sealed(from, 1).close(b"gossip", NOW_MS);
            assert!(opened(&mut sealed(to, 2), &datagram, NOW_MS).is_ok(), "{from:?} to {to:?}");
        }
    }
    let datagram = sealed(&[2], 1).close(b"gossip", NOW_MS);
    assert_eq!(opened(&mut sealed(&[1], 2), &datagram, NOW_MS), Err(Refusal::Unopened));
}

#[test]
fn keys_with_one_id_are_both_tried() {
    let id = |byte: u8| key_id(&XChaCha20Poly1305::new(&[byte; 32].into()));
    let pairs = (0..=255u8).flat_map(|one| (0..one).map(move |other| (one, other)));
    let (one, other) = pairs.into_iter().find(|(one, other)| id(*one) == id(*other)).unwrap();
    let datagram = sealed(&[one], 1).close(b"gossip", NOW_MS);
    assert!(opened(&mut sealed(&[other, one], 2), &datagram, NOW_MS).is_ok());
}

#[test]
fn no_bit_can_be_changed_and_no_byte_cut() {
    let datagram = sealed(&[1], 1).close(b"gossip", NOW_MS);
    let mut to = sealed(&[1], 2);
    for byte in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[byte] ^= 0x11;
        assert!(opened(&mut to, &changed, NOW_MS).is_err(), "byte {byte}");
        assert!(opened(&mut to, &datagram[..byte], NOW_MS).is_err(), "cut to {byte}");
    }
    assert!(opened(&mut to, &datagram, NOW_MS).is_ok(), "the tries have left no trace");
}

#[test]
fn clusters_with_one_key_do_not_hear_each_other() {
    let datagram = sealed(&[1], 1).close(b"gossip", NOW_MS);
    let mut other = Envelope::new("other", Some(&keyring(&[1])), &identity("n2", 1), 2);
    assert_eq!(opened(&mut other, &datagram, NOW_MS), Err(Refusal::Unopened));
    let datagram = plain("main", 1).close(b"gossip", NOW_MS);
    assert_eq!(opened(&mut plain("other", 2), &datagram, NOW_MS), Err(Refusal::Unopened));
    assert!(opened(&mut plain("main", 2), &datagram, NOW_MS).is_ok());
}

#[test]
fn a_repeated_datagram_is_dropped_and_an_old_one_too() {
    let (mut from, mut to) = (sealed(&[1], 1), sealed(&[1], 2));
    let datagram = from.close(b"gossip", NOW_MS);
    assert!(opened(&mut to, &datagram, NOW_MS).is_ok());
    assert_eq!(opened(&mut to, &datagram, NOW_MS), Err(Refusal::Replayed));
    for (sent_ms, result) in [
        (NOW_MS - SKEW_MS_MAX - 1, Err(Refusal::Stale)),
        (NOW_MS - SKEW_MS_MAX, Ok(b"gossip".to_vec())),
        (NOW_MS + SKEW_MS_MAX, Ok(b"gossip".to_vec())),
        (NOW_MS + SKEW_MS_MAX + 1, Err(Refusal::Stale)),
    ] {
        let datagram = from.close(b"gossip", sent_ms);
        assert_eq!(opened(&mut to, &datagram, NOW_MS), result);
    }
    let mut from = plain("main", 1);
    let datagram = from.close(b"gossip", NOW_MS);
    let mut to = plain("main", 2);
    assert!(opened(&mut to, &datagram, NOW_MS).is_ok());
    assert_eq!(opened(&mut to, &datagram, NOW_MS), Err(Refusal::Replayed));
}

#[test]
fn a_copy_serves_when_the_first_is_lost_and_is_dropped_otherwise() {
    let (mut from, mut to) = (sealed(&[1], 1), sealed(&[1], 2));
    let datagram = from.close(b"gossip", NOW_MS);
    assert_eq!(opened(&mut to, &copy(&datagram), NOW_MS).unwrap(), b"gossip");
    assert_eq!(opened(&mut to, &datagram, NOW_MS), Err(Refusal::Replayed));
    assert_eq!(opened(&mut to, &copy(&datagram), NOW_MS), Err(Refusal::Copy));
}

#[test]
fn sealed_and_plain_do_not_mix() {
    let datagram = sealed(&[1], 1).close(b"gossip", NOW_MS);
    assert_eq!(opened(&mut plain("main", 2), &datagram, NOW_MS), Err(Refusal::Malformed));
    let datagram = plain("main", 2).close(b"gossip from somebody without a key", NOW_MS);
    assert_eq!(opened(&mut sealed(&[1], 1), &datagram, NOW_MS), Err(Refusal::Malformed));
}

#[test]
fn no_two_lives_share_a_nonce() {
    let lives = [
        stream(&identity("n1", 1), 1),
        stream(&identity("n1", 1), 2),
        stream(&identity("n1", 2), 1),
        stream(&Identity::new("n1", "10.0.0.1:8772".parse().unwrap(), 1).unwrap(), 1),
        stream(&Identity::new("n1", "10.0.0.2:8771".parse().unwrap(), 1).unwrap(), 1),
    ];
    for (place, life) in lives.iter().enumerate() {
        assert!(!lives[..place].contains(life));
    }
}
