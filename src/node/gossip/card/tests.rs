use super::*;
use crate::node::codec::tests::assert_golden;

fn voter() -> Card {
    Card {
        kind: Kind::Voter,
        session: 0,
        cluster_id: 0x0a0b,
        raft_id: 0x0102_0304,
        raft_address: "10.0.0.1:8771".to_owned(),
        http_address: "10.0.0.1:8770".to_owned(),
        version: "1.2.3".to_owned(),
        labels: [("rack".to_owned(), "a".to_owned())].into(),
    }
}

fn label(number: usize, bytes: usize) -> (String, String) {
    (format!("label-{number:02}"), "x".repeat(bytes))
}

#[test]
fn cards_keep_the_bytes_of_their_format() {
    let worker = Card { version: "1.2.3".to_owned(), ..Card::of_worker(77, [].into()) };
    let others = [Kind::Learner, Kind::Fresh].map(|kind| Card { kind, ..voter() });
    let cards: Vec<Card> = [voter(), worker].into_iter().chain(others).collect();
    let encoded: Vec<_> = cards.iter().map(|card| (card.kind.to_string(), card.encode())).collect();
    assert_golden("gossip/card/golden.txt", &encoded);
    for (card, (_, bytes)) in cards.into_iter().zip(&encoded) {
        assert_eq!(Card::decode(bytes), Ok(card));
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let mut bytes = voter().encode().to_vec();
    bytes.extend_from_slice(b"a later field");
    assert_eq!(Card::decode(&bytes), Ok(voter()));
}

#[test]
fn an_unknown_kind_or_format_and_every_cut_is_an_error() {
    let good = voter().encode();
    let mut unknown_kind = good.to_vec();
    unknown_kind[2] = 200;
    assert!(matches!(Card::decode(&unknown_kind), Err(CodecError::Malformed(_))));
    let mut unknown_format = good.to_vec();
    unknown_format[0] = 2;
    let expected = CodecError::UnknownFormat { found: 2, expected: 1 };
    assert_eq!(Card::decode(&unknown_format), Err(expected));
    for end in 0..good.len() {
        assert!(Card::decode(&good[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn labels_that_do_not_fit_are_left_out_from_the_end() {
    let labels: BTreeMap<_, _> = (0..20).map(|number| label(number, 100)).collect();
    let bytes = Card { labels: labels.clone(), ..voter() }.fitted().encode();
    assert!(bytes.len() <= CARD_BYTES_MAX);
    let read = Card::decode(&bytes).unwrap().labels;
    assert!(!read.is_empty());
    assert!(read.iter().eq(labels.iter().take(read.len())), "the first by name stay");
}

#[test]
fn labels_that_nobody_would_read_are_left_out_and_cost_no_other() {
    let bad = [("a", "line\nbreak".to_owned()), ("b", "x".repeat(300)), ("rack", "a".to_owned())];
    let labels = bad.map(|(key, value)| (key.to_owned(), value)).into();
    let fitted = Card { labels, ..voter() }.fitted();
    assert_eq!(fitted, voter());
}

#[test]
fn a_text_that_would_disturb_a_terminal_is_refused() {
    for bad in ["\u{1b}[2J".to_owned(), "a\nb".to_owned(), "x".repeat(256)] {
        for card in [
            Card { http_address: bad.clone(), ..voter() },
            Card { raft_address: bad.clone(), ..voter() },
            Card { version: bad.clone(), ..voter() },
            Card { labels: [("k".to_owned(), bad.clone())].into(), ..voter() },
            Card { labels: [(bad.clone(), "v".to_owned())].into(), ..voter() },
        ] {
            assert!(Card::decode(&card.encode()).is_err(), "{bad:?}");
        }
    }
}
