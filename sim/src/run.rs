//! One seed from its first tick to its final read, and what is checked at every step.

use std::{
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::{
    cluster::Cluster,
    host::Phase,
    oracle::{Disk, Oracle},
    recorder::Recorder,
    schedule::{self, HOSTS},
    workload::OPERATIONS,
};

/// Faults begin after this, when the cluster has formed, and not after that.
const FAULTS: [Duration; 2] = [Duration::from_secs(4), Duration::from_secs(58)];
/// Clients work for this long.
const RUN: Duration = Duration::from_mins(1);
/// By then all clients have given up what they had begun, and all hosts are up.
const DRAINED: Duration = Duration::from_secs(75);
/// By then a leader of a new term is elected.
const ELECTED: Duration = Duration::from_secs(80);
/// By then every replica must have been written through and read: writes flow after heal.
const READ: Duration = Duration::from_secs(100);
/// How long the last leader is down.
const LAST_CRASH: Duration = Duration::from_millis(500);

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What broke inside the replicas, or that nothing did.
    pub inside: Result<(), String>,
    /// What happened how often, by name.
    pub coverage: Vec<(&'static str, u64)>,
}

impl Outcome {
    /// What a run must have seen, and has not.
    pub fn untested(&self) -> Vec<&'static str> {
        const NEEDED: [&str; 12] = [
            "leader crashes",
            "leader partitions",
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

/// Runs one seed to its end. Nothing but the seed decides what happens.
pub fn run(seed: u64, recorder: &Recorder) -> Outcome {
    let panicked = note_panics();
    let mut run = Run::new(seed, recorder);
    let mut inside = run.play();
    // A task that panics ends alone, and may be missed by nobody.
    if let (Ok(()), Some(message)) = (&inside, panicked.lock().expect(NOTED).take()) {
        inside = Err(message);
    }
    Outcome { inside, coverage: run.coverage(recorder) }
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
    plan: Vec<schedule::Planned>,
    oracle: Oracle,
    phase: watch::Sender<Phase>,
    finished: Arc<AtomicU64>,
    standing: String,
}

impl Run<'_> {
    fn new(seed: u64, recorder: &Recorder) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let [from, until] = FAULTS;
        let plan = schedule::plan(&mut StdRng::seed_from_u64(rng.random()), from, until);
        let (phase, phases) = watch::channel(Phase::Run);
        let finished = Arc::new(AtomicU64::new(0));
        let cluster = Cluster::new(rng, recorder, &phases, &finished);
        let standing = String::new();
        Self { cluster, plan, oracle: Oracle::default(), phase, finished, standing }
    }

    fn play(&mut self) -> Result<(), String> {
        let mut plan = std::mem::take(&mut self.plan).into_iter().peekable();
        while self.cluster.elapsed() < RUN {
            let now = self.cluster.elapsed();
            while let Some(planned) = plan.next_if(|planned| planned.at <= now) {
                self.cluster.begin(planned);
            }
            self.step()?;
        }
        self.enter(Phase::Drain);
        self.cluster.heal();
        self.step_until(DRAINED)?;
        // In a new term, an entry of an old one is below the barrier or can never commit.
        let leader = self.cluster.leader().ok_or("no leader after heal")?;
        self.cluster.crash(leader, LAST_CRASH);
        self.step_until(ELECTED)?;
        self.enter(Phase::Barrier);
        self.step_until_finished(HOSTS.len() as u64)?;
        self.enter(Phase::Read);
        self.step_until_finished(2 * HOSTS.len() as u64)
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

    fn step_until_finished(&mut self, count: u64) -> Result<(), String> {
        while self.finished.load(Ordering::Relaxed) < count {
            if self.cluster.elapsed() > READ {
                return Err(format!("not all replicas wrote and read: {}", self.standing));
            }
            self.step()?;
        }
        Ok(())
    }

    /// One tick of the simulation, and the checks after it.
    fn step(&mut self) -> Result<(), String> {
        self.cluster.step()?;
        let (mut standing, mut applied) = (Vec::new(), Vec::new());
        for (place, host) in HOSTS.into_iter().enumerate() {
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
            ("ok", ok),
            ("fail", fail),
            ("info", info),
            ("terms led", self.oracle.terms_led() as u64),
            ("crashes", counts.crashes),
            ("leader crashes", counts.leader_crashes),
            ("ambushes", counts.ambushes),
            ("partitions", counts.partitions),
            ("leader partitions", counts.leader_partitions),
            ("failed syncs", counts.failed_syncs),
            ("hashes agreed", self.oracle.agreed),
            ("snapshot index", self.oracle.snapshot_index),
            ("snapshots installed", self.oracle.snapshots_installed),
        ];
        coverage.extend(OPERATIONS.map(|what| (what, recorder.counted(what))));
        coverage
    }
}
