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
    let is_quorum =
        |config: &BTreeSet<PeerId>| config.intersection(&gave_up).count() > config.len() / 2;
    if configs.is_empty() || !configs.iter().all(is_quorum) {
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
