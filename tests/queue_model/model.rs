//! The queue again, read straight from `docs/api.md`: flat lists, searched from end to end, and no
//! cleverness. It shares the vocabulary of commands and answers with the rules, and nothing else.

mod add;
mod claim;
mod encounters;
mod holder;
mod operations;
mod purge;
mod queues;
mod retry;
mod sessions;
mod time;
mod views;
mod workers;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use quorate::queue::{
    Add, Added, Answer, Applied, AttemptEnd, Change, Claim, Command, Entry, JobId, JobState,
    Limits, NewJob, Outcome, Rejection, RequestId, Rev,
};

pub(crate) use queues::Queue;
pub(crate) use workers::Worker;

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
    /// Those that exist, and deleted ones of which jobs are left.
    pub(crate) queues: Vec<Queue>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) memories: Vec<Memory>,
    /// What has come to pass that no answer shows, and how often.
    pub(crate) encounters: BTreeMap<&'static str, u64>,
    changes: Vec<Change>,
}

pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) new: NewJob,
    /// Its own, or its queue's when it was added.
    pub(crate) lease_default_ms: u64,
    pub(crate) max_attempts: u32,
    pub(crate) added_at: u64,
    pub(crate) expires_at: Option<u64>,
    /// Without regard to purges: see [`Job::state_seen`].
    pub(crate) phase: JobState,
    /// Purged and not cleared yet.
    pub(crate) purge: Option<Purge>,
    /// While scheduled, and while blocked and delayed.
    pub(crate) wake: Option<Wake>,
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
    /// While blocked.
    pub(crate) unmet: Vec<JobId>,
    pub(crate) doomed: Option<String>,
}

#[derive(Clone, Copy)]
pub(crate) struct Purge {
    pub(crate) at: u64,
    pub(crate) buried_from: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Wake {
    /// At this cluster clock, which people read as that wall clock.
    Clock {
        at: u64,
        run_at: u64,
    },
    Wall(u64),
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
    /// What came of the jobs of `then`.
    pub(crate) then: Vec<Added>,
}

pub(crate) struct Grave {
    pub(crate) new: NewJob,
    pub(crate) state: JobState,
    pub(crate) last: Option<Attempt>,
    pub(crate) until: u64,
}

/// An operation that was carried out.
pub(crate) struct Memory {
    pub(crate) request_id: RequestId,
    pub(crate) action: quorate::queue::Action,
    pub(crate) answer: Answer,
    pub(crate) until: u64,
}

fn leased(state: JobState) -> bool {
    state == JobState::Claimed || state == JobState::Running
}

impl End {
    fn plain(how: AttemptEnd, at: u64) -> Self {
        Self { how, at, error: None, run_at: None, then: Vec::new() }
    }
}

impl Job {
    /// What everybody is told that it is.
    pub(crate) fn state_seen(&self) -> JobState {
        if self.purge.is_some() { JobState::Cancelled } else { self.phase }
    }

    pub(crate) fn is_unfinished(&self) -> bool {
        !self.state_seen().is_terminal()
    }

    pub(crate) fn is_leased(&self) -> bool {
        leased(self.state_seen())
    }
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
            workers: Vec::new(),
            memories: Vec::new(),
            encounters: BTreeMap::new(),
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
            self.note_purged_jobs_met_by(command);
            let result = self.command(command);
            outcomes.push(Outcome { rev: Rev(self.rev), result });
            while steps > 0 && self.one_thing_begun() {
                steps -= 1;
            }
        }
        self.note_sessions_left_over();
        Applied { outcomes, changes: self.changes.clone(), ..Applied::default() }
    }

    fn command(&mut self, command: &Command) -> Result<Answer, Rejection> {
        match command {
            Command::Add(Add { jobs }) => self.add(jobs),
            Command::Claim(claim) => self.claim(claim),
            Command::Start(holding) => self.start(holding),
            Command::Heartbeat(heartbeat) => Ok(self.heartbeat(heartbeat)),
            Command::Complete(complete) => self.complete(complete),
            Command::Fail(fail) => self.fail(fail),
            Command::Release(release) => self.release(release),
            Command::Cancel(cancel) => self.cancel(&cancel.job),
            Command::Operate(operation) => self.operate(operation),
            Command::WorkerDown(down) => self.worker_down(down),
        }
    }

    /// What was added under this id, and what has become of it.
    fn known(&self, id: &JobId) -> Option<(&NewJob, JobState)> {
        let job = self.jobs.iter().find(|job| job.new.id == *id);
        let grave = self.graves.iter().find(|grave| grave.new.id == *id);
        job.map(|job| (&job.new, job.state_seen())).or(grave.map(|grave| (&grave.new, grave.state)))
    }

    fn place_of(&self, id: &JobId) -> Option<usize> {
        self.jobs.iter().position(|job| job.new.id == *id)
    }

    /// Whether it could be claimed, if its queue were open.
    fn is_ready(&self, at: usize) -> bool {
        let job = &self.jobs[at];
        if job.phase != JobState::Pending || job.purge.is_some() {
            return false;
        }
        // A purged job holds its group until it is cleared: phases count here, not what is seen.
        let mut others = self.jobs.iter().filter(|other| {
            job.new.group.is_some()
                && other.new.group == job.new.group
                && other.number != job.number
                && !other.phase.is_terminal()
        });
        others.all(|other| other.number > job.number && !leased(other.phase))
    }

    fn ready_in_group_of(&self, at: usize) -> Vec<usize> {
        let group = &self.jobs[at].new.group;
        let others = (0..self.jobs.len()).filter(|other| {
            *other != at && group.is_some() && self.jobs[*other].new.group == *group
        });
        others.filter(|other| self.is_ready(*other)).collect()
    }

    /// Whatever happens to a job happens in here, and who waits for it is told.
    fn edit(&mut self, at: usize, edit: impl FnOnce(&mut Job)) {
        let queue = self.jobs[at].new.queue.clone();
        let were_ready = self.ready_in_group_of(at);
        let was_leased = self.jobs[at].is_leased();
        edit(&mut self.jobs[at]);
        let job = &self.jobs[at];
        if job.phase.is_terminal() {
            self.changes.push(Change::Ended { job: job.new.id.clone(), state: job.phase });
        }
        self.say_ready(at);
        for freed in self.ready_in_group_of(at) {
            if !were_ready.contains(&freed) {
                self.say_ready(freed);
            }
        }
        let has_freed_a_place = was_leased && !self.jobs[at].is_leased();
        let is_limited = self.settings(&queue).max_leased.is_some();
        if has_freed_a_place && is_limited && self.is_open(&queue) {
            self.say_lanes_ready(&queue);
        }
    }

    /// The same, as a change of its own.
    fn transition(&mut self, at: usize, edit: impl FnOnce(&mut Job)) {
        self.rev += 1;
        self.edit(at, edit);
    }

    fn say_ready(&mut self, at: usize) {
        if self.is_ready(at) {
            let new = &self.jobs[at].new;
            let (queue, work_type) = (new.queue.clone(), new.work_type.clone());
            self.changes.push(Change::Ready { queue, work_type });
        }
    }

    fn make_ready(&mut self, at: usize) {
        self.transition(at, |job| {
            job.phase = JobState::Pending;
            job.wake = None;
        });
    }

    fn finish(&mut self, at: usize, state: JobState) {
        let (finished_at, buried_from) = (self.wall, self.clock + self.limits.retention_ms);
        self.transition(at, |job| {
            job.phase = state;
            job.finished_at = finished_at;
            job.buried_from = buried_from;
        });
    }

    fn schedule(&mut self, at: usize, wait: u64) {
        if wait == 0 {
            return self.make_ready(at);
        }
        let wake = Wake::Clock { at: self.clock + wait, run_at: self.wall + wait };
        self.transition(at, |job| {
            job.phase = JobState::Scheduled;
            job.wake = Some(wake);
        });
    }
}

fn invalid(index: usize, field: &str, reason: &str) -> Rejection {
    Rejection::Invalid {
        index: u32::try_from(index).unwrap(),
        field: field.into(),
        reason: reason.into(),
    }
}
