//! Where time and chance enter the server; simulation and fault injection bring their own.

use std::fmt;

/// The machine's two clocks.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Never goes back; from an arbitrary zero, ms.
    fn monotonic_ms(&self) -> u64;
    /// Since the Unix epoch, ms.
    fn wall_ms(&self) -> u64;
}
