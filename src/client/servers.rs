//! What a client knows of its servers: who answered last, whom it passes over for a while, and whether
//! one that says nothing is there at all.
//!
//! A process that hangs, and a machine that is cut off, keep their connections: nothing tells such a server
//! from one that has a long poll under way. So whoever waits for a server that has been silent for a
//! while asks it something that any server answers at once, over another connection.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::Uri;
use tokio::time::{Instant, sleep_until};

/// How long a server that failed is passed over while there are others: about a restart.
const AVOIDED_FOR: Duration = Duration::from_secs(5);

/// The servers of one client, in its user's order.
#[derive(Debug)]
pub(super) struct Servers {
    all: Vec<Server>,
    /// The place of the one that answered last; the next call starts there.
    preferred: AtomicUsize,
}

#[derive(Debug)]
struct Server {
    address: Uri,
    signs: Mutex<Signs>,
    /// Held by the one call that asks whether it is there; the others take its word.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Signs {
    /// When it last said anything.
    heard: Option<Instant>,
    /// When it last failed a call, or said that it is about to stop; `None` once it has answered since.
    failed: Option<Instant>,
    /// When it was last asked whether it is there and did not answer.
    was_silent: Option<Instant>,
}

impl Servers {
    pub(super) fn new(addresses: Vec<Uri>) -> Self {
        assert!(!addresses.is_empty(), "a client has an address to call");
        let server = |address| Server {
            address,
            signs: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        };
        Self { all: addresses.into_iter().map(server).collect(), preferred: AtomicUsize::new(0) }
    }

    pub(super) fn address(&self, place: usize) -> &Uri {
        &self.all[place].address
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Their addresses, comma-separated.
    pub(super) fn listed(&self) -> String {
        let addresses: Vec<_> = self.all.iter().map(|server| server.address.to_string()).collect();
        addresses.join(",")
    }

    /// The places of all of them, from the one that answered last on; those that failed lately stand last.
    pub(super) fn by_preference(&self) -> Vec<usize> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut places: Vec<_> = (0..self.len()).map(|step| (first + step) % self.len()).collect();
        places.sort_by_key(|place| self.is_avoided(*place));
        places
    }

    fn is_avoided(&self, place: usize) -> bool {
        self.signs(place).failed.is_some_and(|failed| failed.elapsed() < AVOIDED_FOR)
    }

    /// It answered, and goes on doing so.
    pub(super) fn note_answer(&self, place: usize) {
        self.note_sign_of_life(place);
        self.signs(place).failed = None;
    }

    /// Calls start there from now on.
    pub(super) fn prefer(&self, place: usize) {
        self.preferred.store(place, Ordering::Relaxed);
    }

    /// It did not answer, or it did and said that it is about to stop.
    pub(super) fn note_failure(&self, place: usize) {
        self.signs(place).failed = Some(Instant::now());
    }

    pub(super) fn note_sign_of_life(&self, place: usize) {
        self.signs(place).heard = Some(Instant::now());
    }

    /// Waits until a server that has said nothing for `quiet`, and not since `since`, does not answer
    /// `ask` either. Never returns while there is nobody else to go to.
    pub(super) async fn hangs<F: Future<Output = bool>>(
        &self,
        place: usize,
        since: Instant,
        quiet: Duration,
        ask: impl Fn() -> F,
    ) {
        let server = &self.all[place];
        let mut looked = since;
        loop {
            let heard = self.signs(place).heard.map_or(looked, |heard| heard.max(looked));
            sleep_until(heard + quiet).await;
            let _asking = server.asking.lock().await;
            if self.signs(place).was_silent.is_some_and(|asked| asked >= since) {
                return;
            }
            let now = Instant::now();
            if self.signs(place).heard.is_some_and(|heard| heard + quiet > now) {
                continue;
            }
            looked = now;
            if !(0..self.len()).any(|other| other != place && !self.is_avoided(other)) {
                continue;
            }
            if !ask().await {
                let mut signs = self.signs(place);
                (signs.was_silent, signs.failed) = (Some(looked), Some(Instant::now()));
                return;
            }
            self.note_sign_of_life(place);
        }
    }

    fn signs(&self, place: usize) -> MutexGuard<'_, Signs> {
        self.all[place].signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicBool, AtomicU32},
    };

    use tokio::time::{advance, timeout};

    use super::*;

    const QUIET: Duration = Duration::from_secs(1);

    fn three() -> Servers {
        let address = |port| format!("http://127.0.0.1:{port}").parse().unwrap();
        Servers::new([1, 2, 3].map(address).to_vec())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_start_at_the_last_that_answered_and_end_at_those_that_failed() {
        let servers = three();
        assert_eq!(servers.by_preference(), [0, 1, 2]);
        servers.prefer(1);
        assert_eq!(servers.by_preference(), [1, 2, 0]);
        servers.note_failure(1);
        servers.note_failure(2);
        assert_eq!(servers.by_preference(), [0, 1, 2]);
        servers.note_answer(2);
        assert_eq!(servers.by_preference(), [2, 0, 1]);
        advance(AVOIDED_FOR).await;
        assert_eq!(servers.by_preference(), [1, 2, 0]);
    }

    // Situation: two calls wait for a server that answers nothing, then for one that answers questions. Claim: it
    // is asked by one of them, once each time it has been silent, and both give up when it does not answer.
    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_asked_by_one_call_and_given_up_by_all() {
        let (servers, asked) = (three(), AtomicU32::new(0));
        let is_alive = AtomicBool::new(true);
        let ask = || {
            asked.fetch_add(1, Ordering::Relaxed);
            ready(is_alive.load(Ordering::Relaxed))
        };
        let begun = Instant::now();
        let both = async {
            tokio::join!(servers.hangs(0, begun, QUIET, ask), servers.hangs(0, begun, QUIET, ask))
        };
        tokio::pin!(both);
        assert!(timeout(QUIET * 10 + QUIET / 2, &mut both).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 10);
        is_alive.store(false, Ordering::Relaxed);
        timeout(QUIET, &mut both).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 11);
        assert_eq!(servers.by_preference(), [1, 2, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_other_calls_is_not_asked() {
        let servers = three();
        let begun = Instant::now();
        let waiting = servers.hangs(0, begun, QUIET, || ready(false));
        tokio::pin!(waiting);
        for _ in 0..20 {
            assert!(timeout(QUIET * 2 / 3, &mut waiting).await.is_err());
            servers.note_answer(0);
        }
        timeout(QUIET, &mut waiting).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_given_up_while_all_others_are() {
        let servers = three();
        let begun = Instant::now();
        servers.note_failure(1);
        servers.note_failure(2);
        let waiting = servers.hangs(0, begun, QUIET, || ready(false));
        tokio::pin!(waiting);
        assert!(timeout(QUIET * 4, &mut waiting).await.is_err());
        timeout(QUIET * 3, &mut waiting).await.unwrap();
    }
}
