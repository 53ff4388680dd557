//! jepsen-like.
