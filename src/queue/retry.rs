//! Finished jobs put back: by an explicit retry, and nothing else.

use super::{Answer, Change, JobId, Rejection, RetryJobs, State};

impl State {
    pub(super) fn retry_job(
        &mut self,
        id: &JobId,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let _ = (id, changes);
        unreachable!("not written yet")
    }

    pub(super) fn retry_jobs(
        &mut self,
        retry: &RetryJobs,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let _ = (retry, changes);
        unreachable!("not written yet")
    }
}
