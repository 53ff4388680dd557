//! The one thread that writes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    disk::{Options, Shared},
    failure::Failure,
    intake::Taken,
    place,
    store::{Store, Totals},
};
use crate::queue::Job;

/// How many jobs are written before anything else is seen to.
const BATCH_JOBS: usize = 500;
/// How many jobs are forgotten at once: more than come, so that bounds that were lowered are reached.
const FORGET_JOBS: usize = 4 * BATCH_JOBS;
/// What sled's files take for each byte of records in them, at the most; measured in `store/tests.rs`.
const FILES_PER_RECORDS: u64 = 3;
/// How long what was written may wait to be handed to the disk.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// Opens the archive and writes until nothing more comes, or it fails.
pub(super) fn run(shared: &Shared) {
    let options = &shared.options;
    let written = place::open(&options.directory, &shared.unreadable).and_then(|opened| {
        let (store, totals) = opened;
        let store = Arc::new(store);
        shared.publish(totals);
        shared.open(Arc::clone(&store));
        Writer { shared, store, totals, flushed_at: Instant::now(), has_room: true }.write()
    });
    match written {
        Ok(()) => _ = shared.turn_off("the node is stopping"),
        Err(failure) => shared.fail(&failure),
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    store: Arc<Store>,
    totals: Totals,
    flushed_at: Instant,
    has_room: bool,
}

impl Writer<'_> {
    fn write(mut self) -> Result<(), Failure> {
        let mut is_flushed = true;
        loop {
            let patience = if self.is_over() { Duration::ZERO } else { FLUSH_EVERY };
            match self.shared.intake.take(BATCH_JOBS, patience) {
                Taken::Closed => return self.store.flush(),
                Taken::Jobs(jobs) => {
                    is_flushed &= jobs.is_empty();
                    self.keep(&jobs)?;
                }
            }
            self.forget()?;
            self.shared.publish(self.totals);
            if !is_flushed && self.flushed_at.elapsed() >= FLUSH_EVERY {
                self.store.flush()?;
                (is_flushed, self.flushed_at) = (true, Instant::now());
            }
        }
    }

    fn keep(&mut self, jobs: &[Arc<Job>]) -> Result<(), Failure> {
        if jobs.is_empty() {
            return Ok(());
        }
        if !self.look_for_room() {
            self.shared.count_dropped(jobs.len());
            return Ok(());
        }
        for job in jobs {
            if let Some(retained_until) = job.retained_until() {
                self.store.put(retained_until, job.view(), &mut self.totals)?;
                self.shared.count_written();
            }
        }
        Ok(())
    }

    /// Forgets the oldest jobs while there are too many.
    fn forget(&mut self) -> Result<(), Failure> {
        for _ in 0..FORGET_JOBS {
            if !self.is_over() || !self.store.remove_first(&mut self.totals)? {
                break;
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let Options { jobs_max, bytes_max, .. } = self.shared.options;
        self.totals.jobs > jobs_max || self.totals.bytes > bytes_max / FILES_PER_RECORDS
    }

    /// The log must never lack the room that went to the archive. A change is logged.
    fn look_for_room(&mut self) -> bool {
        let Options { directory, reserve_bytes, space, .. } = &self.shared.options;
        let lacks_room = |free_bytes| free_bytes < *reserve_bytes;
        let has_room = !space.free_bytes(directory).is_ok_and(lacks_room);
        if self.has_room && !has_room {
            tracing::warn!("the disk is nearly full: finished jobs are not archived");
        }
        self.has_room = has_room;
        has_room
    }
}
