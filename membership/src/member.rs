//! A member as this one sees it, and what happens to members.

use bytes::Bytes;

use crate::Identity;

/// The longest metadata of a member, bytes: with the longest names and addresses it still fits into one
/// datagram.
pub const METADATA_BYTES_MAX: usize = 768;

/// A member as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, address and life.
    pub identity: Identity,
    /// Whether it lives.
    pub state: MemberState,
    /// When `state` became what it is, or when this life was first seen; ms since the Unix epoch by
    /// this member's clock.
    pub since_ms: u64,
    /// The time that a probe and its answer took, µs, smoothed over the last eight or so; `None` until
    /// a probe of this member was answered. It includes the wait in both tasks.
    pub rtt_us: Option<u64>,
    /// What this life of the member last published; `None` until it is heard.
    pub metadata: Option<Bytes>,
}

/// Whether a member lives, as this one sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It lives, as far as known. That others suspect it is not shown.
    Alive,
    /// It did not answer this member's own probe, neither directly nor through others, and has not
    /// shown a sign of life since.
    Suspect,
    /// It left, or was suspected and did not refute in time, by this member's own probe or by hearsay.
    Down,
}

/// What happened to a member. Each carries the member as it is after the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A member is there that was not known before.
    Up(Member),
    /// This member's own probe of it failed.
    Suspect(Member),
    /// It was suspected by this member, and has proved alive.
    Refuted(Member),
    /// It is down: declared so by anybody, or it said goodbye.
    Down(Member),
    /// A name that was known before is there in a later life, whether or not the end of the earlier
    /// life was seen. Of this member itself: it was declared down, and goes on as a later life.
    Rejoined(Member),
    /// It published other metadata.
    Metadata(Member),
}

impl Event {
    /// The member it happened to.
    pub fn member(&self) -> &Member {
        match self {
            Self::Up(member)
            | Self::Suspect(member)
            | Self::Refuted(member)
            | Self::Down(member)
            | Self::Rejoined(member)
            | Self::Metadata(member) => member,
        }
    }
}
