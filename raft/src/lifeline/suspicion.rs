//! From a doubt to an election: one exchange, then whoever has the longest log stands first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use openraft::{async_runtime::WatchReceiver, raft::TransferLeaderRequest};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use crate::{
    PeerId, StateMachine, Stood, Suspicion, Timing,
    consensus::types::{LogId, Vote},
    lifeline::{
        Lifelines,
        line::Ask,
        message::{Answer, Question},
        patience::Patience,
        polls::Polls,
        verdict::{Asker, Verdict, judge},
    },
};

/// How long an exchange may take: a round trip, and what waits in openraft's queue before it.
pub(super) const EXCHANGE: Duration = Duration::from_millis(100);
/// For so long a voter leaves the field to each better one.
const RANK: Duration = Duration::from_millis(25);
/// For so long it leaves the field to a better one that stands already, whose request for its vote is
/// therefore on its way: the candidate's sync, some milliseconds, and one way. As much as an exchange
/// may take in both, because whoever does not answer that in time does not count as better. The timers
/// say nothing about it: beside a lifeline they are slow, and a better candidate that gets nowhere would
/// cost as much.
const CANDIDACY: Duration = EXCHANGE;
/// Exchanges about a leader that others hear follow each other at a pace that doubles up to this.
const PACE: Duration = Duration::from_millis(5);
const PACE_MAX: Duration = Duration::from_millis(200);
/// By then a suspicion that has led nowhere leaves it to the timers.
const PURSUIT: Duration = Duration::from_secs(1);

/// What this voter's own Raft says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) vote: Vote,
    pub(super) last_log_id: Option<LogId>,
}

/// A leader that this voter does not hear.
#[derive(Debug, Clone)]
struct Suspect {
    vote: Vote,
    suspicion: Suspicion,
    configs: Vec<BTreeSet<PeerId>>,
}

impl Suspect {
    fn term(&self) -> u64 {
        self.vote.leader_id.term
    }

    fn leader(&self) -> PeerId {
        self.vote.leader_id.voted_for
    }
}

/// The doubt that a voter has at present.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    /// Of whom: the vote that made it the leader.
    vote: Vote,
    since: Instant,
    pace: Duration,
    next_exchange: Instant,
    /// No other's suspicion is heeded before: two voters that are cut off from a leader which a
    /// quorum hears would summon each other without end.
    heeds_at: Instant,
    heed_pace: Duration,
}

/// A suspicion that has caused an election and may yet prove right or wrong.
#[derive(Debug, Clone, Copy)]
struct OnTrial {
    leader: PeerId,
    term: u64,
    /// If the leader is not heard until then, it was right.
    until: Instant,
}

/// What one exchange has found out.
struct Found {
    mine: Standing,
    verdict: Verdict,
    /// Who answered, and this voter.
    reached: BTreeSet<PeerId>,
}

/// What came of a pursuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pursued {
    /// The leader stays, as far as this voter can tell.
    InVain,
    /// A quorum gave it up, and this voter stood or another had its vote.
    Elected,
}

/// How an attempt to be elected went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// Somebody leads, somebody else stands, or the timers shall decide.
    Over,
    /// So many refused that it is lost.
    Lost,
}

/// Watches one voter's leader.
pub(super) struct Watcher<S: StateMachine> {
    lifelines: Arc<Lifelines<S>>,
    polls: Arc<Polls>,
    stood: watch::Sender<Option<Stood>>,
    /// How long an election may take.
    election_min: Duration,
    /// After so long the timers would have given up a leader as well.
    election_max: Duration,
    patience: Patience,
    on_trial: Option<OnTrial>,
}

impl<S: StateMachine> Watcher<S> {
    pub(super) fn new(
        lifelines: Arc<Lifelines<S>>,
        polls: Arc<Polls>,
        timing: Timing,
        stood: watch::Sender<Option<Stood>>,
    ) -> Self {
        Self {
            lifelines,
            polls,
            stood,
            election_min: Duration::from_millis(timing.election_min_ms),
            election_max: Duration::from_millis(timing.election_max_ms),
            patience: Patience::default(),
            on_trial: None,
        }
    }

    /// Watches for as long as it is polled.
    pub(super) async fn watch(mut self) {
        let lifelines = self.lifelines.clone();
        let mut ticks = lifelines.ticks.subscribe();
        let mut doubted: Option<Doubt> = None;
        loop {
            let next_exchange = doubted.map(|doubt| doubt.next_exchange);
            let is_summoned = tokio::select! { biased;
                () = lifelines.summons.notified() => true,
                () = lifelines.wake.notified() => false,
                ticked = ticks.changed() => if ticked.is_err() { return } else { false },
                () = sleep_until(next_exchange.unwrap_or_else(Instant::now)),
                    if next_exchange.is_some() => false,
            };
            self.try_suspicion();
            let Some(suspect) = self.suspect() else {
                doubted = None;
                continue;
            };
            let now = Instant::now();
            let mut doubt = doubted.filter(|doubt| doubt.vote == suspect.vote).unwrap_or(Doubt {
                vote: suspect.vote,
                since: now,
                pace: PACE,
                next_exchange: now,
                heeds_at: now,
                heed_pace: PACE,
            });
            let acts_at = doubt.since + self.patience.wait(now);
            if is_summoned {
                // It is another's suspicion, and that one's patience.
                if now >= doubt.heeds_at {
                    self.pursue(&suspect).await;
                    doubt.heeds_at = Instant::now() + doubt.heed_pace;
                    doubt.heed_pace = (2 * doubt.heed_pace).min(PACE_MAX);
                }
            } else if now < acts_at {
                doubt.next_exchange = acts_at;
            } else if now >= doubt.next_exchange {
                if self.pursue(&suspect).await == Pursued::Elected {
                    self.patience.on_election(now);
                    let until = doubt.since + self.election_max;
                    let (leader, term) = (suspect.leader(), suspect.term());
                    self.on_trial = Some(OnTrial { leader, term, until });
                }
                doubt.next_exchange = Instant::now() + doubt.pace;
                doubt.pace = (2 * doubt.pace).min(PACE_MAX);
            }
            doubted = Some(doubt);
        }
    }

    /// Judges the last suspicion that has caused an election, once that can be done.
    fn try_suspicion(&mut self) {
        let Some(OnTrial { leader, term, until }) = self.on_trial else { return };
        let is_heard = self.lifelines.ears().doubt(leader, term).is_none();
        let is_over = Instant::now() >= until;
        if is_over && !is_heard {
            self.patience.on_proof();
        }
        if is_over || is_heard {
            self.on_trial = None;
        }
    }

    /// The leader, if this is one of its voters and does not hear it.
    fn suspect(&self) -> Option<Suspect> {
        let (vote, membership) = {
            let metrics = self.lifelines.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.vote, metrics.membership_config.clone())
        };
        let leader = vote.leader_id.voted_for;
        if !vote.committed || leader == self.lifelines.me || self.lifelines.is_aside() {
            return None;
        }
        let suspicion = self.lifelines.ears().doubt(leader, vote.leader_id.term)?;
        let configs = membership.membership().get_joint_config();
        let is_voter = configs.iter().any(|config| config.contains(&self.lifelines.me));
        is_voter.then(|| Suspect { vote, suspicion, configs: configs.clone() })
    }

    /// Asks the others; when a quorum does not hear the leader either, sees to it that one of them
    /// stands for election.
    async fn pursue(&self, suspect: &Suspect) -> Pursued {
        let until = Instant::now() + PURSUIT;
        let mut given_up_at = None;
        while Instant::now() < until {
            let Some(Found { mine, verdict, reached }) = self.exchange(suspect).await else {
                break;
            };
            let (rank, is_contested) = match verdict {
                Verdict::GivenUp { rank, is_contested } => (rank, is_contested),
                Verdict::Succeeded if given_up_at.is_some() => return Pursued::Elected,
                Verdict::Succeeded | Verdict::Kept => break,
            };
            let is_candidate =
                !mine.vote.committed && mine.vote.leader_id.voted_for == self.lifelines.me;
            if mine.vote != suspect.vote && !is_candidate {
                // Somebody leads, or has this voter's vote.
                return Pursued::Elected;
            }
            let since = *given_up_at.get_or_insert_with(Instant::now);
            let turn = since + leaves_the_field_for(rank, is_contested);
            if Instant::now() < turn {
                self.vote_has_changed(mine.vote, turn.min(Instant::now() + RANK)).await;
                continue;
            }
            tracing::info!(
                term = suspect.term(),
                leader = format_args!("{:016x}", suspect.leader()),
                suspicion = ?suspect.suspicion,
                rank,
                "a quorum does not hear the leader: standing for election"
            );
            if self.stand(suspect, mine.vote, &reached).await == Attempt::Over {
                return Pursued::Elected;
            }
            // Whoever is first now goes at once.
            given_up_at = Some(Instant::now());
        }
        Pursued::InVain
    }

    /// Waits until Raft's vote is another than `vote`, at most until `deadline`.
    async fn vote_has_changed(&self, vote: Vote, deadline: Instant) {
        let mut metrics = self.lifelines.raft.metrics();
        let changed = async {
            while metrics.borrow_watched().vote == vote {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout_at(deadline, changed).await;
    }

    /// Asks all voters whose line is up what they hear, and what they have; after it, what this one
    /// has. `None` when its Raft does not answer, or when it hears the leader after all.
    async fn exchange(&self, suspect: &Suspect) -> Option<Found> {
        let me = self.lifelines.me;
        let before = self.lifelines.standing(EXCHANGE).await?;
        let question = Question {
            term: suspect.term(),
            leader: suspect.leader(),
            last_log_id: before.last_log_id,
        };
        let voters: BTreeSet<PeerId> = suspect.configs.iter().flatten().copied().collect();
        let others = voters.into_iter().filter(|id| *id != suspect.leader() && *id != me);
        let asked = others.map(|id| self.ask(id, question));
        let answers: BTreeMap<PeerId, Answer> =
            join_all(asked).await.into_iter().flatten().collect();
        // Again: all go on taking what the leader had sent.
        let mine = self.lifelines.standing(EXCHANGE).await?;
        self.lifelines.ears().doubt(suspect.leader(), suspect.term())?;
        let standing = Asker { id: me, last_log_id: mine.last_log_id };
        let verdict = judge(standing, suspect.term(), &answers, &suspect.configs);
        let reached = answers.into_keys().chain([me]).collect();
        Some(Found { mine, verdict, reached })
    }

    async fn ask(&self, id: PeerId, question: Question) -> Option<(PeerId, Answer)> {
        let asker = self.lifelines.asker(id)?;
        let (answer, answered) = oneshot::channel();
        asker.try_send(Ask { question, answer }).ok()?;
        let answer = timeout(EXCHANGE, answered).await.ok()?.ok()?;
        Some((id, answer))
    }

    /// Stands for election, if the vote is still `vote`, and waits for what comes of it.
    async fn stand(&self, suspect: &Suspect, vote: Vote, reached: &BTreeSet<PeerId>) -> Attempt {
        let me = self.lifelines.me;
        // Meant for a transfer of leadership, and a compare-and-set on the vote: it ends the old
        // leader's lease here, and tells the others that theirs does not count. Safety does not rest
        // on that lease (Raft §5.4.1 does without), and no read does.
        let request = TransferLeaderRequest::new(vote, me, None);
        let allowed = self.lifelines.raft.handle_transfer_leader(request).await;
        if !matches!(allowed, Ok(Ok(()))) {
            return Attempt::Over;
        }
        // It answers when this replica's own vote is on disk.
        let Some(mine) = self.lifelines.standing(PURSUIT).await else { return Attempt::Over };
        let candidacy = mine.vote;
        if candidacy.leader_id.voted_for != me || candidacy.leader_id.term <= vote.leader_id.term {
            return Attempt::Over;
        }
        self.stood.send_replace(Some(Stood {
            term: candidacy.leader_id.term,
            leader: suspect.leader(),
            suspicion: suspect.suspicion,
        }));
        let deadline = Instant::now() + self.election_min;
        tokio::select! { biased;
            () = self.vote_has_changed(candidacy, deadline) => Attempt::Over,
            () = self.polls.lost(&candidacy, reached, &suspect.configs) => Attempt::Lost,
        }
    }
}

/// For how long better voters go first.
fn leaves_the_field_for(rank: usize, is_contested: bool) -> Duration {
    let ranks = RANK * u32::try_from(rank).expect("a cluster has few voters");
    if is_contested { ranks + CANDIDACY } else { ranks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_voters_go_first_and_one_that_stands_has_the_time_of_a_vote() {
        assert_eq!(leaves_the_field_for(0, false), Duration::ZERO);
        assert_eq!(leaves_the_field_for(2, false), Duration::from_millis(50));
        assert_eq!(leaves_the_field_for(1, true), Duration::from_millis(125));
    }

    // Beside a lifeline the timers wait for their lease and their least timeout. Claim: whoever leaves the
    // field in vain still stands before them, even as the last of five.
    #[test]
    fn a_better_candidate_that_gets_nowhere_costs_less_than_the_timers() {
        let timing = Timing::lan_beside_lifeline();
        let timers = timing.election_max_ms + timing.election_min_ms;
        let silence = crate::Lifeline::lan().silence_ms;
        let waits = leaves_the_field_for(3, true).as_millis();
        assert!(u128::from(silence) + waits < u128::from(timers));
    }
}
