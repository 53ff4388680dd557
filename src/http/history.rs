//! Finished jobs: `GET /work/history`, and what `GET /work/get` finds in the archive alone. The archive
//! is this node's own, so what it adds is marked, and promised to nobody.

use std::{collections::BTreeMap, mem};

use super::{
    answer::{Answer, Failure},
    call::Call,
    present::look,
    read::consistency,
};
use crate::{
    node::{ArchiveQuery, ArchiveUnavailable},
    queue::{JobId, JobNumber, JobState, JobView, State},
    wire::{HistoryQuery, HistoryResponse, Job},
};

/// The bytes of all jobs of an answer; a single job may have more.
const HISTORY_BYTES: usize = 8 << 20;

pub(super) async fn history(call: Call) -> Result<Answer, Failure> {
    let query = HistoryQuery::parse(call.query.as_deref())?;
    let HistoryQuery { ref states, limit, freshness } = query;
    let handle = &call.site.handle;
    let looked = |state: &State| (state.history(states, limit), state.wall());
    let view = handle.read(consistency(freshness), call.hold, looked).await?;
    let (kept, now) = view.value;
    let mut page = Page::of(limit);
    for job in kept {
        page.add(job, |job| look::whole(job, now));
    }
    let archived = page.fill_from_archive(&call, query.states).await;
    let body = HistoryResponse {
        count: page.jobs.len(),
        history: page.jobs,
        archive_unavailable: archived.err().map(|unavailable| unavailable.to_string()),
        rev: view.rev,
    };
    Ok(Answer::ok(&body).at(view.rev).seen(freshness))
}

/// What an answer has so far.
struct Page {
    jobs: Vec<Job>,
    shown: BTreeMap<JobNumber, JobId>,
    bytes: usize,
    limit: usize,
    is_full: bool,
}

impl Page {
    fn of(limit: usize) -> Self {
        Self { jobs: vec![], shown: BTreeMap::new(), bytes: 0, limit, is_full: false }
    }

    /// Adds a job if it fits. After one that does not, none does: a history has no holes.
    fn add(&mut self, job: JobView, show: impl FnOnce(JobView) -> Job) {
        self.bytes += look::bytes_of(&job);
        self.is_full |= self.jobs.len() >= self.limit;
        self.is_full |= self.bytes > HISTORY_BYTES && !self.jobs.is_empty();
        if !self.is_full {
            self.shown.insert(job.number, job.id.clone());
            self.jobs.push(show(job));
        }
    }

    async fn fill_from_archive(
        &mut self,
        call: &Call,
        states: Vec<JobState>,
    ) -> Result<(), ArchiveUnavailable> {
        if self.is_full || self.jobs.len() == self.limit {
            return Ok(());
        }
        let wanted = ArchiveQuery {
            states,
            // A job that left the state after it was read is in both.
            except: mem::take(&mut self.shown),
            limit: self.limit - self.jobs.len(),
            bytes_max: HISTORY_BYTES.saturating_sub(self.bytes),
        };
        for job in call.site.handle.archived_history(wanted).await? {
            self.add(job, look::archived);
        }
        Ok(())
    }
}

/// A job of which the state has only this left, a tombstone or nothing, whole from the archive. What
/// the tombstone says of its end is exact, so a job of the archive that ended otherwise is an earlier
/// one of the same id.
pub(super) async fn found_in_archive(call: &Call, id: &JobId, left: Option<Job>) -> Option<Job> {
    let found = call.site.handle.archived(id).await.ok().flatten();
    match (left, found) {
        (None, found) => found.map(look::archived),
        (Some(tombstone), Some(job)) if ended_as(&tombstone, &job) => {
            Some(Job { token: tombstone.token, ..look::archived(job) })
        }
        (left, _) => left,
    }
}

fn ended_as(tombstone: &Job, job: &JobView) -> bool {
    let token = job.attempts.last().map(|attempt| attempt.token);
    (tombstone.state, tombstone.token) == (job.state, token)
}
