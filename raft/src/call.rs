//! Requests between replicas that have nothing to do with Raft: whoever opens a replica answers them.

use std::time::Duration;

use bytes::Bytes;

use crate::{PeerId, net::BoxFuture};

/// Answers what peers ask through [`crate::Replica::call`].
pub trait CallHandler: Send + Sync + 'static {
    /// Answers one request of `from`. The transport drops the future when the caller's deadline
    /// (at most `remaining` from now) has passed.
    fn on_call(
        &self,
        from: PeerId,
        request: Bytes,
        remaining: Duration,
    ) -> BoxFuture<'static, Bytes>;
}
