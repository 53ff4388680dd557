//! One seed from its first tick to its final read, and what is checked at every step.

use std::{
    collections::BTreeSet,
    panic,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::{
    cluster::Cluster,
    host::{Phase, Progress},
    oracle::{Disk, Oracle},
    recorder::Recorder,
    schedule::{self, HOSTS, Place},
    workload::{OPERATIONS, READS},
};

/// Faults begin after this, when the cluster has formed, and not after that.
const FAULTS: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(58)];
/// Clients work for this long.
const RUN: Duration = Duration::from_mins(1);
/// How long after that a majority may take until all of it writes, while the others stay broken: its clients
/// have first to give up what they had begun.
const CORE: Duration = Duration::from_secs(25);
/// How long after the healing all may take until they write.
const HEALED: Duration = Duration::from_secs(20);
/// By then all clients have given up what they had begun.
const DRAINED: Duration = Duration::from_secs(75);
/// How long the election of a leader of a new term may take.
const ELECTION: Duration = Duration::from_secs(5);
/// How long each replica may take to be written through, and to be read, then.
const READ: Duration = Duration::from_secs(20);
/// How long the last leader is down.
const LAST_CRASH: Duration = Duration::from_millis(500);

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What broke inside the replicas, or that nothing did.
    pub inside: Result<(), String>,
    /// What happened how often, by name.
    pub coverage: Vec<(&'static str, u64)>,
    /// How much time passed in the simulation.
    pub simulated: Duration,
    /// What was to go wrong, and its place in the seed's story.
    pub story: Vec<(usize, schedule::Planned)>,
}

impl Outcome {
    /// What a run must have seen, and has not.
    pub fn untested(&self) -> Vec<&'static str> {
        const NEEDED: [&str; 16] = [
            "stale followers",
            READS,
            "leader crashes",
            "leader partitions",
            "splits",
            "clock jumps",
            "ambushes",
            "info",
            "hashes agreed",
            "snapshot index",
            "limits",
            "pauses",
            "purges",
            "bulk retries",
            "drains",
            "repeats",
        ];
        let is_missing =
            |name: &&str| self.coverage.iter().any(|(known, count)| known == name && *count == 0);
        NEEDED.into_iter().filter(is_missing).collect()
    }
}

/// Runs one seed to its end, without these faults of its story. Nothing but the seed, and what is left out
/// of it, decides what happens.
pub fn run(seed: u64, without: &BTreeSet<usize>, recorder: &Recorder) -> Outcome {
    let panicked = note_panics();
    let mut run = Run::new(seed, without, recorder);
    let story = run.story.clone();
    let mut inside = run.play();
    // A task that panics ends alone, and may be missed by nobody.
    if let (Ok(()), Some(message)) = (&inside, panicked.lock().expect(NOTED).take()) {
        inside = Err(message);
    }
    let (coverage, simulated) = (run.coverage(recorder), run.cluster.elapsed());
    Outcome { inside, coverage, simulated, story }
}

/// How many faults the story of a seed has.
pub fn faults(seed: u64) -> usize {
    plan_of(&mut StdRng::seed_from_u64(seed), schedule::size(seed)).len()
}

fn plan_of(rng: &mut StdRng, size: usize) -> Vec<schedule::Planned> {
    let [from, until] = FAULTS;
    schedule::plan(&mut StdRng::seed_from_u64(rng.random()), size, from, until)
}

const NOTED: &str = "no panic while a panic is noted";

/// Keeps the first panic of any task.
fn note_panics() -> Arc<Mutex<Option<String>>> {
    let first = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&first);
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        noted.lock().expect(NOTED).get_or_insert_with(|| panic.to_string());
        report(panic);
    }));
    first
}

struct Run<'a> {
    cluster: Cluster<'a>,
    story: Vec<(usize, schedule::Planned)>,
    oracle: Oracle,
    phase: watch::Sender<Phase>,
    progress: Progress,
    standing: String,
}

impl Run<'_> {
    fn new(seed: u64, without: &BTreeSet<usize>, recorder: &Recorder) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let size = schedule::size(seed);
        let plan = plan_of(&mut rng, size).into_iter().enumerate();
        let story: Vec<_> = plan.filter(|(place, _)| !without.contains(place)).collect();
        let (phase, phases) = watch::channel(Phase::Run);
        let progress = Progress::default();
        let cluster = Cluster::new(seed, rng, recorder, &phases, &progress);
        let standing = String::new();
        Self { cluster, story, oracle: Oracle::default(), phase, progress, standing }
    }

    fn play(&mut self) -> Result<(), String> {
        let mut story = std::mem::take(&mut self.story).into_iter().peekable();
        while self.cluster.elapsed() < RUN {
            let now = self.cluster.elapsed();
            while let Some((_, planned)) = story.next_if(|(_, planned)| planned.at <= now) {
                self.cluster.begin(planned);
            }
            self.step()?;
        }
        let all: Vec<Place> = (0..self.cluster.size()).collect();
        let core = self.cluster.heal_a_core();
        self.enter(Phase::Core);
        self.step_until_done(Phase::Core, &core, CORE)?;
        self.cluster.note("all are healed");
        self.cluster.heal();
        self.step_until_done(Phase::Core, &all, HEALED)?;
        self.step_until(DRAINED)?;
        // In a new term, an entry of an old one is below the barrier or can never commit.
        let leader = self.cluster.leader().ok_or("no leader after heal")?;
        self.cluster.crash(leader, LAST_CRASH);
        self.step_until(self.cluster.elapsed() + ELECTION)?;
        self.enter(Phase::Barrier);
        self.step_until_done(Phase::Barrier, &all, READ)?;
        self.enter(Phase::Read);
        self.step_until_done(Phase::Read, &all, READ)
    }

    fn enter(&self, phase: Phase) {
        self.cluster.note(&format!("{phase:?}"));
        self.phase.send_replace(phase);
    }

    fn step_until(&mut self, time: Duration) -> Result<(), String> {
        while self.cluster.elapsed() < time {
            self.step()?;
        }
        Ok(())
    }

    /// Lets these hosts do what a phase asks of them.
    fn step_until_done(
        &mut self,
        phase: Phase,
        hosts: &[Place],
        limit: Duration,
    ) -> Result<(), String> {
        let deadline = self.cluster.elapsed() + limit;
        loop {
            let missing = self.progress.missing(phase, hosts);
            if missing.is_empty() {
                return Ok(());
            }
            if self.cluster.elapsed() > deadline {
                let missing: Vec<_> = missing.into_iter().map(|place| HOSTS[place]).collect();
                let (missing, standing) = (missing.join(", "), &self.standing);
                return Err(format!(
                    "{phase:?} was not done by {missing} in {limit:?}: {standing}"
                ));
            }
            self.step()?;
        }
    }

    /// One tick of the simulation, and the checks after it.
    fn step(&mut self) -> Result<(), String> {
        self.cluster.step()?;
        let (mut standing, mut applied) = (Vec::new(), Vec::new());
        for (place, host) in HOSTS.into_iter().take(self.cluster.size()).enumerate() {
            let Some(handle) = self.cluster.handle(place) else { continue };
            let status = handle.status();
            let disk = if self.cluster.is_dying(place) { Disk::Dead } else { Disk::Works };
            self.oracle.on_status(place, self.cluster.life(place), &status, disk)?;
            let (raft, hash) = (&status.raft, status.state_hash);
            // Between two steps nothing runs, so the index and the hash are of one moment.
            self.oracle.on_hash(place, raft.applied_index, hash)?;
            standing.push(format!("{host}={:?}@{}", raft.role, raft.term));
            applied.push(format!("{host}={}:{hash:032x}", raft.applied_index));
        }
        let standing = standing.join(" ");
        if self.cluster.elapsed().subsec_nanos() == 0 {
            self.cluster.note(&format!("applied {}", applied.join(" ")));
        }
        if standing != self.standing {
            self.cluster.note(&format!("standing {standing}"));
            self.standing = standing;
        }
        Ok(())
    }

    fn coverage(&self, recorder: &Recorder) -> Vec<(&'static str, u64)> {
        let [ok, fail, info] = recorder.completed();
        let counts = self.cluster.counts;
        let mut coverage = vec![
            ("replicas", self.cluster.size() as u64),
            ("ok", ok),
            ("fail", fail),
            ("info", info),
            ("terms led", self.oracle.terms_led() as u64),
            ("crashes", counts.crashes),
            ("leader crashes", counts.leader_crashes),
            ("ambushes", counts.ambushes),
            ("partitions", counts.partitions),
            ("leader partitions", counts.leader_partitions),
            ("splits", counts.splits),
            ("clock jumps", counts.jumps),
            ("stale followers", counts.stale),
            ("failed syncs", counts.failed_syncs),
            ("hashes agreed", self.oracle.agreed),
            ("snapshot index", self.oracle.snapshot_index),
            ("snapshots installed", self.oracle.snapshots_installed),
        ];
        coverage.push((READS, recorder.counted(READS)));
        coverage.extend(OPERATIONS.map(|what| (what, recorder.counted(what))));
        coverage
    }
}
