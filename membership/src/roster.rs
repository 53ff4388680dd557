//! Whom this member knows, by name, and what of it is news.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{Event, Identity, Member, MemberState, metadata::Bulletin};

/// The most members that are remembered down; beyond it the one that is down longest is forgotten.
const DOWN_MAX: usize = 1024;

/// Members by name, this one included, and the events that were not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: BTreeMap<Arc<str>, Member>,
    events: Vec<Event>,
}

impl Roster {
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// The events since the last call, oldest first.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// A life is there: a new member, or a later life of a known one. An earlier life that is seen
    /// elsewhere while the later one lives is ignored.
    pub(crate) fn on_up(&mut self, identity: &Identity, metadata: Option<Bytes>, wall_ms: u64) {
        let known = self.members.get(identity.name());
        let is_known = known.is_some();
        if known.is_some_and(|known| !gives_way(known, identity)) {
            return;
        }
        let member = Member {
            identity: identity.clone(),
            state: MemberState::Alive,
            since_ms: wall_ms,
            rtt_us: None,
            metadata,
        };
        self.members.insert(identity.shared_name(), member.clone());
        self.events.push(if is_known { Event::Rejoined(member) } else { Event::Up(member) });
    }

    /// This very life is down.
    pub(crate) fn on_down(&mut self, identity: &Identity, wall_ms: u64) {
        let Some(member) = self.living(identity) else { return };
        member.state = MemberState::Down;
        member.since_ms = wall_ms;
        let event = Event::Down(member.clone());
        self.events.push(event);
        self.forget_all_but(DOWN_MAX);
    }

    /// A probe of this life failed. `true`: it is suspected from now on, and was not before.
    pub(crate) fn on_probe_failed(&mut self, identity: &Identity, wall_ms: u64) -> bool {
        let alive = |member: &&mut Member| member.state == MemberState::Alive;
        let Some(member) = self.living(identity).filter(alive) else { return false };
        member.state = MemberState::Suspect;
        member.since_ms = wall_ms;
        let event = Event::Suspect(member.clone());
        self.events.push(event);
        true
    }

    /// This life, if it was suspected, has proved alive.
    pub(crate) fn on_refuted(&mut self, identity: &Identity, wall_ms: u64) {
        let Some(member) = self.living(identity) else { return };
        if member.state == MemberState::Suspect {
            member.state = MemberState::Alive;
            member.since_ms = wall_ms;
            let event = Event::Refuted(member.clone());
            self.events.push(event);
        }
    }

    /// A life published other metadata. What a life published that is not here yet, or not any more, is
    /// not shown; one that is down stays what it was when it went down, so that nobody takes what it
    /// says as it comes back, and has no new life yet, for a part of what has ended.
    pub(crate) fn on_metadata(&mut self, bulletin: &Bulletin) {
        let Some(member) = self.members.get_mut(&bulletin.name) else { return };
        let is_its = member.identity.incarnation() == bulletin.edition.incarnation;
        let is_over = member.state == MemberState::Down && member.metadata.is_some();
        if is_its && !is_over && member.metadata.as_ref() != Some(&bulletin.bytes) {
            member.metadata = Some(bulletin.bytes.clone());
            let event = Event::Metadata(member.clone());
            self.events.push(event);
        }
    }

    /// A probe of this life was answered after `sample_us`. RFC 6298 §2's smoothing.
    pub(crate) fn on_answer(&mut self, identity: &Identity, sample_us: u64) {
        let Some(member) = self.living(identity) else { return };
        let smoothed = member.rtt_us.map_or(sample_us, |rtt_us| (7 * rtt_us + sample_us) / 8);
        member.rtt_us = Some(smoothed);
    }

    /// foca has forgotten this life.
    pub(crate) fn on_forgotten(&mut self, identity: &Identity) {
        let is_it =
            |member: &Member| member.identity == *identity && member.state == MemberState::Down;
        if self.members.get(identity.name()).is_some_and(is_it) {
            self.members.remove(identity.name());
        }
    }

    fn living(&mut self, identity: &Identity) -> Option<&mut Member> {
        let member = self.members.get_mut(identity.name())?;
        (member.identity == *identity && member.state != MemberState::Down).then_some(member)
    }

    fn forget_all_but(&mut self, count: usize) {
        let down = || self.members.values().filter(|member| member.state == MemberState::Down);
        if down().count() > count {
            let oldest = down().min_by_key(|member| member.since_ms);
            if let Some(name) = oldest.map(|member| member.identity.shared_name()) {
                self.members.remove(&name);
            }
        }
    }
}

/// Whether a life that is seen takes the place of the one that is known under its name.
fn gives_way(known: &Member, seen: &Identity) -> bool {
    known.state == MemberState::Down || seen.incarnation() > known.identity.incarnation()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Edition;

    fn bulletin(of: &Identity, bytes: &'static [u8]) -> Bulletin {
        let edition = Edition { incarnation: of.incarnation(), ..Edition::default() };
        Bulletin { name: of.shared_name(), edition, bytes: Bytes::from_static(bytes) }
    }

    fn metadata(roster: &Roster) -> Option<&[u8]> {
        roster.member("w").unwrap().metadata.as_deref()
    }

    #[test]
    fn a_life_that_is_down_keeps_what_it_was_and_may_be_told_of_it_late() {
        let address = "127.0.0.1:1".parse().unwrap();
        let life = Identity::new("w", address, 1).unwrap();
        let mut roster = Roster::default();
        roster.on_up(&life, None, 10);
        roster.on_down(&life, 20);
        roster.on_metadata(&bulletin(&life, b"session 1"));
        assert_eq!(metadata(&roster), Some(&b"session 1"[..]), "it had not come before");
        roster.on_metadata(&bulletin(&life, b"session 2"));
        assert_eq!(metadata(&roster), Some(&b"session 1"[..]));
        let next = Identity::new("w", address, 2).unwrap();
        roster.on_up(&next, None, 30);
        roster.on_metadata(&bulletin(&next, b"session 2"));
        assert_eq!(metadata(&roster), Some(&b"session 2"[..]));
    }
}
