//! Finished jobs beyond their retention, kept by this node alone. What keeps them is not this room's:
//! whoever composes the node brings an [`Archive`], or [`NoArchive`].
//!
//! Nothing that a client was promised stands on it. It may lag, drop what it has no room for, and
//! fail; then the history is shorter, and the node goes on.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::Handle;
use crate::queue::{Job, JobId, JobNumber, JobState, JobView};

/// How many reads of the archive run at once: each takes a thread that waits for the disk.
const READS_MAX: usize = 4;
/// How long a caller waits for one. A disk that hangs keeps [`READS_MAX`] threads and no caller.
const READ_PATIENCE: Duration = Duration::from_secs(2);

/// Who keeps finished jobs once they have left the replicated state.
pub trait Archive: fmt::Debug + Send + Sync {
    /// Takes jobs over, in the order in which they departed. Called while an entry is applied, so it
    /// does no IO and waits for nobody: what it has no room for is dropped, and counted. After a
    /// restart the same jobs may come again.
    fn offer(&self, departed: Vec<Arc<Job>>);

    /// The job of that id that departed last; `None`: it was never kept, or is kept no more. Blocks on
    /// the disk.
    fn find(&self, id: &JobId) -> Result<Option<JobView>, ArchiveUnavailable>;

    /// The jobs that departed last, the very last first. Blocks on the disk.
    fn history(&self, wanted: &ArchiveQuery) -> Result<Vec<JobView>, ArchiveUnavailable>;

    /// How it is. Does no IO.
    fn status(&self) -> ArchiveStatus;
}

/// Which jobs a history shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveQuery {
    /// In one of these states; in any, when none is named.
    pub states: Vec<JobState>,
    /// Not these: they were seen in the state.
    pub except: BTreeMap<JobNumber, JobId>,
    /// At most so many.
    pub limit: usize,
    /// And at most so many bytes of records, or one larger job.
    pub bytes_max: usize,
}

/// How an archive is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// Whether it can be read, and takes jobs.
    pub is_available: bool,
    /// How many jobs it holds.
    pub jobs: u64,
    /// What their records take, bytes.
    pub bytes: u64,
    /// How many jobs were written since the node started.
    pub written: u64,
    /// How many were offered since then and not kept: it was too slow, not (any more) available, or
    /// had no room.
    pub dropped: u64,
    /// How many records were met since then that could not be read.
    pub unreadable: u64,
    /// What is the case, for people.
    pub detail: String,
}

/// Why the archive was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArchiveUnavailable(pub String);

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoArchive;

impl Archive for NoArchive {
    fn offer(&self, _: Vec<Arc<Job>>) {}

    fn find(&self, _: &JobId) -> Result<Option<JobView>, ArchiveUnavailable> {
        Err(ArchiveUnavailable(self.status().detail))
    }

    fn history(&self, _: &ArchiveQuery) -> Result<Vec<JobView>, ArchiveUnavailable> {
        Err(ArchiveUnavailable(self.status().detail))
    }

    fn status(&self) -> ArchiveStatus {
        ArchiveStatus {
            detail: "this node keeps no archive".to_owned(),
            ..ArchiveStatus::default()
        }
    }
}

/// The reading side of an archive: off the threads that serve, a few at a time, within a deadline.
#[derive(Debug)]
pub(super) struct ArchiveReads {
    archive: Arc<dyn Archive>,
    permits: Arc<Semaphore>,
}

impl ArchiveReads {
    pub(super) fn of(archive: Arc<dyn Archive>) -> Self {
        Self { archive, permits: Arc::new(Semaphore::new(READS_MAX)) }
    }

    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Archive) -> Result<T, ArchiveUnavailable> + Send + 'static,
    ) -> Result<T, ArchiveUnavailable> {
        let status = self.archive.status();
        if !status.is_available {
            return Err(ArchiveUnavailable(status.detail));
        }
        let is_late = |_| ArchiveUnavailable("the archive did not answer in time".to_owned());
        let deadline = Instant::now() + READ_PATIENCE;
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.map_err(is_late)?;
        let archive = Arc::clone(&self.archive);
        let asked = spawn_blocking(move || {
            // The place is free when the disk has answered, whether or not anyone still waits.
            let _permit = permit;
            ask(&*archive)
        });
        let answered = timeout_at(deadline, asked).await.map_err(is_late)?;
        answered.unwrap_or_else(|failed| Err(ArchiveUnavailable(failed.to_string())))
    }
}

/// What this node's archive has. Another node's may have more, or less.
impl Handle {
    /// The job of that id that left the state last.
    pub async fn archived(&self, id: &JobId) -> Result<Option<JobView>, ArchiveUnavailable> {
        let id = id.clone();
        self.node().archive.read(move |archive| archive.find(&id)).await
    }

    /// The jobs that left the state last, the very last first.
    pub async fn archived_history(
        &self,
        wanted: ArchiveQuery,
    ) -> Result<Vec<JobView>, ArchiveUnavailable> {
        self.node().archive.read(move |archive| archive.history(&wanted)).await
    }

    /// How the archive is.
    pub fn archive_status(&self) -> ArchiveStatus {
        self.node().archive.archive.status()
    }
}

#[cfg(test)]
mod tests;
