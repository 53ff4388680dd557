use std::fmt::Write as _;

use super::*;
use crate::archive::samples::Bench;

/// What the first version wrote. A difference is a new format: give it a new number, and keep reading
/// this one.
const GOLDEN: &str = "\
    010000000000000000000600000000000000676f6c64656e070000000000000064656661756c740800000000\
    00000073656c66706c6179320500000002000000000000007b7d10000000000000006170706c69636174696f\
    6e2f6a736f6e0100000000000000030000000000000072756e01000000000000003730750000000000000300\
    00000100000000000000010000000000000001000000020000000000000002000000000000007731ea6be5cf\
    8b01000001eb6be5cf8b010000010000000000000000000000000001010000000000000067010b0000000000\
    00007b2273636f7265223a377d0000e96be5cf8b01000001eb6be5cf8b010000";

fn completed() -> JobView {
    Bench::new().depart("golden", JobState::Completed, 2).view()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[test]
fn a_record_keeps_the_bytes_of_its_format() {
    assert_eq!(hex(&encode(completed())), GOLDEN);
}

#[test]
fn every_kind_of_job_comes_back_as_it_departed() {
    let mut bench = Bench::new();
    for how in [JobState::Completed, JobState::Failed, JobState::Cancelled] {
        let view = bench.depart("j", how, 100).view();
        assert_eq!((view.state, view.lease.is_none()), (how, true));
        assert_eq!(decode(&encode(view.clone())), Ok(view));
    }
}

#[test]
fn bytes_that_are_short_long_or_of_another_format_are_refused() {
    let whole = encode(completed());
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "{cut}");
    }
    let trailing = [&whole[..], &[0]].concat();
    assert!(matches!(decode(&trailing), Err(RecordError::Malformed(_))));
    let newer = [&[9, 0][..], &whole[2..]].concat();
    assert_eq!(decode(&newer), Err(RecordError::UnknownFormat { found: 9 }));
    let too_long = vec![0; RECORD_BYTES_MAX + 1];
    assert!(matches!(decode(&too_long), Err(RecordError::Length { .. })));
}
