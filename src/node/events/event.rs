//! What is told.

use std::fmt;

use crate::{
    node::{Kind, LeaderChange, MemberState},
    queue::{Rev, Transition},
};

/// Something that happened, as this node saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place among all events of this run of this node. Of a gap, the last that was missed.
    pub id: EventId,
    /// When, ms since the Unix epoch: of a job's event by the clock of the leader that proposed it, of
    /// any other by this node's.
    pub at_ms: u64,
    /// What.
    pub what: Happening,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// There is another leader, and it is known why or was looked for in vain.
    LeaderElected(LeaderChange),
    /// A member of gossip is in another state, or in a later life.
    Host(Host),
    /// Something became of a job.
    Job(Transition),
    /// Events were missed.
    Gap(Gap),
}

/// A member of gossip that has come, does not answer, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name: a node's label, a worker's `node_id`.
    pub name: String,
    /// What it is, as [`Member::kind`](crate::node::Member::kind) says.
    pub kind: Option<Kind>,
    /// How it is now.
    pub state: MemberState,
    /// Which life of it this is.
    pub incarnation: u64,
}

/// Events that a listener does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The last event before them, as far as the listener is concerned; `None`: they are in the middle of
    /// what this node saw, and it saw them no more than the listener.
    pub after: Option<EventId>,
    /// How many, of whatever kind; `None`: nobody knows.
    pub missed: Option<u64>,
    /// The revision that this replica had applied as it said so: what happened to jobs up to it may be
    /// among what is missing, and shows in every read from now on.
    pub rev: Rev,
}

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapReason {
    /// The id to go on after is of another node, or of an earlier run of this one.
    OtherRun,
    /// The id to go on after is of events that are no longer kept.
    TooOld,
    /// The listener took them more slowly than they came.
    TooSlow,
    /// This replica took over another one's snapshot, and applied none of what led to it.
    Snapshot,
    /// Members changed faster than this node took note.
    Overrun,
}

impl GapReason {
    /// Every reason there is.
    pub const ALL: [Self; 5] =
        [Self::OtherRun, Self::TooOld, Self::TooSlow, Self::Snapshot, Self::Overrun];

    /// Its name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherRun => "other_run",
            Self::TooOld => "too_old",
            Self::TooSlow => "too_slow",
            Self::Snapshot => "snapshot",
            Self::Overrun => "overrun",
        }
    }
}

/// The id of an event. Text that means nothing to clients:
///
/// ```text
/// <the run of the node, 16 digits of lower-case hexadecimal>-<the event's number in it>
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventId {
    /// Drawn at random as the node started.
    pub run: u64,
    /// From 1; 0 is before the first.
    pub number: u64,
}

impl EventId {
    /// Reads one; `None` when it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (run, number) = text.split_once('-')?;
        let id = Self { run: u64::from_str_radix(run, 16).ok()?, number: number.parse().ok()? };
        // One event, one text: no sign, no capitals, no leading zeros but those of the run.
        Some(id).filter(|id| id.to_string() == text)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is_one() {
        let id = EventId { run: 0xab, number: 7 };
        assert_eq!(id.to_string(), "00000000000000ab-7");
        assert_eq!(EventId::parse("00000000000000ab-7"), Some(id));
        for text in ["", "7", "ab-7", "00000000000000AB-7", "00000000000000ab-07", "x-1", "1-+1"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }
}
