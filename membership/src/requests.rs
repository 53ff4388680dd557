//! Whom to ask for the metadata that it published and this member lacks.

use std::sync::Arc;

use crate::{Identity, profile::Timers};

/// The most members that are asked at a time.
const ASKED_MAX: usize = 4;

/// The longest pause between two rounds, µs: there may be members that never publish.
const PAUSE_US_MAX: u64 = 8_000_000;

/// A few members at a time, each in turn by name, after pauses that double while nobody answers.
#[derive(Debug)]
pub(crate) struct Requests {
    /// When the next round is due, µs.
    pub(crate) due_us: u64,
    pause_us: u64,
    first_us: u64,
    /// The name that was asked last.
    last: Option<Arc<str>>,
    /// How many lacked at the last round.
    lacking: usize,
}

impl Requests {
    pub(crate) fn new(timers: Timers) -> Self {
        let first_us = 2_000 * timers.gossip_ms;
        Self { due_us: u64::MAX, pause_us: first_us, first_us, last: None, lacking: 0 }
    }

    /// A member came whose metadata is not there yet; gossip gets a moment to bring it.
    pub(crate) fn on_lack(&mut self, now_us: u64) {
        self.pause_us = self.first_us;
        self.due_us = self.due_us.min(now_us + self.first_us);
    }

    /// Whom of the `lacking`, which come in the order of their names, to ask now.
    pub(crate) fn take_due<'a>(
        &mut self,
        now_us: u64,
        lacking: impl Iterator<Item = &'a Identity>,
    ) -> Vec<Identity> {
        let mut lacking: Vec<&Identity> = lacking.collect();
        if std::mem::replace(&mut self.lacking, lacking.len()) > lacking.len() {
            self.pause_us = self.first_us;
        }
        if lacking.is_empty() {
            self.due_us = u64::MAX;
            return Vec::new();
        }
        let last = self.last.as_deref();
        let after = lacking.partition_point(|member| Some(member.name()) <= last);
        lacking.rotate_left(after);
        let chosen: Vec<Identity> = lacking.into_iter().take(ASKED_MAX).cloned().collect();
        self.last = chosen.last().map(Identity::shared_name);
        self.due_us = now_us + self.pause_us;
        self.pause_us = (2 * self.pause_us).min(PAUSE_US_MAX);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    fn members(count: u16) -> Vec<Identity> {
        let member = |number| {
            let address = std::net::SocketAddr::from(([10, 0, 0, 1], 8000 + number));
            Identity::new(&format!("n{number}"), address, 1).unwrap()
        };
        (1..=count).map(member).collect()
    }

    fn names(chosen: &[Identity]) -> Vec<&str> {
        chosen.iter().map(Identity::name).collect()
    }

    #[test]
    fn each_that_lacks_is_asked_in_turn() {
        let members = members(6);
        let mut requests = Requests::new(Profile::Lan.timers());
        requests.on_lack(0);
        assert_eq!(requests.due_us, 100_000);
        let chosen = requests.take_due(100_000, members.iter());
        assert_eq!(names(&chosen), ["n1", "n2", "n3", "n4"]);
        assert_eq!(requests.due_us, 200_000);
        let chosen = requests.take_due(200_000, members.iter());
        assert_eq!(names(&chosen), ["n5", "n6", "n1", "n2"]);
        assert_eq!(requests.due_us, 400_000, "nobody answers: the pauses double");
        let chosen = requests.take_due(400_000, members[5..].iter());
        assert_eq!(names(&chosen), ["n6"]);
        assert_eq!(requests.due_us, 500_000, "five have answered");
        assert!(requests.take_due(800_000, [].iter()).is_empty());
        assert_eq!(requests.due_us, u64::MAX, "nothing is lacking");
    }
}
