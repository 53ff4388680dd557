//! Whether this harness finds what it is for: bugs are planted (`raft::mutant`), and each must be caught.

use std::{io, process::Command, time::Instant};

use crate::{HARNESS_ERROR, VALID, VIOLATED, say};

/// What is planted.
const MUTANTS: [(&str, &str); 9] = [
    ("M2", "the log is not synced"),
    ("M3", "a vote is not written"),
    ("M4", "a read asks nobody whether it is the present"),
    ("M5", "complete takes any token"),
    ("M6", "a second grant has the token of the first"),
    ("M7", "apply looks at a clock"),
    ("M8", "a snapshot has no leases"),
    ("M10", "an election looks at no log"),
    ("M15", "a delay is forgotten"),
];

/// The names that are asked for; `None` when one is not known.
pub fn names(asked: &str) -> Option<Vec<String>> {
    let known = MUTANTS.map(|(name, _)| name.to_owned());
    if asked == "all" {
        return Some(known.into());
    }
    let names: Vec<String> = asked.split(',').map(str::to_owned).collect();
    names.iter().all(|name| known.contains(name)).then_some(names)
}

/// Plants each and runs the seeds from 1 on until one is violated; prints a row for each. Valid when all
/// were caught.
pub fn table(names: &[String], seeds: u64) -> u8 {
    let out = &mut io::stdout();
    say(out, "| mutant | planted | caught by | seed | seconds |\n|---|---|---|---|---|");
    let mut survivors = 0;
    for (name, planted) in MUTANTS.into_iter().filter(|(name, _)| names.iter().any(|it| it == name))
    {
        let begun = Instant::now();
        let caught = match catch(name, seeds) {
            Ok(caught) => caught,
            Err(error) => {
                say(&mut io::stderr(), &format!("{name}: {error}"));
                return HARNESS_ERROR;
            }
        };
        survivors += u64::from(caught.is_none());
        let seconds = begun.elapsed().as_secs();
        let (by, seed) = caught.map_or_else(
            || ("nothing".to_owned(), format!("1 to {seeds}")),
            |(seed, by)| (by, seed.to_string()),
        );
        say(out, &format!("| {name} | {planted} | {by} | {seed} | {seconds} |"));
    }
    if survivors == 0 { VALID } else { VIOLATED }
}

/// The first seed that is violated with this bug, and by what.
fn catch(mutant: &str, seeds: u64) -> io::Result<Option<(u64, String)>> {
    for seed in 1..=seeds {
        let output = Command::new(std::env::current_exe()?)
            .args(["--seed", &seed.to_string()])
            .env("MUTANT", mutant)
            .output()?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match output.status.code() {
            Some(code) if code == i32::from(VIOLATED) => return Ok(Some((seed, accusers(&said)))),
            Some(_) => {}
            None => return Ok(Some((seed, panic_in(&complained)))),
        }
    }
    Ok(None)
}

/// What a process complained of that a panic of a replica ended before it could report.
fn panic_in(complaints: &str) -> String {
    let mut lines = complaints.lines().skip_while(|line| !line.contains(" panicked at "));
    let message = lines.nth(1).unwrap_or_default();
    format!("a panic: {message}")
}

/// What a report says is violated: `S4, S6, inside: n1 and n3 differ at applied index 90`.
fn accusers(report: &str) -> String {
    let violated = report.lines().filter_map(|line| {
        let (by, what) = line.split_once(" violated")?;
        let by = by.trim();
        let is_inside = by == "inside";
        let story = what.trim_start_matches(':').trim();
        let story: String = story.chars().take(60).collect();
        Some(if is_inside { format!("inside: {story}") } else { by.to_owned() })
    });
    violated.collect::<Vec<_>>().join(", ")
}
