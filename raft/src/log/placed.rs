//! Where the written entries stand.

use std::{collections::VecDeque, io, ops::Range};

use bytes::Bytes;

use super::{
    format::{self, Place, RECORD_OVERHEAD, Tag},
    handle::StoredEntry,
};
use crate::{File, disk::read_exact_at};

/// An open segment file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) sequence: u32,
    /// Bytes in all segments before.
    pub(super) base: u64,
    pub(super) file: Box<dyn File>,
}

impl Segment {
    /// Reads the entry of this index at `location`.
    ///
    /// # Errors
    /// `InvalidData` when another thing stands there, and whatever the disk answered.
    pub(super) fn read_entry(&self, location: Location, index: u64) -> io::Result<StoredEntry> {
        let offset = u64::from(location.offset);
        let mut bytes = vec![0; RECORD_OVERHEAD + location.body_len as usize];
        read_exact_at(self.file.as_ref(), &mut bytes, offset)?;
        let place = Place { segment: self.sequence, offset };
        match format::decode(&bytes, place) {
            Some(parsed) if parsed.tag == Tag::Append && parsed.index == index => {
                let body = RECORD_OVERHEAD..;
                Ok(StoredEntry { index, bytes: Bytes::from(bytes).slice(body) })
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("log entry {index} is damaged (segment {}, byte {offset})", self.sequence),
            )),
        }
    }
}

/// Where an entry stands: 12 bytes for each entry that the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) body_len: u32,
}

impl Location {
    pub(super) fn new(place: Place, body_len: usize) -> Self {
        let fits = "a segment has at most 1 GiB and one record, a record at most RECORD_BYTES_MAX";
        Self {
            segment: place.segment,
            offset: u32::try_from(place.offset).expect(fits),
            body_len: u32::try_from(body_len).expect(fits),
        }
    }
}

/// The locations of consecutive entries.
#[derive(Debug, Default)]
pub(super) struct Placed {
    first: u64,
    locations: VecDeque<Location>,
}

/// A written change of [`Placed`].
pub(super) enum Move {
    Place(u64, Location),
    TruncateFrom(u64),
    Purge(u64),
}

impl Placed {
    pub(super) fn apply(&mut self, change: &Move) {
        match *change {
            Move::Place(index, location) => {
                if self.locations.is_empty() {
                    self.first = index;
                }
                self.locations.push_back(location);
            }
            Move::TruncateFrom(index) => {
                let kept = usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX);
                self.locations.truncate(kept);
            }
            Move::Purge(upto) => {
                while self.first <= upto && self.locations.pop_front().is_some() {
                    self.first += 1;
                }
            }
        }
    }

    pub(super) fn get(&self, index: u64) -> Option<Location> {
        let position = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.locations.get(position).copied()
    }

    /// The indexes held; `None` when there are none.
    pub(super) fn range(&self) -> Option<Range<u64>> {
        let range = self.first..self.first + self.locations.len() as u64;
        (!range.is_empty()).then_some(range)
    }

    /// The oldest segment that an entry needs: locations never go back as the index grows, because
    /// an entry is appended after all entries before it.
    pub(super) fn oldest_segment(&self) -> Option<u32> {
        self.locations.front().map(|location| location.segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(segment: u32) -> Location {
        Location { segment, offset: 0, body_len: 0 }
    }

    #[test]
    fn a_truncated_index_placed_again_stands_where_it_was_placed_last() {
        let mut placed = Placed::default();
        for index in 5..10 {
            placed.apply(&Move::Place(index, location(1)));
        }
        placed.apply(&Move::TruncateFrom(7));
        placed.apply(&Move::Place(7, location(2)));
        assert_eq!(placed.get(6), Some(location(1)));
        assert_eq!(placed.get(7), Some(location(2)));
        assert_eq!(placed.range(), Some(5..8));
        assert_eq!([placed.get(4), placed.get(8)], [None, None]);
    }

    #[test]
    fn a_purge_frees_the_segments_before_the_first_entry_left() {
        let mut placed = Placed::default();
        for (index, segment) in [(0, 1), (1, 1), (2, 2), (3, 4)] {
            placed.apply(&Move::Place(index, location(segment)));
        }
        placed.apply(&Move::Purge(1));
        assert_eq!(placed.oldest_segment(), Some(2));
        placed.apply(&Move::Purge(99));
        assert_eq!((placed.oldest_segment(), placed.range()), (None, None));
        placed.apply(&Move::Place(100, location(4)));
        assert_eq!(placed.range(), Some(100..101));
    }
}
