//! Which datagrams were seen before.

use std::collections::BTreeMap;

/// Which life of which sender sealed a datagram: random, chosen once a life.
pub(crate) type Stream = [u8; 16];

/// How far the sender's clock may be from this member's, either way, ms.
pub(crate) const SKEW_MS_MAX: u64 = 30_000;

/// The most senders that are remembered, at about 200 bytes each.
const STREAMS_MAX: usize = 4096;

/// How far a datagram may come behind a later one of its sender, in 64s of datagrams.
const WORDS: usize = 16;

/// The numbers seen of each sender, and nothing of senders that have been silent for so long that their
/// datagrams are stale. Only what was authenticated goes in, so that its size is the cluster's.
#[derive(Debug, Default)]
pub(crate) struct ReplayWindow {
    streams: BTreeMap<Stream, Seen>,
}

/// A sliding window over the numbers of one sender (RFC 4303 §3.4.3).
#[derive(Debug)]
struct Seen {
    /// The greatest number seen.
    latest: u64,
    /// Bit `number % 1024` for the 1024 numbers up to `latest`.
    bits: [u64; WORDS],
    /// When the newest datagram was sent, ms.
    newest_ms: u64,
}

impl ReplayWindow {
    /// Whether this datagram is none that was seen, and none too old to tell.
    pub(crate) fn is_new(&self, stream: &Stream, number: u64) -> bool {
        self.streams.get(stream).is_none_or(|seen| seen.is_new(number))
    }

    /// Remembers an authentic datagram that is new and not stale. `false`: it was refused, because too
    /// many senders are remembered already.
    pub(crate) fn remember(
        &mut self,
        stream: &Stream,
        number: u64,
        sent_ms: u64,
        now_ms: u64,
    ) -> bool {
        if let Some(seen) = self.streams.get_mut(stream) {
            seen.insert(number);
            seen.newest_ms = seen.newest_ms.max(sent_ms);
            return true;
        }
        self.streams.retain(|_, seen| seen.newest_ms.saturating_add(SKEW_MS_MAX) >= now_ms);
        if self.streams.len() >= STREAMS_MAX {
            return false;
        }
        let mut seen = Seen { latest: number, bits: [0; WORDS], newest_ms: sent_ms };
        seen.insert(number);
        self.streams.insert(*stream, seen);
        true
    }
}

impl Seen {
    fn is_new(&self, number: u64) -> bool {
        if number > self.latest {
            return true;
        }
        let (word, bit) = place(number);
        self.latest - number < span() && self.bits[word] & bit == 0
    }

    fn insert(&mut self, number: u64) {
        if number > self.latest {
            // What slides out of the window makes room for as many new numbers.
            for slid in 1..=(number - self.latest).min(span()) {
                let (word, bit) = place(self.latest.wrapping_add(slid));
                self.bits[word] &= !bit;
            }
            if number - self.latest >= span() {
                self.bits = [0; WORDS];
            }
            self.latest = number;
        }
        let (word, bit) = place(number);
        self.bits[word] |= bit;
    }
}

fn span() -> u64 {
    64 * WORDS as u64
}

fn place(number: u64) -> (usize, u64) {
    let place = usize::try_from(number % span()).expect("below 1024");
    (place / 64, 1 << (place % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: Stream = [7; 16];

    /// What a receiver does with an authentic datagram.
    fn takes(window: &mut ReplayWindow, number: u64) -> bool {
        window.is_new(&SENDER, number) && window.remember(&SENDER, number, 0, 0)
    }

    #[test]
    fn each_number_is_taken_once_in_any_order() {
        let mut window = ReplayWindow::default();
        for number in [1, 2, 5, 3, 4, 1000, 900, 70, 6] {
            assert!(takes(&mut window, number), "{number}");
            assert!(!takes(&mut window, number), "{number} again");
        }
    }

    #[test]
    fn what_is_too_far_behind_to_tell_is_not_taken() {
        let mut window = ReplayWindow::default();
        assert!(takes(&mut window, 5000));
        assert!(takes(&mut window, 5000 - 1023));
        assert!(!takes(&mut window, 5000 - 1024));
    }

    // A model that keeps every number agrees, whatever the jumps.
    #[test]
    fn the_window_forgets_nothing_within_its_span() {
        use std::collections::BTreeSet;
        let (mut window, mut model, mut latest, mut chance) =
            (ReplayWindow::default(), BTreeSet::new(), 0u64, 1u64);
        for _ in 0..20_000 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let jump = [1, 3, 60, 64, 65, 1100][usize::try_from(chance >> 40).unwrap() % 6];
            let back = (chance >> 20) % 1030;
            let number =
                if chance >> 63 == 0 { latest + jump } else { latest.saturating_sub(back) };
            let is_new = model.is_empty()
                || number > latest
                || (latest - number < 1024 && !model.contains(&number));
            assert_eq!(takes(&mut window, number), is_new, "{number} after {latest}");
            model.insert(number);
            latest = latest.max(number);
        }
    }

    #[test]
    fn senders_are_forgotten_when_their_datagrams_are_stale_and_bounded_before() {
        let mut window = ReplayWindow::default();
        for sender in 0..STREAMS_MAX {
            let mut stream = Stream::default();
            stream[..8].copy_from_slice(&sender.to_be_bytes());
            assert!(window.remember(&stream, 1, 1000, 1000));
        }
        assert!(!window.remember(&SENDER, 1, 31_000, 31_000), "full");
        assert!(window.remember(&SENDER, 1, 31_001, 31_001), "the others are stale now");
        assert_eq!(window.streams.len(), 1);
    }
}
