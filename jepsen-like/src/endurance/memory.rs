//! The memory that a node takes: before the flood, at most while it lasts, and after it.

use super::{Check, check::as_number};

/// What a node may take more than before: caches and the allocator's slack, whatever the number of
/// datagrams.
const GROWTH_MAX_BYTES: u64 = 16 << 20;

/// The resident memory of one node, in bytes; `None` where it could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Memory {
    before: Option<u64>,
    peak: Option<u64>,
    last: Option<u64>,
}

impl Memory {
    /// What it is before.
    pub(super) const fn begin(bytes: Option<u64>) -> Self {
        Self { before: bytes, peak: bytes, last: bytes }
    }

    /// What it is now.
    pub(super) fn look(&mut self, bytes: Option<u64>) {
        self.peak = self.peak.max(bytes);
        self.last = bytes;
    }

    /// It never grew beyond the bound, and the node lives: of one that has died nothing can be read.
    pub(super) fn check(&self, label: &str) -> Check {
        let what = format!("resident memory of {label}");
        let asked = format!("grows ≤ {} MiB", GROWTH_MAX_BYTES >> 20);
        let (Some(before), Some(peak)) = (self.before, self.peak) else {
            return Check::evidence(what, "cannot be read", asked, false);
        };
        let mib = |bytes: u64| as_number(bytes) / as_number(1 << 20);
        let last = self.last.map_or_else(
            || "can be read no more".to_owned(),
            |last| format!("{:.1} MiB", mib(last)),
        );
        let told = format!("{:.1} → {last}, at most {:.1}", mib(before), mib(peak));
        let holds = self.last.is_some() && peak <= before + GROWTH_MAX_BYTES;
        Check::must(what, told, asked, holds).valued(mib(peak) - mib(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Verdict;

    const BASE: u64 = 50 << 20;

    fn check(before: Option<u64>, looks: &[Option<u64>]) -> Check {
        let mut memory = Memory::begin(before);
        for bytes in looks {
            memory.look(*bytes);
        }
        memory.check("n1")
    }

    #[test]
    fn memory_may_grow_by_the_bound_and_no_more() {
        let verdict = |after| check(Some(BASE), &[Some(after)]).verdict;
        assert_eq!(verdict(BASE + GROWTH_MAX_BYTES), Verdict::Met);
        assert_eq!(verdict(BASE + GROWTH_MAX_BYTES + 1), Verdict::Missed);
        assert_eq!(verdict(BASE - 1), Verdict::Met);
    }

    #[test]
    fn memory_that_was_given_back_was_taken_all_the_same() {
        let check = check(Some(BASE), &[Some(BASE + (20 << 20)), Some(BASE)]);
        assert_eq!(check.verdict, Verdict::Missed);
        assert_eq!(check.seen, "50.0 → 50.0 MiB, at most 70.0");
        assert!((check.value.unwrap() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_node_that_died_under_the_flood_is_a_miss() {
        let check = check(Some(BASE), &[Some(BASE), None]);
        assert_eq!(check.verdict, Verdict::Missed);
        assert_eq!(check.seen, "50.0 → can be read no more, at most 50.0");
    }

    #[test]
    fn what_could_not_be_read_before_is_unknown() {
        assert_eq!(check(None, &[Some(BASE)]).verdict, Verdict::Unknown);
        assert_eq!(check(None, &[None]).verdict, Verdict::Unknown);
    }
}
