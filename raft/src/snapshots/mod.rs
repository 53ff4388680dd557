//! Snapshot files: written beside the others, verified, and put in place as a whole. The newest one
//! is the only one kept. What it says is its writer's business; here it is `meta` and a stream.
//!
//! # File: `<number, 20 digits>.snapshot`, all integers little-endian
//! ```text
//!   header   "RAFTSNAP" 8 │ version 4 │ length 4 │ crc32 4, over version, length and meta │ meta
//!   chunk    length 4, 1 to 2^20 │ crc32 4, over the data │ data <length>
//!   …
//!   trailer  zero 4 │ crc32 4, over the 12 bytes that follow │ data bytes in all 8 │ crc32 of all data 4
//! ```
//! While it is written it is called `<number>.partial`; a leftover of that name is removed. A file
//! under its final name was synced before, so whatever is wrong with it the disk did: it is refused,
//! never passed over, because an older snapshot may lack entries that the log has purged.

mod format;
mod reader;
mod receiver;
mod store;
mod writer;

pub use reader::SnapshotReader;
pub use receiver::SnapshotReceiver;
pub use store::{SnapshotFile, SnapshotStore};
pub use writer::SnapshotWriter;
