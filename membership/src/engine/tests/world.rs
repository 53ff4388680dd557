//! Members on one virtual clock. Everything that happens follows from the seed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    Event, Identity, Keyring, Member, MemberState, Profile,
    engine::{Engine, Now, Setup},
    roster::Roster,
};

/// One way, µs: a network within a building.
const DELAY_US: std::ops::Range<u64> = 200..1_200;

/// What the operating system keeps for a paused process, datagrams.
const KEPT_MAX: usize = 128;

/// The wall clock when virtual time begins, ms.
pub(super) const WALL_MS: u64 = 1_700_000_000_000;

pub(super) struct World {
    pub(super) now_us: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) profile: Profile,
    pub(super) keyring: Option<Keyring>,
    /// Of 100 datagrams so many are lost, each by itself.
    pub(super) loss_percent: u32,
    /// Whether a datagram from one node to another gets through at all.
    is_open: Box<dyn Fn(usize, usize) -> bool>,
    places: BTreeMap<SocketAddr, usize>,
    due: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// What is on its way, by the second number in `due`.
    flights: BTreeMap<u64, Vec<u8>>,
    sequence: u64,
    rng: StdRng,
    /// Datagrams and bytes that were sent.
    pub(super) sent: (u64, u64),
}

pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) engine: Option<Engine>,
    /// What it saw, and when, ms.
    pub(super) events: Vec<(u64, Event)>,
    /// Set while it is paused: what came meanwhile.
    kept: Option<Vec<Vec<u8>>>,
    /// How far its wall clock is off, ms.
    pub(super) skew_ms: i64,
    wake_us: u64,
}

impl World {
    pub(super) fn new(profile: Profile, seed: u64) -> Self {
        Self {
            now_us: 0,
            nodes: Vec::new(),
            profile,
            keyring: None,
            loss_percent: 0,
            is_open: Box::new(|_, _| true),
            places: BTreeMap::new(),
            due: BinaryHeap::new(),
            flights: BTreeMap::new(),
            sequence: 0,
            rng: StdRng::seed_from_u64(seed),
            sent: (0, 0),
        }
    }

    /// So many members that know each other.
    pub(super) fn of(count: usize, profile: Profile, seed: u64) -> Self {
        let mut world = Self::new(profile, seed);
        let identities: Vec<Identity> = (0..count)
            .map(|_| {
                let place = world.add();
                world.identity(place)
            })
            .collect();
        for place in 0..count {
            world.turn(place, |engine, now| {
                let me = engine.foca.identity().clone();
                let known = identities.iter().filter(|known| **known != me).cloned();
                let known = known.map(foca::Member::alive);
                engine.effects.now_us = now.us;
                engine.foca.apply_many(known, false, &mut engine.effects).unwrap();
                engine.settle(now);
            });
            world.nodes[place].events.clear();
            let seeds = identities.iter().take(3).map(Identity::address).collect();
            world.turn(place, |engine, now| engine.set_seeds(seeds, now));
        }
        world
    }

    /// A member that knows nobody.
    pub(super) fn add(&mut self) -> usize {
        let place = self.nodes.len();
        let [high, low] = u16::try_from(place + 1).unwrap().to_be_bytes();
        let address = SocketAddr::from(([10, 0, high, low], 8771));
        let name = format!("n{place}");
        self.places.insert(address, place);
        self.nodes.push(Node {
            name,
            address,
            engine: None,
            events: Vec::new(),
            kept: None,
            skew_ms: 0,
            wake_us: u64::MAX,
        });
        self.start(place);
        place
    }

    /// Begins a life of a member, whose incarnation is its wall clock.
    pub(super) fn start(&mut self, place: usize) {
        let now = self.now(place);
        let node = &self.nodes[place];
        let setup = Setup {
            identity: Identity::new(&node.name, node.address, now.wall_ms).unwrap(),
            cluster: "main".into(),
            keyring: self.keyring.clone(),
            profile: self.profile,
            seed: self.rng.random(),
        };
        let engine = Engine::new(setup, Arc::new(RwLock::new(Roster::default())), now);
        self.nodes[place].engine = Some(engine);
        self.turn(place, |_, _| {});
    }

    pub(super) fn kill(&mut self, place: usize) {
        self.nodes[place].engine = None;
        self.nodes[place].kept = None;
    }

    /// As SIGSTOP does.
    pub(super) fn pause(&mut self, place: usize) {
        self.nodes[place].kept = Some(Vec::new());
    }

    /// As SIGCONT does: what came meanwhile is read first, as the task does it.
    pub(super) fn resume(&mut self, place: usize) {
        let kept = self.nodes[place].kept.take().unwrap_or_default();
        self.turn(place, |engine, now| {
            for mut datagram in kept {
                engine.on_datagram(&mut datagram, now);
            }
            engine.on_time(now);
        });
    }

    /// Gives a member the address of another.
    pub(super) fn join(&mut self, place: usize, seed: usize) {
        let address = self.nodes[seed].address;
        self.turn(place, |engine, now| {
            engine.set_seeds(vec![address], now);
            engine.on_time(now);
        });
    }

    pub(super) fn cut(&mut self, is_open: impl Fn(usize, usize) -> bool + 'static) {
        self.is_open = Box::new(is_open);
    }

    /// One call of one member, and everything that comes of it.
    pub(super) fn turn(&mut self, place: usize, call: impl FnOnce(&mut Engine, Now)) {
        let now = self.now(place);
        let Some(engine) = &mut self.nodes[place].engine else { return };
        call(engine, now);
        let (datagrams, events) = (engine.take_datagrams(), engine.take_events());
        let at_us = engine.deadline_us();
        if self.nodes[place].wake_us != at_us && at_us != u64::MAX {
            self.sequence += 1;
            self.nodes[place].wake_us = at_us;
            self.due.push(Reverse((at_us.max(self.now_us), self.sequence, place)));
        }
        let now_ms = self.now_us / 1000;
        self.nodes[place].events.extend(events.into_iter().map(|event| (now_ms, event)));
        for (to, datagram) in datagrams {
            self.send(place, to, datagram.to_vec());
        }
    }

    pub(super) fn send(&mut self, from: usize, to: SocketAddr, datagram: Vec<u8>) {
        assert!(datagram.len() <= 1400, "one packet");
        self.sent.0 += 1;
        self.sent.1 += datagram.len() as u64;
        let Some(&to) = self.places.get(&to) else { return };
        let is_lost = self.rng.random_range(0..100) < self.loss_percent;
        let delay_us = self.rng.random_range(DELAY_US);
        if is_lost || !(self.is_open)(from, to) {
            return;
        }
        self.sequence += 1;
        self.flights.insert(self.sequence, datagram);
        self.due.push(Reverse((self.now_us + delay_us, self.sequence, to)));
    }

    pub(super) fn run_ms(&mut self, for_ms: u64) {
        let until_us = self.now_us + 1000 * for_ms;
        while let Some(&Reverse((at_us, sequence, place))) = self.due.peek()
            && at_us <= until_us
        {
            self.due.pop();
            self.now_us = at_us;
            match self.flights.remove(&sequence) {
                Some(datagram) => self.arrive(place, datagram),
                None => self.wake(place),
            }
        }
        self.now_us = until_us;
    }

    /// Runs until something is so; fails if it is not in time. Says how long it took, ms.
    pub(super) fn run_until(&mut self, within_ms: u64, is_so: impl Fn(&Self) -> bool) -> u64 {
        let start_us = self.now_us;
        while !is_so(self) {
            assert!(self.now_us < start_us + 1000 * within_ms, "not within {within_ms} ms");
            self.run_ms(5);
        }
        (self.now_us - start_us) / 1000
    }

    fn arrive(&mut self, place: usize, mut datagram: Vec<u8>) {
        match &mut self.nodes[place].kept {
            Some(kept) if kept.len() < KEPT_MAX => kept.push(datagram),
            Some(_) => {}
            None => self.turn(place, |engine, now| engine.on_datagram(&mut datagram, now)),
        }
    }

    fn wake(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if node.kept.is_some() || node.wake_us > self.now_us {
            return;
        }
        node.wake_us = u64::MAX;
        self.turn(place, Engine::on_time);
    }

    pub(super) fn now(&self, place: usize) -> Now {
        let skew_ms = self.nodes[place].skew_ms;
        let wall_ms = (WALL_MS + self.now_us / 1000).saturating_add_signed(skew_ms);
        Now { us: self.now_us, wall_ms }
    }

    pub(super) fn identity(&self, place: usize) -> Identity {
        self.engine(place).foca.identity().clone()
    }

    pub(super) fn engine(&self, place: usize) -> &Engine {
        self.nodes[place].engine.as_ref().unwrap()
    }

    /// How one sees another.
    pub(super) fn sees(&self, viewer: usize, seen: usize) -> Option<Member> {
        let roster = self.engine(viewer).roster.read().unwrap();
        roster.member(&self.nodes[seen].name).cloned()
    }

    pub(super) fn state(&self, viewer: usize, seen: usize) -> Option<MemberState> {
        self.sees(viewer, seen).map(|member| member.state)
    }

    /// The members that run.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|place| {
            self.nodes[*place].engine.is_some() && self.nodes[*place].kept.is_none()
        })
    }

    /// Whether all that run see all that run, and each other's present life.
    pub(super) fn is_whole(&self) -> bool {
        self.running().all(|viewer| {
            self.running().all(|seen| {
                self.sees(viewer, seen).is_some_and(|member| {
                    member.state != MemberState::Down && member.identity == self.identity(seen)
                })
            })
        })
    }

    /// How many times somebody saw somebody go down.
    pub(super) fn downs(&self) -> usize {
        self.count(|event| matches!(event, Event::Down(_)))
    }

    /// How many times somebody saw somebody go down who lived: all do but `dead`, which died at `died_ms`.
    pub(super) fn false_downs(&self, dead: usize, died_ms: u64) -> usize {
        let dead = &self.nodes[dead].name;
        let events = self.nodes.iter().flat_map(|node| &node.events);
        let is_false = |(at_ms, event): &&(u64, Event)| match event {
            Event::Down(member) => member.identity.name() != dead || *at_ms <= died_ms,
            _ => false,
        };
        events.filter(is_false).count()
    }

    pub(super) fn count(&self, is_wanted: impl Fn(&Event) -> bool) -> usize {
        let events = self.nodes.iter().flat_map(|node| &node.events);
        events.filter(|(_, event)| is_wanted(event)).count()
    }
}
