//! What foca wants done: datagrams to send, timers to set, and what it noticed.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use foca::{Header, Message, Notification, Runtime, Timer};

use crate::Identity;

/// Collects what foca wants done in one call; the timers stay until they are due.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// The moment of the call, µs.
    pub(crate) now_us: u64,
    pub(crate) datagrams: Vec<Datagram>,
    pub(crate) notices: Vec<Notice>,
    timers: Timers,
}

/// What is to be sent, before it is sealed.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) to: SocketAddr,
    pub(crate) gossip: Vec<u8>,
    /// Set if it tells this member that it counts as down.
    pub(crate) is_death_notice_of: Option<Identity>,
}

/// What foca noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A member is there.
    Up(Identity),
    /// A member is down.
    Down(Identity),
    /// At one address, a life took the place of another. Says nothing of whether it is up.
    Replaced { old: Identity, new: Identity },
    /// This member sees others, after it saw none or was renewed.
    Joined,
    /// This member was declared down, and is now another life.
    Renewed,
    /// This member's probe was not answered.
    ProbeFailed(Identity),
    /// A probe went out.
    Probed(Identity, u8),
    /// A datagram was understood and is for this member.
    Heard(Identity),
    /// A probe was answered by the probed member itself.
    Answered(Identity, u8),
}

impl Effects {
    /// Takes a timer that is due at `now_us`.
    pub(crate) fn take_due(&mut self) -> Option<Timer<Identity>> {
        self.timers.take_due(self.now_us)
    }

    /// When the next timer is due, µs.
    pub(crate) fn deadline_us(&self) -> Option<u64> {
        self.timers.deadline_us()
    }

    pub(crate) fn send(&mut self, to: &Identity, gossip: Vec<u8>) {
        self.datagrams.push(Datagram { to: to.address(), gossip, is_death_notice_of: None });
    }

    /// Forgets all timers.
    pub(crate) fn stop(&mut self) {
        self.timers = Timers::default();
    }
}

impl Runtime<Identity> for Effects {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        let notice = match notification {
            Notification::MemberUp(identity) => Notice::Up(identity.clone()),
            Notification::MemberDown(identity) => Notice::Down(identity.clone()),
            Notification::Rename(old, new) => {
                Notice::Replaced { old: old.clone(), new: new.clone() }
            }
            Notification::Rejoin(_) => Notice::Renewed,
            Notification::ProbeFailed(_, identity) => Notice::ProbeFailed(identity.clone()),
            Notification::DataSent(Header { dst, message: Message::Ping(number), .. }) => {
                Notice::Probed(dst.clone(), *number)
            }
            Notification::DataReceived(Header { src, message: Message::Ack(number), .. }) => {
                Notice::Answered(src.clone(), *number)
            }
            Notification::DataReceived(Header { src, .. }) => Notice::Heard(src.clone()),
            Notification::DataSent(Header { dst, message: Message::TurnUndead, .. }) => {
                if let Some(datagram) = self.datagrams.last_mut() {
                    datagram.is_death_notice_of = Some(dst.clone());
                }
                return;
            }
            Notification::Active => Notice::Joined,
            Notification::DataSent(_) | Notification::Idle | Notification::Defunct => return,
        };
        self.notices.push(notice);
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.send(&to, data.to_vec());
    }

    fn submit_after(&mut self, event: Timer<Identity>, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        self.timers.set(self.now_us.saturating_add(after_us), event);
    }
}

/// foca's timers, in the order in which they are due, and of one moment as they were set: foca takes a
/// probe whose second stage comes after its end for a mistake.
#[derive(Debug, Default)]
struct Timers {
    due: BTreeMap<(u64, u64), Timer<Identity>>,
    /// The timers set so far.
    count: u64,
    /// Where in `due` the forgetting of an address is: one each, however often its members come and go.
    forgetting: BTreeMap<SocketAddr, (u64, u64)>,
}

impl Timers {
    fn set(&mut self, at_us: u64, timer: Timer<Identity>) {
        self.count += 1;
        let key = (at_us, self.count);
        if let Timer::RemoveDown(identity) = &timer
            && let Some(earlier) = self.forgetting.insert(identity.address(), key)
        {
            self.due.remove(&earlier);
        }
        self.due.insert(key, timer);
    }

    fn take_due(&mut self, now_us: u64) -> Option<Timer<Identity>> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= now_us)?;
        let timer = entry.remove();
        if let Timer::RemoveDown(identity) = &timer {
            self.forgetting.remove(&identity.address());
        }
        Some(timer)
    }

    fn deadline_us(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at_us, _), _)| *at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(incarnation: u64) -> Identity {
        Identity::new("n1", "10.0.0.1:8771".parse().unwrap(), incarnation).unwrap()
    }

    #[test]
    fn timers_come_when_due_and_in_the_order_they_were_set() {
        let mut timers = Timers::default();
        timers.set(20, Timer::PeriodicGossip(1));
        timers.set(10, Timer::PeriodicGossip(2));
        timers.set(20, Timer::PeriodicGossip(3));
        assert_eq!(timers.deadline_us(), Some(10));
        assert_eq!(timers.take_due(9), None);
        let taken: Vec<_> = std::iter::from_fn(|| timers.take_due(20)).collect();
        assert_eq!(taken, [2, 1, 3].map(Timer::PeriodicGossip));
        assert_eq!(timers.deadline_us(), None);
    }

    #[test]
    fn an_address_is_forgotten_once_however_many_lives_it_had() {
        let mut timers = Timers::default();
        for incarnation in 0..1_000 {
            timers.set(3_600 + incarnation, Timer::RemoveDown(life(incarnation)));
        }
        assert_eq!(timers.take_due(u64::MAX), Some(Timer::RemoveDown(life(999))));
        assert_eq!(timers.take_due(u64::MAX), None);
        assert!(timers.forgetting.is_empty());
    }
}
