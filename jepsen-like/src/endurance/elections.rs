//! The elections of a run, from what the nodes say of their standing while it lasts.
//!
//! A term is begun by a candidate and by nobody else, so the elections are the terms that were begun,
//! those that nobody won as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What was seen of terms, leaders and voters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Elections {
    /// The greatest term of the first look.
    first: Option<u64>,
    latest: u64,
    /// Who led each term, and why the change was, as far as somebody said so.
    leaders: BTreeMap<u64, (String, Option<String>)>,
    /// How many answers named no leader, by node.
    leaderless: BTreeMap<String, u64>,
    /// The sets of voters that any node named.
    voters: BTreeSet<Vec<String>>,
}

impl Elections {
    /// An answer of `GET /election/status`.
    pub(crate) fn on_status(&mut self, node: &str, status: &Value) {
        let Some(term) = status["term"].as_u64() else { return };
        self.latest = self.latest.max(term);
        match status["leader_id"].as_str() {
            Some(leader) => {
                self.leaders.entry(term).or_insert_with(|| (leader.to_owned(), None));
            }
            None => *self.leaderless.entry(node.to_owned()).or_default() += 1,
        }
        for change in status["changes"].as_array().into_iter().flatten() {
            let (term, leader) = (change["term"].as_u64(), change["leader_id"].as_str());
            if let (Some(term), Some(leader)) = (term, leader) {
                self.latest = self.latest.max(term);
                let cause = change["cause"].as_str().filter(|cause| *cause != "unknown");
                let known = self.leaders.entry(term).or_insert_with(|| (leader.to_owned(), None));
                known.1 = known.1.take().or_else(|| cause.map(str::to_owned));
            }
        }
    }

    /// An answer of `GET /status`.
    pub(crate) fn on_voters(&mut self, status: &Value) {
        let labels = status["voters"].as_array().into_iter().flatten();
        let mut labels: Vec<String> = labels.filter_map(Value::as_str).map(str::to_owned).collect();
        if !labels.is_empty() {
            labels.sort_unstable();
            self.voters.insert(labels);
        }
    }

    /// The Raft term of `GET /metrics`.
    pub(crate) fn on_term(&mut self, term: u64) {
        self.latest = self.latest.max(term);
    }

    /// What was seen so far is how the run begins.
    pub(crate) fn begin(&mut self) {
        *self = Self {
            first: Some(self.latest),
            latest: self.latest,
            voters: self.voters.clone(),
            ..Self::default()
        };
    }

    /// How many terms were begun since.
    pub(crate) fn count(&self) -> u64 {
        self.latest - self.first.unwrap_or(self.latest)
    }

    /// Who came to lead since, in words.
    pub(crate) fn story(&self) -> String {
        let first = self.first.unwrap_or(0);
        let steps = self.leaders.range(first + 1..).map(|(term, (leader, cause))| {
            let cause = cause.as_deref().unwrap_or("unknown");
            format!("term {term}: {leader} ({cause})")
        });
        steps.collect::<Vec<_>>().join(", ")
    }

    /// How many answers named no leader.
    pub(crate) fn leaderless(&self) -> u64 {
        self.leaderless.values().sum()
    }

    /// Every set of voters that any node named.
    pub(crate) const fn voters(&self) -> &BTreeSet<Vec<String>> {
        &self.voters
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(term: u64, leader: Option<&str>, changes: &Value) -> Value {
        json!({"term": term, "leader_id": leader, "changes": changes})
    }

    fn begun(term: u64) -> Elections {
        let mut elections = Elections::default();
        let started = json!([{"term": term, "leader_id": "n1", "cause": "start"}]);
        elections.on_status("n1", &status(term, Some("n1"), &started));
        elections.begin();
        elections
    }

    #[test]
    fn the_first_election_does_not_count() {
        let mut elections = begun(3);
        elections.on_status("n2", &status(3, Some("n1"), &json!([])));
        assert_eq!((elections.count(), elections.story().as_str()), (0, ""));
    }

    #[test]
    fn a_term_that_nobody_won_counts_and_a_change_between_two_looks_is_found() {
        let mut elections = begun(3);
        let change = json!([{"term": 5, "leader_id": "n2", "cause": "hang"},
                            {"term": 4, "leader_id": "n3", "cause": "unknown"}]);
        elections.on_status("n3", &status(6, None, &change));
        assert_eq!(elections.count(), 3);
        assert_eq!(elections.story(), "term 4: n3 (unknown), term 5: n2 (hang)");
        assert_eq!(elections.leaderless(), 1);
    }

    #[test]
    fn the_metrics_tell_a_term_too() {
        let mut elections = begun(3);
        elections.on_term(4);
        assert_eq!(elections.count(), 1);
    }

    #[test]
    fn every_set_of_voters_is_kept() {
        let mut elections = begun(1);
        for voters in [json!(["n2", "n1"]), json!(["n1", "n2"]), json!([]), json!(["n1"])] {
            elections.on_voters(&json!({"voters": voters}));
        }
        let sets: Vec<_> = elections.voters().iter().cloned().collect();
        assert_eq!(sets, [vec!["n1".to_owned()], vec!["n1".to_owned(), "n2".to_owned()]]);
    }
}
