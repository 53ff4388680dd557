//! How long one apply takes while a snapshot of a million jobs is being written, and without one.
//!
//! `cargo bench --bench snapshot_stall [-- JOBS]` prints a table: by the wall clock, and by this thread's
//! processor time, which leaves out the moments when the machine ran somebody else. Every other entry adds and claims
//! a job, the one after completes it; the snapshot's records are encoded and written to a file beside it, as a
//! voter does.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use quorate::queue::{
    Add, Answer, Backoff, Claim, Claimed, ClockMs, Command, Complete, Delay, Entry, Holding, Image,
    JobId, NewJob, OnDependencyFailure, Payload, QueueName, RequestId, Stamp, State, WallMs,
    WorkType, WorkerId,
};
use rustix::time::{ClockId, clock_gettime};

const JOBS_DEFAULT: u64 = 1_000_000;
const PAYLOAD_BYTES: usize = 128;
/// An apply may be delayed by so much.
const LIMIT: Duration = Duration::from_millis(5);

fn main() {
    let jobs = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(JOBS_DEFAULT);
    let mut load = Load::default();
    let mut state = State::default();
    let started = Instant::now();
    while load.jobs < jobs {
        let adds = (0..1000).map(|_| load.add()).collect();
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
    for (clock, longest) in ["wall clock", "processor"].iter().zip(report("snapshot", &stalls)) {
        let verdict = if longest <= LIMIT { "holds" } else { "DOES NOT HOLD" };
        println!("no apply longer than {} ms by the {clock}: {verdict}", LIMIT.as_millis());
    }
}

/// What one apply took: by the wall clock, and of the processor.
type Took = [Duration; 2];

/// Applies cycles as long as `goes_on(cycles so far)`; what each apply took.
fn applies_while(state: &mut State, load: &mut Load, goes_on: impl Fn(u64) -> bool) -> Vec<Took> {
    let mut took = Vec::new();
    for cycle in 0.. {
        if !goes_on(cycle) {
            break;
        }
        let mut timed = |entry: &Entry| {
            let (started, used) = (Instant::now(), processor_time());
            let applied = state.apply(entry);
            took.push([started.elapsed(), processor_time().saturating_sub(used)]);
            applied
        };
        let commands = vec![load.add(), load.claim()];
        let applied = timed(&load.entry(commands));
        let Ok(Answer::Claimed(claimed)) = &applied.outcomes[1].result else {
            unreachable!("a claim")
        };
        let [Claimed::Granted(grant)] = &claimed[..] else {
            unreachable!("a million jobs are ready")
        };
        let holding = Holding { job: grant.job.clone(), token: grant.token };
        let complete = Complete { holding, result: None, then: Vec::new() };
        timed(&load.entry(vec![Command::Complete(complete)]));
    }
    took
}

/// What this thread has used of the processor so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Prints a row by each clock; answers the longest by each.
fn report(name: &str, took: &[Took]) -> Took {
    [(0, "wall clock"), (1, "processor")].map(|(clock, clock_name)| {
        let mut sorted: Vec<Duration> = took.iter().map(|took| took[clock]).collect();
        sorted.sort_unstable();
        let at = |thousandths: usize| sorted[(sorted.len() - 1) * thousandths / 1000];
        let us = |duration: Duration| format!("{:.1}", duration.as_secs_f64() * 1e6);
        println!(
            "{:<34} {:>9} {:>9} {:>9} {:>9} {:>9}",
            format!("{name}, {clock_name}"),
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

/// Makes commands with fresh ids and a clock that goes on.
#[derive(Default)]
struct Load {
    jobs: u64,
    claims: u64,
    clock: u64,
}

impl Load {
    fn entry(&mut self, commands: Vec<Command>) -> Entry {
        self.clock += 1;
        Entry { stamp: Stamp { clock: ClockMs(self.clock), wall: WallMs(self.clock) }, commands }
    }

    fn add(&mut self) -> Command {
        self.jobs += 1;
        let job = NewJob {
            id: JobId::parse(&format!("job-{:012}", self.jobs)).expect("an id"),
            queue: QueueName::parse("default").expect("a name"),
            work_type: WorkType::parse("default").expect("a name"),
            payload: Payload {
                bytes: Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
                content_type: "application/json".into(),
            },
            priority: u8::try_from(self.jobs % 101).expect("at most 100"),
            delay: Delay::None,
            lease_ms: None,
            max_attempts: None,
            backoff: Backoff::default(),
            expires_in_ms: None,
            depends_on: Vec::new(),
            on_dependency_failure: OnDependencyFailure::Fail,
            group: None,
            tags: std::collections::BTreeMap::new(),
        };
        Command::Add(Add { jobs: vec![job] })
    }

    fn claim(&mut self) -> Command {
        self.claims += 1;
        Command::Claim(Claim {
            worker: WorkerId::parse("w1").expect("a name"),
            session: None,
            queues: Vec::new(),
            work_types: Vec::new(),
            max: 1,
            lease_ms: None,
            request_id: RequestId::parse(&format!("r-{}", self.claims)).expect("an id"),
            labels: std::collections::BTreeMap::new(),
        })
    }
}
