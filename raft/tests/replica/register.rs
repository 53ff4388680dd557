//! The second state machine: one register. That it works proves that `raft` knows nothing of jobs.

use std::io;

use bytes::Bytes;
use raft::{LogIndex, MachineError, StateMachine};

/// A value, and how often it was written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) value: Bytes,
    pub(crate) writes: u64,
    /// Chains every write, so that two registers that are equal have had equal histories.
    pub(crate) chain: u64,
}

/// What a write answers. On purpose it cannot be serialised.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) index: LogIndex,
    pub(crate) writes: u64,
}

/// An entry that no version of the register understands.
pub(crate) const POISON: &[u8] = b"\xffpoison";

/// An entry that the register panics of.
pub(crate) const BOMB: &[u8] = b"\xffbomb";

impl StateMachine for Register {
    type Outcome = Written;
    type Image = Self;

    fn apply(&mut self, index: LogIndex, entry: &Bytes) -> Result<Written, MachineError> {
        if entry == POISON {
            return Err(MachineError("poison".to_owned()));
        }
        assert_ne!(entry, BOMB, "a test that says so");
        self.value = entry.clone();
        self.writes += 1;
        let sum = entry.iter().fold(index, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        self.chain = self.chain.wrapping_mul(0x0100_0000_01b3) ^ sum;
        Ok(Written { index, writes: self.writes })
    }

    fn freeze(&self) -> Self {
        self.clone()
    }

    fn write(image: Self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&image.writes.to_le_bytes())?;
        out.write_all(&image.chain.to_le_bytes())?;
        out.write_all(&image.value)
    }

    fn restore(&self, source: &mut dyn io::Read) -> Result<Self, MachineError> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(|error| MachineError(error.to_string()))?;
        let (writes, rest) = split(&bytes)?;
        let (chain, value) = split(rest)?;
        Ok(Self { value: Bytes::copy_from_slice(value), writes, chain })
    }
}

fn split(bytes: &[u8]) -> Result<(u64, &[u8]), MachineError> {
    let (number, rest) =
        bytes.split_first_chunk().ok_or_else(|| MachineError("too short".to_owned()))?;
    Ok((u64::from_le_bytes(*number), rest))
}
