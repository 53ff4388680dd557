//! Three or five real replicas on a simulated network, disk and clock.
//!
//! ```text
//!   seed ──▶ plan of faults ──▶ turmoil: n1 … n5  ──▶ history ──▶ jepsen-like
//!        └─▶ workload of each host ──┘       └──▶ after every step: one leader a term, equal
//!                                                 applied index ⇒ equal hash, nothing goes back
//! ```
//!
//! `--seed N` runs one seed and says what held, and the command that replays it. `--seeds N` runs the
//! seeds 1 to N, each in a process of its own, because some libraries keep counters a process.
//! `--seed N --shrink` leaves out of a seed that is violated whatever fault is not needed for that, and
//! prints what is left of its story.
//! `--mutants all` plants one bug after the other and shows which seed catches it, and by what.
//! Everything that decides anything comes from the seed: run a seed twice and its traces are equal
//! to the byte (`tests/repeat.rs`). Run it from this folder, whose `.cargo/config.toml` sets a flag that
//! cargo reads by the current directory only.

mod clock;
mod cluster;
mod host;
mod mutants;
mod net;
mod oracle;
mod recorder;
mod run;
mod schedule;
mod view;
mod workload;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use jepsen_like::{
    Overall,
    checker::{Finding, Verdict},
};
use recorder::{Recorder, RecorderError};
use run::Outcome;
use serde_json::json;

/// Everything held, and was put to the test.
const VALID: u8 = 0;
/// Something was broken.
const VIOLATED: u8 = 1;
/// Nothing was broken, and something was not put to the test.
const UNKNOWN: u8 = 2;
/// The command line makes no sense.
const BAD_ARGUMENTS: u8 = 254;
/// The simulation itself failed.
const HARNESS_ERROR: u8 = 255;

const USAGE: &str = "usage: sim --seed N [--without I,J,…] [--trace FILE] | --seed N --shrink \
                     | --seeds N | --mutants M2,M5,…|all [--seeds N]";

enum Arguments {
    One(One),
    Shrink { seed: u64 },
    Many { seeds: u64 },
    Mutants { names: Vec<String>, seeds: u64 },
}

/// One run.
#[derive(Default)]
struct One {
    seed: u64,
    /// The faults, by their places in the story, that are left out.
    without: BTreeSet<usize>,
    trace: Option<PathBuf>,
}

fn main() -> ExitCode {
    if !cfg!(tokio_unstable) {
        say(
            &mut io::stderr(),
            "built without --cfg tokio_unstable, so a seed may not repeat: run it from sim/",
        );
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let code = match parse(&arguments) {
        None => {
            say(&mut io::stderr(), USAGE);
            BAD_ARGUMENTS
        }
        Some(Arguments::One(order)) => one(&order),
        Some(Arguments::Shrink { seed }) => shrink(seed),
        Some(Arguments::Many { seeds }) => many(seeds),
        Some(Arguments::Mutants { names, seeds }) => mutants::table(&names, seeds),
    };
    ExitCode::from(code)
}

fn parse(arguments: &[String]) -> Option<Arguments> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--seeds", seeds] => Some(Arguments::Many { seeds: seeds.parse().ok()? }),
        ["--mutants", names] => {
            Some(Arguments::Mutants { names: mutants::names(names)?, seeds: 20 })
        }
        ["--mutants", names, "--seeds", seeds] => {
            Some(Arguments::Mutants { names: mutants::names(names)?, seeds: seeds.parse().ok()? })
        }
        ["--seed", seed, "--shrink"] => Some(Arguments::Shrink { seed: seed.parse().ok()? }),
        ["--seed", seed, ref more @ ..] => {
            let mut order = One { seed: seed.parse().ok()?, ..One::default() };
            for flag in more.chunks(2) {
                match *flag {
                    ["--trace", file] => order.trace = Some(file.into()),
                    ["--without", places] => {
                        let places = places.split(',').map(str::parse);
                        order.without = places.collect::<Result<_, _>>().ok()?;
                    }
                    _ => return None,
                }
            }
            Some(Arguments::One(order))
        }
        _ => None,
    }
}

/// Does one run in this process.
fn one(order: &One) -> u8 {
    let begun = Instant::now();
    match judge(order) {
        Ok((outcome, findings)) => {
            let code = verdict(&outcome, &findings);
            let text = report(order, code, (&outcome, begun.elapsed()), &findings);
            say(&mut io::stdout(), &text);
            code
        }
        Err(error) => {
            say(&mut io::stderr(), &error.to_string());
            HARNESS_ERROR
        }
    }
}

fn judge(order: &One) -> Result<(Outcome, Vec<Finding>), RecorderError> {
    let sink: Box<dyn io::Write + Send> = match &order.trace {
        Some(file) => Box::new(BufWriter::new(File::create(file)?)),
        None => Box::new(io::sink()),
    };
    let recorder = Recorder::new(sink);
    let outcome = run::run(order.seed, &order.without, &recorder);
    Ok((outcome, recorder.finish()?))
}

fn verdict(outcome: &Outcome, findings: &[Finding]) -> u8 {
    match (&outcome.inside, Overall::of(findings)) {
        (Err(_), _) | (_, Overall::Violated) => VIOLATED,
        (Ok(()), Overall::Valid) if outcome.untested().is_empty() => VALID,
        _ => UNKNOWN,
    }
}

fn report(
    order: &One,
    code: u8,
    (outcome, took): (&Outcome, Duration),
    findings: &[Finding],
) -> String {
    let mut lines = Vec::new();
    for finding in findings {
        lines.push(finding.to_string());
        if let Verdict::Violated(witness) = &finding.verdict {
            lines.extend(witness.events.iter().map(|event| format!("    {}", json!(event))));
        }
    }
    lines.push(match &outcome.inside {
        Ok(()) => "inside valid: one leader a term, equal states, nothing went back".to_owned(),
        Err(fault) => format!("inside violated: {fault}"),
    });
    let coverage = outcome.coverage.iter().map(|(name, count)| format!("{count} {name}"));
    lines.push(format!("coverage: {}", coverage.collect::<Vec<_>>().join(", ")));
    let untested = outcome.untested();
    if !untested.is_empty() {
        lines.push(format!("not put to the test: {}", untested.join(", ")));
    }
    if code == VIOLATED {
        lines.extend(outcome.story.iter().map(|(place, planned)| {
            let schedule::Planned { at, lasts, fault } = planned;
            format!("fault {place} at {at:?} for {lasts:?}: {fault:?}")
        }));
    }
    let word = ["VALID", "VIOLATED", "UNKNOWN"][usize::from(code)];
    let seed = order.seed;
    let replay = replay(seed, &order.without);
    let (simulated, took) = (outcome.simulated.as_secs_f64(), took.as_secs_f64());
    lines
        .push(format!("{word} seed {seed} · {simulated:.0} s simulated in {took:.1} s · {replay}"));
    lines.join("\n")
}

/// Runs each seed in a process of its own, as many at a time as there are cores; the worst verdict is the
/// verdict.
fn many(seeds: u64) -> u8 {
    let begun = Instant::now();
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    let mut counts = [0u64; 3];
    let all: Vec<u64> = (1..=seeds).collect();
    for seeds in all.chunks(at_a_time) {
        let started: Vec<_> =
            seeds.iter().map(|seed| (*seed, start(*seed, &BTreeSet::new()))).collect();
        for (seed, child) in started {
            let output = match child.and_then(Child::wait_with_output) {
                Ok(output) => output,
                Err(error) => {
                    say(&mut io::stderr(), &format!("seed {seed}: {error}"));
                    return HARNESS_ERROR;
                }
            };
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            // A replica's panic may end the process before it can report.
            let (code, text) = output.status.code().map_or_else(
                || {
                    let replay = replay(seed, &BTreeSet::new());
                    (i32::from(VIOLATED), format!("VIOLATED seed {seed} by a panic · {replay}"))
                },
                |code| (code, said),
            );
            let Some(count) = usize::try_from(code).ok().and_then(|code| counts.get_mut(code))
            else {
                say(&mut io::stderr(), &format!("seed {seed} ended with {code}\n{text}"));
                return HARNESS_ERROR;
            };
            *count += 1;
            let is_valid = code == i32::from(VALID);
            say(
                &mut io::stdout(),
                if is_valid { text.lines().last().unwrap_or_default() } else { &text },
            );
        }
    }
    let ([valid, violated, unknown], took) = (counts, begun.elapsed().as_secs());
    say(
        &mut io::stdout(),
        &format!(
            "{seeds} seeds in {took} s: {valid} valid, {violated} violated, {unknown} unknown"
        ),
    );
    match (violated, unknown) {
        (0, 0) => VALID,
        (0, _) => UNKNOWN,
        _ => VIOLATED,
    }
}

/// Leaves out whatever a violation does not need, one fault after the other, and says what is left.
fn shrink(seed: u64) -> u8 {
    let is_violated = |without: &BTreeSet<usize>| -> io::Result<bool> {
        let output = start(seed, without)?.wait_with_output()?;
        Ok(output.status.code().is_none_or(|code| code == i32::from(VIOLATED)))
    };
    let shrunk = || -> io::Result<Option<BTreeSet<usize>>> {
        let mut without = BTreeSet::new();
        if !is_violated(&without)? {
            return Ok(None);
        }
        for place in 0..run::faults(seed) {
            without.insert(place);
            if !is_violated(&without)? {
                without.remove(&place);
            }
        }
        Ok(Some(without))
    };
    match shrunk() {
        Ok(Some(without)) => one(&One { seed, without, trace: None }),
        Ok(None) => {
            say(
                &mut io::stdout(),
                &format!("seed {seed} is not violated: there is nothing to shrink"),
            );
            VALID
        }
        Err(error) => {
            say(&mut io::stderr(), &format!("seed {seed}: {error}"));
            HARNESS_ERROR
        }
    }
}

/// Starts a run in a process of its own.
fn start(seed: u64, without: &BTreeSet<usize>) -> io::Result<Child> {
    Command::new(std::env::current_exe()?).args(flags(seed, without)).stdout(Stdio::piped()).spawn()
}

/// The command that runs it again.
fn replay(seed: u64, without: &BTreeSet<usize>) -> String {
    format!("replay: (cd sim && cargo run -- {})", flags(seed, without).join(" "))
}

/// The arguments of one run.
fn flags(seed: u64, without: &BTreeSet<usize>) -> Vec<String> {
    let mut flags = vec!["--seed".to_owned(), seed.to_string()];
    if !without.is_empty() {
        let places: Vec<String> = without.iter().map(usize::to_string).collect();
        flags.extend(["--without".to_owned(), places.join(",")]);
    }
    flags
}

/// Writes a line; when even that fails, the exit code still tells.
fn say(out: &mut impl io::Write, text: &str) {
    drop(writeln!(out, "{}", text.trim_end()));
}
