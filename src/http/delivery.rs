//! Grants on their way to a worker. One that cannot be delivered goes back at once, its attempt not
//! counted, so that a worker that vanished in a long poll costs nobody a lease's time.
//!
//! What "delivered" means: with the kernel. A request dropped before its answer is taken by hyper, a
//! stream that is reset, a connection that fails before hyper's buffer is flushed: all of these
//! release. What the kernel took and the client never read is beyond our sight, and its lease ends it;
//! so is what an HTTP/2 stream holds back for its client's window.
//!
//! Only a claim whose request id this server made is released. A client that named one will repeat
//! its claim, and may have been answered by the time the release arrives: taking the job then would
//! end a lease that its holder believes in (S8).

use std::time::Duration;

use tokio::runtime::Handle as Runtime;

use crate::{
    node::Handle,
    queue::{Command, Holding, Release},
};

/// How long a release waits for a leader; after that the lease ends the grant.
const HOLD: Duration = Duration::from_secs(5);

/// Grants that are released when this is dropped, unless they were delivered.
#[derive(Debug)]
pub(super) struct Grants {
    handle: Handle,
    runtime: Runtime,
    holdings: Vec<Holding>,
}

impl Grants {
    /// Must be called on the server's runtime, which carries the release.
    pub(super) fn new(handle: Handle, holdings: Vec<Holding>) -> Self {
        Self { handle, runtime: Runtime::current(), holdings }
    }

    /// The answer is with the kernel.
    pub(super) fn delivered(mut self) {
        self.holdings.clear();
    }
}

impl Drop for Grants {
    fn drop(&mut self) {
        let holdings = std::mem::take(&mut self.holdings);
        if holdings.is_empty() {
            return;
        }
        tracing::info!(jobs = holdings.len(), "released what could not be delivered");
        let handle = self.handle.clone();
        self.runtime.spawn(async move {
            let releases = holdings.into_iter();
            let releases = releases.map(|holding| Release { holding, delay_ms: 0 });
            let commands = releases.map(Command::Release).collect();
            if let Err(unavailable) = handle.submit(commands, HOLD).await {
                tracing::warn!(%unavailable, "an undelivered grant waits for its lease to end");
            }
        });
    }
}
