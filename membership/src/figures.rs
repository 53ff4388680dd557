//! What a member has counted.

/// Counters since the member was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Datagrams handed to the socket.
    pub sent: u64,
    /// Datagrams that the socket did not take.
    pub unsent: u64,
    /// Datagrams that came, whatever became of them.
    pub received: u64,
    /// Of the received: too short, too long, or of an unknown envelope.
    pub dropped_malformed: u64,
    /// Of the received: sealed, and no key of this member opens them, or of another cluster.
    pub dropped_unopened: u64,
    /// Of the received: sealed more than 30 s ago, or ahead, by this member's clock.
    pub dropped_stale: u64,
    /// Of the received: seen before, or too far behind what was seen.
    pub dropped_replayed: u64,
    /// Of the received: further copies of what was taken, which members send in case of loss. One of two
    /// received is usual.
    pub dropped_copies: u64,
    /// Of the received: opened, and not understood or not for this member.
    pub dropped_refused: u64,
    /// This member's own probes that nobody answered.
    pub probes_failed: u64,
    /// How often this member was declared down and went on as a later life.
    pub rejoins: u64,
}
