//! What follows from one exchange: whether a leader is given up, and who stands first.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    PeerId,
    consensus::types::{LogId, Vote},
    lifeline::message::Answer,
};

/// What follows from one exchange about a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No quorum does without it.
    Kept,
    /// Somebody leads a later term.
    Succeeded,
    /// A quorum, this voter included, does not hear it.
    GivenUp {
        /// How many of those that answered so should rather lead than this voter: longer logs first,
        /// then greater ids.
        rank: usize,
        /// Whether one of these stands for election already.
        is_contested: bool,
    },
}

/// This voter, as it is judged beside those that answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) id: PeerId,
    pub(crate) last_log_id: Option<LogId>,
}

/// Judges the leader of `term`, which this voter does not hear. `configs` are the sets of voters of
/// which each must have a quorum: one, or two during a change.
pub(crate) fn judge(
    me: Asker,
    term: u64,
    answers: &BTreeMap<PeerId, Answer>,
    configs: &[BTreeSet<PeerId>],
) -> Verdict {
    let is_later = |vote: &Vote| vote.leader_id.term > term;
    if answers.values().any(|answer| is_later(&answer.vote) && answer.vote.committed) {
        return Verdict::Succeeded;
    }
    let deaf = || answers.iter().filter(|(_, answer)| !answer.hears);
    let gave_up: BTreeSet<PeerId> = deaf().map(|(id, _)| *id).chain([me.id]).collect();
    if configs.is_empty() || !configs.iter().all(|config| is_quorum(&gave_up, config)) {
        return Verdict::Kept;
    }
    let is_voter = |id: &PeerId| configs.iter().any(|config| config.contains(id));
    let better = || {
        deaf().filter(|(id, answer)| {
            is_voter(id) && (answer.last_log_id, **id) > (me.last_log_id, me.id)
        })
    };
    let is_candidate = |(id, answer): (&PeerId, &Answer)| {
        is_later(&answer.vote) && answer.vote.leader_id.voted_for == *id
    };
    Verdict::GivenUp { rank: better().count(), is_contested: better().any(is_candidate) }
}

/// Whether these voters are a quorum of `config`.
pub(crate) fn is_quorum(voters: &BTreeSet<PeerId>, config: &BTreeSet<PeerId>) -> bool {
    config.intersection(voters).count() > config.len() / 2
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;

    use super::*;

    const TERM: u64 = 5;
    const LEADER: PeerId = 9;
    const ME: PeerId = 2;

    fn log(term: u64, index: u64) -> LogId {
        LogId::new(Vote::new(term, 0).leader_id.to_committed(), index)
    }

    fn me() -> Asker {
        Asker { id: ME, last_log_id: Some(log(5, 10)) }
    }

    fn deaf(last_log_id: LogId) -> Answer {
        let last_log_id = Some(last_log_id);
        Answer { hears: false, vote: Vote::new_committed(TERM, LEADER), last_log_id }
    }

    fn verdict(answers: &[(PeerId, Answer)], configs: &[&[PeerId]]) -> Verdict {
        let configs: Vec<_> = configs.iter().map(|ids| ids.iter().copied().collect()).collect();
        judge(me(), TERM, &answers.iter().copied().collect(), &configs)
    }

    fn given_up(rank: usize) -> Verdict {
        Verdict::GivenUp { rank, is_contested: false }
    }

    #[test]
    fn a_leader_is_given_up_by_a_quorum_that_does_not_hear_it() {
        let three: &[PeerId] = &[1, ME, LEADER];
        let hears = Answer { hears: true, ..deaf(log(5, 10)) };
        assert_eq!(verdict(&[], &[three]), Verdict::Kept, "nobody answered");
        assert_eq!(verdict(&[(1, hears)], &[three]), Verdict::Kept);
        assert_eq!(verdict(&[(1, deaf(log(5, 10)))], &[three]), given_up(0));
        let five: &[PeerId] = &[1, ME, 3, 4, LEADER];
        assert_eq!(verdict(&[(1, deaf(log(1, 1))), (3, hears)], &[five]), Verdict::Kept);
        let two = [(1, deaf(log(1, 1))), (3, deaf(log(1, 1))), (4, hears)];
        assert_eq!(verdict(&two, &[five]), given_up(0), "who hears it only does not count");
    }

    #[test]
    fn learners_do_not_count_and_each_configuration_of_a_change_does() {
        let learner = [(7, deaf(log(5, 99)))];
        assert_eq!(verdict(&learner, &[&[1, ME, LEADER]]), Verdict::Kept);
        let both = [(1, deaf(log(1, 1))), (7, deaf(log(5, 99)))];
        assert_eq!(verdict(&both, &[&[1, ME, LEADER]]), given_up(0), "it is no rival either");
        let joint: [&[PeerId]; 2] = [&[1, ME, LEADER], &[3, 4, LEADER]];
        assert_eq!(verdict(&both, &joint), Verdict::Kept);
        let all = [(1, deaf(log(1, 1))), (3, deaf(log(1, 1))), (4, deaf(log(1, 1)))];
        assert_eq!(verdict(&all, &joint), given_up(0));
        assert_eq!(verdict(&all, &[]), Verdict::Kept);
    }

    #[test]
    fn the_longest_log_goes_first_then_the_greatest_id() {
        let rank = |last_log_id, id| verdict(&[(id, deaf(last_log_id))], &[&[id, ME, LEADER]]);
        assert_eq!(rank(log(5, 11), 1), given_up(1));
        assert_eq!(rank(log(5, 9), 3), given_up(0));
        assert_eq!(rank(log(4, 99), 3), given_up(0), "a later term is longer");
        assert_eq!(rank(log(5, 10), 3), given_up(1), "equal logs: the greater id");
        assert_eq!(rank(log(5, 10), 1), given_up(0));
    }

    #[test]
    fn a_better_voter_that_stands_already_is_left_the_field() {
        let stands = |id| Answer { vote: Vote::new(TERM + 1, id), ..deaf(log(5, 11)) };
        let contested = Verdict::GivenUp { rank: 1, is_contested: true };
        assert_eq!(verdict(&[(1, stands(1))], &[&[1, ME, LEADER]]), contested);
        assert_eq!(verdict(&[(1, stands(7))], &[&[1, ME, LEADER]]), given_up(1), "it only voted");
        let shorter = Answer { last_log_id: Some(log(5, 9)), ..stands(1) };
        assert_eq!(verdict(&[(1, shorter)], &[&[1, ME, LEADER]]), given_up(0), "it cannot win");
    }

    #[test]
    fn a_later_leader_ends_it() {
        let vote = Vote::new_committed(TERM + 1, 1);
        let leads = Answer { vote, ..deaf(log(6, 11)) };
        assert_eq!(verdict(&[(1, leads)], &[&[1, ME, LEADER]]), Verdict::Succeeded);
    }
}
