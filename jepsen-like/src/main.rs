//! `jepsen-like check FILE`: judges a recorded history again, off line.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    process::ExitCode,
};

use jepsen_like::{
    Overall,
    checker::{Finding, Verdict},
    history::write_line,
    judge_history,
};

/// Every promise was put to the test and held.
const VALID: u8 = 0;
/// A promise was broken; outranks unknown.
const VIOLATED: u8 = 1;
/// No promise was broken, and at least one was not put to the test.
const UNKNOWN: u8 = 2;
/// The command line makes no sense.
const BAD_ARGUMENTS: u8 = 254;
/// The history cannot be read or is not well-formed, or the report not written.
const HARNESS_ERROR: u8 = 255;

const USAGE: &str = "usage: jepsen-like check FILE (an NDJSON history)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (code, complaint) = match &arguments[..] {
        [verb, path] if verb == "check" => match check(path) {
            Ok(overall) => (exit_code(overall), None),
            Err(complaint) => (HARNESS_ERROR, Some(complaint)),
        },
        _ => (BAD_ARGUMENTS, Some(USAGE.to_owned())),
    };
    if let Some(complaint) = complaint {
        // Nothing is left to do for a complaint that cannot be written: the code says it too.
        drop(writeln!(io::stderr(), "{complaint}"));
    }
    ExitCode::from(code)
}

fn check(path: &str) -> Result<Overall, String> {
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    let findings =
        judge_history(BufReader::new(file)).map_err(|error| format!("{path}: {error}"))?;
    report(&mut io::stdout().lock(), &findings).map_err(|error| format!("report: {error}"))?;
    Ok(Overall::of(&findings))
}

fn report(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        writeln!(out, "{finding}")?;
        if let Verdict::Violated(witness) = &finding.verdict {
            for event in &witness.events {
                write!(out, "    ")?;
                write_line(out, event)?;
            }
        }
    }
    Ok(())
}

fn exit_code(overall: Overall) -> u8 {
    match overall {
        Overall::Valid => VALID,
        Overall::Violated => VIOLATED,
        Overall::Unknown => UNKNOWN,
    }
}
