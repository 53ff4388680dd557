//! What figures come to, and the exit code that says so.

use serde::Serialize;

use crate::exit;

/// The worse of two outranks the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Every goal is met; without a goal: there are figures.
    Met,
    /// It was not put to the test.
    Unknown,
    /// A goal is missed, or a promise broken.
    Missed,
}

impl Verdict {
    /// `met`, or `missed`.
    pub(crate) const fn when(is_met: bool) -> Self {
        if is_met { Self::Met } else { Self::Missed }
    }

    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Unknown => "unknown",
            Self::Missed => "missed",
        }
    }

    /// What the process ends with.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Met => exit::VALID,
            Self::Unknown => exit::UNKNOWN,
            Self::Missed => exit::VIOLATED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_outranks_what_is_unknown() {
        assert_eq!([Verdict::Missed, Verdict::Unknown].into_iter().max(), Some(Verdict::Missed));
        assert_eq!([Verdict::Unknown, Verdict::Met].into_iter().max(), Some(Verdict::Unknown));
        assert_eq!([Verdict::Met, Verdict::Unknown, Verdict::Missed].map(Verdict::code), [0, 2, 1]);
    }
}
