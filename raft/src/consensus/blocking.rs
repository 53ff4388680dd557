//! Where work that blocks is done.

use std::io;

use crate::Disk;

/// On the runtime's blocking threads, or inline for a disk without threads (simulation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocking {
    Threads,
    Inline,
}

impl Blocking {
    /// Where work on this disk is done.
    pub(crate) fn on(disk: &dyn Disk) -> Self {
        if disk.is_threaded() { Self::Threads } else { Self::Inline }
    }

    /// Runs `work` to its end.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Self::Inline => work(),
            Self::Threads => tokio::task::spawn_blocking(work)
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error.to_string()))),
        }
    }
}
