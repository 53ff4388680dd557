//! What one claim costs, in instructions, with very many jobs in its way that it must not be granted.
//!
//! `cargo bench --bench claim_cost [-- JOBS]` runs itself under Callgrind (Debian package `valgrind`),
//! which counts the instructions of one apply of an entry with one claim, and nothing else: a count is
//! the same on a busy machine and on an idle one. Each row is an obstacle, each column a way to claim;
//! a cell is the mean of a few claims, and its ratio to the same claim with nothing in the way. It
//! fails when a ratio is above [`RATIO_MAX`].
//!
//! Everything that is not a claim is kept out of the count. Entries let time do no steps here, since
//! the 2,000 jobs that an entry may clear of a purge are no part of a claim: `purge_stall` has those.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod load;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command as Process, ExitCode, Stdio},
};

use load::Load;
use quorate::queue::{
    Action, Add, Answer, Applied, Claim, Claimed, Command, Complete, Delay, Entry, GroupName,
    Holding, JobId, Limits, NewJob, Operation, Patch, QueueName, RequestId, SetQueue, State,
    WorkType,
};

const JOBS_DEFAULT: u64 = 1_000_000;
/// A claim looks things up in ordered maps, whose depth grows with the logarithm of what they hold; and
/// nothing else may grow. Its job is one of a million instead of a hundred: six levels of a B-tree and
/// not two, which is 1.16 at the most. A thousand kinds or queues are 1.39: the job's kind is looked up
/// three times and its queue about five, each time beside some twenty others, and the head of its lane is
/// moved in two sets of a thousand. (Before `by_name` compared the names' first bytes as numbers it was
/// 1.6, a third of it in `memcmp`.) A claim that passed over even a thousand jobs one by one would be
/// far above this.
const RATIO_MAX: f64 = 1.5;
/// Jobs that a claim may be granted, behind whatever is in the way.
const TARGETS: u64 = 100;
/// Claims counted in each way.
const ROUNDS: u64 = 9;
/// Entries after a purge until what it left is freed, by its 4,000 places an entry.
const SWEEPS: u64 = 4_000;
/// The argument that says: this is the process that is counted.
const COUNTED: &str = "--counted";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let jobs = arguments.iter().find_map(|text| text.parse().ok());
    if let Some(place) = arguments.iter().position(|text| text == COUNTED) {
        let obstacle = arguments.get(place + 1).map(String::as_str).and_then(Obstacle::named);
        counted(obstacle.expect("one of the obstacles"), jobs.expect("how many jobs"));
        return ExitCode::SUCCESS;
    }
    compare(jobs.unwrap_or(JOBS_DEFAULT))
}

/// What is in the way of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Nothing,
    OneOtherType,
    ManyOtherTypes,
    ManyOtherQueues,
    Groups,
    PausedQueue,
    FullQueue,
    SpentRate,
    Blocked,
    Delayed,
    Purged,
}

const OBSTACLES: [(Obstacle, &str); 11] = [
    (Obstacle::Nothing, "nothing"),
    (Obstacle::OneOtherType, "one other type"),
    (Obstacle::ManyOtherTypes, "1,000 other types"),
    (Obstacle::ManyOtherQueues, "1,000 other queues"),
    (Obstacle::Groups, "1,000 groups that hold back"),
    (Obstacle::PausedQueue, "a paused queue"),
    (Obstacle::FullQueue, "a queue at max_leased"),
    (Obstacle::SpentRate, "a queue at its rate"),
    (Obstacle::Blocked, "blocked by a dependency"),
    (Obstacle::Delayed, "delayed"),
    (Obstacle::Purged, "purged and not cleared"),
];

/// The ways to claim: by kind, by listed queues, by both, and whatever there is.
const WAYS: [&str; 4] = ["by type", "by queue", "by both", "of all"];

impl Obstacle {
    fn named(name: &str) -> Option<Self> {
        OBSTACLES.into_iter().find(|obstacle| obstacle.1 == name).map(|obstacle| obstacle.0)
    }

    /// A job that is in the way: older and more urgent than the targets.
    fn job(self, number: u64, job: NewJob) -> NewJob {
        let job = NewJob { queue: queue("work"), work_type: kind("target"), priority: 90, ..job };
        match self {
            Self::Nothing | Self::Purged => job,
            Self::OneOtherType => NewJob { work_type: kind("other"), ..job },
            Self::ManyOtherTypes => {
                NewJob { work_type: kind(&format!("other{}", number % 1000)), ..job }
            }
            Self::ManyOtherQueues => NewJob {
                queue: queue(&format!("other{}", number % 1000)),
                work_type: kind("other"),
                ..job
            },
            Self::Groups => {
                // The first of each group waits for an hour, and the others for it.
                let delay = if number < 1000 { Delay::For(3_600_000) } else { Delay::None };
                let group = GroupName::parse(&format!("g{}", number % 1000)).expect("a name");
                NewJob { group: Some(group), delay, ..job }
            }
            Self::PausedQueue | Self::FullQueue | Self::SpentRate => {
                NewJob { queue: queue("held"), ..job }
            }
            Self::Blocked => NewJob { depends_on: vec![dependency()], ..job },
            Self::Delayed => NewJob { delay: Delay::For(3_600_000), ..job },
        }
    }

    /// What makes its jobs be in the way, after they were added.
    fn action(self) -> Option<Action> {
        let held = queue("held");
        match self {
            Self::PausedQueue => Some(Action::PauseQueue { queue: held, is_paused: true }),
            Self::FullQueue => Some(Action::SetQueue(SetQueue {
                max_leased: Patch::Set(1),
                ..SetQueue::unchanged(held)
            })),
            Self::SpentRate => Some(Action::SetQueue(SetQueue {
                rate_per_second: Patch::Set(1),
                ..SetQueue::unchanged(held)
            })),
            Self::Purged => Some(Action::PurgeQueue(queue("work"))),
            _ => None,
        }
    }

    /// Whether its queue is held back only once it has granted a job.
    fn needs_a_grant(self) -> bool {
        matches!(self, Self::FullQueue | Self::SpentRate)
    }
}

// ---- the process that is counted

/// Callgrind counts while this runs.
#[inline(never)]
fn counted_apply(state: &mut State, entry: &Entry) -> Applied {
    state.apply(entry)
}

/// Builds the state, asks Callgrind to begin, and claims in each way.
fn counted(obstacle: Obstacle, jobs: u64) {
    let mut load = Load::default();
    let mut state = State::with_limits(Limits { steps_max: 0, ..Limits::default() });
    put_in_the_way(&mut state, &mut load, obstacle, jobs);
    add(&mut state, &mut load, TARGETS, |_, job| target(job));
    // The worker is known from here on, whatever is in the way.
    claim_then_complete(&mut state, &mut load, 0, State::apply);
    // Not before: to build the state would take ten times as long under Callgrind's eyes.
    control("--instr=on");
    for way in 0..WAYS.len() {
        for _ in 0..ROUNDS {
            claim_then_complete(&mut state, &mut load, way, counted_apply);
        }
        control("--dump");
    }
}

/// One claim, applied in this way; then a fresh target in the place of the one that it was granted.
fn claim_then_complete(
    state: &mut State,
    load: &mut Load,
    way: usize,
    apply: impl Fn(&mut State, &Entry) -> Applied,
) {
    let claim = claim_in(way, load.claim());
    let entry = load.entry(vec![Command::Claim(claim)]);
    let applied = apply(state, &entry);
    let holding = granted(&applied).expect("a job that may be granted is there");
    let complete = Complete { holding, result: None, then: Vec::new() };
    state.apply(&load.entry(vec![Command::Complete(complete)]));
    add(state, load, 1, |_, job| target(job));
}

fn put_in_the_way(state: &mut State, load: &mut Load, obstacle: Obstacle, jobs: u64) {
    add(state, load, 1, |_, job| NewJob { id: dependency(), delay: Delay::For(3_600_000), ..job });
    if obstacle == Obstacle::Nothing {
        return;
    }
    add(state, load, jobs, |number, job| obstacle.job(number, job));
    if let Some(action) = obstacle.action() {
        let request_id = RequestId::parse("operation").expect("an id");
        let operate = Command::Operate(Operation { request_id, action });
        let applied = state.apply(&load.entry(vec![operate]));
        assert!(applied.outcomes[0].result.is_ok(), "{:?}", applied.outcomes);
    }
    if obstacle.needs_a_grant() {
        let claim = Claim { queues: vec![queue("held")], ..load.claim() };
        let applied = state.apply(&load.entry(vec![Command::Claim(claim)]));
        assert!(granted(&applied).is_some());
    }
    if obstacle == Obstacle::Purged {
        for _ in 0..=jobs / SWEEPS {
            state.apply(&load.entry(Vec::new()));
        }
    }
}

fn add(state: &mut State, load: &mut Load, jobs: u64, edit: impl Fn(u64, NewJob) -> NewJob) {
    let mut number = 0;
    while number < jobs {
        let batch = number..(number + 1000).min(jobs);
        number = batch.end;
        let jobs = batch.map(|number| edit(number, load.job())).collect();
        let applied = state.apply(&load.entry(vec![Command::Add(Add { jobs })]));
        assert!(applied.outcomes[0].result.is_ok(), "{:?}", applied.outcomes);
    }
}

fn target(job: NewJob) -> NewJob {
    NewJob { queue: queue("work"), work_type: kind("target"), priority: 10, ..job }
}

/// A claim in one of [`WAYS`]. Whoever lists queues lists first the one that is held back.
fn claim_in(way: usize, claim: Claim) -> Claim {
    let (work_types, queues) = (vec![kind("target")], vec![queue("held"), queue("work")]);
    match WAYS[way] {
        "by type" => Claim { work_types, ..claim },
        "by queue" => Claim { queues, ..claim },
        "by both" => Claim { work_types, queues, ..claim },
        _ => claim,
    }
}

fn granted(applied: &Applied) -> Option<Holding> {
    match &applied.outcomes[0].result {
        Ok(Answer::Claimed(claimed)) => match claimed.first()? {
            Claimed::Granted(grant) => Some(Holding { job: grant.job.clone(), token: grant.token }),
            Claimed::Lost { .. } => None,
        },
        _ => None,
    }
}

fn kind(name: &str) -> WorkType {
    WorkType::parse(name).expect("a name")
}

fn dependency() -> JobId {
    JobId::parse("dependency").expect("an id")
}

/// Has Callgrind do something: look at every instruction from here on, or write down a part.
fn control(order: &str) {
    let this = std::process::id().to_string();
    let mut control = Process::new("callgrind_control");
    let control = control.args([order, &this]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut control = control.spawn().expect("callgrind_control comes with valgrind");
    // Callgrind hears it only while this process runs.
    while control.try_wait().expect("it was started").is_none() {
        std::hint::spin_loop();
    }
}

// ---- the process that runs it and compares

fn compare(jobs: u64) -> ExitCode {
    let sizes: Vec<u64> = [1000, 10_000, 100_000, 1_000_000]
        .into_iter()
        .filter(|size| *size < jobs)
        .chain([jobs])
        .collect();
    let header = WAYS.map(|way| format!("{way:>16}")).concat();
    println!("instructions of one claim, and their ratio to those with nothing in the way");
    println!("{:>9}  {:<28}{header}", "jobs", "in the way");
    let mut bases = None;
    let mut greatest: f64 = 0.0;
    for (obstacle, name) in OBSTACLES {
        let sizes = if obstacle == Obstacle::Nothing { &[0][..] } else { &sizes[..] };
        for size in sizes {
            let counts = match count(name, *size) {
                Ok(counts) => counts,
                Err(problem) => {
                    println!("{problem}");
                    return ExitCode::FAILURE;
                }
            };
            let bases = bases.get_or_insert(counts);
            let cells = (0..WAYS.len()).map(|way| {
                let ratio = ratio(counts[way], bases[way]);
                greatest = greatest.max(ratio);
                format!("{:>10} {ratio:>4.2}x", counts[way])
            });
            println!("{size:>9}  {name:<28}{}", cells.collect::<String>());
        }
    }
    let holds = greatest <= RATIO_MAX;
    let verdict = if holds { "holds" } else { "DOES NOT HOLD" };
    println!(
        "no claim above {RATIO_MAX} times its cost with nothing in the way ({greatest:.2}): {verdict}"
    );
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn ratio(count: u64, base: u64) -> f64 {
    count as f64 / base as f64
}

/// The mean count of each way to claim.
fn count(obstacle: &str, jobs: u64) -> Result<[u64; WAYS.len()], String> {
    let directory = tempfile::tempdir().map_err(|error| format!("no directory: {error}"))?;
    let this = std::env::current_exe().map_err(|error| format!("no program: {error}"))?;
    let out = directory.path().join("counts");
    let done = Process::new("valgrind")
        .args(["--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted_apply*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .args([COUNTED, obstacle, &jobs.to_string()])
        .output()
        .map_err(|error| {
            format!("valgrind does not run ({error}): install the package valgrind")
        })?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    let parts = parts_in(directory.path())?;
    let totals: [u64; WAYS.len()] = parts.try_into().map_err(|parts| {
        format!("Callgrind wrote other parts than one for each way to claim: {parts:?}")
    })?;
    Ok(totals.map(|total| total / ROUNDS))
}

/// The instructions of each part, in order: its file has a line `part: N` and a line `totals: N`. The
/// one that is written at the end has none.
fn parts_in(directory: &Path) -> Result<Vec<u64>, String> {
    let mut parts = BTreeMap::new();
    let files = fs::read_dir(directory).map_err(|error| format!("no counts: {error}"))?;
    for file in files {
        let path = file.map_err(|error| format!("no counts: {error}"))?.path();
        let text = fs::read_to_string(&path).map_err(|error| format!("no counts: {error}"))?;
        let number = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label))?;
            line.trim().parse::<u64>().ok()
        };
        if let Some((part, instructions)) = number("part:").zip(number("totals:")) {
            parts.insert(part, instructions);
        }
    }
    Ok(parts.into_values().filter(|instructions| *instructions > 0).collect())
}

fn queue(name: &str) -> QueueName {
    QueueName::parse(name).expect("a name")
}
