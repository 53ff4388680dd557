//! Adding jobs: all of a list, or none.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Add, Added, Answer, Change, Delay, JobId, JobState, LEASE_MS_DEFAULT, LEASE_MS_MAX,
    LEASE_MS_MIN, MAX_ATTEMPTS_DEFAULT, MAX_ATTEMPTS_MAX, NewJob, Once, PRIORITY_MAX, Payload,
    Rejection, State, TAGS_MAX, chain,
    job::{Job, Phase, Wake},
    snapshot::QueueRecord,
    state::Kept,
};

/// A list of jobs that may be added, every one of them.
pub(super) struct Checked<'command> {
    jobs: &'command [NewJob],
    content_hashes: Vec<u64>,
    has_new: bool,
}

impl State {
    pub(super) fn add(
        &mut self,
        add: &Add,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let checked = self.check(&add.jobs)?;
        // After idempotency: a repeat is answered even when nothing new is taken.
        if checked.has_new && !self.has_room_for_tombstones() {
            return Err(self.full());
        }
        Ok(Answer::Added(self.enqueue(checked, changes)))
    }

    /// Whether all of these may be added; the first that may not is the reason.
    pub(super) fn check<'command>(
        &self,
        jobs: &'command [NewJob],
    ) -> Result<Checked<'command>, Rejection> {
        let mut content_hashes = Vec::with_capacity(jobs.len());
        let mut has_new = false;
        let mut in_batch: BTreeMap<&JobId, u64> = BTreeMap::new();
        for (index, job) in (0..).zip(jobs) {
            check_fields(index, job)?;
            let content_hash = chain::content_hash(job);
            let known = self.content_hash_of(&job.id).or_else(|| in_batch.get(&job.id).copied());
            if known.is_some_and(|known| known != content_hash) {
                return Err(Rejection::JobIdConflict { job: job.id.clone(), index });
            }
            has_new |= known.is_none();
            if jobs.len() > 1 {
                in_batch.insert(&job.id, content_hash);
            }
            content_hashes.push(content_hash);
        }
        Ok(Checked { jobs, content_hashes, has_new })
    }

    pub(super) fn enqueue(
        &mut self,
        checked: Checked<'_>,
        changes: &mut Vec<Change>,
    ) -> Vec<Added> {
        let with_hashes = checked.jobs.iter().zip(checked.content_hashes);
        with_hashes
            .map(|(new, content_hash)| match self.state_of(&new.id) {
                Some(state) => added(new, state, Once::Duplicate),
                None => added(new, self.insert(new, content_hash, changes), Once::First),
            })
            .collect()
    }

    fn insert(&mut self, new: &NewJob, content_hash: u64, changes: &mut Vec<Change>) -> JobState {
        let job = self.job_of(new, content_hash);
        let state = job.state();
        if !self.queues.contains_key(&job.queue) {
            self.queues.insert(job.queue.clone(), QueueRecord { name: job.queue.clone() });
        }
        self.indexes.add(&job);
        self.next_job.0 += 1;
        self.rev.0 += 1;
        changes.extend(Change::of(&job));
        self.jobs.insert(job.number, Arc::new(job));
        state
    }

    fn job_of(&mut self, new: &NewJob, content_hash: u64) -> Job {
        let queue = self.queues.get_key_value(&new.queue).map_or(&new.queue, |known| known.0);
        let by_type = &self.indexes.counts.by_type;
        let work_type = by_type.get_key_value(&new.work_type).map_or(&new.work_type, |it| it.0);
        let (queue, work_type) = (queue.clone(), work_type.clone());
        Job {
            number: self.next_job,
            id: new.id.clone(),
            content_hash,
            queue,
            work_type,
            payload: self.shared(&new.payload),
            tags: (!new.tags.is_empty()).then(|| Arc::new(new.tags.clone())),
            priority: new.priority,
            lease_ms: new.lease_ms.unwrap_or(LEASE_MS_DEFAULT),
            max_attempts: new.max_attempts.unwrap_or(MAX_ATTEMPTS_DEFAULT),
            attempts_used: 0,
            attempts_lost: 0,
            backoff: new.backoff,
            added_at: self.wall,
            expires_at: new.expires_in_ms.map(|ms| self.clock.after(ms)),
            phase: self.phase_after(new.delay),
            attempts: Vec::new(),
            report: None,
        }
    }

    /// Where a job goes that must not run before this.
    pub(super) fn phase_after(&self, delay: Delay) -> Phase {
        match delay {
            Delay::None | Delay::For(0) => Phase::Pending,
            Delay::For(ms) => Phase::Scheduled(Wake::Clock {
                at: self.clock.after(ms),
                run_at: self.wall.after(ms),
            }),
            Delay::Until(at) if at <= self.wall => Phase::Pending,
            Delay::Until(at) => Phase::Scheduled(Wake::Wall(at)),
        }
    }

    /// The payload, sharing its media type with the last one's where they are equal.
    pub(super) fn shared(&mut self, payload: &Payload) -> Payload {
        let known = self.content_type.0.as_ref().filter(|known| **known == payload.content_type);
        let content_type = known.unwrap_or(&payload.content_type).clone();
        self.content_type.0 = Some(content_type.clone());
        Payload { bytes: payload.bytes.clone(), content_type }
    }

    fn content_hash_of(&self, id: &JobId) -> Option<u64> {
        Some(match self.find(id)? {
            Kept::Job(job) => job.content_hash,
            Kept::Tombstone(tombstone) => tombstone.content_hash,
        })
    }

    fn state_of(&self, id: &JobId) -> Option<JobState> {
        Some(match self.find(id)? {
            Kept::Job(job) => job.state(),
            Kept::Tombstone(tombstone) => tombstone.state(),
        })
    }

    fn full(&self) -> Rejection {
        let room_at = self.tombstones.get_min().map_or(self.clock, |oldest| oldest.1.until);
        Rejection::Full {
            reason: "too many jobs have finished lately: every tombstone is taken".into(),
            retry_after_ms: room_at.0.saturating_sub(self.clock.0).max(1),
        }
    }
}

fn added(new: &NewJob, state: JobState, once: Once) -> Added {
    Added {
        id: new.id.clone(),
        queue: new.queue.clone(),
        work_type: new.work_type.clone(),
        priority: new.priority,
        state,
        once,
    }
}

/// Whether every field is in its range. HTTP checks the same; whatever reaches the log another way
/// is checked here.
fn check_fields(index: u32, job: &NewJob) -> Result<(), Rejection> {
    let reason = |field: &str, reason: String| {
        Err(Rejection::Invalid { index, field: field.into(), reason: reason.into() })
    };
    if job.priority > PRIORITY_MAX {
        return reason("priority", format!("must be 0 to {PRIORITY_MAX}"));
    }
    if job.lease_ms.is_some_and(|ms| !(LEASE_MS_MIN..=LEASE_MS_MAX).contains(&ms)) {
        return reason("lease_ms", format!("must be {LEASE_MS_MIN} to {LEASE_MS_MAX}"));
    }
    if job.max_attempts.is_some_and(|number| !(1..=MAX_ATTEMPTS_MAX).contains(&number)) {
        return reason("max_attempts", format!("must be 1 to {MAX_ATTEMPTS_MAX}"));
    }
    if job.backoff.jitter_thousandths > 1000 {
        return reason("backoff.jitter", "must be 0 to 1".into());
    }
    if job.tags.len() > TAGS_MAX {
        return reason("tags", format!("must be at most {TAGS_MAX}"));
    }
    if !job.depends_on.is_empty() {
        return reason("depends_on", "is not supported yet".into());
    }
    if job.group.is_some() {
        return reason("group", "is not supported yet".into());
    }
    Ok(())
}
