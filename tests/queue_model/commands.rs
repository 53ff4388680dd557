//! Entries at random: few names, so that they meet; tokens and requests of the past, so that calls
//! repeat; and clocks that jump, stand still and go back.

mod operations;

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate::queue::{
    Add, Answer, Applied, Backoff, Beat, Cancel, Claim, Claimed, ClockMs, Command, Complete, Delay,
    Entry, Fail, GroupName, Heartbeat, Holding, JobId, Limits, NewJob, OnDependencyFailure,
    Operation, Payload, QueueName, Release, RequestId, Retry, Stamp, Token, WallMs, WorkType,
    WorkerDown, WorkerId,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// What kind of run a seed makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    pub(crate) limits: Limits,
    /// How many ids there are.
    pub(crate) ids: u32,
    /// The longest jump of the clock, ms.
    pub(crate) jump_ms: u64,
    /// Of ten calls of a holder, how many are releases: long memories of attempts.
    pub(crate) releases: u32,
    /// Whether most jobs meet in one queue, and steps are too few for its purges.
    pub(crate) is_crowded: bool,
    /// Whether a second replica runs along.
    pub(crate) has_twin: bool,
}

impl Profile {
    pub(crate) fn of(seed: u64) -> Self {
        let (retention_ms, tombstone_floor_ms) =
            if (seed / 5).is_multiple_of(3) { (4_000, 6_000) } else { (300, 500) };
        let is_forgetful = seed % 7 < 2;
        let limits = Limits {
            retention_ms,
            tombstone_floor_ms,
            tombstones_max: if (seed / 4).is_multiple_of(3) { 4 } else { 1_000 },
            steps_max: [2, 2_000, 4, 2_000][(seed % 4) as usize],
            memory_ms: if is_forgetful || (seed / 3).is_multiple_of(4) { 1_500 } else { 300_000 },
            memory_max: if is_forgetful { 12 } else { 1_000_000 },
            worker_ms: [500, 3_000, 3_600_000][(seed / 2 % 3) as usize],
            workers_max: [1, 2, 100, 100, 100][(seed / 3 % 5) as usize],
        };
        let is_crowded = limits.steps_max < 2_000;
        let (ids, jump_ms, releases) = match seed % 5 {
            0 => (2, 300, 10),
            1 => (30, 20_000, 2),
            _ if is_crowded => (30, 1_000, 2),
            _ => (16, 2_000, 2),
        };
        Self { limits, ids, jump_ms, releases, is_crowded, has_twin: seed % 8 == 1 }
    }
}

pub(crate) struct Generator {
    rng: StdRng,
    profile: Profile,
    clock: u64,
    wall: u64,
    /// The content last added under an id.
    contents: BTreeMap<u32, NewJob>,
    holdings: Vec<Holding>,
    claims: Vec<Claim>,
    operations: Vec<Operation>,
    /// The session that agents are mostly in.
    session: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64, profile: Profile) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            profile,
            clock: 1_000,
            wall: 1_000_000,
            contents: BTreeMap::new(),
            holdings: Vec::new(),
            claims: Vec::new(),
            operations: Vec::new(),
            session: 5,
        }
    }

    pub(crate) fn entry(&mut self) -> Entry {
        let jump = match self.below(10) {
            0 => u64::from(self.below(u32::try_from(self.profile.jump_ms).unwrap())),
            1..=5 => u64::from(self.below(80)),
            _ => 0,
        };
        self.clock += jump;
        self.wall = (self.wall + jump + u64::from(self.below(20))).saturating_sub(10);
        let back = if self.below(20) == 0 { u64::from(self.below(500)) } else { 0 };
        let stamp = Stamp { clock: ClockMs(self.clock - back.min(900)), wall: WallMs(self.wall) };
        let commands = (0..self.below(21)).map(|_| self.command()).collect();
        Entry { stamp, commands }
    }

    /// The seed of what is looked at.
    pub(crate) fn look(&mut self) -> u64 {
        self.rng.random()
    }

    /// Whether the state is frozen and restored after the entry: often enough that two come close together,
    /// seldom enough that much happens between them.
    pub(crate) fn restores(&mut self) -> bool {
        self.one_in(37)
    }

    /// Tokens come from answers.
    pub(crate) fn learn(&mut self, applied: &Applied) {
        for outcome in &applied.outcomes {
            let Ok(Answer::Claimed(claimed)) = &outcome.result else { continue };
            for claimed in claimed {
                if let Claimed::Granted(grant) = claimed {
                    self.holdings.push(Holding { job: grant.job.clone(), token: grant.token });
                }
            }
        }
        let old = self.holdings.len().saturating_sub(100);
        self.holdings.drain(..old);
    }

    pub(super) fn below(&mut self, bound: u32) -> u32 {
        self.rng.random_range(0..bound.max(1))
    }

    pub(super) fn one_in(&mut self, of: u32) -> bool {
        self.below(of) == 0
    }

    fn command(&mut self) -> Command {
        match self.below(26) {
            24.. if self.profile.is_crowded || self.one_in(8) => {
                Command::WorkerDown(self.worker_down())
            }
            20..=23 => Command::Operate(self.operation()),
            0..=5 => {
                let most = if self.profile.is_crowded { 7 } else { 3 };
                Command::Add(Add { jobs: self.jobs(most) })
            }
            6..=9 => Command::Claim(self.claim()),
            10 => Command::Start(self.holding()),
            11 => Command::Heartbeat(self.heartbeat()),
            12 | 13 if self.profile.releases < 10 || self.one_in(10) => {
                Command::Cancel(Cancel { job: self.id() })
            }
            _ => self.settle(),
        }
    }

    fn settle(&mut self) -> Command {
        let holding = self.holding();
        if self.below(10) < self.profile.releases {
            let delay_ms = if self.one_in(4) { 50 } else { 0 };
            return Command::Release(Release { holding, delay_ms });
        }
        if self.one_in(2) {
            let then = if self.one_in(3) { self.jobs(2) } else { Vec::new() };
            let result = self.one_in(2).then(|| Bytes::from_static(b"[1]"));
            return Command::Complete(Complete { holding, result, then });
        }
        let retry = match self.below(6) {
            0 => Retry::Never,
            1 => Retry::After(0),
            2 => Retry::After(70),
            _ => Retry::Backoff,
        };
        let error = self.one_in(2).then(|| format!("error {}", self.below(3)).into());
        Command::Fail(Fail { holding, error, retry })
    }

    pub(super) fn id_numbered(number: u32) -> JobId {
        JobId::parse(&format!("job-{number}")).unwrap()
    }

    /// Often one that was leased lately.
    pub(super) fn id(&mut self) -> JobId {
        if !self.holdings.is_empty() && self.one_in(2) {
            return self.holding().job;
        }
        Self::id_numbered(self.rng.random_range(0..self.profile.ids))
    }

    pub(super) fn queue(&mut self) -> QueueName {
        let name = if self.profile.is_crowded && !self.one_in(3) {
            "a"
        } else {
            ["a", "b", "c"][self.rng.random_range(0..3)]
        };
        QueueName::parse(name).unwrap()
    }

    fn work_type(&mut self) -> WorkType {
        WorkType::parse(["x", "y"][self.rng.random_range(0..2)]).unwrap()
    }

    fn jobs(&mut self, most: u32) -> Vec<NewJob> {
        let one = self.one_in(2);
        let number = if one { 1 } else { self.below(most + 1) };
        let mut jobs: Vec<NewJob> = (0..number).map(|_| self.job()).collect();
        if jobs.len() > 1 && self.one_in(8) {
            jobs[0].depends_on = vec![jobs[1].id.clone()];
            if self.one_in(2) {
                jobs[1].depends_on = vec![jobs[0].id.clone()];
            }
        }
        jobs
    }

    /// Mostly ids that were added once.
    fn dependencies(&mut self) -> Vec<JobId> {
        let known: Vec<u32> = self.contents.keys().copied().collect();
        let ids = 0..=self.below(3);
        ids.map(|_| {
            if known.is_empty() || self.one_in(20) {
                return self.id();
            }
            Self::id_numbered(known[self.rng.random_range(0..known.len())])
        })
        .collect()
    }

    fn group(&mut self) -> GroupName {
        GroupName::parse(["g", "h", "i"][self.rng.random_range(0..3)]).unwrap()
    }

    /// Mostly what was added under that id before.
    fn job(&mut self) -> NewJob {
        let number = self.below(self.profile.ids);
        if let Some(known) = self.contents.get(&number)
            && self.rng.random_bool(0.95)
        {
            return known.clone();
        }
        let job = self.new_job(number);
        // Else whatever comes under that id would be refused for as long as it is known.
        if !self.contents.contains_key(&number) || self.one_in(10) {
            self.contents.insert(number, job.clone());
        }
        job
    }

    fn new_job(&mut self, number: u32) -> NewJob {
        let delay = match self.below(8) {
            0 => Delay::For(u64::from(self.below(200))),
            1 => Delay::Until(WallMs((self.wall + u64::from(self.below(400))) - 100)),
            _ => Delay::None,
        };
        let bytes = Bytes::from("0".repeat(self.below(30) as usize));
        NewJob {
            id: Self::id_numbered(number),
            queue: self.queue(),
            work_type: self.work_type(),
            payload: Payload { bytes, content_type: "application/json".into() },
            priority: if self.one_in(100) {
                101
            } else {
                [0, 50, 50, 51, 100][self.rng.random_range(0..5)]
            },
            delay,
            lease_ms: match self.below(100) {
                0 => Some(99),
                1..=45 => Some(100 + u64::from(self.below(300))),
                _ => None,
            },
            max_attempts: match self.below(100) {
                0 => Some(0),
                _ if self.profile.releases == 10 => Some(1000),
                1..=40 => Some(1 + self.below(3)),
                41..=60 => Some(1000),
                _ => None,
            },
            backoff: if self.one_in(2) {
                Backoff {
                    initial_ms: 20,
                    factor_thousandths: 1500,
                    max_ms: 60,
                    jitter_thousandths: 500,
                }
            } else {
                Backoff::default()
            },
            expires_in_ms: self.one_in(6).then(|| u64::from(self.below(300))),
            depends_on: if self.one_in(6) { self.dependencies() } else { Vec::new() },
            on_dependency_failure: if self.one_in(3) {
                OnDependencyFailure::Run
            } else {
                OnDependencyFailure::Fail
            },
            group: self.one_in(if self.profile.is_crowded { 2 } else { 3 }).then(|| self.group()),
            tags: self
                .one_in(4)
                .then(|| ("tag".to_owned(), "value".to_owned()))
                .into_iter()
                .collect(),
        }
    }

    pub(super) fn worker(&mut self) -> WorkerId {
        WorkerId::parse(["w1", "w2", "w3"][self.rng.random_range(0..3)]).unwrap()
    }

    /// Mostly new; else one of the last, as it was or altered.
    fn claim(&mut self) -> Claim {
        if !self.claims.is_empty() && self.one_in(if self.profile.is_crowded { 2 } else { 3 }) {
            let recent = u32::try_from(self.claims.len().min(6)).unwrap();
            let place = self.claims.len() - 1 - self.below(recent) as usize;
            let mut claim = self.claims[place].clone();
            if self.one_in(6) {
                claim.max += 1;
            }
            return claim;
        }
        let number = self.claims.len();
        let claim = Claim {
            worker: self.worker(),
            session: (!self.one_in(4)).then(|| self.session()),
            queues: if self.one_in(2) {
                Vec::new()
            } else {
                (0..=self.below(3)).map(|_| self.queue()).collect()
            },
            work_types: if self.one_in(2) {
                Vec::new()
            } else {
                (0..=self.below(2)).map(|_| self.work_type()).collect()
            },
            max: [0, 1, 1, 2, 5, 2_000][self.rng.random_range(0..6)],
            lease_ms: match self.below(6) {
                0 => Some(1),
                1..=3 => Some(100 + u64::from(self.below(500))),
                _ => None,
            },
            request_id: RequestId::parse(&format!("request-{number}")).unwrap(),
            labels: self.one_in(3).then(|| ("zone".into(), "a".into())).into_iter().collect(),
        };
        self.claims.push(claim.clone());
        claim
    }

    /// Mostly the one that most are in; else one before, or one after.
    fn session(&mut self) -> u64 {
        match self.below(20) {
            0 => self.session + 1,
            1..=3 => self.session - 1,
            _ => self.session,
        }
    }

    /// Mostly the last one that claimed. Agents do not come back under a session that is down.
    fn worker_down(&mut self) -> WorkerDown {
        let claimed = self.claims.iter().rev().find_map(|it| it.session.zip(Some(&it.worker)));
        let down = match claimed.map(|(session, worker)| (worker.clone(), session)) {
            Some((worker, session)) if !self.one_in(4) => WorkerDown { worker, session },
            _ => WorkerDown { worker: self.worker(), session: self.session() },
        };
        self.session += u64::from(!self.one_in(4));
        down
    }

    /// Mostly one of the last grants; else a token or a job that does not belong.
    fn holding(&mut self) -> Holding {
        if self.holdings.is_empty() || self.one_in(30) {
            return Holding { job: self.id(), token: Token(u64::from(self.below(50))) };
        }
        let reach = if self.one_in(3) { 100 } else { 6 };
        let recent = u32::try_from(self.holdings.len().min(reach)).unwrap();
        let place = self.holdings.len() - 1 - self.below(recent) as usize;
        let mut holding = self.holdings[place].clone();
        if self.one_in(40) {
            holding.job = self.id();
        }
        holding
    }

    fn heartbeat(&mut self) -> Heartbeat {
        let worker = self.one_in(2).then(|| self.worker());
        let beats = 0..=self.below(3);
        let items = beats.map(|_| Beat {
            holding: self.holding(),
            lease_ms: match self.below(4) {
                0 => Some(1),
                1 => Some(u64::from(self.below(1_000))),
                _ => None,
            },
            progress: self.one_in(3).then(|| Bytes::from_static(b"{\"done\":1}")),
        });
        Heartbeat { worker, items: items.collect() }
    }
}
