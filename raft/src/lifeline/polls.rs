//! The answers to this replica's requests for votes, so that an election that is lost is known to be.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::{
    PeerId,
    consensus::types::{Vote, VoteResponse},
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

    /// Waits until `vote` cannot be given by a quorum of each of `configs` any more.
    pub(crate) async fn lost(&self, vote: &Vote, configs: &[BTreeSet<PeerId>]) {
        while !self.is_lost(vote, configs) {
            self.changed.notified().await;
        }
    }

    fn is_lost(&self, vote: &Vote, configs: &[BTreeSet<PeerId>]) -> bool {
        let latest = self.lock();
        let Some((_, refused)) = latest.as_ref().filter(|(known, _)| known == vote) else {
            return false;
        };
        configs.iter().any(|config| {
            let left = config.len() - config.intersection(refused).count();
            left <= config.len() / 2
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Vote, BTreeSet<PeerId>)>> {
        self.latest.lock().expect("no holder of this lock panics")
    }
}
