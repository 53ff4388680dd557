//! The bytes of a segment: see the drawing in the module's text. Tags and layouts are on disks:
//! they never change, a new version is added.

use bytes::{Buf, Bytes};

use super::{
    extent::Extent,
    handle::{RECORD_BYTES_MAX, Record, StoredEntry},
};

const MAGIC: &[u8; 8] = b"RAFT-LOG";
const VERSION: u32 = 1;
const NONE: u32 = u32::MAX;

/// Bytes before a header's body: magic, version, length, checksum.
const HEADER_PREFIX: usize = 8 + 4 + 4 + 4;
/// Bytes before a record's tag: length, checksum.
const RECORD_PREFIX: usize = 4 + 4;
/// What a record's length counts besides its body: tag, index.
const RECORD_FIXED: usize = 1 + 8;
/// Bytes of a record without a body.
pub(super) const RECORD_OVERHEAD: usize = RECORD_PREFIX + RECORD_FIXED;

/// What kind a record is. The numbers are on disks and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Vote = 1,
    Committed = 2,
    Append = 3,
    TruncateFrom = 4,
    Purge = 5,
    /// Its index is the offset up to which its segment was durable when it was written.
    Mark = 6,
}

impl Tag {
    fn parse(byte: u8) -> Option<Self> {
        [Self::Vote, Self::Committed, Self::Append, Self::TruncateFrom, Self::Purge, Self::Mark]
            .into_iter()
            .find(|tag| *tag as u8 == byte)
    }
}

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

/// A record whose checksum is right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub(super) tag: Tag,
    pub(super) index: u64,
    pub(super) body: &'a [u8],
}

impl Parsed<'_> {
    /// Bytes in the file.
    pub(super) fn size(&self) -> usize {
        RECORD_OVERHEAD + self.body.len()
    }

    /// The record, or `None` for a mark.
    pub(super) fn to_record(&self) -> Option<Record> {
        let bytes = Bytes::copy_from_slice(self.body);
        match self.tag {
            Tag::Vote => Some(Record::Vote(bytes)),
            Tag::Committed => Some(Record::Committed(bytes)),
            Tag::Append => Some(Record::Append(StoredEntry { index: self.index, bytes })),
            Tag::TruncateFrom => Some(Record::TruncateFrom(self.index)),
            Tag::Purge => Some(Record::Purge { upto: self.index, bytes }),
            Tag::Mark => None,
        }
    }
}

/// Bytes that `record` takes in a segment.
pub(super) fn encoded_len(record: &Record) -> usize {
    RECORD_OVERHEAD + parts(record).2.len()
}

/// Appends `record`, which begins at `place`, to `out`.
pub(super) fn encode(record: &Record, place: Place, out: &mut Vec<u8>) {
    let (tag, index, body) = parts(record);
    encode_parts(tag, index, body, place, out);
}

/// Appends a mark that says "durable up to `durable`" to `out`.
pub(super) fn encode_mark(durable: u64, place: Place, out: &mut Vec<u8>) {
    encode_parts(Tag::Mark, durable, &[], place, out);
}

/// The record that begins `bytes`, which stand at `place`; `None` when none does.
pub(super) fn decode(bytes: &[u8], place: Place) -> Option<Parsed<'_>> {
    let (prefix, rest) = bytes.split_at_checked(RECORD_PREFIX)?;
    let (length, checksum) = prefix.split_at(4);
    let length: [u8; 4] = length.try_into().expect("split at four");
    let covered = usize::try_from(u32::from_le_bytes(length)).ok()?;
    if !(RECORD_FIXED..=RECORD_FIXED + RECORD_BYTES_MAX).contains(&covered) {
        return None;
    }
    let covered = rest.get(..covered)?;
    if record_checksum(place, length, covered).to_le_bytes() != *checksum {
        return None;
    }
    let (mut fixed, body) = covered.split_at(RECORD_FIXED);
    Some(Parsed { tag: Tag::parse(fixed.get_u8())?, index: fixed.get_u64_le(), body })
}

/// Whether a mark may begin `bytes`: a cheap look before the checksum.
pub(super) fn looks_like_mark(bytes: &[u8]) -> bool {
    bytes.len() >= RECORD_OVERHEAD
        && bytes[..4] == length_u32(RECORD_FIXED).to_le_bytes()
        && bytes[RECORD_PREFIX] == Tag::Mark as u8
}

fn parts(record: &Record) -> (Tag, u64, &[u8]) {
    match record {
        Record::Vote(bytes) => (Tag::Vote, 0, bytes),
        Record::Committed(bytes) => (Tag::Committed, 0, bytes),
        Record::Append(entry) => (Tag::Append, entry.index, &entry.bytes),
        Record::TruncateFrom(index) => (Tag::TruncateFrom, *index, &[]),
        Record::Purge { upto, bytes } => (Tag::Purge, *upto, bytes),
    }
}

fn encode_parts(tag: Tag, index: u64, body: &[u8], place: Place, out: &mut Vec<u8>) {
    let length = length_u32(RECORD_FIXED + body.len()).to_le_bytes();
    let start = out.len();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[0; 4]);
    out.push(tag as u8);
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(body);
    let checksum = record_checksum(place, length, &out[start + RECORD_PREFIX..]);
    out[start + 4..start + RECORD_PREFIX].copy_from_slice(&checksum.to_le_bytes());
}

fn record_checksum(place: Place, length: [u8; 4], covered: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(&length);
    hasher.update(covered);
    hasher.finalize()
}

/// The state that the head of a segment repeats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) extent: Extent,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    /// The encoded log id of `extent.purged`.
    pub(super) purged: Option<Bytes>,
}

impl State {
    /// Takes one record in; see [`Extent::apply`].
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), String> {
        self.extent.apply(record)?;
        match record {
            Record::Vote(bytes) => self.vote = Some(bytes.clone()),
            Record::Committed(bytes) => self.committed = Some(bytes.clone()),
            Record::Purge { upto, bytes } if self.extent.purged == Some(*upto) => {
                self.purged = Some(bytes.clone());
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a segment begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) segment: u32,
    /// Where the records of the segment before end; 0 for the first segment.
    pub(super) previous_end: u64,
    /// Bytes in all segments before.
    pub(super) base: u64,
    pub(super) state: State,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let extent = self.state.extent;
        let mut body = Vec::new();
        body.extend_from_slice(&self.segment.to_le_bytes());
        for number in
            [self.previous_end, self.base, extent.first, extent.next, extent.purged.unwrap_or(0)]
        {
            body.extend_from_slice(&number.to_le_bytes());
        }
        for part in [&self.state.vote, &self.state.committed, &self.state.purged] {
            let length = part.as_ref().map_or(NONE, |bytes| length_u32(bytes.len()));
            body.extend_from_slice(&length.to_le_bytes());
            body.extend_from_slice(part.as_deref().unwrap_or_default());
        }
        let version = VERSION.to_le_bytes();
        let length = length_u32(body.len()).to_le_bytes();
        let checksum = header_checksum(version, length, &body).to_le_bytes();
        [MAGIC.as_slice(), &version, &length, &checksum, &body].concat()
    }

    /// The header that begins `bytes` and its size there; `None` when none does.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let (prefix, rest) = bytes.split_at_checked(HEADER_PREFIX)?;
        let (magic, prefix) = prefix.split_at(MAGIC.len());
        let version: [u8; 4] = prefix[..4].try_into().ok()?;
        let length: [u8; 4] = prefix[4..8].try_into().ok()?;
        let body = rest.get(..usize::try_from(u32::from_le_bytes(length)).ok()?)?;
        let checksum = header_checksum(version, length, body);
        let is_whole = magic == MAGIC && prefix[8..] == checksum.to_le_bytes();
        if !is_whole || u32::from_le_bytes(version) != VERSION {
            return None;
        }
        Some((Self::decode_body(body)?, HEADER_PREFIX + body.len()))
    }

    fn decode_body(mut body: &[u8]) -> Option<Self> {
        let segment = body.try_get_u32_le().ok()?;
        let previous_end = body.try_get_u64_le().ok()?;
        let base = body.try_get_u64_le().ok()?;
        let first = body.try_get_u64_le().ok()?;
        let next = body.try_get_u64_le().ok()?;
        let purged_index = body.try_get_u64_le().ok()?;
        let vote = take_part(&mut body).ok()?;
        let committed = take_part(&mut body).ok()?;
        let purged = take_part(&mut body).ok()?;
        let extent = Extent { first, next, purged: purged.as_ref().map(|_| purged_index) };
        let state = State { extent, vote, committed, purged };
        body.is_empty().then_some(Self { segment, previous_end, base, state })
    }
}

/// The version in a header of another version than this program's.
pub(super) fn unknown_version(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    rest.try_get_u32_le().ok().filter(|version| *version != VERSION)
}

/// The bytes end before what they should hold.
struct TooShort;

fn take_part(body: &mut &[u8]) -> Result<Option<Bytes>, TooShort> {
    let length = body.try_get_u32_le().map_err(|_| TooShort)?;
    if length == NONE {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| TooShort)?;
    let (part, rest) = body.split_at_checked(length).ok_or(TooShort)?;
    *body = rest;
    Ok(Some(Bytes::copy_from_slice(part)))
}

fn header_checksum(version: [u8; 4], length: [u8; 4], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&version);
    hasher.update(&length);
    hasher.update(body);
    hasher.finalize()
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("bodies are limited to RECORD_BYTES_MAX where they come in")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 3, offset: 0x1234 };

    fn entry() -> Record {
        Record::Append(StoredEntry { index: 0x0102, bytes: Bytes::from_static(b"entry") })
    }

    /// What is on disks: these bytes never change for version 1.
    #[test]
    fn each_record_is_these_bytes() {
        let purge = Record::Purge { upto: 9, bytes: Bytes::from_static(b"id") };
        let golden: [(Record, &[u8]); 5] = [
            (
                Record::Vote(Bytes::from_static(b"vote")),
                b"\x0d\0\0\0\xde\x1e\xf4\xaf\x01\0\0\0\0\0\0\0\0vote",
            ),
            (
                Record::Committed(Bytes::from_static(b"id")),
                b"\x0b\0\0\0f\xbd\xfaU\x02\0\0\0\0\0\0\0\0id",
            ),
            (entry(), b"\x0e\0\0\0\x92\xc3q\xf0\x03\x02\x01\0\0\0\0\0\0entry"),
            (Record::TruncateFrom(7), b"\x09\0\0\0\x07\x04C\xe8\x04\x07\0\0\0\0\0\0\0"),
            (purge, b"\x0b\0\0\0/\x83\xd4\x80\x05\x09\0\0\0\0\0\0\0id"),
        ];
        for (record, bytes) in golden {
            let mut encoded = Vec::new();
            encode(&record, PLACE, &mut encoded);
            assert_eq!(encoded, bytes);
            assert_eq!(encoded.len(), encoded_len(&record));
            assert_eq!(decode(bytes, PLACE).unwrap().to_record(), Some(record));
        }
        let mut mark = Vec::new();
        encode_mark(0x1000, PLACE, &mut mark);
        assert_eq!(mark, b"\x09\0\0\0V\xb9\xae\xab\x06\0\x10\0\0\0\0\0\0");
        assert!(looks_like_mark(&mark));
    }

    #[test]
    fn the_header_is_these_bytes() {
        let extent = Extent { first: 5, next: 8, purged: Some(4) };
        let state = State {
            extent,
            vote: Some(Bytes::from_static(b"vote")),
            committed: None,
            purged: Some(Bytes::from_static(b"id")),
        };
        let header = Header { segment: 3, previous_end: 0x1234, base: 0x5678, state };
        let golden: [&[u8]; 6] = [
            b"RAFT-LOG\x01\0\0\0>\0\0\0\x126f\x14",
            b"\x03\0\0\x004\x12\0\0\0\0\0\0xV\0\0\0\0\0\0",
            b"\x05\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0",
            b"\x04\0\0\0vote",
            b"\xff\xff\xff\xff",
            b"\x02\0\0\0id",
        ];
        let encoded = header.encode();
        assert_eq!(encoded, golden.concat());
        assert_eq!(Header::decode(&encoded), Some((header, encoded.len())));
    }

    #[test]
    fn a_good_record_in_another_place_is_a_bad_record() {
        let mut encoded = Vec::new();
        encode(&entry(), PLACE, &mut encoded);
        assert!(decode(&encoded, PLACE).is_some());
        assert_eq!(decode(&encoded, Place { offset: 0x1235, ..PLACE }), None);
        assert_eq!(decode(&encoded, Place { segment: 4, ..PLACE }), None);
    }

    #[test]
    fn a_length_above_the_limit_is_a_bad_record() {
        let mut bytes = vec![0xff; 64];
        assert_eq!(decode(&bytes, PLACE), None);
        bytes[..4].fill(0);
        assert_eq!(decode(&bytes, PLACE), None);
        assert_eq!(decode(&[], PLACE), None);
    }
}
