//! The one place that turns values into bytes and back: bincode, fixed-width little-endian
//! integers, with a limit, and nothing left over. Lengths that arrive from outside are checked
//! against the limit before anything is allocated.

use bincode::Options as _;
use serde::{Serialize, de::DeserializeOwned};

/// The most bytes that one encoded value may have: a frame's body, a stored entry, a durable cell.
pub(crate) const LIMIT_BYTES: u64 = 16 << 20;

/// Bytes that are not an encoding of the type that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode: {0}")]
pub(crate) struct DecodeError(String);

/// Encodes a value of one of this crate's own types.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    options().serialize(value).expect("types of this crate serialise, below the limit")
}

/// Appends the encoding of a value to `out`, or fails when it is larger than the limit; `out` may
/// then hold a part of it.
pub(crate) fn encode_into<T: Serialize + ?Sized>(
    value: &T,
    out: impl std::io::Write,
) -> Result<(), DecodeError> {
    options().serialize_into(out, value).map_err(|error| DecodeError(error.to_string()))
}

/// Decodes a value from exactly these bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    options().deserialize(bytes).map_err(|error| DecodeError(error.to_string()))
}

fn options() -> impl bincode::Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(LIMIT_BYTES)
        .reject_trailing_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_length_is_refused_before_allocation() {
        let claims_4_gib = (4_u64 << 30).to_le_bytes();
        assert!(decode::<Vec<u64>>(&claims_4_gib).is_err());
        assert!(decode::<String>(&claims_4_gib).is_err());
    }

    #[test]
    fn left_over_bytes_are_refused() {
        let mut bytes = encode(&7_u32);
        bytes.push(0);
        assert!(decode::<u32>(&bytes).is_err());
    }
}
