//! Who was last heard as a leader, and who before it.

use std::sync::Mutex;

use tokio::{sync::watch, time::Instant};

use crate::PeerId;

/// A peer, and when an append or a heartbeat last came from it.
pub(crate) type Sign = Option<(PeerId, Instant)>;

/// When appends and heartbeats have come.
#[derive(Debug)]
pub(crate) struct Heard {
    latest: watch::Sender<Sign>,
    /// The last of whoever came before the latest.
    before: Mutex<Sign>,
}

impl Heard {
    pub(crate) fn new() -> Self {
        Self { latest: watch::Sender::new(None), before: Mutex::new(None) }
    }

    /// The latest sign, and every further one.
    pub(crate) fn latest(&self) -> watch::Receiver<Sign> {
        self.latest.subscribe()
    }

    /// One has come.
    pub(crate) fn note(&self, from: PeerId, now: Instant) {
        let earlier = self.latest.send_replace(Some((from, now)));
        if earlier.is_some_and(|(peer, _)| peer != from) {
            *self.before.lock().expect("nothing panics while it is locked") = earlier;
        }
    }

    /// When this peer was last heard, if it is the last or the last but one that was.
    pub(crate) fn last_of(&self, peer: PeerId) -> Option<Instant> {
        let before = *self.before.lock().expect("nothing panics while it is locked");
        let signs = [*self.latest.borrow(), before];
        signs.into_iter().flatten().find(|(from, _)| *from == peer).map(|(_, at)| at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_leader_before_the_latest_is_remembered() {
        let (heard, now) = (Heard::new(), Instant::now());
        let later = now + Duration::from_millis(5);
        heard.note(1, now);
        assert_eq!((heard.last_of(1), heard.last_of(2)), (Some(now), None));
        heard.note(2, later);
        heard.note(2, later + Duration::from_millis(1));
        assert_eq!(heard.last_of(1), Some(now));
        assert_eq!(heard.last_of(2), Some(later + Duration::from_millis(1)));
        assert_eq!(heard.latest().borrow().map(|(from, _)| from), Some(2));
    }
}
