//! `jepsen-like check FILE`: judges a recorded history again, off line.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::Path,
};

use jepsen_like::{
    Overall,
    checker::{Finding, Verdict},
    history::write_line,
    judge_history,
};

use crate::exit::{self, Failure};

/// The exit code.
pub(crate) fn check(path: &Path) -> Result<u8, Failure> {
    let named = || Failure::harness(path.display().to_string());
    let file = File::open(path).map_err(named())?;
    let findings =
        judge_history(BufReader::new(file)).map_err(|error| named()(io::Error::other(error)))?;
    report(&mut io::stdout().lock(), &findings).map_err(Failure::harness("report"))?;
    Ok(exit_code(Overall::of(&findings)))
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

const fn exit_code(overall: Overall) -> u8 {
    match overall {
        Overall::Valid => exit::VALID,
        Overall::Violated => exit::VIOLATED,
        Overall::Unknown => exit::UNKNOWN,
    }
}
