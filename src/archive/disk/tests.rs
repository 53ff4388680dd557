use std::{
    fs, io,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Instant,
};

use tempfile::TempDir;

use super::*;
use crate::{
    archive::samples::{self, id_of},
    node::FileSystem,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn options(parent: &TempDir) -> Options {
    Options {
        directory: parent.path().join("archive"),
        jobs_max: 1_000,
        bytes_max: 16 << 20,
        reserve_bytes: 0,
        space: Arc::new(FileSystem),
    }
}

fn started(options: Options) -> DiskArchive {
    let archive = DiskArchive::new(options);
    archive.start();
    archive
}

/// Looks until it holds, or fails with the status.
#[track_caller]
fn until(archive: &DiskArchive, holds: impl Fn(&ArchiveStatus) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(&archive.status()) {
        assert!(Instant::now() < deadline, "{:?}", archive.status());
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn all() -> ArchiveQuery {
    ArchiveQuery { limit: 1000, bytes_max: 8 << 20, ..ArchiveQuery::default() }
}

fn ids(archive: &DiskArchive) -> Vec<String> {
    let jobs = archive.history(&all()).unwrap();
    jobs.iter().map(|job| job.id.to_string()).collect()
}

#[test]
fn what_was_offered_is_found_and_outlives_the_process() {
    let parent = tempfile::tempdir().unwrap();
    let archive = DiskArchive::new(options(&parent));
    let jobs = samples::departed(3);
    archive.offer(jobs.clone());
    assert!(!archive.status().is_available && !parent.path().join("archive").exists());
    assert!(archive.find(&id_of("job-1")).unwrap_err().0.contains("being opened"));
    archive.start();
    until(&archive, |status| status.written == 3);
    assert_eq!(archive.find(&id_of("job-1")).unwrap(), Some(jobs[1].view()));
    assert!(archive.close(PATIENCE));
    assert!(archive.find(&id_of("job-1")).unwrap_err().0.contains("stopping"));
    let archive = started(options(&parent));
    until(&archive, |status| status.jobs == 3 && status.is_available);
    assert_eq!(ids(&archive), ["job-2", "job-1", "job-0"]);
}

#[test]
fn the_oldest_go_when_there_are_too_many_jobs_or_too_many_bytes() {
    let parent = tempfile::tempdir().unwrap();
    let archive = started(Options { jobs_max: 3, ..options(&parent) });
    archive.offer(samples::departed_with(5, 1_000));
    until(&archive, |status| status.written == 5 && status.jobs == 3);
    assert_eq!(ids(&archive), ["job-4", "job-3", "job-2"]);
    assert!(archive.close(PATIENCE));
    let archive = started(Options { bytes_max: 3 * 2_900, ..options(&parent) });
    until(&archive, |status| status.jobs == 2);
    assert_eq!(ids(&archive), ["job-4", "job-3"]);
    assert!(archive.status().bytes <= 2_900);
}

/// A disk whose room is known when the test says so.
#[derive(Debug)]
struct Slow {
    asked: SyncSender<()>,
    answers: Mutex<Receiver<u64>>,
}

impl Space for Slow {
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        self.asked.send(()).unwrap();
        Ok(self.answers.lock().unwrap().recv().unwrap())
    }
}

// Situation: the writer hangs at the disk. Claim: whoever offers never waits for it; what there is no
// room for is counted, and what there was room for is written when the disk answers.
#[test]
fn offers_return_at_once_while_the_writer_hangs_and_what_is_dropped_is_counted() {
    let parent = tempfile::tempdir().unwrap();
    let (asked, is_asked) = sync_channel(1_000);
    let (answer, answers) = sync_channel(1_000);
    let space = Arc::new(Slow { asked, answers: Mutex::new(answers) });
    let archive = started(Options { space, jobs_max: u64::MAX, ..options(&parent) });
    let job = samples::departed(1);
    archive.offer(job.clone());
    is_asked.recv_timeout(PATIENCE).unwrap();
    for _ in 0..WAITING_JOBS_MAX + 7 {
        archive.offer(job.clone());
    }
    let status = archive.status();
    assert_eq!((status.dropped, status.written), (7, 0));
    for _ in 0..1_000 {
        answer.send(u64::MAX).unwrap();
    }
    until(&archive, |status| status.written == WAITING_JOBS_MAX as u64 + 1);
    assert_eq!(archive.status().jobs, 1);
}

#[test]
fn nothing_is_written_while_the_disk_has_less_than_its_reserve() {
    let parent = tempfile::tempdir().unwrap();
    let archive = started(Options { reserve_bytes: u64::MAX, ..options(&parent) });
    archive.offer(samples::departed(2));
    until(&archive, |status| status.dropped == 2);
    assert!(archive.status().is_available, "what it has can still be read");
}

#[test]
fn an_archive_that_cannot_be_had_is_off_says_why_and_takes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let first = started(options(&parent));
    until(&first, |status| status.is_available);
    let second = started(options(&parent));
    second.offer(samples::departed(1));
    until(&second, |status| status.detail.contains("is off"));
    second.offer(samples::departed(2));
    until(&second, |status| status.dropped == 3);
    assert!(second.find(&id_of("job-0")).is_err());
    assert!(second.close(PATIENCE));
    first.offer(samples::departed(1));
    until(&first, |status| status.jobs == 1);
}

// Situation: somebody deletes the directory under a running node. Claim: it goes on, with the archive
// or without; after a restart there is one.
#[test]
fn a_directory_deleted_while_it_is_open_is_no_crash_and_the_next_start_begins_anew() {
    let parent = tempfile::tempdir().unwrap();
    let archive = started(options(&parent));
    archive.offer(samples::departed(3));
    until(&archive, |status| status.written == 3);
    fs::remove_dir_all(parent.path().join("archive")).unwrap();
    for round in 0..20 {
        let before = archive.status();
        archive.offer(samples::departed_with(10, 4_000));
        until(&archive, |status| {
            status.written + status.dropped >= before.written + before.dropped + 10
        });
        drop((archive.history(&all()), archive.find(&id_of(&format!("job-{round}")))));
    }
    assert!(archive.close(PATIENCE));
    let archive = started(options(&parent));
    until(&archive, |status| status.is_available);
    assert_eq!(archive.status().jobs, 0);
}

// Situation: the files are overwritten under a node that has them open. Claim: it goes on, with the
// archive or without, never with a wrong job; if it gave the files up, the next start begins anew.
#[test]
fn files_overwritten_while_they_are_open_end_the_archive_at_the_most() {
    let parent = tempfile::tempdir().unwrap();
    let archive = started(options(&parent));
    let jobs = samples::departed_with(300, 3_000);
    archive.offer(jobs.clone());
    until(&archive, |status| status.written == 300);
    assert!(archive.close(PATIENCE));
    let archive = started(options(&parent));
    until(&archive, |status| status.is_available);
    let file = parent.path().join("archive/db");
    let length = fs::metadata(&file).unwrap().len();
    let noise: Vec<u8> = (0..length).map(|at| at.wrapping_mul(151).to_le_bytes()[0]).collect();
    fs::write(&file, noise).unwrap();
    for job in &jobs {
        let view = job.view();
        match archive.find(&view.id) {
            Ok(found) => assert!(found.is_none_or(|found| found == view)),
            Err(unavailable) => assert!(!unavailable.0.is_empty()),
        }
    }
    let gave_up = !archive.status().is_available;
    assert!(gave_up, "noise in every page is noticed");
    assert!(archive.close(PATIENCE));
    // A panic may leave sled's lock behind; the next process does not see it.
    let next = parent.path().join("next");
    fs::create_dir(&next).unwrap();
    for name in ["conf", "db", "failed"] {
        fs::copy(parent.path().join("archive").join(name), next.join(name)).unwrap();
    }
    let archive = started(Options { directory: next, ..options(&parent) });
    until(&archive, |status| status.is_available);
    assert_eq!(archive.status().jobs, 0);
    archive.offer(jobs);
    until(&archive, |status| status.written == 300);
}
