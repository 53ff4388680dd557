//! How long one apply takes while very many jobs change at once: a purge of a million, a dependency
//! that fails a hundred thousand, a hundred thousand leases that end in one instant.
//!
//! `cargo bench --bench purge_stall [-- JOBS]` prints a row for each, alone and while a snapshot shares
//! every job. Each of these takes effect at once and is worked off in bounded steps (guarantees, rule 9):
//! the table says in how many entries, and how long the longest took. After every entry the counts
//! must be what they should be, and every entry claims: nothing may be granted. It fails when an apply
//! took more than 5 ms of the processor.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod load;
mod took;

use std::{process::ExitCode, time::Duration};

use load::Load;
use quorate::queue::{
    Action, Add, Answer, Claim, Claimed, Command, Delay, Fail, GroupName, Holding, JobState,
    Limits, NewJob, Operation, QueueName, RequestId, Retry, State, Totals,
};
use took::{Took, timed};

const JOBS_DEFAULT: u64 = 1_000_000;
/// An apply may take so much of the processor.
const LIMIT: Duration = Duration::from_millis(5);
/// The most jobs that time and purges may change in one entry: `Limits::steps_max`.
const STEPS_MAX: u64 = 2_000;

fn main() -> ExitCode {
    let jobs = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(JOBS_DEFAULT);
    println!(
        "{:<50} {:>8} {:>8} {:>10} {:>10} {:>12}",
        "", "jobs", "entries", "first ms", "longest ms", "(wall clock)"
    );
    let mut holds = true;
    for sharing in [Sharing::None, Sharing::Snapshot] {
        holds &= purge(jobs, sharing);
        holds &= second_purge(jobs, sharing);
        holds &= burial(jobs, sharing);
        holds &= failed_dependency(jobs / 10, sharing);
        holds &= expired_leases(jobs / 10, sharing);
    }
    let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
    println!("no apply longer than {} ms of the processor: {verdict}", LIMIT.as_millis());
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a snapshot is being read meanwhile, so that every job that changes is copied first.
#[derive(Clone, Copy)]
enum Sharing {
    None,
    Snapshot,
}

/// A purge of jobs of every sort: ready, leased, delayed, grouped, and some that others wait for.
fn purge(jobs: u64, sharing: Sharing) -> bool {
    let mut bench = Bench::new();
    let leased = jobs / 100;
    bench.add_all(jobs, |number, job| match number % 10 {
        8 => NewJob { delay: Delay::For(3_600_000), ..job },
        9 => {
            let group = GroupName::parse(&format!("g{}", number / 1000)).expect("a name");
            NewJob { group: Some(group), ..job }
        }
        _ => job,
    });
    bench.lease(leased, 3_600_000);
    assert_eq!(count(&bench.state.totals(), JobState::Claimed), leased);
    let purge = bench.operation(Action::PurgeQueue(queue("default")));
    let applies = bench.work_off(purge, sharing, |totals, _| {
        assert_eq!(totals.by_status.len(), 1, "all are purged at once: {:?}", totals.by_status);
        assert_eq!(count(totals, JobState::Cancelled), jobs);
        assert_eq!(totals.queues[&queue("default")].unfinished, 0);
    });
    applies.report("purge", jobs, sharing)
}

/// A purge of what was added while an earlier purge was being cleared.
fn second_purge(jobs: u64, sharing: Sharing) -> bool {
    let mut bench = Bench::new();
    bench.add_all(jobs, |_, job| job);
    let purge = bench.operation(Action::PurgeQueue(queue("default")));
    bench.apply(vec![purge]);
    // Entries of 1,000 jobs each, half of what each clears: then as many are left as were added.
    let more = jobs / 3;
    bench.add_all(more, |_, job| job);
    let purge = bench.operation(Action::PurgeQueue(queue("default")));
    let applies = bench.work_off(purge, sharing, |totals, _| {
        assert_eq!(count(totals, JobState::Cancelled), jobs + more);
        assert_eq!(totals.total, jobs + more);
    });
    applies.report("purge during a purge", more, sharing)
}

/// The purged jobs leave for their tombstones, all in one instant.
fn burial(jobs: u64, sharing: Sharing) -> bool {
    let mut bench = Bench::new();
    bench.add_all(jobs, |_, job| job);
    let purge = bench.operation(Action::PurgeQueue(queue("default")));
    bench.apply(vec![purge]);
    bench.settle();
    bench.load.clock += Limits::default().retention_ms;
    let tick = Vec::new();
    let applies = bench.work_off_all(tick, sharing, |totals, entries| {
        let left = jobs.saturating_sub(entries * STEPS_MAX);
        assert_eq!((totals.total, totals.tombstones), (left, jobs - left));
    });
    applies.report("burial", jobs, sharing)
}

/// One job fails, and with it all that wait for it.
fn failed_dependency(jobs: u64, sharing: Sharing) -> bool {
    let mut bench = Bench::new();
    bench.add_all(1, |_, job| job);
    let holding = bench.lease(1, 3_600_000).remove(0);
    let dependency = holding.job.clone();
    bench.add_all(jobs, |_, job| NewJob { depends_on: vec![dependency.clone()], ..job });
    assert_eq!(count(&bench.state.totals(), JobState::Blocked), jobs);
    let fail = Command::Fail(Fail { holding, error: None, retry: Retry::Never });
    let applies = bench.work_off(fail, sharing, |totals, entries| {
        let failed = (entries * STEPS_MAX).min(jobs);
        assert_eq!(count(totals, JobState::Failed), failed + 1);
        assert_eq!(count(totals, JobState::Blocked), jobs - failed);
    });
    applies.report("dependants of a job that fails", jobs, sharing)
}

/// Leases that end in one instant. What they held is ready again, so nothing claims here.
fn expired_leases(jobs: u64, sharing: Sharing) -> bool {
    let mut bench = Bench::new();
    bench.add_all(jobs, |_, job| job);
    bench.lease(jobs, 3_600_000);
    bench.load.clock += 3_600_000;
    let applies = bench.work_off_all(Vec::new(), sharing, |totals, entries| {
        let expired = (entries * STEPS_MAX).min(jobs);
        assert_eq!(count(totals, JobState::Pending), expired);
        assert_eq!(count(totals, JobState::Claimed), jobs - expired);
    });
    applies.report("leases that end", jobs, sharing)
}

/// A state, and what it is fed with.
struct Bench {
    state: State,
    load: Load,
}

/// What each apply took, in order.
struct Applies(Vec<Took>);

impl Bench {
    fn new() -> Self {
        Self { state: State::with_limits(Limits::default()), load: Load::default() }
    }

    fn add_all(&mut self, jobs: u64, mut edit: impl FnMut(u64, NewJob) -> NewJob) {
        let mut number = 0;
        while number < jobs {
            let batch = number..(number + 1000).min(jobs);
            number = batch.end;
            let jobs = batch.map(|number| edit(number, self.load.job())).collect();
            self.apply(vec![Command::Add(Add { jobs })]);
        }
    }

    /// Leases so many jobs for so long, all until the same instant.
    fn lease(&mut self, jobs: u64, lease_ms: u64) -> Vec<Holding> {
        let ends_at = self.load.clock + lease_ms;
        let mut held = Vec::new();
        while (held.len() as u64) < jobs {
            let lease_ms = ends_at - self.load.clock - 1;
            let max = u32::try_from(jobs - held.len() as u64).unwrap_or(u32::MAX).min(1000);
            let claim = Claim { max, lease_ms: Some(lease_ms), ..self.load.claim() };
            held.extend(self.claim(claim));
        }
        held
    }

    fn claim(&mut self, claim: Claim) -> Vec<Holding> {
        let answers = self.apply(vec![Command::Claim(claim)]);
        let Some(Answer::Claimed(claimed)) = answers.into_iter().next() else {
            unreachable!("a claim")
        };
        let holdings = claimed.into_iter().map(|claimed| match claimed {
            Claimed::Granted(grant) => Holding { job: grant.job, token: grant.token },
            Claimed::Lost { .. } => unreachable!("a fresh claim"),
        });
        holdings.collect()
    }

    fn operation(&self, action: Action) -> Command {
        let request_id = format!("operation-{}", self.load.clock);
        let request_id = RequestId::parse(&request_id).expect("an id");
        Command::Operate(Operation { request_id, action })
    }

    fn apply(&mut self, commands: Vec<Command>) -> Vec<Answer> {
        let applied = self.state.apply(&self.load.entry(commands));
        let answers = applied.outcomes.into_iter();
        answers.map(|outcome| outcome.result.expect("nothing is refused here")).collect()
    }

    fn settle(&mut self) {
        while self.state.deadlines().is_behind {
            self.apply(Vec::new());
        }
    }

    /// Applies a command, with a claim after it, and then claims until nothing is left to do. After
    /// each entry `check` gets the counts and how many entries there were.
    fn work_off(
        &mut self,
        command: Command,
        sharing: Sharing,
        check: impl Fn(&Totals, u64),
    ) -> Applies {
        let claim = Claim { max: 1000, ..self.load.claim() };
        self.work_off_all(vec![command, Command::Claim(claim)], sharing, check)
    }

    fn work_off_all(
        &mut self,
        commands: Vec<Command>,
        sharing: Sharing,
        check: impl Fn(&Totals, u64),
    ) -> Applies {
        let has_claims = !commands.is_empty();
        let image = matches!(sharing, Sharing::Snapshot).then(|| self.state.freeze());
        let mut commands = commands;
        let mut each_took = Vec::new();
        loop {
            let entry = self.load.entry(commands);
            let (applied, took) = timed(|| self.state.apply(&entry));
            each_took.push(took);
            for outcome in &applied.outcomes {
                if let Ok(Answer::Claimed(claimed)) = &outcome.result {
                    assert!(claimed.is_empty(), "{claimed:?} was granted");
                }
            }
            let totals = self.state.totals();
            assert_eq!(totals.by_status.values().sum::<u64>(), totals.total);
            check(&totals, each_took.len() as u64);
            if !self.state.deadlines().is_behind {
                drop(image);
                return Applies(each_took);
            }
            commands = Vec::new();
            if has_claims {
                commands.push(Command::Claim(Claim { max: 1000, ..self.load.claim() }));
            }
        }
    }
}

impl Applies {
    /// Prints a row; whether every apply was short enough.
    fn report(&self, what: &str, jobs: u64, sharing: Sharing) -> bool {
        let name = match sharing {
            Sharing::None => what.to_owned(),
            Sharing::Snapshot => format!("{what}, beside a snapshot"),
        };
        let ms = |duration: Duration| format!("{:.2}", duration.as_secs_f64() * 1e3);
        let longest =
            |clock: usize| self.0.iter().map(|took| took[clock]).max().unwrap_or_default();
        let (entries, first) = (self.0.len(), ms(self.0[0][1]));
        let (by_processor, by_wall) = (ms(longest(1)), ms(longest(0)));
        println!("{name:<50} {jobs:>8} {entries:>8} {first:>10} {by_processor:>10} {by_wall:>12}");
        longest(1) <= LIMIT
    }
}

fn count(totals: &Totals, state: JobState) -> u64 {
    totals.by_status.get(&state).copied().unwrap_or_default()
}

fn queue(name: &str) -> QueueName {
    QueueName::parse(name).expect("a name")
}
