//! Three replicas on one simulated network, the faults of a plan, and what is checked at every step.

use std::{
    panic,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use quorate::node::Handle;
use raft::{
    Role,
    disk::{Loss, MemoryDisk},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;
use turmoil::Sim;

use crate::{
    clock::{EPOCH_MS, SimClock},
    host::{self, Phase},
    net::{Reach, SimNet},
    oracle::{Disk, Oracle},
    recorder::Recorder,
    schedule::{self, Cuts, Fault, HOSTS, Place, Planned, Victim},
};

/// Faults begin after this, so that the cluster has formed.
const CALM: Duration = Duration::from_secs(4);
/// Clients work for this long.
pub const RUN: Duration = Duration::from_secs(60);
/// All must be read by this long after the run.
const AFTERMATH: Duration = Duration::from_secs(60);
/// How much time passes between two checks.
const STEP: Duration = Duration::from_millis(1);
/// A host whose power fails in the middle of its writing is gone after this.
const DYING: Duration = Duration::from_millis(30);

/// What became of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What broke inside the replicas, or that nothing did.
    pub inside: Result<(), String>,
    /// What happened, by name.
    pub coverage: Vec<(&'static str, u64)>,
}

impl Outcome {
    /// What a run must have seen, and has not.
    pub fn untested(&self) -> Vec<&'static str> {
        const NEEDED: [&str; 5] =
            ["leader crashes", "leader partitions", "info", "hashes agreed", "snapshot index"];
        let missing =
            |name: &&str| self.coverage.iter().any(|(known, count)| known == name && *count == 0);
        NEEDED.into_iter().filter(missing).collect()
    }
}

struct Host {
    disk: Arc<MemoryDisk>,
    /// Set when its node could not be opened because the disk failed: the process has ended.
    has_exited: Arc<AtomicBool>,
    /// The running node's handle; none while it is down or starts.
    handle: Arc<Mutex<Option<Handle>>>,
    /// Its power is off from then on, and it goes down at this time.
    dies_at: Option<Duration>,
    /// It is down until this time.
    down_until: Option<Duration>,
    /// How long it is to be down.
    downtime: Duration,
    /// It is started again at this time, because its disk was made to fail.
    restart_at: Option<Duration>,
}

/// A run under way.
struct World<'a> {
    sim: Sim<'a>,
    rng: StdRng,
    hosts: Vec<Host>,
    reach: Reach,
    /// Cut links and until when.
    cuts: Vec<(Cuts, Duration)>,
    applied_cuts: Cuts,
    slow_until: Option<Duration>,
    oracle: Oracle,
    recorder: Recorder,
    phase: watch::Sender<Phase>,
    finished: Arc<AtomicU64>,
    counts: Counts,
    standing: String,
}

#[derive(Default)]
struct Counts {
    crashes: u64,
    leader_crashes: u64,
    partitions: u64,
    leader_partitions: u64,
    failed_syncs: u64,
}

/// Runs one seed to its end. Nothing but the seed decides what happens.
pub fn run(seed: u64, recorder: &Recorder) -> Outcome {
    let panics = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&panics);
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        seen.lock()
            .expect("no panic while a panic is noted")
            .get_or_insert_with(|| panic.to_string());
        default_hook(panic);
    }));
    let mut world = World::new(seed, recorder.clone());
    let inside = world.run().and_then(|()| {
        match panics.lock().expect("no panic while a panic is noted").take() {
            Some(panic) => Err(panic),
            None => Ok(()),
        }
    });
    Outcome { inside, coverage: world.coverage() }
}

impl World<'_> {
    fn new(seed: u64, recorder: Recorder) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut sim = turmoil::Builder::new()
            .epoch(UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .rng_seed(rng.random())
            .simulation_duration(RUN + AFTERMATH + Duration::from_secs(60))
            .tick_duration(STEP)
            .min_message_latency(Duration::ZERO)
            .max_message_latency(FAST)
            .tcp_capacity(65_536)
            .enable_random_order()
            .build();
        let (phase, phases) = watch::channel(Phase::Run);
        let finished = Arc::new(AtomicU64::new(0));
        let mut hosts = Vec::new();
        let reach = Reach::default();
        for (place, name) in HOSTS.into_iter().enumerate() {
            let loss = [Loss::Lose, Loss::Keep, Loss::Tear][rng.random_range(0..3)];
            let host = Host {
                disk: Arc::new(MemoryDisk::new(loss, rng.random())),
                has_exited: Arc::default(),
                handle: Arc::default(),
                dies_at: None,
                down_until: None,
                downtime: Duration::ZERO,
                restart_at: None,
            };
            let body = host::Body {
                name,
                net: SimNet { place, reach: reach.clone() },
                disk: host.disk.clone(),
                clock: SimClock::new(&mut rng),
                seed: rng.random(),
                lives: Arc::new(AtomicU64::new(0)),
                has_exited: host.has_exited.clone(),
                handle: host.handle.clone(),
                recorder: recorder.clone(),
                phase: phases.clone(),
                finished: finished.clone(),
            };
            sim.host(name, move || body.clone().live());
            hosts.push(host);
        }
        Self {
            sim,
            rng,
            hosts,
            reach,
            cuts: Vec::new(),
            applied_cuts: Cuts::new(),
            slow_until: None,
            oracle: Oracle::default(),
            recorder,
            phase,
            finished,
            counts: Counts::default(),
            standing: String::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let plan = schedule::plan(&mut self.rng, CALM, RUN - Duration::from_secs(2));
        let mut plan = plan.into_iter().peekable();
        while self.sim.elapsed() < RUN {
            let now = self.sim.elapsed();
            while let Some(planned) = plan.next_if(|planned| planned.at <= now) {
                self.begin(planned);
            }
            self.step()?;
        }
        self.heal_and_read()
    }

    /// Heals everything, lets what is in flight end, changes the term, and has every host read.
    fn heal_and_read(&mut self) -> Result<(), String> {
        self.note("drain");
        self.phase.send_replace(Phase::Drain);
        self.cuts.clear();
        self.slow_until = None;
        let drained = self.sim.elapsed() + Duration::from_secs(15);
        while self.sim.elapsed() < drained {
            self.step()?;
        }
        // In a new term, an entry of an old one is below the barrier or can never commit.
        let leader = self.leader().ok_or("no leader after heal")?;
        self.crash(leader, Duration::from_millis(500));
        let elected = self.sim.elapsed() + Duration::from_secs(5);
        while self.sim.elapsed() < elected {
            self.step()?;
        }
        let hosts = HOSTS.len() as u64;
        self.note("barrier");
        self.phase.send_replace(Phase::Barrier);
        self.step_until_finished(hosts)?;
        self.note("read");
        self.phase.send_replace(Phase::Read);
        self.step_until_finished(2 * hosts)
    }

    fn step_until_finished(&mut self, count: u64) -> Result<(), String> {
        while self.finished.load(Ordering::Relaxed) < count {
            if self.sim.elapsed() > RUN + AFTERMATH {
                return Err(format!("not all replicas wrote and read: {}", self.standing));
            }
            self.step()?;
        }
        Ok(())
    }

    /// One tick of the simulation, and the checks after it.
    fn step(&mut self) -> Result<(), String> {
        self.apply_times();
        self.sim.step().map_err(|error| format!("a host stopped: {error}"))?;
        let (mut standing, mut applied) = (String::new(), String::new());
        for place in 0..HOSTS.len() {
            let Some(handle) = self.handle(place) else { continue };
            let status = handle.status();
            let raft = &status.raft;
            let is_dying = self.hosts[place].dies_at.is_some();
            let disk = if is_dying { Disk::Dead } else { Disk::Works };
            self.oracle.on_status(place, &status, disk)?;
            // Between two steps nothing runs, so the index and the hash are of one moment.
            self.oracle.on_hash(place, raft.applied_index, status.state_hash)?;
            applied +=
                &format!(" {}={}:{:032x}", HOSTS[place], raft.applied_index, status.state_hash);
            standing += &format!(" {}={:?}@{}", HOSTS[place], raft.role, raft.term);
        }
        if self.sim.elapsed().subsec_nanos() == 0 {
            self.note(&format!("applied{applied}"));
        }
        if standing != self.standing {
            self.note(&format!("standing{standing}"));
            self.standing = standing;
        }
        Ok(())
    }

    fn handle(&self, place: Place) -> Option<Handle> {
        self.hosts[place].handle.lock().expect("nobody panics with a handle").clone()
    }

    /// Whoever leads the greatest term.
    fn leader(&self) -> Option<Place> {
        (0..HOSTS.len())
            .filter_map(|place| Some((place, self.handle(place)?.status())))
            .filter(|(_, status)| status.raft.role == Role::Leader)
            .max_by_key(|(_, status)| status.raft.term)
            .map(|(place, _)| place)
    }

    fn note(&self, text: &str) {
        self.recorder.note(self.sim.elapsed(), text);
    }

    fn begin(&mut self, planned: Planned) {
        let Planned { lasts, fault, .. } = planned;
        let leader = self.leader();
        let victim = |victim| match victim {
            Victim::Leader => leader.unwrap_or(0),
            Victim::Host(place) => place,
        };
        match fault {
            Fault::Crash(who) => {
                let place = victim(who);
                self.counts.leader_crashes += u64::from(leader == Some(place));
                self.cut_power(place, lasts);
            }
            Fault::CrashAll => (0..HOSTS.len()).for_each(|place| self.cut_power(place, lasts)),
            Fault::Isolate(who) | Fault::Mute(who) => {
                let place = victim(who);
                self.counts.partitions += 1;
                self.counts.leader_partitions += u64::from(leader == Some(place));
                self.note(&format!("{fault:?} {} for {lasts:?}", HOSTS[place]));
                self.cuts.push((schedule::cuts(fault, place), self.sim.elapsed() + lasts));
            }
            Fault::FailSync(who) => {
                let place = victim(who);
                self.note(&format!("the next sync of {} fails", HOSTS[place]));
                self.counts.failed_syncs += 1;
                self.hosts[place].disk.fail_sync_after(0);
                self.hosts[place].restart_at = Some(self.sim.elapsed() + lasts);
            }
            Fault::Slow => {
                self.note(&format!("slow links for {lasts:?}"));
                self.slow_until = Some(self.sim.elapsed() + lasts);
            }
        }
    }

    /// Cuts the power of a host that is up: at once, or in the middle of what it writes next.
    fn cut_power(&mut self, place: Place, downtime: Duration) {
        let calls = self.rng.random_range(0..40);
        let now = self.sim.elapsed();
        let host = &mut self.hosts[place];
        if host.down_until.is_some() || host.dies_at.is_some() {
            return;
        }
        if calls < 20 {
            self.crash(place, downtime);
        } else {
            host.disk.cut_power_after(calls - 20);
            (host.dies_at, host.downtime) = (Some(now + DYING), downtime);
        }
    }

    /// The host is gone, with all that it had not synced.
    fn crash(&mut self, place: Place, downtime: Duration) {
        self.note(&format!("{} crashes for {downtime:?}", HOSTS[place]));
        self.counts.crashes += 1;
        let seed = self.rng.random();
        let now = self.sim.elapsed();
        let host = &mut self.hosts[place];
        // First the power: what tasks do as they are dropped must not reach the disk.
        host.disk.cut_power_after(0);
        *host.handle.lock().expect("nobody panics with a handle") = None;
        self.reach.set_down(place, true);
        self.sim.crash(HOSTS[place]);
        host.disk.crash(seed);
        (host.dies_at, host.restart_at) = (None, None);
        host.down_until = Some(now + downtime);
        self.oracle.on_crash(place);
    }

    /// Ends and begins what is due.
    fn apply_times(&mut self) {
        let now = self.sim.elapsed();
        for place in 0..HOSTS.len() {
            let host = &self.hosts[place];
            let downtime = host.downtime;
            if host.dies_at.is_some_and(|at| at <= now) {
                self.crash(place, downtime);
            } else if host.has_exited.swap(false, Ordering::Relaxed)
                || host.restart_at.is_some_and(|at| at <= now)
            {
                self.crash(place, Duration::from_millis(100));
            } else if host.down_until.is_some_and(|at| at <= now) {
                self.note(&format!("{} starts", HOSTS[place]));
                self.hosts[place].down_until = None;
                self.reach.set_down(place, false);
                self.sim.bounce(HOSTS[place]);
            }
        }
        self.cuts.retain(|(_, until)| *until > now);
        let wanted: Cuts = self.cuts.iter().flat_map(|(cuts, _)| cuts).copied().collect();
        for (from, to) in self.applied_cuts.difference(&wanted) {
            self.sim.repair_oneway(HOSTS[*from], HOSTS[*to]);
        }
        for (from, to) in wanted.difference(&self.applied_cuts) {
            self.sim.partition_oneway(HOSTS[*from], HOSTS[*to]);
        }
        if wanted != self.applied_cuts {
            self.reach.set_cuts(wanted.clone());
            self.applied_cuts = wanted;
        }
        self.slow_until = self.slow_until.filter(|until| *until > now);
        self.sim.set_max_message_latency(if self.slow_until.is_some() { SLOW } else { FAST });
    }

    fn coverage(&self) -> Vec<(&'static str, u64)> {
        let [ok, fail, info] = self.recorder.completed();
        vec![
            ("ok", ok),
            ("fail", fail),
            ("info", info),
            ("terms led", self.oracle.terms_led() as u64),
            ("crashes", self.counts.crashes),
            ("leader crashes", self.counts.leader_crashes),
            ("partitions", self.counts.partitions),
            ("leader partitions", self.counts.leader_partitions),
            ("failed syncs", self.counts.failed_syncs),
            ("hashes agreed", self.oracle.agreed),
            ("snapshot index", self.oracle.snapshot_index),
        ]
    }
}

/// The greatest latency of a link.
const FAST: Duration = Duration::from_millis(2);
/// The greatest latency of a slow link.
const SLOW: Duration = Duration::from_millis(40);
