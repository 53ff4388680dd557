//! How long one apply takes while a snapshot of a million jobs is being written, and without one.
//!
//! `cargo bench --bench snapshot_stall [-- JOBS]` prints a table: by the wall clock, and by this thread's
//! processor time, which leaves out the moments when the machine ran somebody else. Every other entry adds and claims
//! a job, the one after completes it; the snapshot's records are encoded and written to a file beside it, as a
//! voter does. It fails when an apply took longer than [`LIMIT`] by either clock: by the wall clock that
//! wants a machine that does nothing else.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

mod load;
mod took;

use bytes::Bytes;
use load::Load;
use quorate::queue::{
    Add, Answer, Claimed, Command, Complete, Entry, Holding, Image, NewJob, Payload, State,
};
use took::{Took, timed};

const JOBS_DEFAULT: u64 = 1_000_000;
const PAYLOAD_BYTES: usize = 128;
/// The names of what [`Took`] holds, in its order.
const CLOCKS: [&str; 2] = ["wall clock", "processor"];
/// An apply may be delayed by so much.
const LIMIT: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let jobs = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(JOBS_DEFAULT);
    let mut load = Load::default();
    let mut state = State::default();
    let started = Instant::now();
    while load.jobs < jobs {
        let adds = (0..1000).map(|_| add(&mut load)).collect();
        state.apply(&load.entry(adds));
    }
    println!(
        "{jobs} jobs of {PAYLOAD_BYTES} bytes added in {:.1} s",
        started.elapsed().as_secs_f64()
    );

    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "applies", "p50 us", "p99 us", "p99.9 us", "max us"
    );
    let calm = applies_while(&mut state, &mut load, |cycle| cycle < 100_000);
    report("no snapshot", &calm);
    let frozen = Instant::now();
    let image = state.freeze();
    println!("freezing took {} us", frozen.elapsed().as_micros());
    let is_written = AtomicBool::new(false);
    let stalls = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (bytes, time) = write(image);
            is_written.store(true, Ordering::Release);
            (bytes, time)
        });
        let stalls = applies_while(&mut state, &mut load, |_| !is_written.load(Ordering::Acquire));
        let (bytes, time) = writer.join().expect("the writer does not panic");
        println!("the snapshot: {} MiB in {:.1} s", bytes >> 20, time.as_secs_f64());
        stalls
    });
    let mut exit = ExitCode::SUCCESS;
    for (clock, longest) in CLOCKS.iter().zip(report("snapshot", &stalls)) {
        let verdict = if longest <= LIMIT { "holds" } else { "DOES NOT HOLD" };
        println!("no apply longer than {} ms by the {clock}: {verdict}", LIMIT.as_millis());
        if longest > LIMIT {
            exit = ExitCode::FAILURE;
        }
    }
    exit
}

/// Applies cycles as long as `goes_on(cycles so far)`; what each apply took.
fn applies_while(state: &mut State, load: &mut Load, goes_on: impl Fn(u64) -> bool) -> Vec<Took> {
    let mut took = Vec::new();
    for cycle in 0.. {
        if !goes_on(cycle) {
            break;
        }
        let mut apply = |entry: &Entry| {
            let (applied, apply_took) = timed(|| state.apply(entry));
            took.push(apply_took);
            applied
        };
        let commands = vec![add(load), Command::Claim(load.claim())];
        let applied = apply(&load.entry(commands));
        let Ok(Answer::Claimed(claimed)) = &applied.outcomes[1].result else {
            unreachable!("a claim")
        };
        let [Claimed::Granted(grant)] = &claimed[..] else {
            unreachable!("a million jobs are ready")
        };
        let holding = Holding { job: grant.job.clone(), token: grant.token };
        let complete = Complete { holding, result: None, then: Vec::new() };
        apply(&load.entry(vec![Command::Complete(complete)]));
    }
    took
}

/// Prints a row by each clock; answers the longest by each.
fn report(name: &str, took: &[Took]) -> Took {
    [0, 1].map(|clock| {
        let mut sorted: Vec<Duration> = took.iter().map(|took| took[clock]).collect();
        sorted.sort_unstable();
        let at = |thousandths: usize| sorted[(sorted.len() - 1) * thousandths / 1000];
        let us = |duration: Duration| format!("{:.1}", duration.as_secs_f64() * 1e6);
        println!(
            "{:<34} {:>9} {:>9} {:>9} {:>9} {:>9}",
            format!("{name}, {}", CLOCKS[clock]),
            sorted.len(),
            us(at(500)),
            us(at(990)),
            us(at(999)),
            us(at(1000))
        );
        at(1000)
    })
}

/// Encodes every record into a file, syncs it, and drops the image: what a voter's snapshot costs.
fn write(image: Image) -> (u64, Duration) {
    let started = Instant::now();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("snapshot");
    let mut out = BufWriter::new(File::create(&path).expect("a file"));
    for record in image.records() {
        let body = bincode::serialize(&record).expect("a record can be encoded");
        out.write_all(&body).expect("the disk has room");
    }
    out.flush().expect("the disk has room");
    out.get_ref().sync_data().expect("the disk syncs");
    drop(image);
    let bytes = path.metadata().expect("the file is there").len();
    (bytes, started.elapsed())
}

fn add(load: &mut Load) -> Command {
    let job = load.job();
    let payload = Payload { bytes: Bytes::from(vec![b'x'; PAYLOAD_BYTES]), ..job.payload };
    let priority = u8::try_from(load.jobs % 101).expect("at most 100");
    Command::Add(Add { jobs: vec![NewJob { payload, priority, ..job }] })
}
