use std::sync::{Condvar, Mutex};

use super::*;
use crate::node::samples;

/// An archive whose disk answers when it is told to.
#[derive(Debug, Default)]
struct Hung {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Hung {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Archive for Hung {
    fn offer(&self, _: Vec<Arc<Job>>) {}

    fn find(&self, _: &JobId) -> Result<Option<JobView>, ArchiveUnavailable> {
        let is_open = self.is_open.lock().unwrap();
        let waited = self.opened.wait_timeout_while(is_open, samples::SOON, |is_open| !*is_open);
        drop(waited.unwrap());
        Ok(None)
    }

    fn history(&self, _: &ArchiveQuery) -> Result<Vec<JobView>, ArchiveUnavailable> {
        panic!("a damaged file")
    }

    fn status(&self) -> ArchiveStatus {
        ArchiveStatus { is_available: true, ..ArchiveStatus::default() }
    }
}

// Situation: the archive's disk hangs. Claim: no caller waits longer than its patience, no more threads
// are spent than there are places, and when the disk answers the places are free again.
#[tokio::test]
async fn a_disk_that_hangs_costs_its_callers_their_patience_and_no_more_than_four_threads() {
    let hung = Arc::new(Hung::default());
    let archive: Arc<dyn Archive> = hung.clone();
    let reads = Arc::new(ArchiveReads::of(archive));
    let find = |archive: &dyn Archive| archive.find(&samples::id("a"));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..3 * READS_MAX {
        let reads = Arc::clone(&reads);
        callers.spawn(async move { reads.read(find).await });
    }
    tokio::time::pause();
    while reads.permits.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    tokio::time::advance(2 * READ_PATIENCE).await;
    for answer in callers.join_all().await {
        assert_eq!(answer.unwrap_err().0, "the archive did not answer in time");
    }
    assert_eq!(reads.permits.available_permits(), 0);
    tokio::time::resume();
    hung.open();
    let all = u32::try_from(READS_MAX).unwrap();
    drop(reads.permits.acquire_many(all).await.unwrap());
    assert_eq!(reads.read(find).await, Ok(None));
}

#[tokio::test]
async fn an_archive_that_panics_is_unavailable_to_its_reader_alone() {
    let reads = ArchiveReads::of(Arc::new(Hung::default()));
    let asked = reads.read(|archive| archive.history(&ArchiveQuery::default())).await;
    assert!(asked.unwrap_err().0.contains("panicked"));
    assert_eq!(reads.permits.available_permits(), READS_MAX);
}

#[tokio::test]
async fn a_node_without_an_archive_asks_nobody() {
    let reads = ArchiveReads::of(Arc::new(NoArchive));
    let asked = reads.read(|_| -> Result<(), _> { panic!("it was asked") }).await;
    assert_eq!(asked, Err(ArchiveUnavailable("this node keeps no archive".to_owned())));
}
