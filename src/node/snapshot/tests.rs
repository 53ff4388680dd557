use super::*;
use crate::{
    node::{
        codec::tests::assert_golden,
        samples::{self, claim, entry},
    },
    queue::Command,
};

/// A queue with a held job, a waiting one and a cancelled one.
fn lived_in() -> State {
    let mut state = State::default();
    let cancel = Command::Cancel(crate::queue::Cancel { job: samples::id("c") });
    let adds = ["a", "b", "c"].map(samples::add).into();
    state.apply(&entry(5, adds));
    state.apply(&entry(9, vec![Command::Claim(claim("w", "r")), cancel]));
    state
}

fn written(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&state.freeze(), &mut bytes).unwrap();
    bytes
}

#[test]
fn snapshots_keep_the_bytes_of_their_format() {
    let bytes = written(&lived_in());
    assert_golden("snapshot/golden.txt", &[("snapshot".to_owned(), bytes.into())]);
}

#[test]
fn a_state_comes_back_equal() {
    let state = lived_in();
    assert_eq!(read(&mut &written(&state)[..]).unwrap(), state);
    let empty = State::default();
    assert_eq!(read(&mut &written(&empty)[..]).unwrap(), empty);
}

#[test]
fn a_snapshot_that_is_cut_anywhere_is_refused() {
    let bytes = written(&lived_in());
    for cut in 0..bytes.len() {
        assert!(read(&mut &bytes[..cut]).is_err(), "cut at {cut}");
    }
}

/// api 1.token.group.stored
#[test]
fn another_format_group_or_record_length_is_refused() {
    let bytes = written(&lived_in());
    for (at, value) in [(0, 9), (2, 1), (9, 0xff)] {
        let mut spoilt = bytes.clone();
        spoilt[at] = value;
        assert!(read(&mut &spoilt[..]).is_err(), "byte {at}");
    }
}
