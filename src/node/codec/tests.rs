use std::{env, fmt::Write as _, fs, path::Path};

use super::*;
use crate::{
    node::samples::{self, one_of_each},
    queue::{ClockMs, WallMs},
};

/// Compares bytes with those that the first version wrote, which stand in a file of this room; with
/// `UPDATE=1` writes that file. A difference is a new format: give it a new number, and keep
/// reading the old one.
pub(in crate::node) fn assert_golden(file: &str, found: &[(String, Bytes)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/node").join(file);
    let mut lines = String::new();
    for (name, bytes) in found {
        let _ = write!(lines, "{name} ");
        bytes.iter().for_each(|byte| _ = write!(lines, "{byte:02x}"));
        lines.push('\n');
    }
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &lines).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), lines, "{file}");
}

fn encode_whole(entry: &Entry) -> Bytes {
    let commands: Vec<Bytes> = entry.commands.iter().map(encode_command).collect();
    encode_entry(entry.stamp, commands.iter())
}

#[test]
fn entries_keep_the_bytes_of_their_format() {
    let mut entries: Vec<_> = one_of_each()
        .into_iter()
        .map(|(name, command)| (name, samples::entry(0x0102, vec![command])))
        .collect();
    entries.push(("tick", samples::entry(0x0102, vec![])));
    let encoded: Vec<_> =
        entries.iter().map(|(name, entry)| ((*name).to_owned(), encode_whole(entry))).collect();
    assert_golden("codec/golden.txt", &encoded);
    for ((_, entry), (_, bytes)) in entries.into_iter().zip(&encoded) {
        assert_eq!(decode_entry(bytes), Ok(entry));
    }
}

#[test]
fn commands_encoded_one_by_one_make_the_same_entry_as_encoded_together() {
    let commands = one_of_each().into_iter().map(|(_, command)| command).collect();
    let entry = samples::entry(9, commands);
    assert_eq!(encode_whole(&entry), encode(ENTRY_FORMAT, &entry));
}

#[test]
fn an_unknown_format_is_refused_by_name() {
    let mut bytes = encode_whole(&samples::entry(1, vec![])).to_vec();
    bytes[0] = 9;
    assert_eq!(decode_entry(&bytes), Err(CodecError::UnknownFormat { found: 9, expected: 1 }));
}

#[test]
fn bytes_that_are_short_long_or_followed_by_others_are_refused() {
    let whole = encode_whole(&samples::entry(1, vec![samples::add("a")]));
    assert_eq!(decode_entry(&[]), Err(CodecError::TooShort { bytes: 0 }));
    for cut in 2..whole.len() {
        assert!(matches!(decode_entry(&whole[..cut]), Err(CodecError::Malformed(_))), "{cut}");
    }
    let trailing = [&whole[..], &[0]].concat();
    assert!(matches!(decode_entry(&trailing), Err(CodecError::Malformed(_))));
    let too_long = vec![0; COMMAND_BYTES_MAX + 1];
    assert!(matches!(decode_command(&too_long), Err(CodecError::TooLong { .. })));
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    let mut bytes = BytesMut::new();
    bytes.put_u16_le(ENTRY_FORMAT);
    let stamp = Stamp { clock: ClockMs(1), wall: WallMs(1) };
    bytes.put_slice(&encode_bare(&stamp));
    bytes.put_u64_le(u64::MAX);
    assert!(matches!(decode_entry(&bytes), Err(CodecError::Malformed(_))));
}

#[test]
fn names_are_checked_again_as_they_are_read() {
    let mut bytes = encode_command(&samples::add("spoilt")).to_vec();
    let at = bytes.windows(6).position(|window| window == b"spoilt").unwrap();
    bytes[at] = b' ';
    assert!(matches!(decode_command(&bytes), Err(CodecError::Malformed(_))));
}
