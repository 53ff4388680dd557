//! Adding jobs.

use std::collections::BTreeSet;

use quorate::queue::{
    Added, Answer, Delay, JobId, JobState, NewJob, OnDependencyFailure, Once, QueueName, Rejection,
};

use super::{Job, Model, Wake, invalid, time::doom};

impl Model {
    pub(super) fn add(&mut self, jobs: &[NewJob]) -> Result<Answer, Rejection> {
        let is_new = self.may_add(jobs)?;
        if is_new && !self.graves_left() {
            let until = self.graves.first().map_or(self.clock, |grave| grave.until);
            return Err(Rejection::Full {
                reason: "too many jobs have finished lately: every tombstone is taken".into(),
                retry_after_ms: until.saturating_sub(self.clock).max(1),
            });
        }
        self.may_wait(jobs)?;
        Ok(Answer::Added(self.add_all(jobs)))
    }

    pub(super) fn add_all(&mut self, jobs: &[NewJob]) -> Vec<Added> {
        jobs.iter().map(|job| self.add_one(job)).collect()
    }

    /// Whether all that is new of a list fits into its queues.
    fn may_wait(&self, jobs: &[NewJob]) -> Result<(), Rejection> {
        let is_first = |at: usize| jobs[..at].iter().all(|earlier| earlier.id != jobs[at].id);
        let is_new = |at: &usize| self.known(&jobs[*at].id).is_none() && is_first(*at);
        let new: Vec<&NewJob> = (0..jobs.len()).filter(is_new).map(|at| &jobs[at]).collect();
        let queues: BTreeSet<&QueueName> = new.iter().map(|job| &job.queue).collect();
        for queue in queues {
            let of_queue = || new.iter().filter(|job| job.queue == *queue);
            let bytes = of_queue().map(|job| job.payload.bytes.len() as u64).sum();
            self.room(queue, of_queue().count() as u64, bytes)?;
        }
        Ok(())
    }

    pub(super) fn may_add(&self, jobs: &[NewJob]) -> Result<bool, Rejection> {
        let mut is_new = false;
        for (index, job) in jobs.iter().enumerate() {
            let earlier = jobs[..index].iter().find(|earlier| earlier.id == job.id);
            if let Some((field, reason)) = out_of_range(job) {
                return Err(invalid(index, field, reason));
            }
            let known = self.known(&job.id).map(|known| known.0).or(earlier);
            let in_list = |id: &JobId| jobs.iter().any(|job| job.id == *id);
            if known.is_none()
                && let Some(id) =
                    job.depends_on.iter().find(|id| !in_list(id) && self.known(id).is_none())
            {
                let reason = format!("names {id}, which is not known");
                return Err(invalid(index, "depends_on", &reason));
            }
            match known {
                Some(same) if same == job => {}
                Some(_) => {
                    let job = job.id.clone();
                    return Err(Rejection::JobIdConflict {
                        job,
                        index: u32::try_from(index).unwrap(),
                    });
                }
                None => is_new = true,
            }
        }
        match self.circle(jobs) {
            Some(index) => Err(Rejection::DependencyCycle {
                index: u32::try_from(index).unwrap(),
                job: jobs[index].id.clone(),
            }),
            None => Ok(is_new),
        }
    }

    /// Strikes out whatever depends on nothing left; a walk among the rest ends up on a circle.
    fn circle(&self, jobs: &[NewJob]) -> Option<usize> {
        let is_first = |at: usize| jobs[..at].iter().all(|earlier| earlier.id != jobs[at].id);
        let is_new = |at: &usize| self.known(&jobs[*at].id).is_none() && is_first(*at);
        let mut left: Vec<usize> = (0..jobs.len()).filter(is_new).collect();
        let next = |at: usize, left: &[usize]| {
            let mut ids = jobs[at].depends_on.iter();
            ids.find_map(|id| left.iter().copied().find(|other| jobs[*other].id == *id))
        };
        while let Some(free) = left.iter().position(|at| next(*at, &left).is_none()) {
            left.remove(free);
        }
        let mut walked = vec![*left.first()?];
        loop {
            let at = next(*walked.last().unwrap(), &left).unwrap();
            if walked.contains(&at) {
                return Some(at);
            }
            walked.push(at);
        }
    }

    fn add_one(&mut self, new: &NewJob) -> Added {
        let answer = |state, once| Added {
            id: new.id.clone(),
            queue: new.queue.clone(),
            work_type: new.work_type.clone(),
            priority: new.priority,
            state,
            once,
        };
        if let Some((_, state)) = self.known(&new.id) {
            return answer(state, Once::Duplicate);
        }
        self.ensure(&new.queue);
        let at = self.push(new);
        for id in &new.depends_on {
            match self.known(id).map(|known| known.1) {
                Some(JobState::Completed) => {}
                Some(state) if state.is_terminal() => {
                    if new.on_dependency_failure == OnDependencyFailure::Fail {
                        self.jobs[at].doomed = Some(doom(id, state));
                        self.jobs[at].unmet.clear();
                        self.jobs[at].wake = None;
                        self.finish(at, JobState::Failed);
                        return answer(JobState::Failed, Once::First);
                    }
                }
                _ => self.jobs[at].unmet.push(id.clone()),
            }
        }
        let is_early = self.jobs[at].wake.is_some();
        if !self.jobs[at].unmet.is_empty() {
            self.transition(at, |job| job.phase = JobState::Blocked);
        } else if is_early {
            self.transition(at, |job| job.phase = JobState::Scheduled);
        } else {
            self.make_ready(at);
        }
        answer(self.jobs[at].phase, Once::First)
    }

    /// Its place. It is in no state yet.
    fn push(&mut self, new: &NewJob) -> usize {
        let settings = self.settings(&new.queue);
        self.jobs.push(Job {
            number: self.added,
            new: new.clone(),
            lease_default_ms: new.lease_ms.or(settings.default_lease_ms).unwrap_or(30_000),
            max_attempts: new.max_attempts.or(settings.max_attempts).unwrap_or(3),
            added_at: self.wall,
            expires_at: new.expires_in_ms.map(|ms| self.clock + ms),
            phase: JobState::Scheduled,
            purge: None,
            wake: match new.delay {
                Delay::For(ms @ 1..) => {
                    Some(Wake::Clock { at: self.clock + ms, run_at: self.wall + ms })
                }
                Delay::Until(run_at) if run_at.0 > self.wall => Some(Wake::Wall(run_at.0)),
                _ => None,
            },
            deadline: 0,
            lease_ms: 0,
            finished_at: 0,
            buried_from: 0,
            used: 0,
            lost: 0,
            attempts: Vec::new(),
            result: None,
            progress: None,
            unmet: Vec::new(),
            doomed: None,
        });
        self.added += 1;
        self.jobs.len() - 1
    }
}

fn out_of_range(job: &NewJob) -> Option<(&'static str, &'static str)> {
    if job.priority > 100 {
        return Some(("priority", "must be 0 to 100"));
    }
    if job.lease_ms.is_some_and(|ms| !(100..=43_200_000).contains(&ms)) {
        return Some(("lease_ms", "must be 100 to 43200000"));
    }
    if job.max_attempts.is_some_and(|number| number == 0 || number > 1000) {
        return Some(("max_attempts", "must be 1 to 1000"));
    }
    None
}
