//! Three real replicas on a simulated network, disk and clock.
//!
//! ```text
//!   seed ──▶ plan of faults ──▶ turmoil: n1 n2 n3 ──▶ history ──▶ jepsen-like: S1–S6
//!        └─▶ workload of each host ──┘       └──▶ after every step: one leader a term, equal
//!                                                 applied index ⇒ equal hash, nothing goes back
//! ```
//!
//! `--seed N` runs one seed and says what held, and the command that replays it. `--seeds N` runs the
//! seeds 1 to N, each in a process of its own, because some libraries keep counters a process.
//! Everything that decides anything comes from the seed: run a seed twice and its traces are equal
//! to the byte (`tests/repeat.rs`). Run it from this folder, whose `.cargo/config.toml` sets a flag that
//! cargo reads by the current directory only.

mod clock;
mod cluster;
mod host;
mod net;
mod oracle;
mod recorder;
mod run;
mod schedule;
mod workload;

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
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

const USAGE: &str = "usage: sim --seed N [--trace FILE] | --seeds N";

enum Arguments {
    One { seed: u64, trace: Option<PathBuf> },
    Many { seeds: u64 },
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
        Some(Arguments::One { seed, trace }) => one(seed, trace.as_deref()),
        Some(Arguments::Many { seeds }) => many(seeds),
    };
    ExitCode::from(code)
}

fn parse(arguments: &[String]) -> Option<Arguments> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--seed", seed] => Some(Arguments::One { seed: seed.parse().ok()?, trace: None }),
        ["--seed", seed, "--trace", file] => {
            Some(Arguments::One { seed: seed.parse().ok()?, trace: Some(file.into()) })
        }
        ["--seeds", seeds] => Some(Arguments::Many { seeds: seeds.parse().ok()? }),
        _ => None,
    }
}

/// Runs one seed in this process.
fn one(seed: u64, trace: Option<&Path>) -> u8 {
    match judge(seed, trace) {
        Ok((outcome, findings)) => {
            let code = verdict(&outcome, &findings);
            say(&mut io::stdout(), &report(seed, code, &outcome, &findings));
            code
        }
        Err(error) => {
            say(&mut io::stderr(), &error.to_string());
            HARNESS_ERROR
        }
    }
}

fn judge(seed: u64, trace: Option<&Path>) -> Result<(Outcome, Vec<Finding>), RecorderError> {
    let sink: Box<dyn io::Write + Send> = match trace {
        Some(file) => Box::new(BufWriter::new(File::create(file)?)),
        None => Box::new(io::sink()),
    };
    let recorder = Recorder::new(sink);
    let outcome = run::run(seed, &recorder);
    Ok((outcome, recorder.finish()?))
}

fn verdict(outcome: &Outcome, findings: &[Finding]) -> u8 {
    match (&outcome.inside, Overall::of(findings)) {
        (Err(_), _) | (_, Overall::Violated) => VIOLATED,
        (Ok(()), Overall::Valid) if outcome.untested().is_empty() => VALID,
        _ => UNKNOWN,
    }
}

fn report(seed: u64, code: u8, outcome: &Outcome, findings: &[Finding]) -> String {
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
    let word = ["VALID", "VIOLATED", "UNKNOWN"][usize::from(code)];
    lines.push(format!("{word} seed {seed} · replay: (cd sim && cargo run -- --seed {seed})"));
    lines.join("\n")
}

/// Runs each seed in a process of its own; the worst verdict is the verdict.
fn many(seeds: u64) -> u8 {
    let mut counts = [0u64; 3];
    for seed in 1..=seeds {
        let program = std::env::current_exe();
        let output = program
            .and_then(|program| Command::new(program).args(["--seed", &seed.to_string()]).output());
        let (code, text) = match output {
            Ok(output) => (output.status.code(), output.stdout),
            Err(error) => {
                say(&mut io::stderr(), &format!("seed {seed}: {error}"));
                return HARNESS_ERROR;
            }
        };
        let text = String::from_utf8_lossy(&text);
        let Some(count) = code.and_then(|code| counts.get_mut(usize::try_from(code).ok()?)) else {
            say(&mut io::stderr(), &format!("seed {seed} ended with {code:?}\n{text}"));
            return HARNESS_ERROR;
        };
        *count += 1;
        let is_valid = code == Some(i32::from(VALID));
        say(
            &mut io::stdout(),
            if is_valid { text.lines().last().unwrap_or_default() } else { &text },
        );
    }
    let [valid, violated, unknown] = counts;
    say(
        &mut io::stdout(),
        &format!("{seeds} seeds: {valid} valid, {violated} violated, {unknown} unknown"),
    );
    match (violated, unknown) {
        (0, 0) => VALID,
        (0, _) => UNKNOWN,
        _ => VIOLATED,
    }
}

/// Writes a line; when even that fails, the exit code still tells.
fn say(out: &mut impl io::Write, text: &str) {
    drop(writeln!(out, "{}", text.trim_end()));
}
