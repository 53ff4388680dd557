//! The queue again, read straight from `docs/api.md`: flat lists, searched from end to end, and no
//! cleverness. It shares the vocabulary of commands and answers with the rules, and nothing else.

use std::sync::Arc;

use bytes::Bytes;
use quorate::queue::{
    Add, Added, Answer, Applied, AttemptEnd, AttemptView, Backoff, BeatStatus, Beaten, Change,
    Claim, Claimed, ClockMs, Command, Complete, Delay, Entry, Fail, Found, Grant, Heartbeat,
    Holding, JobId, JobNumber, JobState, JobView, LeaseView, Limits, NewJob, OnDependencyFailure,
    Once, Outcome, QueueName, QueueTotals, Rejection, Release, Retry, Rev, Token, TombstoneView,
    Totals, WallMs, WorkerId,
};

/// The whole queue.
pub(crate) struct Model {
    pub(crate) limits: Limits,
    pub(crate) rev: u64,
    pub(crate) clock: u64,
    pub(crate) wall: u64,
    pub(crate) added: u64,
    /// In add order.
    pub(crate) jobs: Vec<Job>,
    /// In the order of burial.
    pub(crate) graves: Vec<Grave>,
    pub(crate) queues: Vec<QueueName>,
    changes: Vec<Change>,
}

pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) new: NewJob,
    pub(crate) added_at: u64,
    pub(crate) expires_at: Option<u64>,
    pub(crate) state: JobState,
    /// While scheduled: the cluster clock that wakes it, or none when the wall clock does.
    pub(crate) wakes_at: Option<u64>,
    pub(crate) run_at: u64,
    /// While leased.
    pub(crate) deadline: u64,
    pub(crate) lease_ms: u64,
    /// Once ended.
    pub(crate) finished_at: u64,
    pub(crate) buried_from: u64,
    pub(crate) used: u32,
    pub(crate) lost: u32,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) result: Option<Bytes>,
    pub(crate) progress: Option<Bytes>,
    pub(crate) then: Vec<Added>,
    /// While blocked.
    pub(crate) unmet: Vec<JobId>,
    pub(crate) doomed: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) token: u64,
    pub(crate) claim: Claim,
    pub(crate) claimed_at: u64,
    pub(crate) started: bool,
    pub(crate) end: Option<End>,
}

#[derive(Clone)]
pub(crate) struct End {
    pub(crate) how: AttemptEnd,
    pub(crate) at: u64,
    pub(crate) error: Option<Arc<str>>,
    pub(crate) run_at: Option<u64>,
}

pub(crate) struct Grave {
    pub(crate) new: NewJob,
    pub(crate) state: JobState,
    pub(crate) last: Option<Attempt>,
    pub(crate) until: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Complete,
    Fail,
    Release,
}

fn terminal(state: JobState) -> bool {
    use JobState::{Cancelled, Completed, Expired, Failed};
    [Completed, Failed, Cancelled, Expired].contains(&state)
}

fn leased(state: JobState) -> bool {
    state == JobState::Claimed || state == JobState::Running
}

impl Model {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            rev: 0,
            clock: 0,
            wall: 0,
            added: 0,
            jobs: Vec::new(),
            graves: Vec::new(),
            queues: Vec::new(),
            changes: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, entry: &Entry) -> Applied {
        self.changes.clear();
        self.clock = self.clock.max(entry.stamp.clock.0);
        self.wall = entry.stamp.wall.0;
        let mut steps = self.limits.steps_max;
        while steps > 0 && self.one_thing_due() {
            steps -= 1;
        }
        let mut outcomes = Vec::new();
        for command in &entry.commands {
            let result = self.command(command);
            outcomes.push(Outcome { rev: Rev(self.rev), result });
            while steps > 0 && self.settle_one_dependent() {
                steps -= 1;
            }
        }
        Applied { outcomes, changes: self.changes.clone(), ..Applied::default() }
    }

    // ---- time

    /// (deadline, job, what): 0 expires unclaimed, 1 loses its lease, 2 wakes.
    fn due_by_clock(&self) -> Option<(u64, usize, u8)> {
        let mut due = Vec::new();
        for (at, job) in self.jobs.iter().enumerate() {
            use JobState::{Blocked, Pending, Scheduled};
            let waits = [Blocked, Pending, Scheduled].contains(&job.state);
            if let Some(expires_at) = job.expires_at
                && waits
                && job.attempts.is_empty()
            {
                due.push((expires_at, at, 0));
            }
            if leased(job.state) {
                due.push((job.deadline, at, 1));
            }
            if job.state == Scheduled
                && let Some(wakes_at) = job.wakes_at
            {
                due.push((wakes_at, at, 2));
            }
        }
        due.into_iter().min()
    }

    fn due_by_wall(&self) -> Option<(u64, usize)> {
        let waiting = self
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| job.state == JobState::Scheduled && job.wakes_at.is_none());
        waiting.map(|(at, job)| (job.run_at, at)).min()
    }

    fn due_for_burial(&self) -> Option<(u64, usize)> {
        let ended = self.jobs.iter().enumerate().filter(|(_, job)| terminal(job.state));
        ended.map(|(at, job)| (job.buried_from, at)).min()
    }

    fn graves_left(&self) -> bool {
        (self.graves.len() as u64) < self.limits.tombstones_max
    }

    fn one_thing_due(&mut self) -> bool {
        if let Some((when, at, what)) = self.due_by_clock()
            && when <= self.clock
        {
            match what {
                0 => self.finish(at, JobState::Expired),
                1 => self.lose(at),
                _ => self.make_ready(at),
            }
            return true;
        }
        if let Some((when, at)) = self.due_by_wall()
            && when <= self.wall
        {
            self.make_ready(at);
            return true;
        }
        if self.settle_one_dependent() {
            return true;
        }
        if self.graves.first().is_some_and(|grave| grave.until <= self.clock) {
            self.graves.remove(0);
            return true;
        }
        if let Some((when, at)) = self.due_for_burial()
            && when <= self.clock
            && self.graves_left()
        {
            let job = self.jobs.remove(at);
            let keeps = self.limits.retention_ms.max(self.limits.tombstone_floor_ms);
            self.graves.push(Grave {
                new: job.new,
                state: job.state,
                last: job.attempts.last().cloned(),
                until: self.clock + keeps,
            });
            return true;
        }
        false
    }

    fn lose(&mut self, at: usize) {
        let wall = self.wall;
        let job = &mut self.jobs[at];
        job.lost += 1;
        let end = End { how: AttemptEnd::Expired, at: wall, error: None, run_at: None };
        job.attempts.last_mut().unwrap().end = Some(end);
        if job.used >= job.new.max_attempts.unwrap_or(3) {
            self.finish(at, JobState::Failed);
        } else {
            self.make_ready(at);
        }
    }

    /// (what has ended, who waits for it), the first by names and then by age.
    fn dependent(&self) -> Option<(JobId, usize)> {
        let mut pairs = Vec::new();
        for (at, job) in self.jobs.iter().enumerate() {
            for id in job.unmet.iter().filter(|_| job.state == JobState::Blocked) {
                if self.known(id).is_some_and(|(_, state)| terminal(state)) {
                    pairs.push((id.clone(), at));
                }
            }
        }
        pairs.into_iter().min()
    }

    fn settle_one_dependent(&mut self) -> bool {
        let Some((id, at)) = self.dependent() else { return false };
        let state = self.known(&id).unwrap().1;
        let job = &mut self.jobs[at];
        let runs = job.new.on_dependency_failure == OnDependencyFailure::Run;
        if state != JobState::Completed && !runs {
            job.doomed = Some(doom(&id, state));
            self.finish(at, JobState::Failed);
            return true;
        }
        job.unmet.retain(|unmet| *unmet != id);
        if job.unmet.is_empty() {
            let is_early = match job.new.delay {
                Delay::None => false,
                Delay::For(_) => job.wakes_at.is_some_and(|at| at > self.clock),
                Delay::Until(at) => at.0 > self.wall,
            };
            if is_early {
                job.state = JobState::Scheduled;
                self.rev += 1;
            } else {
                self.make_ready(at);
            }
        }
        true
    }

    /// Whether every older job of its group has ended.
    fn is_head(&self, job: &Job) -> bool {
        let older = self.jobs.iter().filter(|other| other.number < job.number);
        job.new.group.is_none()
            || older
                .filter(|other| other.new.group == job.new.group)
                .all(|other| terminal(other.state))
    }

    fn make_ready(&mut self, at: usize) {
        self.rev += 1;
        self.jobs[at].state = JobState::Pending;
        self.say_ready(at);
    }

    fn say_ready(&mut self, at: usize) {
        let job = &self.jobs[at];
        if job.state == JobState::Pending && self.is_head(job) {
            self.changes.push(Change::Ready {
                queue: job.new.queue.clone(),
                work_type: job.new.work_type.clone(),
            });
        }
    }

    fn finish(&mut self, at: usize, state: JobState) {
        let was_head = self.is_head(&self.jobs[at]) && self.jobs[at].new.group.is_some();
        self.rev += 1;
        let job = &mut self.jobs[at];
        job.state = state;
        job.finished_at = self.wall;
        job.buried_from = self.clock + self.limits.retention_ms;
        self.changes.push(Change::Ended { job: job.new.id.clone(), state });
        let group = job.new.group.clone();
        let unfinished = |job: &Job| job.new.group == group && !terminal(job.state);
        if was_head && let Some(next) = self.jobs.iter().position(unfinished) {
            self.say_ready(next);
        }
    }

    fn schedule(&mut self, at: usize, wait: u64) {
        if wait == 0 {
            return self.make_ready(at);
        }
        self.rev += 1;
        let (clock, wall) = (self.clock, self.wall);
        let job = &mut self.jobs[at];
        job.state = JobState::Scheduled;
        job.wakes_at = Some(clock + wait);
        job.run_at = wall + wait;
    }

    // ---- commands

    fn command(&mut self, command: &Command) -> Result<Answer, Rejection> {
        match command {
            Command::Add(Add { jobs }) => {
                let is_new = self.may_add(jobs)?;
                if is_new && !self.graves_left() {
                    let until = self.graves.first().map_or(self.clock, |grave| grave.until);
                    return Err(Rejection::Full {
                        reason: "too many jobs have finished lately: every tombstone is taken"
                            .into(),
                        retry_after_ms: until.saturating_sub(self.clock).max(1),
                    });
                }
                Ok(Answer::Added(jobs.iter().map(|job| self.add_one(job)).collect()))
            }
            Command::Claim(claim) => self.claim(claim),
            Command::Start(holding) => self.start(holding),
            Command::Heartbeat(heartbeat) => Ok(self.heartbeat(heartbeat)),
            Command::Complete(complete) => self.complete(complete),
            Command::Fail(fail) => self.fail(fail),
            Command::Release(release) => self.release(release),
            Command::Cancel(cancel) => self.cancel(&cancel.job),
        }
    }

    fn known(&self, id: &JobId) -> Option<(&NewJob, JobState)> {
        let job = self.jobs.iter().find(|job| job.new.id == *id);
        let grave = self.graves.iter().find(|grave| grave.new.id == *id);
        job.map(|job| (&job.new, job.state)).or(grave.map(|grave| (&grave.new, grave.state)))
    }

    fn may_add(&self, jobs: &[NewJob]) -> Result<bool, Rejection> {
        let mut is_new = false;
        for (index, job) in jobs.iter().enumerate() {
            let earlier = jobs[..index].iter().find(|earlier| earlier.id == job.id);
            if let Some((field, reason)) = out_of_range(job) {
                return Err(Rejection::Invalid {
                    index: u32::try_from(index).unwrap(),
                    field: field.into(),
                    reason: reason.into(),
                });
            }
            let known = self.known(&job.id).map(|known| known.0).or(earlier);
            let in_list = |id: &JobId| jobs.iter().any(|job| job.id == *id);
            if known.is_none()
                && let Some(id) =
                    job.depends_on.iter().find(|id| !in_list(id) && self.known(id).is_none())
            {
                return Err(Rejection::Invalid {
                    index: u32::try_from(index).unwrap(),
                    field: "depends_on".into(),
                    reason: format!("names {id}, which is not known").into(),
                });
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
        if !self.queues.contains(&new.queue) {
            self.queues.push(new.queue.clone());
        }
        self.jobs.push(Job {
            number: self.added,
            new: new.clone(),
            added_at: self.wall,
            expires_at: new.expires_in_ms.map(|ms| self.clock + ms),
            state: JobState::Scheduled,
            wakes_at: None,
            run_at: 0,
            deadline: 0,
            lease_ms: 0,
            finished_at: 0,
            buried_from: 0,
            used: 0,
            lost: 0,
            attempts: Vec::new(),
            result: None,
            progress: None,
            then: Vec::new(),
            unmet: Vec::new(),
            doomed: None,
        });
        self.added += 1;
        let at = self.jobs.len() - 1;
        for id in &new.depends_on {
            match self.known(id).map(|known| known.1) {
                Some(JobState::Completed) => {}
                Some(state) if terminal(state) => {
                    if new.on_dependency_failure == OnDependencyFailure::Fail {
                        self.jobs[at].doomed = Some(doom(id, state));
                        self.jobs[at].unmet.clear();
                        self.finish(at, JobState::Failed);
                        return answer(JobState::Failed, Once::First);
                    }
                }
                _ => self.jobs[at].unmet.push(id.clone()),
            }
        }
        if !self.jobs[at].unmet.is_empty() {
            self.rev += 1;
            let job = &mut self.jobs[at];
            job.state = JobState::Blocked;
            if let Delay::For(ms @ 1..) = new.delay {
                job.wakes_at = Some(self.clock + ms);
                job.run_at = self.wall + ms;
            }
            if let Delay::Until(run_at) = new.delay
                && run_at.0 > self.wall
            {
                job.run_at = run_at.0;
            }
            return answer(JobState::Blocked, Once::First);
        }
        match new.delay {
            Delay::None => self.make_ready(at),
            Delay::For(ms) => self.schedule(at, ms),
            Delay::Until(run_at) if run_at.0 <= self.wall => self.make_ready(at),
            Delay::Until(run_at) => {
                self.rev += 1;
                self.jobs[at].run_at = run_at.0;
            }
        }
        answer(self.jobs[at].state, Once::First)
    }

    /// The ready job that goes first: highest priority, then oldest.
    fn best(&self, claim: &Claim, queue: Option<&QueueName>) -> Option<usize> {
        let fits = |job: &Job| {
            job.state == JobState::Pending
                && self.is_head(job)
                && queue.is_none_or(|queue| *queue == job.new.queue)
                && (claim.work_types.is_empty() || claim.work_types.contains(&job.new.work_type))
        };
        let ready = self.jobs.iter().enumerate().filter(|(_, job)| fits(job));
        ready.max_by_key(|(_, job)| (job.new.priority, u64::MAX - job.number)).map(|it| it.0)
    }

    fn claim(&mut self, claim: &Claim) -> Result<Answer, Rejection> {
        let mut repeated = Vec::new();
        for job in &self.jobs {
            for attempt in &job.attempts {
                let asked = &attempt.claim;
                if asked.worker == claim.worker && asked.request_id == claim.request_id {
                    if asked != claim {
                        return Err(Rejection::RequestIdConflict);
                    }
                    repeated.push((attempt.token, job));
                }
            }
        }
        if !repeated.is_empty() {
            repeated.sort_by_key(|(token, _)| *token);
            let answers = repeated.into_iter().map(|(token, job)| {
                if leased(job.state) && job.attempts.last().unwrap().token == token {
                    Claimed::Granted(self.grant(job))
                } else {
                    let id = job.new.id.clone();
                    Claimed::Lost { job: id, token: Token(token), state: job.state }
                }
            });
            return Ok(Answer::Claimed(answers.collect()));
        }
        let mut granted = Vec::new();
        while granted.len() < claim.max.min(1000) as usize {
            let next = if claim.queues.is_empty() {
                self.best(claim, None)
            } else {
                claim.queues.iter().find_map(|queue| self.best(claim, Some(queue)))
            };
            let Some(at) = next else { break };
            self.rev += 1;
            let (token, clock, wall) = (self.rev, self.clock, self.wall);
            let job = &mut self.jobs[at];
            job.state = JobState::Claimed;
            job.used += 1;
            let asked = claim.lease_ms.or(job.new.lease_ms).unwrap_or(30_000);
            job.lease_ms = asked.clamp(100, 43_200_000);
            job.deadline = clock + job.lease_ms;
            job.attempts.push(Attempt {
                number: job.used,
                token,
                claim: claim.clone(),
                claimed_at: wall,
                started: false,
                end: None,
            });
            if job.attempts.len() > 32 {
                job.attempts.remove(0);
            }
            granted.push(Claimed::Granted(self.grant(&self.jobs[at])));
        }
        Ok(Answer::Claimed(granted))
    }

    fn grant(&self, job: &Job) -> Grant {
        let attempt = job.attempts.last().unwrap();
        Grant {
            job: job.new.id.clone(),
            queue: job.new.queue.clone(),
            work_type: job.new.work_type.clone(),
            payload: job.new.payload.clone(),
            priority: job.new.priority,
            attempt: attempt.number,
            max_attempts: job.new.max_attempts.unwrap_or(3),
            token: Token(attempt.token),
            lease_ms: job.lease_ms,
            lease_expires_in_ms: job.deadline.saturating_sub(self.clock),
            deadline: ClockMs(job.deadline),
            added_at: WallMs(job.added_at),
            tags: job.new.tags.clone(),
        }
    }

    /// The place of the job held under this token; else what the call answers instead.
    fn held(&self, holding: &Holding, verb: Verb) -> Result<usize, Result<Answer, Rejection>> {
        let Holding { job: id, token } = holding;
        let Some((_, state)) = self.known(id) else {
            return Err(Err(Rejection::JobNotFound { job: id.clone() }));
        };
        let at = self.jobs.iter().position(|job| job.new.id == *id);
        let job = at.map(|at| &self.jobs[at]);
        let current = job.filter(|job| leased(job.state)).map(|job| job.attempts.last().unwrap());
        if current.is_some_and(|attempt| attempt.token == token.0) {
            return Ok(at.unwrap());
        }
        let spent = self.spent(holding);
        if let Some(attempt) = &spent {
            let end = attempt.end.as_ref().unwrap();
            let once = Once::Duplicate;
            let then = job.map_or(&[][..], |job| &job.then);
            let then = then.iter().cloned().map(|added| Added { once, ..added }).collect();
            let again = match (verb, end.how) {
                (Verb::Start, _) if attempt.started => Some(Answer::Started(once)),
                (Verb::Complete, AttemptEnd::Completed) => Some(Answer::Completed { once, then }),
                (Verb::Fail, AttemptEnd::Failed) => Some(match end.run_at {
                    Some(run_at) => Answer::Retrying { once, run_at: WallMs(run_at) },
                    None => Answer::Failed(once),
                }),
                (Verb::Release, AttemptEnd::Released) => Some(Answer::Released(once)),
                _ => None,
            };
            if let Some(again) = again {
                return Err(Ok(again));
            }
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
        let end = End { how, at: self.wall, error, run_at: None };
        self.jobs[at].attempts.last_mut().unwrap().end = Some(end);
    }

    fn run(&mut self, at: usize) {
        if self.jobs[at].state == JobState::Claimed {
            self.jobs[at].state = JobState::Running;
            self.rev += 1;
        }
    }

    fn start(&mut self, holding: &Holding) -> Result<Answer, Rejection> {
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

    fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Answer {
        let mut items = Vec::new();
        for beat in &heartbeat.items {
            let Holding { job: id, token } = &beat.holding;
            let status = if let Ok(at) = self.held(&beat.holding, Verb::Start) {
                self.run(at);
                let clock = self.clock;
                let job = &mut self.jobs[at];
                let asked = beat.lease_ms.map_or(job.lease_ms, |ms| ms.clamp(100, 43_200_000));
                job.deadline = job.deadline.max(clock + asked);
                if beat.progress.is_some() {
                    job.progress.clone_from(&beat.progress);
                }
                BeatStatus::Extended { lease_expires_in_ms: job.deadline.saturating_sub(clock) }
            } else {
                let end = self.spent(&beat.holding).and_then(|attempt| attempt.end);
                match end.map(|end| end.how) {
                    Some(AttemptEnd::Cancelled) => BeatStatus::CancelRequested,
                    _ => BeatStatus::Lost,
                }
            };
            items.push(Beaten { job: id.clone(), token: *token, status });
        }
        Answer::Heartbeat { items, drain: false }
    }

    fn complete(&mut self, complete: &Complete) -> Result<Answer, Rejection> {
        let at = match self.held(&complete.holding, Verb::Complete) {
            Ok(at) => at,
            Err(otherwise) => return otherwise,
        };
        self.may_add(&complete.then)?;
        self.end_attempt(at, AttemptEnd::Completed, None);
        self.finish(at, JobState::Completed);
        self.jobs[at].result.clone_from(&complete.result);
        let then: Vec<_> = complete.then.iter().map(|job| self.add_one(job)).collect();
        self.jobs[at].then.clone_from(&then);
        Ok(Answer::Completed { once: Once::First, then })
    }

    fn fail(&mut self, fail: &Fail) -> Result<Answer, Rejection> {
        let at = match self.held(&fail.holding, Verb::Fail) {
            Ok(at) => at,
            Err(otherwise) => return otherwise,
        };
        self.end_attempt(at, AttemptEnd::Failed, fail.error.clone());
        let job = &self.jobs[at];
        let wait = match fail.retry {
            _ if job.used >= job.new.max_attempts.unwrap_or(3) => None,
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

    fn release(&mut self, release: &Release) -> Result<Answer, Rejection> {
        let at = match self.held(&release.holding, Verb::Release) {
            Ok(at) => at,
            Err(otherwise) => return otherwise,
        };
        self.end_attempt(at, AttemptEnd::Released, None);
        self.jobs[at].used -= 1;
        self.schedule(at, release.delay_ms);
        Ok(Answer::Released(Once::First))
    }

    fn cancel(&mut self, id: &JobId) -> Result<Answer, Rejection> {
        let Some((_, state)) = self.known(id) else {
            return Err(Rejection::JobNotFound { job: id.clone() });
        };
        if state == JobState::Cancelled {
            return Ok(Answer::Cancelled(Once::Duplicate));
        }
        if terminal(state) {
            return Err(Rejection::WrongState { job: id.clone(), state });
        }
        let at = self.jobs.iter().position(|job| job.new.id == *id).unwrap();
        if leased(state) {
            self.end_attempt(at, AttemptEnd::Cancelled, None);
        }
        self.finish(at, JobState::Cancelled);
        Ok(Answer::Cancelled(Once::First))
    }

    // ---- what is seen

    pub(crate) fn found(&self, id: &JobId) -> Option<Found> {
        if let Some(job) = self.jobs.iter().find(|job| job.new.id == *id) {
            return Some(Found::Job(Box::new(self.view(job))));
        }
        let grave = self.graves.iter().find(|grave| grave.new.id == *id)?;
        Some(Found::Tombstone(TombstoneView {
            id: id.clone(),
            state: grave.state,
            token: grave.last.as_ref().map(|attempt| Token(attempt.token)),
        }))
    }

    pub(crate) fn view(&self, job: &Job) -> JobView {
        let mut errors =
            job.attempts.iter().filter_map(|attempt| attempt.end.as_ref()?.error.clone());
        JobView {
            number: JobNumber(job.number),
            id: job.new.id.clone(),
            queue: job.new.queue.clone(),
            work_type: job.new.work_type.clone(),
            priority: job.new.priority,
            state: job.state,
            payload: job.new.payload.clone(),
            tags: job.new.tags.clone(),
            lease_ms: job.new.lease_ms.unwrap_or(30_000),
            max_attempts: job.new.max_attempts.unwrap_or(3),
            attempts_used: job.used,
            attempts_lost: job.lost,
            attempts: job.attempts.iter().map(attempt_view).collect(),
            result: job.result.clone(),
            depends_on: job.new.depends_on.clone(),
            group: job.new.group.clone(),
            error: job.doomed.as_deref().map(Arc::from).or(errors.next_back()),
            progress: job.progress.clone(),
            added_at: WallMs(job.added_at),
            run_at: match job.state {
                JobState::Scheduled => Some(WallMs(job.run_at)),
                JobState::Blocked if job.run_at > 0 => Some(WallMs(job.run_at)),
                _ => None,
            },
            lease: leased(job.state).then(|| {
                let attempt = job.attempts.last().unwrap();
                LeaseView {
                    holder: attempt.claim.worker.clone(),
                    token: Token(attempt.token),
                    lease_expires_in_ms: job.deadline.saturating_sub(self.clock),
                }
            }),
            finished_at: terminal(job.state).then_some(WallMs(job.finished_at)),
        }
    }

    pub(crate) fn held_by(&self, worker: &WorkerId) -> Vec<JobView> {
        let holds =
            |job: &&Job| leased(job.state) && job.attempts.last().unwrap().claim.worker == *worker;
        let mut held: Vec<_> = self.jobs.iter().filter(holds).map(|job| self.view(job)).collect();
        held.sort_by_key(|job| job.lease.as_ref().map(|lease| lease.token));
        held
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals { total: self.jobs.len() as u64, ..Totals::default() };
        totals.tombstones = self.graves.len() as u64;
        for queue in &self.queues {
            totals.queues.insert(queue.clone(), QueueTotals::default());
        }
        for job in &self.jobs {
            *totals.by_status.entry(job.state).or_default() += 1;
            *totals.by_type.entry(job.new.work_type.clone()).or_default() += 1;
            let queue = totals.queues.get_mut(&job.new.queue).unwrap();
            *queue.by_status.entry(job.state).or_default() += 1;
            if job.state == JobState::Pending && queue.oldest_pending.is_none() {
                queue.oldest_pending = Some(WallMs(job.added_at));
            }
        }
        totals
    }

    /// The earliest moments on the two clocks, and whether one of them has passed.
    pub(crate) fn deadlines(&self) -> (Option<u64>, Option<u64>, bool) {
        let by_clock = self.due_by_clock().map(|due| due.0);
        let by_wall = self.due_by_wall().map(|due| due.0);
        let free_from = if self.graves_left() { 0 } else { self.graves[0].until };
        let burial = self.due_for_burial().map(|due| due.0.max(free_from));
        let has_passed = |at: Option<u64>, now: u64| at.is_some_and(|at| at <= now);
        let is_behind = has_passed(by_clock, self.clock)
            || has_passed(by_wall, self.wall)
            || self.dependent().is_some()
            || (self.graves_left() && has_passed(burial, self.clock));
        (by_clock.into_iter().chain(burial).min(), by_wall, is_behind)
    }
}

fn attempt_view(attempt: &Attempt) -> AttemptView {
    let end = attempt.end.as_ref();
    AttemptView {
        attempt: attempt.number,
        token: Token(attempt.token),
        worker: attempt.claim.worker.clone(),
        claimed_at: WallMs(attempt.claimed_at),
        ended_at: end.map(|end| WallMs(end.at)),
        end: end.map(|end| end.how),
        error: end.and_then(|end| end.error.clone()),
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

fn doom(dependency: &JobId, state: JobState) -> String {
    format!("its dependency {dependency} is {}", format!("{state:?}").to_lowercase())
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
