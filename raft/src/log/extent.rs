//! Which indexes the log holds, and what each record does to them.

use super::handle::Record;

/// The entries `first..next`, which follow those that were purged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The least index held; equal to `next` when there is none.
    pub(super) first: u64,
    /// The index that follows the last; 0 for a log in which nothing ever was.
    pub(super) next: u64,
    /// The greatest index purged; `None`: nothing was, so that an empty log takes any index.
    pub(super) purged: Option<u64>,
}

impl Extent {
    pub(super) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    pub(super) fn last(&self) -> Option<u64> {
        if self.is_empty() { None } else { Some(self.next - 1) }
    }

    /// Takes one record in.
    ///
    /// # Errors
    /// What is wrong with an entry that would leave a hole or overwrite another. Unchanged then.
    pub(super) fn apply(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Vote(_) | Record::Committed(_) => Ok(()),
            Record::Append(entry) => self.append(entry.index),
            Record::TruncateFrom(index) => {
                self.next = self.next.min(*index).max(self.first);
                Ok(())
            }
            Record::Purge { upto, .. } => self.purge(*upto),
        }
    }

    fn append(&mut self, index: u64) -> Result<(), String> {
        if index == u64::MAX {
            return Err("the greatest index is not an entry's".to_owned());
        }
        if self.is_empty() && self.purged.is_none() {
            self.first = index;
        } else if index != self.next {
            return Err(format!(
                "entry {index} does not follow entry {}",
                self.next.wrapping_sub(1)
            ));
        }
        self.next = index + 1;
        Ok(())
    }

    fn purge(&mut self, upto: u64) -> Result<(), String> {
        let after = upto.checked_add(1).ok_or("the greatest index cannot be purged")?;
        self.purged = self.purged.max(Some(upto));
        self.first = self.first.max(after);
        self.next = self.next.max(self.first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::handle::StoredEntry;
    use super::*;

    fn append(index: u64) -> Record {
        Record::Append(StoredEntry { index, bytes: Bytes::new() })
    }

    fn purge(upto: u64) -> Record {
        Record::Purge { upto, bytes: Bytes::new() }
    }

    #[test]
    fn entries_follow_one_another_without_holes() {
        let mut extent = Extent::default();
        extent.apply(&append(5)).unwrap();
        assert!(extent.apply(&append(7)).is_err());
        assert!(extent.apply(&append(5)).is_err());
        extent.apply(&append(6)).unwrap();
        assert_eq!((extent.first, extent.last()), (5, Some(6)));
    }

    #[test]
    fn after_a_purge_an_empty_log_goes_on_where_it_was() {
        let mut extent = Extent::default();
        extent.apply(&append(0)).unwrap();
        extent.apply(&purge(20)).unwrap();
        assert_eq!(extent, Extent { first: 21, next: 21, purged: Some(20) });
        assert!(extent.apply(&append(20)).is_err());
        extent.apply(&append(21)).unwrap();
    }

    #[test]
    fn truncation_neither_reaches_below_the_first_nor_beyond_the_next() {
        let mut extent = Extent::default();
        extent.apply(&append(0)).unwrap();
        extent.apply(&append(1)).unwrap();
        extent.apply(&purge(0)).unwrap();
        extent.apply(&Record::TruncateFrom(9)).unwrap();
        assert_eq!(extent.last(), Some(1));
        extent.apply(&Record::TruncateFrom(0)).unwrap();
        assert_eq!((extent.first, extent.next), (1, 1));
    }
}
