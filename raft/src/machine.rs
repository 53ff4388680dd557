//! What a replicated state machine must do. The contract is determinism: `apply` is a function of
//! the machine's state and its arguments, on every replica alike.

use std::io;

use bytes::Bytes;

/// A position in the replicated log. The first entry has index 1 (openraft's 0 is the initial
/// configuration); 0 means "nothing applied yet".
pub type LogIndex = u64;

/// A machine that a [`crate::Replica`] keeps equal on every voter.
pub trait StateMachine: Send + Sync + 'static {
    /// What one entry answers. It reaches only the caller that proposed the entry on this replica.
    type Outcome: Send + 'static;
    /// The state at one moment, frozen in O(1); written to a file while `apply` goes on.
    type Image: Send + 'static;

    /// Applies one entry. It must not read a clock, a random number or anything but its arguments.
    ///
    /// # Errors
    /// [`MachineError`] when the entry is not one that this version understands. The replica
    /// stops: a node that cannot be sure must neither apply nor skip.
    fn apply(&mut self, index: LogIndex, entry: &Bytes) -> Result<Self::Outcome, MachineError>;

    /// Freezes the state. Called on the apply path, so it must be O(1).
    fn freeze(&self) -> Self::Image;

    /// Writes a frozen state. Runs on a blocking thread, beside `apply`.
    ///
    /// # Errors
    /// Whatever `out` returned.
    fn write(image: Self::Image, out: &mut dyn io::Write) -> io::Result<()>;

    /// Reads what [`StateMachine::write`] wrote into a new machine. Runs on a blocking thread; the
    /// replica swaps the machines when it returns. `self` lends what is not part of the state
    /// (event senders, options).
    ///
    /// # Errors
    /// [`MachineError`] when the bytes are not a snapshot of this version; the old state stays.
    fn restore(&self, source: &mut dyn io::Read) -> Result<Self, MachineError>
    where
        Self: Sized;
}

/// Bytes that this version of the machine cannot take; the text says which.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct MachineError(pub String);
