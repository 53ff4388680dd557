//! The JSON of the public contract, shared by the server and the typed client.
//!
//! ```text
//!   bytes ──▶ body (UTF-8, depth) ──▶ Fields (no duplicates) ──▶ request struct ──▶ http
//!   bytes ◀──────────────── serde_json ◀── response struct, ApiError ◀──────────────┘
//! ```
//! Requests are read field by field, so that every refusal names its field and says what to do, and
//! so that aliases and the shorthand of `add` have one home. Responses are plain serde structs, which
//! a client reads leniently: an unknown field of a newer server is no error.

mod admin;
mod claims;
mod cluster;
mod duration;
mod error;
mod events;
mod fields;
mod history;
mod jobs;
mod list;
mod peers;
mod query;
mod queues;
mod read;
mod retry;
mod schema;
mod settle;
mod voters;
mod workers;

pub use admin::*;
pub use claims::*;
pub use cluster::*;
pub use duration::parse_duration_ms;
pub use error::*;
pub use events::*;
pub use history::*;
pub use jobs::*;
pub use list::*;
pub use peers::*;
pub use queues::*;
pub use read::*;
pub use retry::*;
pub use settle::*;
pub use voters::*;
pub use workers::*;

/// The deepest nesting of arrays and objects that a body may have.
pub const JSON_DEPTH_MAX: usize = 128;
/// The most items in one batch.
pub const BATCH_ITEMS_MAX: usize = 1000;
/// The most queues, and the most kinds, that one claim lists.
pub const CLAIM_NAMES_MAX: usize = 100;
/// The largest payload, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The largest result, bytes; `progress` is held to it as well.
pub const RESULT_BYTES_MAX: usize = 256 << 10;
/// The longest `error` of a failed attempt, bytes.
pub const ERROR_BYTES_MAX: usize = 16 << 10;
/// The most queues, workers or jobs on one page of a list.
pub const PAGE_MAX: u32 = 1000;
/// The longest wait of a long poll, ms.
pub const WAIT_MS_MAX: u64 = 60_000;
/// The least and the greatest lease, ms.
pub const LEASE_MS: std::ops::RangeInclusive<u64> = 100..=43_200_000;
