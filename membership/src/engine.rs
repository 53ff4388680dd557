//! SWIM without a socket and without a clock: datagrams and moments in, datagrams and a deadline out.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use bytes::{BufMut as _, Bytes};
use foca::{Codec as _, Config, Foca, Header, Message, Runtime as _, State, Timer};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    Event, Figures, Identity, Keyring, Profile,
    codec::Codec,
    copies::Copies,
    effects::{Datagram, Effects, Notice},
    envelope::{self, Envelope, Refusal},
    goodbye::Goodbye,
    metadata::{self, Bulletin, Bulletins, Edition},
    newcomer::Newcomer,
    profile::PACKET_BYTES_MAX,
    requests::Requests,
    roster::Roster,
    seeds::Seeds,
};

/// How often a member repeats its own metadata to a few, for those that missed every copy, µs.
const REPEAT_EVERY_US: u64 = 10_000_000;

/// Two renewals within this, µs, are one struggle against a later life of this member's own.
const STRUGGLE_US: u64 = 10_000_000;

/// A moment: both clocks of the member, read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since the member was opened, µs; never goes back.
    pub(crate) us: u64,
    /// Since the Unix epoch, ms.
    pub(crate) wall_ms: u64,
}

/// What a member is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) identity: Identity,
    pub(crate) cluster: String,
    pub(crate) keyring: Option<Keyring>,
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
}

/// The protocol itself.
type Swim = Foca<Identity, Codec, StdRng, Bulletins>;

/// One member. After each call its [`Engine::take_datagrams`] and [`Engine::take_events`] are to be
/// taken, and [`Engine::on_time`] is due at [`Engine::deadline_us`].
pub(crate) struct Engine {
    foca: Swim,
    effects: Effects,
    envelope: Envelope,
    roster: Arc<RwLock<Roster>>,
    bulletins: Bulletins,
    profile: Profile,
    /// The number of members that the timers are made for.
    size: usize,
    seeds: Seeds,
    newcomer: Newcomer,
    requests: Requests,
    rng: StdRng,
    /// Sealed, and not yet taken.
    datagrams: Vec<(SocketAddr, Bytes)>,
    copies: Copies,
    /// The last probe.
    probe: Option<Probe>,
    /// Whom this member's own probes suspect, and when they are told so next, µs.
    suspects: Vec<Identity>,
    warning_due_us: u64,
    /// What this member published last, and how many times it has published.
    published: Option<(u64, Bytes)>,
    repeat_due_us: u64,
    /// When this member last had to renew itself, µs, and by how much.
    renewal: (u64, u64),
    /// Set once this member has begun to leave: then it hears nothing but that it was understood.
    goodbye: Option<Goodbye>,
    figures: Figures,
}

#[derive(Debug)]
struct Probe {
    of: Identity,
    number: u8,
    sent_us: u64,
    is_answered: bool,
}

impl Engine {
    pub(crate) fn new(setup: Setup, roster: Arc<RwLock<Roster>>, now: Now) -> Self {
        let Setup { identity, cluster, keyring, profile, seed } = setup;
        let envelope = Envelope::new(&cluster, keyring.as_ref(), &identity, seed);
        let bulletins = Bulletins::default();
        write(&roster).on_up(&identity, None, now.wall_ms);
        Self {
            foca: new_foca(identity, profile.config(1), seed, &bulletins),
            effects: Effects::default(),
            envelope,
            roster,
            bulletins,
            profile,
            size: 1,
            seeds: Seeds::new(profile.timers(), now.us),
            newcomer: Newcomer::new(profile.timers()),
            requests: Requests::new(profile.timers()),
            rng: StdRng::seed_from_u64(seed.wrapping_add(1)),
            datagrams: Vec::new(),
            copies: Copies::new(profile.timers()),
            probe: None,
            suspects: Vec::new(),
            warning_due_us: u64::MAX,
            published: None,
            repeat_due_us: u64::MAX,
            renewal: (0, 0),
            goodbye: None,
            figures: Figures::default(),
        }
    }

    /// Whether this member sees no other.
    pub(crate) fn is_alone(&self) -> bool {
        self.foca.num_members() == 0
    }

    pub(crate) fn key_id(&self) -> Option<u8> {
        self.envelope.key_id()
    }

    pub(crate) fn figures(&self) -> Figures {
        self.figures
    }

    /// What is to be sent.
    pub(crate) fn take_datagrams(&mut self) -> Vec<(SocketAddr, Bytes)> {
        std::mem::take(&mut self.datagrams)
    }

    /// What happened, oldest first.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        write(&self.roster).take_events()
    }

    /// The caller's count of what the socket did with the datagrams.
    pub(crate) fn on_sent(&mut self, is_taken: bool) {
        let count = if is_taken { &mut self.figures.sent } else { &mut self.figures.unsent };
        *count += 1;
    }

    /// When `on_time` is due, by `Now::us`; never, if that is `u64::MAX`.
    pub(crate) fn deadline_us(&self) -> u64 {
        if let Some(goodbye) = &self.goodbye {
            return goodbye.due_us;
        }
        let timer = self.effects.deadline_us().unwrap_or(u64::MAX);
        let others = [
            self.copies.due_us(),
            self.seeds.due_us,
            self.newcomer.due_us,
            self.requests.due_us,
            self.repeat_due_us,
            self.warning_due_us,
        ];
        others.into_iter().fold(timer, u64::min)
    }

    /// Where the members are that this one announces itself to.
    pub(crate) fn set_seeds(&mut self, addresses: Vec<SocketAddr>, now: Now) {
        self.seeds.replace(addresses, now.us);
    }

    /// Publishes metadata in place of what there was.
    pub(crate) fn publish(&mut self, bytes: Bytes, now: Now) {
        self.effects.now_us = now.us;
        let times = self.published.as_ref().map_or(0, |(times, _)| *times);
        self.published = Some((times + 1, bytes));
        self.republish(now);
        self.settle(now);
    }

    /// Takes a datagram; it is deciphered in place.
    pub(crate) fn on_datagram(&mut self, datagram: &mut [u8], now: Now) {
        self.figures.received += 1;
        let gossip = match self.envelope.open(datagram, now.wall_ms) {
            Ok(gossip) => gossip,
            Err(refusal) => return self.on_refusal(refusal),
        };
        if let Some(goodbye) = &mut self.goodbye {
            return goodbye.on_gossip(gossip);
        }
        self.effects.now_us = now.us;
        let is_understood = self.foca.handle_data(gossip, &mut self.effects).is_ok();
        let is_heard = |notice| matches!(notice, &Notice::Heard(_) | &Notice::Answered(..));
        if !is_understood || !self.effects.notices.iter().any(is_heard) {
            self.figures.dropped_refused += 1;
        }
        self.settle(now);
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: Now) {
        self.effects.now_us = now.us;
        if self.goodbye.is_some() {
            self.say_goodbye(now);
            return;
        }
        while let Some(timer) = self.effects.take_due() {
            if let Timer::RemoveDown(forgotten) = &timer {
                write(&self.roster).on_forgotten(forgotten);
            }
            if let Err(error) = self.foca.handle_timer(timer, &mut self.effects) {
                tracing::debug!(%error, "a timer of foca's");
            }
        }
        self.datagrams.extend(self.copies.take_due(now.us));
        self.announce(now);
        self.ask_for_members(now);
        self.request(now);
        self.warn_suspects(now);
        if self.repeat_due_us <= now.us {
            self.republish(now);
        }
        self.settle(now);
    }

    /// Begins to say goodbye, which goes on in `on_time`; from now on nothing else is heard or done.
    pub(crate) fn leave(&mut self, now: Now) {
        let members = self.foca.iter_members().map(|member| member.id().clone());
        self.goodbye = Some(Goodbye::new(members, self.profile.timers(), now.us));
        self.effects.stop();
        self.say_goodbye(now);
    }

    /// Whether those that were told of the leave have understood it.
    pub(crate) fn has_left(&self) -> bool {
        self.goodbye.as_ref().is_some_and(Goodbye::is_understood)
    }

    fn say_goodbye(&mut self, now: Now) {
        let Some(goodbye) = &mut self.goodbye else { return };
        let me = self.foca.identity();
        for to in goodbye.take_due(now.us) {
            let mut gossip = message(me, &to, Message::Gossip);
            gossip.put_u16(1);
            let down = foca::Member::down(me.clone());
            Codec.encode_member(&down, &mut gossip).expect("a member fits behind a header");
            self.datagrams.push((to.address(), self.envelope.close(&gossip, now.wall_ms).into()));
        }
    }

    fn announce(&mut self, now: Now) {
        let me = self.foca.identity().address();
        let foca = &self.foca;
        let is_seen = |seed: SocketAddr| {
            seed == me || foca.iter_members().any(|member| member.id().address() == seed)
        };
        for seed in self.seeds.take_due(now.us, is_seen) {
            let sent = Identity::seed(seed).map(|seed| self.foca.announce(seed, &mut self.effects));
            if !matches!(sent, Ok(Ok(()))) {
                tracing::debug!(%seed, "nobody can be announced to there");
            }
        }
    }

    /// A newcomer is told of a few members at a time: it asks on until it knows all.
    fn ask_for_members(&mut self, now: Now) {
        if now.us < self.newcomer.due_us {
            return;
        }
        let count = self.foca.num_members();
        let place = self.rng.random_range(0..count.max(1));
        let member = self.foca.iter_members().nth(place).map(|member| member.id().clone());
        if let Some(member) = member
            && let Err(error) = self.foca.announce(member, &mut self.effects)
        {
            tracing::debug!(%error, "members cannot be asked for");
        }
        self.newcomer.on_asked(count, now.us);
    }

    /// Tells those that this member's own probes suspect, so that they refute at once: a rumour may take
    /// too long to reach them, and their answer to come back (Lifeguard §IV-C).
    fn warn_suspects(&mut self, now: Now) {
        if now.us < self.warning_due_us {
            return;
        }
        let pause_us = 1_000 * self.profile.timers().gossip_ms;
        self.warning_due_us = if self.suspects.is_empty() { u64::MAX } else { now.us + pause_us };
        for suspect in self.suspects.clone() {
            let mut members = self.foca.iter_membership_state();
            let member = members.find(|member| *member.id() == suspect).cloned();
            let Some(member) = member.filter(|member| member.state() == State::Suspect) else {
                continue;
            };
            // The answer to a ping carries the incarnation that refutes. No probe has this number now.
            let number = self.probe.as_ref().map_or(0, |probe| probe.number.wrapping_add(128));
            let mut gossip = message(self.foca.identity(), &suspect, Message::Ping(number));
            gossip.put_u16(1);
            Codec.encode_member(&member, &mut gossip).expect("a member fits behind a header");
            self.effects.send(&suspect, gossip);
        }
    }

    /// Asks for metadata that this member lacks.
    fn request(&mut self, now: Now) {
        if now.us < self.requests.due_us {
            return;
        }
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        let me = self.foca.identity().clone();
        let lacking = roster.members().filter(|member| {
            let is_there = member.state != crate::MemberState::Down;
            is_there && member.metadata.is_none() && member.identity != me
        });
        let chosen = self.requests.take_due(now.us, lacking.map(|member| &member.identity));
        drop(roster);
        for to in chosen {
            let known = self.bulletins.edition(to.name());
            self.send_item(&to, &metadata::encode_request(known));
        }
    }

    /// Gives foca this member's own metadata to spread, under this life.
    fn republish(&mut self, now: Now) {
        self.repeat_due_us = now.us + REPEAT_EVERY_US;
        let Some(item) = self.own_bulletin().map(|bulletin| bulletin.encode()) else {
            self.repeat_due_us = u64::MAX;
            return;
        };
        let spread = self.foca.add_broadcast(&item);
        spread.and_then(|_| self.foca.broadcast(&mut self.effects)).unwrap_or_else(|error| {
            tracing::debug!(%error, "own metadata does not spread");
        });
    }

    fn own_bulletin(&self) -> Option<Bulletin> {
        let (version, bytes) = self.published.clone()?;
        Some(Bulletin::of(self.foca.identity(), version, bytes))
    }

    /// Sends one item of metadata to one member.
    fn send_item(&mut self, to: &Identity, item: &[u8]) {
        let mut gossip = message(self.foca.identity(), to, Message::Broadcast);
        gossip.put_u16(u16::try_from(item.len()).expect("an item fits into a datagram"));
        gossip.put_slice(item);
        self.effects.send(to, gossip);
    }

    /// Draws the consequences of a call of foca's, until there are no more.
    fn settle(&mut self, now: Now) {
        while !self.effects.notices.is_empty() {
            for notice in std::mem::take(&mut self.effects.notices) {
                self.on_notice(notice, now);
            }
        }
        self.on_bulletins();
        self.seeds.on_company(self.is_alone(), now.us);
        self.fit_timers();
        for datagram in std::mem::take(&mut self.effects.datagrams) {
            self.send(datagram, now);
        }
    }

    /// foca 2.0.0 sends a death notice at the end of every suspicion, also of one that was refuted
    /// (`Timer::ChangeSuspectToDown`), which would make a living member renew itself: it is not sent.
    fn send(&mut self, datagram: Datagram, now: Now) {
        let Datagram { to, gossip, is_death_notice_of } = datagram;
        let state = is_death_notice_of.and_then(|member| self.state_of(&member));
        if matches!(state, Some(State::Alive | State::Suspect)) {
            return;
        }
        let datagram = self.envelope.close(&gossip, now.wall_ms);
        self.copies.add(to, envelope::copy(&datagram).into(), now.us);
        self.datagrams.push((to, datagram.into()));
    }

    fn on_notice(&mut self, notice: Notice, now: Now) {
        match notice {
            Notice::Up(identity) => self.on_up(&identity, now),
            Notice::Down(identity) => self.on_down(&identity, now),
            Notice::Replaced { old, new } => {
                let is_up = self.state_of(&new).is_some_and(|state| state != State::Down);
                if old.name() != new.name() || !is_up {
                    self.on_down(&old, now);
                }
                if is_up {
                    self.on_up(&new, now);
                }
            }
            Notice::Joined => self.newcomer.on_joined(now.us),
            Notice::Renewed => self.on_renewed(now),
            Notice::ProbeFailed(identity) => {
                self.figures.probes_failed += 1;
                if write(&self.roster).on_probe_failed(&identity, now.wall_ms) {
                    self.suspects.push(identity);
                    self.warning_due_us = now.us;
                }
            }
            Notice::Probed(of, number) => {
                let probe = Probe { of, number, sent_us: now.us, is_answered: false };
                if let Some(ended) = self.probe.replace(probe) {
                    self.copies.on_probe_ended(ended.is_answered);
                }
                for suspect in std::mem::take(&mut self.suspects) {
                    self.look_at(suspect, now);
                }
            }
            Notice::Answered(identity, number) => {
                if let Some(probe) = &mut self.probe
                    && (&probe.of, probe.number) == (&identity, number)
                {
                    probe.is_answered = true;
                    write(&self.roster).on_answer(&identity, now.us - probe.sent_us);
                }
                self.on_heard(&identity, now);
            }
            Notice::Heard(identity) => self.on_heard(&identity, now),
        }
    }

    fn on_up(&mut self, identity: &Identity, now: Now) {
        let metadata = self.bulletins.of(identity);
        if metadata.is_none() {
            self.requests.on_lack(now.us);
        }
        write(&self.roster).on_up(identity, metadata, now.wall_ms);
    }

    /// Of several lives under one name the latest of the living is shown.
    fn on_down(&mut self, identity: &Identity, now: Now) {
        write(&self.roster).on_down(identity, now.wall_ms);
        let living = self.foca.iter_members().map(foca::Member::id);
        let namesakes = living.chain([self.foca.identity()]);
        let namesakes = namesakes.filter(|other| other.name() == identity.name());
        let latest = namesakes.max_by_key(|other| other.incarnation()).cloned();
        if let Some(latest) = latest {
            self.on_up(&latest, now);
        }
    }

    fn on_heard(&mut self, identity: &Identity, now: Now) {
        if let Some(place) = self.suspects.iter().position(|suspect| suspect == identity) {
            let suspect = self.suspects.swap_remove(place);
            self.look_at(suspect, now);
        }
    }

    /// A suspect has refuted when foca holds it alive: then its own answer to the suspicion has come.
    fn look_at(&mut self, suspect: Identity, now: Now) {
        match self.state_of(&suspect) {
            Some(State::Alive) => write(&self.roster).on_refuted(&suspect, now.wall_ms),
            Some(State::Suspect) => self.suspects.push(suspect),
            Some(State::Down) | None => {}
        }
    }

    fn state_of(&self, identity: &Identity) -> Option<State> {
        let mut members = self.foca.iter_membership_state();
        members.find(|member| member.id() == identity).map(foca::Member::state)
    }

    /// This member was declared down, and foca has renewed it by one. If the others know a later life
    /// still, because the clock that incarnations are made of was set back, it takes ever longer steps.
    fn on_renewed(&mut self, now: Now) {
        self.figures.rejoins += 1;
        let (last_us, step) = self.renewal;
        let is_struggle = step > 0 && now.us - last_us < STRUGGLE_US;
        let step = if is_struggle { (2 * step).min(1 << 40) } else { 1 };
        self.renewal = (now.us, step);
        if step > 1 {
            let later = self.foca.identity().later_by(step - 1);
            if let Err(error) = self.foca.change_identity(later, &mut self.effects) {
                tracing::debug!(%error, "a longer step to a later life");
            }
        }
        self.forget_the_dead();
        let identity = self.foca.identity().clone();
        self.republish(now);
        let metadata = self.bulletins.of(&identity);
        write(&self.roster).on_up(&identity, metadata, now.wall_ms);
    }

    /// Begins anew with those that live. Who was declared down was cut off or stood still, so whom it holds
    /// down may only have been out of its reach: told on, that would be believed, for a death needs no proof
    /// (SWIM §4.2). They are asked whether they are there.
    fn forget_the_dead(&mut self) {
        let is_down = |member: &foca::Member<Identity>| member.state() == State::Down;
        let members = self.foca.iter_membership_state().cloned();
        let (dead, living): (Vec<_>, Vec<_>) = members.partition(is_down);
        let config = self.profile.config(self.size);
        let remembered_for = config.remove_down_after;
        // What foca wants sent and done still is that of its last life.
        self.effects.stop();
        self.effects.datagrams.clear();
        self.probe = None;
        let (identity, seed) = (self.foca.identity().clone(), self.rng.random());
        self.foca = new_foca(identity, config, seed, &self.bulletins);
        let living = living.into_iter().map(|member| {
            foca::Member::new(member.id().clone(), member.incarnation(), State::Alive)
        });
        if let Err(error) = self.foca.apply_many(living, false, &mut self.effects) {
            tracing::debug!(%error, "foca does not go on");
        }
        for member in dead {
            let dead = member.id().clone();
            if let Some(delay) = remembered_for {
                self.effects.submit_after(Timer::RemoveDown(dead.clone()), delay);
            }
            if let Err(error) = self.foca.announce(dead, &mut self.effects) {
                tracing::debug!(%error, "who was held down cannot be asked");
            }
        }
    }

    fn on_bulletins(&mut self) {
        for bulletin in self.bulletins.take_fresh() {
            write(&self.roster).on_metadata(&bulletin);
        }
        self.bulletins.shrink(|name| {
            self.roster.read().unwrap_or_else(PoisonError::into_inner).member(name).is_some()
        });
        for (asker, known) in self.bulletins.take_asked() {
            self.answer(&asker, known);
        }
    }

    fn answer(&mut self, asker: &Identity, known: Edition) {
        if let Some(bulletin) = self.own_bulletin().filter(|own| own.edition > known) {
            self.send_item(asker, &bulletin.encode());
        }
    }

    /// Makes the timers fit the number of members, as far as foca lets them change.
    fn fit_timers(&mut self) {
        let size = self.foca.num_members() + 1;
        if size != self.size {
            self.size = size;
            let config = self.profile.config(size);
            self.foca.set_config(config).expect("what foca does not let change is the same");
        }
    }

    fn on_refusal(&mut self, refusal: Refusal) {
        let count = match refusal {
            Refusal::Malformed => &mut self.figures.dropped_malformed,
            Refusal::Unopened => &mut self.figures.dropped_unopened,
            Refusal::Stale => &mut self.figures.dropped_stale,
            Refusal::Replayed => &mut self.figures.dropped_replayed,
            Refusal::Copy => &mut self.figures.dropped_copies,
        };
        *count += 1;
    }
}

/// One that knows nobody yet.
fn new_foca(identity: Identity, config: Config, seed: u64, bulletins: &Bulletins) -> Swim {
    let rng = StdRng::seed_from_u64(seed);
    Foca::with_custom_broadcast(identity, config, rng, Codec, bulletins.clone())
}

/// The header of a message of this member's own making. Its incarnation within this life is foca's
/// secret; 0 says nothing that is not known.
fn message(from: &Identity, to: &Identity, message: Message<Identity>) -> Vec<u8> {
    let header = Header { src: from.clone(), src_incarnation: 0, dst: to.clone(), message };
    let mut bytes = Vec::with_capacity(PACKET_BYTES_MAX);
    Codec.encode_header(&header, &mut bytes).expect("a buffer that grows has room");
    bytes
}

fn write(roster: &RwLock<Roster>) -> RwLockWriteGuard<'_, Roster> {
    roster.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
