//! The names of things. A value of these types has passed its check: parse once, trust after.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize};

/// The revision of the queue's state: raised by one at each change, each grant and each expiry, and
/// by nothing else. 0 is the empty queue.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Rev(pub u64);

/// A fencing token: the [`Rev`] of the grant. It strictly grows and is never reused; below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u64);

/// Why a string is not a name of that kind; a fragment that follows the field's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {longest} characters of {alphabet}")]
pub struct InvalidName {
    /// The greatest length, in characters.
    pub longest: usize,
    /// The letters allowed, for people.
    pub alphabet: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $longest:literal, $alphabet:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks length and alphabet.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let is_allowed: fn(u8) -> bool = $allowed;
                if (1..=$longest).contains(&text.len()) && text.bytes().all(is_allowed) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { longest: $longest, alphabet: $alphabet })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(source)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

name!(
    /// A job's id and idempotency key: `work_id` on the wire.
    JobId, 128, "A-Z a-z 0-9 . _ : -", |byte| is_plain(byte) || byte == b':'
);
name!(
    /// A queue's name (`/` is reserved for namespaces).
    QueueName, 128, "a-z A-Z 0-9 . _ -", is_plain
);
name!(
    /// A job's kind: `work_type` on the wire.
    WorkType, 64, "a-z A-Z 0-9 . _ -", is_plain
);
name!(
    /// A worker's name: `node_id` (or `worker_id`) of a claim.
    WorkerId, 128, "A-Z a-z 0-9 . _ : -", |byte| is_plain(byte) || byte == b':'
);
name!(
    /// A group of jobs of which at most one is leased at a time.
    GroupName, 128, "A-Z a-z 0-9 . _ : -", |byte| is_plain(byte) || byte == b':'
);
name!(
    /// What makes a claim safe to repeat; scoped to its worker.
    RequestId, 128, "A-Z a-z 0-9 . _ : -", |byte| is_plain(byte) || byte == b':'
);
