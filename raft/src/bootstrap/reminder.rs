//! When a node that waits for its proposer says so: the way out is an operator's.

use std::time::Duration;

use tokio::time::Instant;

use crate::{PeerId, bootstrap::promise::Set};

/// A healthy proposer founds or abandons its set within seconds.
const INTERVAL: Duration = Duration::from_mins(1);

/// Since when a node has been promised to a set, or last said so.
#[derive(Debug, Default)]
pub(crate) struct Reminder {
    since: Option<(PeerId, u64, Instant)>,
}

impl Reminder {
    /// Warns once a minute of a promise that is as old.
    pub(crate) fn waits_for(&mut self, set: &Set) {
        if !self.is_due(set, Instant::now()) {
            return;
        }
        let proposer = set.voters.iter().find(|voter| voter.id == set.proposer);
        let (label, address) = proposer.map_or(("", ""), |peer| (&peer.label, &peer.address));
        tracing::warn!(
            label,
            address,
            "promised to this node, which has not said for a minute what became of its set: start \
             it again; if its directory is lost and no node of the set is in a cluster, stop those \
             that wait for it, empty their directories and start them"
        );
    }

    fn is_due(&mut self, set: &Set, now: Instant) -> bool {
        let known = self
            .since
            .filter(|(proposer, attempt, _)| (*proposer, *attempt) == (set.proposer, set.attempt));
        let is_due = known.is_some_and(|(.., since)| now >= since + INTERVAL);
        if is_due || known.is_none() {
            self.since = Some((set.proposer, set.attempt, now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_told_of_once_a_minute_and_a_new_one_not_for_the_age_of_the_old() {
        let set = |attempt| Set { proposer: 7, attempt, cluster_id: 1, voters: vec![] };
        let mut reminder = Reminder::default();
        let start = Instant::now();
        let mut is_due =
            |attempt, seconds| reminder.is_due(&set(attempt), start + Duration::from_secs(seconds));
        assert!(!is_due(1, 0));
        assert!(!is_due(1, 59));
        assert!(is_due(1, 60));
        assert!(!is_due(1, 119));
        assert!(is_due(1, 121));
        assert!(!is_due(2, 240), "it is another promise");
        assert!(is_due(2, 300));
    }
}
