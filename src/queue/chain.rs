//! The one pinned hash: xxh3 over little-endian bytes, the same on every machine.
//!
//! `#[derive(Hash)]` decides what is hashed, and [`PinnedHasher`] how: every integer in
//! little-endian order, lengths and discriminants as 64 bits. Golden values hold it in the tests:
//! content hashes are stored, and replicas compare their chains.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::{Applied, Claim, Entry, JobId, NewJob, Rev};

/// The chain after an entry (S16): over the chain before it, the entry, its answers and its changes.
pub(super) fn link(before: u128, rev: Rev, entry: &Entry, applied: &Applied) -> u128 {
    let mut hasher = PinnedHasher::default();
    before.hash(&mut hasher);
    rev.hash(&mut hasher);
    entry.hash(&mut hasher);
    applied.hash(&mut hasher);
    hasher.0.digest128()
}

/// What two adds under one id are compared by: everything in them.
pub(super) fn content_hash(job: &NewJob) -> u64 {
    hash_of(job)
}

/// What two claims under one request id are compared by: everything in them.
pub(super) fn claim_hash(claim: &Claim) -> u64 {
    hash_of(claim)
}

/// A draw from 0 to `bound`, both included, that belongs to a job's attempt.
pub(super) fn draw(job: &JobId, attempt: u32, bound: u64) -> u64 {
    let drawn = xxh3_64_with_seed(job.as_str().as_bytes(), u64::from(attempt));
    bound.checked_add(1).map_or(drawn, |range| drawn % range)
}

/// The hash of a value.
pub(super) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = PinnedHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// xxh3 that does not depend on the machine's byte order or word size.
#[derive(Default)]
struct PinnedHasher(Xxh3);

impl Hasher for PinnedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u16(&mut self, value: u16) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_u32(&mut self, value: u32) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_u64(&mut self, value: u64) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_u128(&mut self, value: u128) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_i16(&mut self, value: i16) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_i32(&mut self, value: i32) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_i64(&mut self, value: i64) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_i128(&mut self, value: i128) {
        self.0.update(&value.to_le_bytes());
    }

    fn write_isize(&mut self, value: isize) {
        self.write_i64(value as i64);
    }

    fn finish(&self) -> u64 {
        self.0.digest()
    }
}
