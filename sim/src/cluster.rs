//! The hosts, the links between them, and what is done to them.

use std::{
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
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use tokio::sync::watch;
use turmoil::Sim;

use crate::{
    clock::{EPOCH_MS, SimClock},
    host::{Body, Phase, Progress},
    net::{Reach, SimNet},
    recorder::Recorder,
    schedule::{self, Cuts, Fault, HOSTS, Place, Planned, Victim},
};

/// How much time passes between two looks at the hosts.
const STEP: Duration = Duration::from_millis(1);
/// A simulation that is not stopped before is stuck.
const LONGEST: Duration = Duration::from_mins(4);
/// The greatest latency of a link.
const FAST: Duration = Duration::from_millis(2);
/// The greatest latency of a slow link.
const SLOW: Duration = Duration::from_millis(40);
/// A host whose power fails in the middle of its writing is gone after this.
const DYING: Duration = Duration::from_millis(30);
/// How long a host is down after an ambush: back while its term's election is still open.
const AMBUSH: Duration = Duration::from_millis(20);
/// How long the leader is down that crashed as a follower came back.
const STALE: Duration = Duration::from_secs(1);
/// How long a host is down whose process has ended.
const RESTART: Duration = Duration::from_millis(100);
/// How many packets wait at a socket: turmoil panics at the next one.
const SOCKET_PACKETS: usize = 65_536;

/// One host, seen from outside.
struct Host {
    body: Body,
    /// Its power is off, and at this time it goes down.
    dies_at: Option<Duration>,
    /// How long it will be down then.
    downtime: Duration,
    /// It is down until this time.
    down_until: Option<Duration>,
    /// It goes down in the first term after this one.
    ambushed_in: Option<u64>,
    /// It is started again at this time, because its disk was made to fail.
    restart_at: Option<Duration>,
}

/// How often what was done to the hosts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Power cuts.
    pub crashes: u64,
    /// Those that hit the leader.
    pub leader_crashes: u64,
    /// Those in the first moment of a term.
    pub ambushes: u64,
    /// Isolations, in both directions or one.
    pub partitions: u64,
    /// Those that hit the leader.
    pub leader_partitions: u64,
    /// Hosts parted in two sides, with a bridge or without.
    pub splits: u64,
    /// Wall clocks that jumped.
    pub jumps: u64,
    /// Leaders that crashed as a follower came back that was behind.
    pub stale: u64,
    /// Syncs made to fail.
    pub failed_syncs: u64,
}

/// The hosts of a run.
pub struct Cluster<'a> {
    sim: Sim<'a>,
    rng: StdRng,
    hosts: Vec<Host>,
    reach: Reach,
    /// Cut links and until when.
    cuts: Vec<(Cuts, Duration)>,
    /// The links that are cut now.
    applied_cuts: Cuts,
    /// Whose wall clock is off, and until when.
    jumps: Vec<(Place, Duration)>,
    /// When the leader crashes, because a follower is back then that is behind.
    leader_dies_at: Option<Duration>,
    slow_until: Option<Duration>,
    recorder: Recorder,
    /// See [`Counts`].
    pub counts: Counts,
}

impl Cluster<'_> {
    /// The hosts of a seed with empty disks. `phase` and `progress` are [`Body`]'s.
    pub fn new(
        seed: u64,
        mut rng: StdRng,
        recorder: &Recorder,
        phase: &watch::Receiver<Phase>,
        progress: &Progress,
    ) -> Self {
        let mut sim = turmoil::Builder::new()
            .epoch(UNIX_EPOCH + Duration::from_millis(EPOCH_MS))
            .rng_seed(rng.random())
            .simulation_duration(LONGEST)
            .tick_duration(STEP)
            .min_message_latency(Duration::ZERO)
            .max_message_latency(FAST)
            .tcp_capacity(SOCKET_PACKETS)
            .enable_random_order()
            .build();
        let (size, reach) = (schedule::size(seed), Reach::default());
        let mut hosts = Vec::new();
        for (place, name) in HOSTS.into_iter().take(size).enumerate() {
            let loss = [Loss::Lose, Loss::Keep, Loss::Tear][rng.random_range(0..3)];
            let body = Body {
                place,
                peers: &HOSTS[..size],
                has_lifeline: schedule::has_lifelines(seed),
                name,
                net: SimNet { place, reach: reach.clone() },
                disk: Arc::new(MemoryDisk::new(loss, rng.random())),
                clock: SimClock::new(&mut rng),
                seed: rng.random(),
                lives: Arc::new(AtomicU64::new(0)),
                has_exited: Arc::new(AtomicBool::new(false)),
                handle: Arc::new(Mutex::new(None)),
                recorder: recorder.clone(),
                phase: phase.clone(),
                progress: progress.clone(),
            };
            let software = body.clone();
            sim.host(name, move || software.clone().live());
            hosts.push(Host {
                body,
                dies_at: None,
                downtime: Duration::ZERO,
                down_until: None,
                ambushed_in: None,
                restart_at: None,
            });
        }
        Self {
            sim,
            rng,
            hosts,
            reach,
            cuts: Vec::new(),
            applied_cuts: Cuts::new(),
            jumps: Vec::new(),
            leader_dies_at: None,
            slow_until: None,
            recorder: recorder.clone(),
            counts: Counts::default(),
        }
    }

    /// Ends and begins what is due, and lets one tick pass.
    ///
    /// # Errors
    /// A host's software ended.
    pub fn step(&mut self) -> Result<(), String> {
        for place in 0..self.size() {
            self.crash_or_start(place);
        }
        self.apply_cuts();
        self.end_jumps();
        self.crash_leader_if_due();
        self.sim.step().map(drop).map_err(|error| format!("a host stopped: {error}"))
    }

    /// How many hosts there are.
    pub fn size(&self) -> usize {
        self.hosts.len()
    }

    /// Simulated time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// The node of a host that is up.
    pub fn handle(&self, place: Place) -> Option<Handle> {
        self.hosts[place].body.handle.lock().expect("nobody panics with a handle").clone()
    }

    /// How often a host was started.
    pub fn life(&self, place: Place) -> u64 {
        self.hosts[place].body.lives.load(Ordering::Relaxed)
    }

    fn term(&self, place: Place) -> Option<u64> {
        Some(self.handle(place)?.status().raft.term)
    }

    /// Whether a host runs on after its power was cut.
    pub fn is_dying(&self, place: Place) -> bool {
        self.hosts[place].dies_at.is_some()
    }

    /// Whoever leads the greatest term.
    pub fn leader(&self) -> Option<Place> {
        (0..self.size())
            .filter_map(|place| Some((place, self.handle(place)?.status().raft)))
            .filter(|(_, raft)| raft.role == Role::Leader)
            .max_by_key(|(_, raft)| raft.term)
            .map(|(place, _)| place)
    }

    /// Writes into the trace.
    pub fn note(&self, text: &str) {
        self.recorder.note(self.elapsed(), text);
    }

    /// All links and clocks work again, and all hosts come up.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.slow_until = None;
        self.leader_dies_at = None;
        let now = self.elapsed();
        self.jumps.iter_mut().for_each(|(_, until)| *until = now);
        for host in &mut self.hosts {
            host.ambushed_in = None;
            host.down_until = host.down_until.map(|until| until.min(now + RESTART));
        }
    }

    /// Heals all but a minority, which stays broken in one way or another: down, cut off, or heard or
    /// hearing by nobody. The places of the others.
    pub fn heal_a_core(&mut self) -> Vec<Place> {
        self.heal();
        let mut places: Vec<Place> = (0..self.size()).collect();
        places.shuffle(&mut self.rng);
        let core = places.split_off((self.size() - 1) / 2);
        for place in places {
            let victim = Victim::Host(place);
            let fault = match self.rng.random_range(0..4) {
                0 => {
                    self.note(&format!("{} stays down", HOSTS[place]));
                    self.crash(place, LONGEST);
                    continue;
                }
                1 => Fault::Isolate(victim),
                2 => Fault::Mute(victim),
                _ => Fault::Deafen(victim),
            };
            self.note(&format!("{fault:?} {} for good", HOSTS[place]));
            self.cuts.push((schedule::cuts(fault, place, self.size()), LONGEST));
        }
        core
    }

    /// Lets a fault begin.
    pub fn begin(&mut self, planned: Planned) {
        let Planned { lasts, fault, .. } = planned;
        let leader = self.leader();
        let hit = |victim| match victim {
            Victim::Leader => leader.unwrap_or(0),
            Victim::Host(place) => place,
        };
        match fault {
            Fault::Crash(victim) => {
                let place = hit(victim);
                self.counts.leader_crashes += u64::from(leader == Some(place));
                self.cut_power(place, lasts);
            }
            Fault::CrashAll => (0..self.size()).for_each(|place| self.cut_power(place, lasts)),
            Fault::Isolate(victim) | Fault::Mute(victim) | Fault::Deafen(victim) => {
                let place = hit(victim);
                self.counts.partitions += 1;
                self.counts.leader_partitions += u64::from(leader == Some(place));
                self.note(&format!("{fault:?} {} for {lasts:?}", HOSTS[place]));
                self.cuts.push((schedule::cuts(fault, place, self.size()), self.elapsed() + lasts));
            }
            Fault::Split(_) | Fault::Bridge(..) => {
                self.counts.splits += 1;
                self.note(&format!("{fault:?} for {lasts:?}"));
                self.cuts.push((schedule::cuts(fault, 0, self.size()), self.elapsed() + lasts));
            }
            Fault::Jump(victim, ms) => {
                let place = hit(victim);
                self.counts.jumps += 1;
                self.note(&format!("the wall clock of {} is off by {ms} ms", HOSTS[place]));
                self.hosts[place].body.clock.jump(ms);
                self.jumps.push((place, self.elapsed() + lasts));
            }
            Fault::FailSync(victim) => {
                let place = hit(victim);
                self.note(&format!("the next sync of {} fails", HOSTS[place]));
                self.counts.failed_syncs += 1;
                self.hosts[place].body.disk.fail_sync_after(0);
                self.hosts[place].restart_at = Some(self.elapsed() + lasts);
            }
            Fault::Ambush(distance) => {
                let place = (hit(Victim::Leader) + distance) % self.size();
                self.note(&format!("{} is to crash in its next term", HOSTS[place]));
                // A host that is down is met in the first term that it comes to.
                let greatest = || (0..self.size()).filter_map(|place| self.term(place)).max();
                self.hosts[place].ambushed_in = self.term(place).or_else(greatest);
                self.begin(Planned { fault: Fault::Crash(Victim::Leader), ..planned });
            }
            Fault::Stale(distance) => {
                let place = (hit(Victim::Leader) + distance) % self.size();
                self.note(&format!("{} is to fall behind for {lasts:?}", HOSTS[place]));
                let until = self.elapsed() + lasts;
                self.cuts.push((schedule::cuts(fault, place, self.size()), until));
                self.leader_dies_at = Some(until);
            }
            Fault::Slow => {
                self.note(&format!("slow links for {lasts:?}"));
                self.slow_until = Some(self.elapsed() + lasts);
            }
        }
    }

    /// Cuts the power of a host that is up: at once, or in the middle of what it writes next.
    fn cut_power(&mut self, place: Place, downtime: Duration) {
        let calls = self.rng.random_range(0..40);
        let now = self.elapsed();
        let host = &mut self.hosts[place];
        if host.down_until.is_some() || host.dies_at.is_some() {
            return;
        }
        if calls < 20 {
            self.crash(place, downtime);
        } else {
            host.body.disk.cut_power_after(calls - 20);
            (host.dies_at, host.downtime) = (Some(now + DYING), downtime);
        }
    }

    /// A host is gone, with all that it had not synced.
    pub fn crash(&mut self, place: Place, downtime: Duration) {
        self.note(&format!("{} crashes for {downtime:?}", HOSTS[place]));
        self.counts.crashes += 1;
        let seed = self.rng.random();
        let now = self.elapsed();
        let host = &mut self.hosts[place];
        // First the power: what tasks do as they are dropped must not reach the disk.
        host.body.disk.cut_power_after(0);
        *host.body.handle.lock().expect("nobody panics with a handle") = None;
        self.reach.set_down(place, true);
        self.sim.crash(HOSTS[place]);
        host.body.disk.crash(seed);
        (host.dies_at, host.restart_at) = (None, None);
        host.down_until = Some(now + downtime);
    }

    fn crash_or_start(&mut self, place: Place) {
        let now = self.elapsed();
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let host = &self.hosts[place];
        let downtime = host.downtime;
        let is_ambushed =
            host.ambushed_in.is_some_and(|term| self.term(place).is_some_and(|now| now > term));
        if is_ambushed {
            self.hosts[place].ambushed_in = None;
            self.counts.ambushes += 1;
            self.crash(place, AMBUSH);
        } else if is_due(host.dies_at) {
            self.crash(place, downtime);
        } else if host.body.has_exited.swap(false, Ordering::Relaxed) || is_due(host.restart_at) {
            self.crash(place, RESTART);
        } else if is_due(host.down_until) {
            self.note(&format!("{} starts", HOSTS[place]));
            self.hosts[place].down_until = None;
            self.reach.set_down(place, false);
            self.sim.bounce(HOSTS[place]);
        }
    }

    fn crash_leader_if_due(&mut self) {
        if self.leader_dies_at.is_none_or(|at| at > self.elapsed()) {
            return;
        }
        // While nobody leads, it waits for the next one that does.
        let Some(leader) = self.leader() else { return };
        self.leader_dies_at = None;
        self.counts.stale += 1;
        self.counts.leader_crashes += 1;
        self.crash(leader, STALE);
    }

    fn end_jumps(&mut self) {
        let now = self.elapsed();
        let (over, left): (Vec<_>, Vec<_>) =
            self.jumps.drain(..).partition(|(_, until)| *until <= now);
        self.jumps = left;
        for (place, _) in over {
            if self.jumps.iter().all(|(other, _)| *other != place) {
                self.hosts[place].body.clock.jump(0);
            }
        }
    }

    fn apply_cuts(&mut self) {
        let now = self.elapsed();
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
}
