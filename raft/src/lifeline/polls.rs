//! The answers to this replica's requests for votes, so that an election that is lost is known to be.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::{
    PeerId,
    consensus::types::{Vote, VoteResponse},
    lifeline::verdict::is_quorum,
};

/// Who refused this replica's latest request for votes.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    latest: Mutex<Option<(Vote, BTreeSet<PeerId>)>>,
    changed: Notify,
}

impl Polls {
    /// Takes note of an answer to a request for `vote`.
    pub(crate) fn on_response(&self, vote: &Vote, from: PeerId, response: &VoteResponse) {
        if response.is_granted_to(vote) {
            return;
        }
        let mut latest = self.lock();
        match &mut *latest {
            Some((known, refused)) if known == vote => {
                refused.insert(from);
            }
            Some((known, _)) if known.leader_id.term > vote.leader_id.term => return,
            latest => *latest = Some((*vote, BTreeSet::from([from]))),
        }
        drop(latest);
        self.changed.notify_one();
    }

    /// Waits until so many of those that can be reached have refused `vote` that none of `configs`
    /// can have a quorum without one of the others.
    pub(crate) async fn lost(
        &self,
        vote: &Vote,
        reached: &BTreeSet<PeerId>,
        configs: &[BTreeSet<PeerId>],
    ) {
        while !self.is_lost(vote, reached, configs) {
            self.changed.notified().await;
        }
    }

    fn is_lost(
        &self,
        vote: &Vote,
        reached: &BTreeSet<PeerId>,
        configs: &[BTreeSet<PeerId>],
    ) -> bool {
        let latest = self.lock();
        let Some((_, refused)) = latest.as_ref().filter(|(known, _)| known == vote) else {
            return false;
        };
        let left: BTreeSet<PeerId> = reached.difference(refused).copied().collect();
        !configs.iter().all(|config| is_quorum(&left, config))
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Vote, BTreeSet<PeerId>)>> {
        self.latest.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_is_lost_when_those_that_are_left_are_no_quorum() {
        let polls = Polls::default();
        let (mine, other) = (Vote::new(3, 1), Vote::new(3, 2));
        let configs = [BTreeSet::from([1, 2, 3, 4, 5])];
        let reached = BTreeSet::from([1, 2, 3, 4]);
        let is_lost = |vote| polls.is_lost(vote, &reached, &configs);
        assert!(!is_lost(&mine));
        polls.on_response(&mine, 2, &VoteResponse::new(mine, None, true));
        polls.on_response(&mine, 3, &VoteResponse::new(other, None, false));
        polls.on_response(&mine, 3, &VoteResponse::new(other, None, false));
        assert!(!is_lost(&mine), "one refused, three are left");
        polls.on_response(&Vote::new(2, 1), 4, &VoteResponse::new(other, None, false));
        assert!(!is_lost(&mine), "that was an earlier election");
        polls.on_response(&mine, 4, &VoteResponse::new(other, None, false));
        assert!(is_lost(&mine));
        assert!(!is_lost(&Vote::new(4, 1)), "the next one is not");
    }
}
