//! Adding jobs: all of a list, or none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Add, Added, Answer, Change, Delay, JobId, JobState, LEASE_MS_DEFAULT, LEASE_MS_MAX,
    LEASE_MS_MIN, MAX_ATTEMPTS_DEFAULT, MAX_ATTEMPTS_MAX, NewJob, Once, PRIORITY_MAX, Payload,
    QueueName, Rejection, State, TAGS_MAX, Transition, chain,
    dependency::{self, Outlook},
    job::{Bonds, EndState, Job, Phase, Report, Wake},
    state::Kept,
};

/// A list of jobs that may be added, every one of them.
pub(super) struct Checked<'command> {
    /// Each with its content hash if it is new, the first of its id.
    jobs: Vec<(&'command NewJob, Option<u64>)>,
}

impl State {
    pub(super) fn add(
        &mut self,
        add: &Add,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, Rejection> {
        let checked = self.check(&add.jobs)?;
        // After idempotency: a repeat is answered even when nothing new is taken.
        if checked.has_new() && !self.has_room_for_tombstones() {
            return Err(self.full());
        }
        self.check_room(&checked)?;
        Ok(Answer::Added(self.enqueue(checked, changes)))
    }

    /// Whether the queues take these, each all that are for it.
    fn check_room(&self, checked: &Checked<'_>) -> Result<(), Rejection> {
        if self.indexes.bounds.on_adds.is_empty() {
            return Ok(());
        }
        for (queue, (jobs, bytes)) in checked.new_by_queue() {
            self.room(queue).take_all(jobs, bytes)?;
        }
        Ok(())
    }

    /// Whether all of these may be added; the first that may not is the reason.
    pub(super) fn check<'command>(
        &self,
        jobs: &'command [NewJob],
    ) -> Result<Checked<'command>, Rejection> {
        let mut checked = Vec::with_capacity(jobs.len());
        let mut in_batch: BTreeMap<&JobId, u64> = BTreeMap::new();
        let names = names_in(jobs);
        for (index, job) in (0..).zip(jobs) {
            check_fields(index, job)?;
            let content_hash = chain::content_hash(job);
            let known = self.content_hash_of(&job.id).or_else(|| in_batch.get(&job.id).copied());
            if known.is_some_and(|known| known != content_hash) {
                return Err(Rejection::JobIdConflict { job: job.id.clone(), index });
            }
            if known.is_none() {
                self.check_dependencies(index, job, &names)?;
            }
            if jobs.len() > 1 {
                in_batch.insert(&job.id, content_hash);
            }
            checked.push((job, known.is_none().then_some(content_hash)));
        }
        let checked = Checked { jobs: checked };
        if names.is_empty() { Ok(checked) } else { checked.without_circles() }
    }

    /// Whether all it depends on is known, or comes with its list.
    fn check_dependencies(
        &self,
        index: u32,
        job: &NewJob,
        in_list: &BTreeSet<&JobId>,
    ) -> Result<(), Rejection> {
        let is_known = |id: &JobId| in_list.contains(id) || self.find(id).is_some();
        match job.depends_on.iter().find(|dependency| !is_known(dependency)) {
            None => Ok(()),
            Some(unknown) => Err(Rejection::Invalid {
                index,
                field: "depends_on".into(),
                reason: format!("names {unknown}, which is not known").into(),
            }),
        }
    }

    pub(super) fn enqueue(
        &mut self,
        checked: Checked<'_>,
        changes: &mut Vec<Change>,
    ) -> Vec<Added> {
        let jobs = checked.jobs.into_iter();
        jobs.map(|(new, content_hash)| match content_hash {
            Some(content_hash) => added(new, self.insert(new, content_hash, changes), Once::First),
            None => added(new, self.state_of(&new.id), Once::Duplicate),
        })
        .collect()
    }

    fn insert(&mut self, new: &NewJob, content_hash: u64, changes: &mut Vec<Change>) -> JobState {
        let job = self.job_of(new, content_hash);
        let state = job.state();
        self.make_queue(&job.queue);
        self.indexes.add(&job, None);
        self.next_job.0 += 1;
        self.rev.0 += 1;
        changes.extend(self.indexes.change_of(&job));
        if let Some(watched) = &mut self.watched {
            watched.extend(Transition::of_added(&job, self.rev));
        }
        self.jobs.insert(job.number, Arc::new(job));
        state
    }

    fn job_of(&mut self, new: &NewJob, content_hash: u64) -> Job {
        let known = self.queues.get_key_value(&new.queue);
        let (queue, defaults) =
            known.map_or((&new.queue, None), |(name, record)| (name, Some(&record.settings)));
        let lease_ms = new.lease_ms.or(defaults.and_then(|defaults| defaults.default_lease_ms));
        let max_attempts = new.max_attempts.or(defaults.and_then(|it| it.max_attempts));
        let by_type = &self.indexes.counts.by_type;
        let work_type = by_type.get_key_value(&new.work_type).map_or(&new.work_type, |it| it.0);
        let (queue, work_type) = (queue.clone(), work_type.clone());
        let (phase, bonds, report) = self.prospects_of(new);
        Job {
            number: self.next_job,
            id: new.id.clone(),
            content_hash,
            queue,
            work_type,
            payload: self.shared(&new.payload),
            tags: (!new.tags.is_empty()).then(|| Arc::new(new.tags.clone())),
            priority: new.priority,
            lease_ms: lease_ms.unwrap_or(LEASE_MS_DEFAULT),
            max_attempts: max_attempts.unwrap_or(MAX_ATTEMPTS_DEFAULT),
            attempts_used: 0,
            attempts_lost: 0,
            backoff: new.backoff,
            added_at: self.wall,
            expires_at: new.expires_in_ms.map(|ms| self.clock.after(ms)),
            phase,
            bonds,
            attempts: Vec::new(),
            report,
        }
    }

    /// Where a new job goes, what ties it to others, and why it has failed at once if it has.
    fn prospects_of(&self, new: &NewJob) -> (Phase, Option<Box<Bonds>>, Option<Box<Report>>) {
        let delayed = self.phase_after(new.delay);
        if new.depends_on.is_empty() && new.group.is_none() {
            return (delayed, None, None);
        }
        let mut bonds = Box::new(Bonds {
            group: new.group.clone(),
            depends_on: new.depends_on.clone(),
            unmet: BTreeSet::new(),
            on_dependency_failure: new.on_dependency_failure,
        });
        match self.outlook(new) {
            Outlook::Free => (delayed, Some(bonds), None),
            Outlook::Blocked(unmet) => {
                bonds.unmet = unmet;
                let wake = match delayed {
                    Phase::Scheduled(wake) => Some(wake),
                    _ => None,
                };
                (Phase::Blocked(wake), Some(bonds), None)
            }
            Outlook::Doomed(reason) => {
                let report = Report { failure: Some(reason.into()), ..Report::default() };
                (self.ending(EndState::Failed), Some(bonds), Some(Box::new(report)))
            }
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

    fn state_of(&self, id: &JobId) -> JobState {
        self.find(id).expect("it was known when the list was checked, or came with it").state()
    }

    fn full(&self) -> Rejection {
        let room_at = self.tombstones.get_min().map_or(self.clock, |oldest| oldest.1.until);
        Rejection::Full {
            reason: "too many jobs have finished lately: every tombstone is taken".into(),
            retry_after_ms: room_at.0.saturating_sub(self.clock.0).max(1),
        }
    }
}

/// The ids of a list in which some depend on others; nothing of any other list.
fn names_in(jobs: &[NewJob]) -> BTreeSet<&JobId> {
    if jobs.iter().all(|job| job.depends_on.is_empty()) {
        return BTreeSet::new();
    }
    jobs.iter().map(|job| &job.id).collect()
}

impl Checked<'_> {
    fn has_new(&self) -> bool {
        self.jobs.iter().any(|(_, content_hash)| content_hash.is_some())
    }

    /// How many new jobs there are for each queue, and their payload bytes.
    fn new_by_queue(&self) -> BTreeMap<&QueueName, (u64, u64)> {
        let mut by_queue = BTreeMap::new();
        let new = self.jobs.iter().filter(|(_, content_hash)| content_hash.is_some());
        for (job, _) in new {
            let (jobs, bytes) = by_queue.entry(&job.queue).or_insert((0, 0));
            *jobs += 1;
            *bytes += job.payload.bytes.len() as u64;
        }
        by_queue
    }

    fn without_circles(self) -> Result<Self, Rejection> {
        let with_places = (0..).zip(&self.jobs);
        let new = with_places.filter(|(_, (_, content_hash))| content_hash.is_some());
        let (places, jobs): (Vec<u32>, Vec<&NewJob>) = new.map(|(at, (job, _))| (at, *job)).unzip();
        match dependency::circle_in(&jobs) {
            None => Ok(self),
            Some(place) => Err(Rejection::DependencyCycle {
                index: places[place],
                job: jobs[place].id.clone(),
            }),
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
    Ok(())
}
