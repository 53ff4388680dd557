//! What one voter hears of the others: the evidence on which it doubts a leader.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;

use crate::{Lifeline, PeerId, Suspicion, transport::heard::Sign};

/// A witness cuts the silence that is waited out to so many pings.
const WITNESSED_TICKS: u32 = 2;

/// What one voter hears of the others.
///
/// Silence is counted in own ticks, one a ping, and not by a clock: a process that was itself paused
/// wakes up with a few ticks at most, and does not take its own pause for the silence of a peer.
#[derive(Debug)]
pub(crate) struct Ears {
    /// After so many ticks without a sign of life a peer is silent.
    limit: u32,
    /// The newest append or heartbeat.
    last_heard: watch::Receiver<Sign>,
    /// The newest that was counted.
    last_counted: Sign,
    /// The other voters.
    peers: BTreeMap<PeerId, Ear>,
}

/// What is heard of one peer.
#[derive(Debug, Default, Clone, Copy)]
struct Ear {
    /// Whether it has answered a ping since this voter began to listen. Without, there is no doubt:
    /// it may keep no lifeline at all.
    has_answered: bool,
    /// Ticks since the last sign of life: a pong, an append or a heartbeat.
    silent_ticks: u32,
    /// Ticks since the last pong. Only a pong shows that the peer hears this voter, too.
    unanswered_ticks: u32,
    /// Ticks since a witness doubted it, if no sign of life has come since.
    witnessed_ticks: Option<u32>,
    /// A connection was refused since it last answered: its process is gone, its kernel is not.
    is_refused: bool,
    /// Its machine has taken a connection since its last pong.
    takes_connections: bool,
    /// The term of the vote with which its present run began. What it led in that term or before, an
    /// earlier run led, and nobody does any more.
    opened_in: u64,
}

impl Ears {
    /// Of a voter that has heard nobody yet.
    pub(crate) fn new(lifeline: Lifeline, last_heard: watch::Receiver<Sign>) -> Self {
        let limit = u32::try_from(lifeline.silence_ms.div_ceil(lifeline.ping_ms));
        let limit = limit.expect("both are checked when the replica opens");
        Self { limit, last_heard, last_counted: None, peers: BTreeMap::new() }
    }

    /// After how many ticks without a sign of life a peer is silent.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Listens to these peers and no others.
    pub(crate) fn listen_to(&mut self, peers: &BTreeSet<PeerId>) {
        self.peers.retain(|id, _| peers.contains(id));
        for id in peers {
            self.peers.entry(*id).or_default();
        }
    }

    /// One ping's time has passed.
    pub(crate) fn on_tick(&mut self) {
        for ear in self.peers.values_mut() {
            ear.silent_ticks = ear.silent_ticks.saturating_add(1);
            ear.unanswered_ticks = ear.unanswered_ticks.saturating_add(1);
            ear.witnessed_ticks = ear.witnessed_ticks.map(|ticks| ticks.saturating_add(1));
        }
        self.count_latest();
    }

    /// A peer answered a ping.
    pub(crate) fn on_pong(&mut self, from: PeerId, opened_in: u64) {
        self.on_sign(from);
        self.with(from, |ear| {
            (ear.has_answered, ear.is_refused, ear.opened_in) = (true, false, opened_in);
            (ear.unanswered_ticks, ear.takes_connections) = (0, false);
        });
    }

    /// A peer refused a connection.
    pub(crate) fn on_refused(&mut self, by: PeerId) {
        self.with(by, |ear| ear.is_refused = true);
    }

    /// A peer's machine took a connection.
    pub(crate) fn on_connected(&mut self, to: PeerId) {
        self.with(to, |ear| ear.takes_connections = true);
    }

    /// A peer said that it keeps no lifelines: nothing follows from its silence on them.
    pub(crate) fn on_no_lifeline(&mut self, of: PeerId) {
        self.with(of, |ear| *ear = Ear::default());
    }

    /// Another detector of this same node doubts a peer. That shortens the silence that is waited
    /// out; a sign of life outweighs it.
    pub(crate) fn on_witness(&mut self, against: PeerId) {
        self.with(against, |ear| ear.witnessed_ticks = ear.witnessed_ticks.or(Some(0)));
    }

    /// Why this voter does not hear `leader` as the leader of `term`; `None` when it does, or when
    /// it cannot tell. What came since the last tick counts: a silence that is over is none.
    pub(crate) fn doubt(&mut self, leader: PeerId, term: u64) -> Option<Suspicion> {
        self.count_latest();
        let ear = self.peers.get(&leader).filter(|ear| ear.has_answered)?;
        let is_witnessed = ear.witnessed_ticks.is_some_and(|ticks| ticks >= WITNESSED_TICKS);
        if ear.is_refused {
            Some(Suspicion::Refused)
        } else if term <= ear.opened_in {
            Some(Suspicion::Restarted)
        } else if ear.silent_ticks >= self.limit
            || ear.unanswered_ticks >= self.deaf_limit()
            || is_witnessed
        {
            Some(Suspicion::Silent { takes_connections: ear.takes_connections })
        } else {
            None
        }
    }

    /// Appends may go on to come from a peer that hears nobody any more (a cut in one direction), and
    /// from one whose lifelines starve while its Raft does not. So they count for a while.
    fn deaf_limit(&self) -> u32 {
        self.limit + self.limit.div_ceil(2)
    }

    /// The peers that answer pings at present: whoever of them leads is listened to.
    pub(crate) fn heard(&self) -> BTreeSet<PeerId> {
        let is_heard = |ear: &Ear| {
            ear.has_answered && !ear.is_refused && ear.unanswered_ticks < self.deaf_limit()
        };
        self.peers.iter().filter(|(_, ear)| is_heard(ear)).map(|(id, _)| *id).collect()
    }

    /// Takes the newest append or heartbeat for a sign of life, once.
    fn count_latest(&mut self) {
        let latest = *self.last_heard.borrow();
        if latest != self.last_counted
            && let Some((from, _)) = latest
        {
            self.last_counted = latest;
            self.on_sign(from);
        }
    }

    fn on_sign(&mut self, from: PeerId) {
        // Not `is_refused`: what a dead process sent before may come after.
        self.with(from, |ear| {
            ear.silent_ticks = 0;
            ear.witnessed_ticks = None;
        });
    }

    fn with(&mut self, peer: PeerId, change: impl FnOnce(&mut Ear)) {
        if let Some(ear) = self.peers.get_mut(&peer) {
            change(ear);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LEADER: PeerId = 1;
    const TERM: u64 = 5;
    const SILENT: Option<Suspicion> = Some(Suspicion::Silent { takes_connections: false });

    /// Ears that have heard a leader of term 5, in a run that began in term 3.
    fn ears() -> Ears {
        with_appends().1
    }

    /// As [`ears`], and where appends are noted.
    fn with_appends() -> (watch::Sender<Sign>, Ears) {
        let (appends, last_heard) = watch::channel(None);
        let mut ears = Ears::new(Lifeline { ping_ms: 15, silence_ms: 120 }, last_heard);
        ears.listen_to(&BTreeSet::from([LEADER, 2]));
        ears.on_pong(LEADER, 3);
        (appends, ears)
    }

    fn append_from(leader: PeerId, appends: &watch::Sender<Sign>) {
        appends.send_replace(Some((leader, Instant::now())));
    }

    fn tick(ears: &mut Ears, count: u32) {
        for _ in 0..count {
            ears.on_tick();
        }
    }

    #[test]
    fn a_peer_is_silent_after_as_many_pings_as_fit_into_the_silence() {
        let mut ears = ears();
        tick(&mut ears, 7);
        assert_eq!(ears.doubt(LEADER, TERM), None);
        tick(&mut ears, 1);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT);
        ears.on_pong(LEADER, 3);
        assert_eq!(ears.doubt(LEADER, TERM), None);
    }

    #[test]
    fn appends_are_signs_of_life_each_counted_once() {
        let (appends, mut ears) = with_appends();
        tick(&mut ears, 3);
        append_from(LEADER, &appends);
        tick(&mut ears, 8);
        assert_eq!(ears.doubt(LEADER, TERM), None);
        tick(&mut ears, 1);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT, "it was the same append all the time");
    }

    // Situation: a leader was silent for long enough, and is asked about between two ticks. Claim: what
    // came from it meanwhile counts, whoever doubted it; what came from another does not.
    #[test]
    fn a_silence_that_is_over_counts_against_nobody() {
        let (appends, mut ears) = with_appends();
        tick(&mut ears, 8);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT);
        append_from(2, &appends);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT, "another was heard");
        append_from(LEADER, &appends);
        assert_eq!(ears.doubt(LEADER, TERM), None);
        ears.on_witness(LEADER);
        tick(&mut ears, 2);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT, "a witness doubts it");
        append_from(LEADER, &appends);
        assert_eq!(ears.doubt(LEADER, TERM), None);
    }

    #[test]
    fn appends_alone_count_for_half_as_long_again_as_the_silence() {
        let (appends, mut ears) = with_appends();
        for _ in 0..11 {
            append_from(LEADER, &appends);
            tick(&mut ears, 1);
        }
        assert_eq!(ears.doubt(LEADER, TERM), None);
        append_from(LEADER, &appends);
        tick(&mut ears, 1);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT, "it does not hear this voter");
    }

    #[test]
    fn a_refusal_stands_until_the_peer_answers_whatever_it_had_sent_before() {
        let (appends, mut ears) = with_appends();
        ears.on_refused(LEADER);
        append_from(LEADER, &appends);
        tick(&mut ears, 1);
        assert_eq!(ears.doubt(LEADER, TERM), Some(Suspicion::Refused));
        ears.on_pong(LEADER, 4);
        assert_eq!(ears.doubt(LEADER, TERM), None);
    }

    #[test]
    fn a_later_run_does_not_lead_what_an_earlier_one_led() {
        let mut ears = ears();
        ears.on_pong(LEADER, TERM);
        assert_eq!(ears.doubt(LEADER, TERM), Some(Suspicion::Restarted));
        assert_eq!(ears.doubt(LEADER, TERM + 1), None);
    }

    #[test]
    fn of_whom_nothing_was_ever_heard_nothing_is_said() {
        let mut ears = ears();
        ears.on_refused(2);
        ears.on_witness(2);
        tick(&mut ears, 100);
        assert_eq!(ears.doubt(2, TERM), None, "it may keep no lifeline");
        assert_eq!(ears.doubt(3, TERM), None, "it is no voter");
        ears.on_no_lifeline(LEADER);
        tick(&mut ears, 100);
        assert_eq!(ears.doubt(LEADER, TERM), None, "it says that it keeps none");
    }

    #[test]
    fn a_witness_shortens_the_silence_and_is_outweighed_by_a_sign_of_life() {
        let mut ears = ears();
        ears.on_witness(LEADER);
        tick(&mut ears, 1);
        ears.on_witness(LEADER);
        assert_eq!(ears.doubt(LEADER, TERM), None);
        tick(&mut ears, 1);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT);
        ears.on_pong(LEADER, 3);
        tick(&mut ears, 2);
        assert_eq!(ears.doubt(LEADER, TERM), None);
    }

    #[test]
    fn a_connection_that_is_taken_in_silence_tells_a_hang_from_a_cut() {
        let mut ears = ears();
        ears.on_connected(LEADER);
        ears.on_pong(LEADER, 3);
        tick(&mut ears, 8);
        assert_eq!(ears.doubt(LEADER, TERM), SILENT, "that was before the silence");
        ears.on_connected(LEADER);
        let hangs = Some(Suspicion::Silent { takes_connections: true });
        assert_eq!(ears.doubt(LEADER, TERM), hangs);
    }
}
