//! From a doubt to an election: one exchange, then whoever has the longest log stands first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use openraft::{async_runtime::WatchReceiver, raft::TransferLeaderRequest};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    PeerId, StateMachine, Stood, Suspicion,
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

/// How an attempt to be elected went.
enum Attempt {
    /// Over: somebody leads, or somebody else stands, or the timers shall decide.
    Over,
    /// So many refused that it is lost.
    Lost,
}

/// Watches one voter's leader.
pub(super) struct Watcher<S: StateMachine> {
    pub(super) lifelines: Arc<Lifelines<S>>,
    pub(super) polls: Arc<Polls>,
    pub(super) stood: watch::Sender<Option<Stood>>,
    /// The least election timeout: how long a vote may take.
    pub(super) election_min: Duration,
    pub(super) patience: Patience,
}

impl<S: StateMachine> Watcher<S> {
    /// Watches for as long as it is polled.
    pub(super) async fn watch(mut self) {
        let mut ticks = self.lifelines.ticks.subscribe();
        let mut doubted: Option<(Vote, Instant)> = None;
        let mut pace = PACE;
        let mut next_exchange = Instant::now();
        loop {
            let is_woken = tokio::select! { biased;
                () = self.lifelines.wake.notified() => true,
                ticked = ticks.changed() => if ticked.is_err() { return } else { false },
                () = sleep_until(next_exchange), if doubted.is_some() => false,
            };
            let Some(suspect) = self.suspect() else {
                doubted = None;
                continue;
            };
            let now = Instant::now();
            let known = doubted.filter(|(vote, _)| *vote == suspect.vote);
            if known.is_none() {
                (pace, next_exchange) = (PACE, now);
            }
            let (_, since) = *doubted.insert(known.unwrap_or((suspect.vote, now)));
            let acts_at = since + self.patience.wait(now);
            if now < acts_at {
                next_exchange = acts_at;
            } else if is_woken || now >= next_exchange {
                self.pursue(&suspect).await;
                next_exchange = Instant::now() + pace;
                pace = (2 * pace).min(PACE_MAX);
            }
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
    async fn pursue(&mut self, suspect: &Suspect) {
        let until = Instant::now() + PURSUIT;
        let mut given_up_at = None;
        while Instant::now() < until {
            let Some((mine, verdict)) = self.exchange(suspect).await else { return };
            let stands_already =
                !mine.vote.committed && mine.vote.leader_id.voted_for == self.lifelines.me;
            // Somebody leads, or has this voter's vote.
            if mine.vote != suspect.vote && !stands_already {
                return;
            }
            let Verdict::GivenUp { rank, is_contested } = verdict else { return };
            let since = *given_up_at.get_or_insert_with(Instant::now);
            let contest = if is_contested { self.election_min } else { Duration::ZERO };
            let turn = since + RANK * u32::try_from(rank).unwrap_or(u32::MAX).min(64) + contest;
            if Instant::now() < turn {
                self.leave_the_field(suspect, turn.min(Instant::now() + RANK)).await;
                continue;
            }
            tracing::info!(
                term = suspect.term(),
                leader = format_args!("{:016x}", suspect.leader()),
                suspicion = ?suspect.suspicion,
                rank,
                "a quorum does not hear the leader: standing for election"
            );
            match self.stand(suspect, mine.vote).await {
                Attempt::Over => return,
                Attempt::Lost => given_up_at = None,
            }
        }
    }

    /// Waits for whoever should rather stand, until `turn` or until the vote has changed.
    async fn leave_the_field(&self, suspect: &Suspect, turn: Instant) {
        let mut metrics = self.lifelines.raft.metrics();
        let changed = async {
            while metrics.borrow_watched().vote == suspect.vote {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout_at(turn, changed).await;
        // A vote that has changed for good is seen by the next exchange; one that wavers costs this.
        if Instant::now() < turn {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Asks all voters whose line is up what they hear, and what they have; beside it, what this
    /// one has. `None` when its Raft does not answer.
    async fn exchange(&self, suspect: &Suspect) -> Option<(Standing, Verdict)> {
        let before = self.lifelines.standing(EXCHANGE).await?;
        let question = Question {
            term: suspect.term(),
            leader: suspect.leader(),
            last_log_id: before.last_log_id,
        };
        let voters: BTreeSet<PeerId> = suspect.configs.iter().flatten().copied().collect();
        let asked = voters
            .into_iter()
            .filter(|id| *id != suspect.leader() && *id != self.lifelines.me)
            .map(|id| self.ask(id, question));
        let answers: BTreeMap<PeerId, Answer> =
            join_all(asked).await.into_iter().flatten().collect();
        // Again, since both have gone on receiving what the leader had sent.
        let mine = self.lifelines.standing(EXCHANGE).await?;
        // Every suspicion is this voter's own first, and it may have heard the leader meanwhile.
        self.lifelines.ears().doubt(suspect.leader(), suspect.term())?;
        let me = Asker { id: self.lifelines.me, last_log_id: mine.last_log_id };
        Some((mine, judge(me, suspect.term(), &answers, &suspect.configs)))
    }

    async fn ask(&self, id: PeerId, question: Question) -> Option<(PeerId, Answer)> {
        let asker: mpsc::Sender<Ask> = self.lifelines.asker(id)?;
        let (answer, answered) = oneshot::channel();
        asker.try_send(Ask { question, answer }).ok()?;
        let answer = timeout(EXCHANGE, answered).await.ok()?.ok()?;
        Some((id, answer))
    }

    /// Stands for election, if the vote is still `vote`.
    async fn stand(&mut self, suspect: &Suspect, vote: Vote) -> Attempt {
        let me = self.lifelines.me;
        // Meant for a transfer of leadership, and a compare-and-set on the vote: it ends the old
        // leader's lease here, and tells the others that theirs does not count. Safety does not rest
        // on that lease (Raft §5.4.1 does without), and no read does.
        let request = TransferLeaderRequest::new(vote, me, None);
        let allowed = self.lifelines.raft.handle_transfer_leader(request).await;
        if !matches!(allowed, Ok(Ok(()))) {
            return Attempt::Over;
        }
        let mut metrics = self.lifelines.raft.metrics();
        let Some(mine) = self.lifelines.standing(PURSUIT).await else { return Attempt::Over };
        let candidacy = mine.vote;
        if candidacy.leader_id.voted_for != me || candidacy.leader_id.term <= vote.leader_id.term {
            return Attempt::Over;
        }
        self.patience.on_election(Instant::now());
        let stood = Stood {
            term: candidacy.leader_id.term,
            leader: suspect.leader(),
            suspicion: suspect.suspicion,
        };
        self.stood.send_replace(Some(stood));
        let is_over = async {
            loop {
                let vote = metrics.borrow_watched().vote;
                let is_ahead = vote.leader_id.term > candidacy.leader_id.term;
                if vote.committed && vote.leader_id.term >= candidacy.leader_id.term || is_ahead {
                    return;
                }
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let lost = self.polls.lost(&candidacy, &suspect.configs);
        let attempt = async {
            tokio::select! { biased;
                () = is_over => Attempt::Over,
                () = lost => Attempt::Lost,
            }
        };
        timeout(self.election_min, attempt).await.unwrap_or(Attempt::Over)
    }
}
