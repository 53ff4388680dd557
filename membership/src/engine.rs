//! SWIM without a socket and without a clock: datagrams and moments in, datagrams and deadlines out.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
use foca::{Foca, Header, Message, Notification, Runtime, Timer};
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    Codec, Figures, Identity, Profile,
    metadata::{Bulletin, Bulletins},
    roster::Roster,
};

/// A moment: both clocks of the member, read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since the member was opened, µs; never goes back.
    pub(crate) us: u64,
    /// Since the Unix epoch, ms.
    pub(crate) wall_ms: u64,
}

/// One member.
pub(crate) struct Engine {
    foca: Foca<Identity, Codec, StdRng, Bulletins>,
    bulletins: Bulletins,
    effects: Effects,
    roster: Arc<RwLock<Roster>>,
    seeds: Vec<SocketAddr>,
    seeds_due_us: u64,
    /// A probe that was sent and not answered.
    probe: Option<(Identity, u8, u64)>,
    published: Option<(u64, Bytes)>,
    pub(crate) figures: Figures,
}

/// How often a member that is alone announces itself to its seeds.
const SEEDS_EVERY_US: u64 = 500_000;

impl Engine {
    pub(crate) fn new(
        identity: Identity,
        profile: Profile,
        seed: u64,
        now: Now,
        roster: Arc<RwLock<Roster>>,
    ) -> Self {
        let bulletins = Bulletins::default();
        let rng = StdRng::seed_from_u64(seed);
        let config = profile.config();
        write(&roster).on_up(&identity, None, now.wall_ms);
        let foca = Foca::with_custom_broadcast(identity, config, rng, Codec, bulletins.clone());
        Self {
            foca,
            bulletins,
            effects: Effects::default(),
            roster,
            seeds: Vec::new(),
            seeds_due_us: now.us,
            probe: None,
            published: None,
            figures: Figures::default(),
        }
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.foca.num_members() == 0
    }

    pub(crate) fn set_seeds(&mut self, seeds: Vec<SocketAddr>) {
        self.seeds = seeds;
    }

    pub(crate) fn publish(&mut self, bytes: Bytes, now: Now) {
        let version = self.published.as_ref().map_or(1, |(version, _)| version + 1);
        self.published = Some((version, bytes));
        self.repeat(now);
    }

    fn repeat(&mut self, now: Now) {
        let Some((version, bytes)) = self.published.clone() else { return };
        let bulletin = Bulletin::of(self.foca.identity(), version, bytes);
        let _ = self.foca.add_broadcast(&bulletin.encode());
        self.settle(now);
    }

    pub(crate) fn on_datagram(&mut self, datagram: &[u8], now: Now) {
        self.effects.now = Some(now);
        if self.foca.handle_data(datagram, &mut self.effects).is_err() {
            self.figures.dropped_refused += 1;
        }
        self.settle(now);
    }

    pub(crate) fn on_time(&mut self, now: Now) {
        self.effects.now = Some(now);
        while let Some(timer) = self.effects.due(now) {
            let _ = self.foca.handle_timer(timer, &mut self.effects);
        }
        if self.is_alone() && self.seeds_due_us <= now.us {
            self.seeds_due_us = now.us + SEEDS_EVERY_US;
            for seed in self.seeds.clone() {
                if seed != self.foca.identity().address()
                    && let Ok(seed) = Identity::seed(seed)
                {
                    let _ = self.foca.announce(seed, &mut self.effects);
                }
            }
        }
        self.settle(now);
    }

    /// When `on_time` is due, by `Now::us`.
    pub(crate) fn deadline_us(&self) -> u64 {
        let timer = self.effects.timers.first_key_value().map(|(key, _)| key.0);
        let seeds = self.is_alone().then_some(self.seeds_due_us);
        timer.into_iter().chain(seeds).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn leave(&mut self, now: Now) {
        self.effects.now = Some(now);
        let _ = self.foca.leave_cluster(&mut self.effects);
        self.settle(now);
    }

    pub(crate) fn take_datagrams(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.effects.datagrams)
    }

    fn settle(&mut self, now: Now) {
        for notice in std::mem::take(&mut self.effects.notices) {
            let mut roster = write(&self.roster);
            match notice {
                Notice::Up(identity) => {
                    let metadata = self.bulletins.of(&identity);
                    roster.on_up(&identity, metadata, now.wall_ms);
                }
                Notice::Down(identity) => roster.on_down(&identity, now.wall_ms),
                Notice::Renamed(old, new) => {
                    roster.on_down(&old, now.wall_ms);
                    let metadata = self.bulletins.of(&new);
                    roster.on_up(&new, metadata, now.wall_ms);
                }
                Notice::ProbeFailed(identity) => {
                    self.figures.probes_failed += 1;
                    roster.on_probe_failed(&identity, now.wall_ms);
                }
                Notice::Sent(identity, number) => self.probe = Some((identity, number, now.us)),
                Notice::Answered(identity, number) => {
                    if let Some((_, _, sent_us)) =
                        self.probe.take_if(|(to, of, _)| *to == identity && *of == number)
                    {
                        roster.on_answer(&identity, now.us - sent_us);
                    }
                    roster.on_refuted(&identity, now.wall_ms);
                }
                Notice::Rejoined => self.figures.rejoins += 1,
            }
        }
        for bulletin in self.bulletins.take_fresh() {
            let identity = write(&self.roster).member(&bulletin.name).map(|m| m.identity.clone());
            if let Some(identity) = identity
                && identity.incarnation() == bulletin.incarnation
            {
                write(&self.roster).on_metadata(&identity, &bulletin.bytes);
            }
        }
    }
}

fn write(roster: &RwLock<Roster>) -> RwLockWriteGuard<'_, Roster> {
    roster.write().unwrap_or_else(PoisonError::into_inner)
}

/// What foca wants done.
#[derive(Default)]
struct Effects {
    now: Option<Now>,
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    timers: BTreeMap<(u64, u64), Timer<Identity>>,
    sequence: u64,
    notices: Vec<Notice>,
}

enum Notice {
    Up(Identity),
    Down(Identity),
    Renamed(Identity, Identity),
    Rejoined,
    ProbeFailed(Identity),
    Sent(Identity, u8),
    Answered(Identity, u8),
}

impl Effects {
    fn due(&mut self, now: Now) -> Option<Timer<Identity>> {
        let entry = self.timers.first_entry().filter(|entry| entry.key().0 <= now.us)?;
        Some(entry.remove())
    }
}

impl Runtime<Identity> for Effects {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        let notice = match notification {
            Notification::MemberUp(identity) => Notice::Up(identity.clone()),
            Notification::MemberDown(identity) => Notice::Down(identity.clone()),
            Notification::Rename(old, new) => Notice::Renamed(old.clone(), new.clone()),
            Notification::ProbeFailed(_, identity) => Notice::ProbeFailed(identity.clone()),
            Notification::Rejoin(_) => Notice::Rejoined,
            Notification::DataSent(Header { dst, message: Message::Ping(number), .. }) => {
                Notice::Sent(dst.clone(), *number)
            }
            Notification::DataReceived(Header { src, message: Message::Ack(number), .. }) => {
                Notice::Answered(src.clone(), *number)
            }
            _ => return,
        };
        self.notices.push(notice);
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.datagrams.push((to.address(), data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        let at_us = self.now.map_or(0, |now| now.us).saturating_add(after_us);
        self.sequence += 1;
        self.timers.insert((at_us, self.sequence), event);
    }
}
