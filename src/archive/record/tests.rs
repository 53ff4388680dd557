use super::*;
use crate::archive::samples::Bench;

/// What the first version wrote. A difference is a new format: give it a new number, and keep reading
/// this one.
const GOLDEN: &str = "";

fn completed() -> JobView {
    Bench::new().depart("golden", JobState::Completed, 2).view()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
