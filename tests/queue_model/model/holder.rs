//! Calls of a job's holder, and cancel.

use std::sync::Arc;

use quorate::queue::{
    Answer, AttemptEnd, Backoff, Beat, BeatStatus, Beaten, Complete, Fail, Heartbeat, Holding,
    JobId, JobState, Once, Rejection, Release, Retry, Token, WallMs, WorkerId,
};

use super::{Attempt, End, Model};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Complete,
    Fail,
    Release,
}

impl Model {
    /// The place of the job held under this token; else what the call answers instead.
    fn held(&self, holding: &Holding, verb: Verb) -> Result<usize, Result<Answer, Rejection>> {
        let Holding { job: id, token } = holding;
        let Some((_, state)) = self.known(id) else {
            return Err(Err(Rejection::JobNotFound { job: id.clone() }));
        };
        let at = self.place_of(id);
        let job = at.map(|at| &self.jobs[at]);
        let current = job.filter(|job| job.is_leased()).map(|job| job.attempts.last().unwrap());
        if current.is_some_and(|attempt| attempt.token == token.0) {
            return Ok(at.unwrap());
        }
        let spent = self.spent(holding);
        if let Some(again) = spent.as_ref().and_then(|attempt| again(verb, attempt, at.is_some())) {
            return Err(Ok(again));
        }
        Err(Err(Rejection::StaleToken {
            job: id.clone(),
            current_token: current.map(|attempt| Token(attempt.token)),
            holder: current.map(|attempt| attempt.claim.worker.clone()),
            state,
            ended_as: spent.map(|attempt| attempt.end.unwrap().how),
        }))
    }

    /// The remembered attempt under a token that is not the valid one.
    fn spent(&self, holding: &Holding) -> Option<Attempt> {
        let job = self.jobs.iter().find(|job| job.new.id == holding.job);
        let of_job = job.into_iter().flat_map(|job| &job.attempts);
        let grave = self.graves.iter().find(|grave| grave.new.id == holding.job);
        let of_grave = grave.and_then(|grave| grave.last.as_ref());
        of_job.chain(of_grave).find(|attempt| attempt.token == holding.token.0).cloned()
    }

    fn end_attempt(&mut self, at: usize, how: AttemptEnd, error: Option<Arc<str>>) {
        let end = End { error, ..End::plain(how, self.wall) };
        self.jobs[at].attempts.last_mut().unwrap().end = Some(end);
    }

    fn run(&mut self, at: usize) {
        if self.jobs[at].phase == JobState::Claimed {
            self.transition(at, |job| job.phase = JobState::Running);
        }
    }

    pub(super) fn start(&mut self, holding: &Holding) -> Result<Answer, Rejection> {
        let at = match self.held(holding, Verb::Start) {
            Ok(at) => at,
            Err(otherwise) => return otherwise,
        };
        self.run(at);
        let attempt = self.jobs[at].attempts.last_mut().unwrap();
        let once = if attempt.started { Once::Duplicate } else { Once::First };
        attempt.started = true;
        Ok(Answer::Started(once))
    }

    pub(super) fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Answer {
        let mut worker = heartbeat.worker.clone();
        let mut items = Vec::new();
        for beat in &heartbeat.items {
            let (status, holder) = self.beat(beat);
            worker = worker.or(holder);
            let Holding { job, token } = beat.holding.clone();
            items.push(Beaten { job, token, status });
        }
        let Some(worker) = worker else { return Answer::Heartbeat { items, drain: false } };
        self.note_heartbeat_of(&worker);
        Answer::Heartbeat { items, drain: self.is_draining(&worker) }
    }

    /// What became of the lease, and who holds it if it was extended.
    fn beat(&mut self, beat: &Beat) -> (BeatStatus, Option<WorkerId>) {
        let Ok(at) = self.held(&beat.holding, Verb::Start) else {
            let end = self.spent(&beat.holding).and_then(|attempt| attempt.end);
            return match end.map(|end| end.how) {
                Some(AttemptEnd::Cancelled) => (BeatStatus::CancelRequested, None),
                _ => (BeatStatus::Lost, None),
            };
        };
        self.run(at);
        let clock = self.clock;
        let job = &mut self.jobs[at];
        let asked = beat.lease_ms.map_or(job.lease_ms, |ms| ms.clamp(100, 43_200_000));
        job.deadline = job.deadline.max(clock + asked);
        if beat.progress.is_some() {
            job.progress.clone_from(&beat.progress);
        }
        let lease_expires_in_ms = job.deadline.saturating_sub(clock);
        let holder = job.attempts.last().unwrap().claim.worker.clone();
        (BeatStatus::Extended { lease_expires_in_ms }, Some(holder))
    }

    pub(super) fn complete(&mut self, complete: &Complete) -> Result<Answer, Rejection> {
        let at = match self.held(&complete.holding, Verb::Complete) {
            Ok(at) => at,
            Err(otherwise) => return otherwise,
        };
        self.may_add(&complete.then)?;
        self.end_attempt(at, AttemptEnd::Completed, None);
        self.finish(at, JobState::Completed);
        self.jobs[at].result.clone_from(&complete.result);
        let then = self.add_all(&complete.then);
        let end = self.jobs[at].attempts.last_mut().unwrap().end.as_mut().unwrap();
        end.then.clone_from(&then);
        Ok(Answer::Completed { once: Once::First, then })
    }

    pub(super) fn fail(&mut self, fail: &Fail) -> Result<Answer, Rejection> {
        let at = match self.held(&fail.holding, Verb::Fail) {
            Ok(at) => at,
            Err(otherwise) => return otherwise,
        };
        self.end_attempt(at, AttemptEnd::Failed, fail.error.clone());
        let job = &self.jobs[at];
        let wait = match fail.retry {
            _ if job.used >= job.max_attempts => None,
            Retry::Never => None,
            Retry::After(ms) => Some(ms),
            Retry::Backoff => Some(backoff(&job.new.backoff, &job.new.id, job.used)),
        };
        let Some(wait) = wait else {
            self.finish(at, JobState::Failed);
            return Ok(Answer::Failed(Once::First));
        };
        let run_at = self.wall + wait;
        self.schedule(at, wait);
        self.jobs[at].attempts.last_mut().unwrap().end.as_mut().unwrap().run_at = Some(run_at);
        Ok(Answer::Retrying { once: Once::First, run_at: WallMs(run_at) })
    }

    pub(super) fn release(&mut self, release: &Release) -> Result<Answer, Rejection> {
        let at = match self.held(&release.holding, Verb::Release) {
            Ok(at) => at,
            Err(otherwise) => return otherwise,
        };
        self.end_attempt(at, AttemptEnd::Released, None);
        self.jobs[at].used -= 1;
        self.schedule(at, release.delay_ms);
        Ok(Answer::Released(Once::First))
    }

    pub(super) fn cancel(&mut self, id: &JobId) -> Result<Answer, Rejection> {
        let Some((_, state)) = self.known(id) else {
            return Err(Rejection::JobNotFound { job: id.clone() });
        };
        if state == JobState::Cancelled {
            return Ok(Answer::Cancelled(Once::Duplicate));
        }
        if state.is_terminal() {
            return Err(Rejection::WrongState { job: id.clone(), state });
        }
        let at = self.place_of(id).unwrap();
        if self.jobs[at].is_leased() {
            self.end_attempt(at, AttemptEnd::Cancelled, None);
        }
        self.finish(at, JobState::Cancelled);
        Ok(Answer::Cancelled(Once::First))
    }
}

/// What the call that ended an attempt, or started it, answers again.
fn again(verb: Verb, attempt: &Attempt, has_job: bool) -> Option<Answer> {
    let end = attempt.end.as_ref().unwrap();
    let once = Once::Duplicate;
    // A tombstone has forgotten the jobs of `then`.
    let then = end.then.iter().filter(|_| has_job);
    match (verb, end.how) {
        (Verb::Start, _) if attempt.started => Some(Answer::Started(once)),
        (Verb::Complete, AttemptEnd::Completed) => {
            Some(Answer::Completed { once, then: then.cloned().collect() })
        }
        (Verb::Fail, AttemptEnd::Failed) => Some(match end.run_at {
            Some(run_at) => Answer::Retrying { once, run_at: WallMs(run_at) },
            None => Answer::Failed(once),
        }),
        (Verb::Release, AttemptEnd::Released) => Some(Answer::Released(once)),
        _ => None,
    }
}

/// The wait after attempt n; the draw is the one thing that must be known to be foretold.
fn backoff(backoff: &Backoff, id: &JobId, attempt: u32) -> u64 {
    let mut wait = u128::from(backoff.initial_ms);
    for _ in 1..attempt {
        wait = (wait * u128::from(backoff.factor_thousandths) / 1000).min(u128::from(u64::MAX));
    }
    let wait = u64::try_from(wait.min(u128::from(backoff.max_ms))).unwrap();
    let spread = wait * u64::from(backoff.jitter_thousandths) / 1000;
    let drawn = xxhash_rust::xxh3::xxh3_64_with_seed(id.as_str().as_bytes(), attempt.into());
    wait - spread + drawn % (2 * spread + 1)
}
