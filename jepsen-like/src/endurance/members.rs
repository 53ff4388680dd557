//! What changed in the nodes' views of the members, from their answers to `GET /peers`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A member as a node sees it: its state, which life of it that is, and since when.
type View = (String, u64, u64);

/// The views of all nodes, and how they changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// By the node that sees and the member that is seen.
    views: BTreeMap<(String, String), View>,
    count: u64,
    /// How often each kind of change was seen: `w1: alive → down`.
    tally: BTreeMap<String, u64>,
}

impl Members {
    /// An answer of `GET /peers`, and whether each of `all` is alive in it.
    pub(crate) fn on_peers<'a>(
        &mut self,
        node: &str,
        answer: &Value,
        all: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        let Some(peers) = answer["peers"].as_array() else { return false };
        let mut seen = BTreeSet::new();
        for peer in peers {
            let Some(member) = peer["node_id"].as_str() else { continue };
            let state = peer["state"].as_str().unwrap_or("unknown").to_owned();
            let number = |field: &str| peer[field].as_u64().unwrap_or(0);
            let view = (state, number("incarnation"), number("since_at_ms"));
            seen.insert(member.to_owned());
            let known = self.views.insert((node.to_owned(), member.to_owned()), view.clone());
            if known.as_ref() != Some(&view) {
                let before = known.map_or("nothing".to_owned(), |known| known.0);
                self.note(member, &before, &view.0);
            }
        }
        let gone: Vec<_> = self
            .views
            .keys()
            .filter(|(seer, member)| seer == node && !seen.contains(member))
            .cloned()
            .collect();
        for key in gone {
            let before = self.views.remove(&key).map_or_else(String::new, |view| view.0);
            self.note(&key.1, &before, "nothing");
        }
        let is_alive = |member: &str| {
            let view = self.views.get(&(node.to_owned(), member.to_owned()));
            view.is_some_and(|(state, ..)| state == "alive")
        };
        all.into_iter().all(is_alive)
    }

    fn note(&mut self, member: &str, before: &str, after: &str) {
        self.count += 1;
        *self.tally.entry(format!("{member}: {before} → {after}")).or_default() += 1;
    }

    /// What was seen so far is how the run begins.
    pub(crate) fn begin(&mut self) {
        *self = Self { views: std::mem::take(&mut self.views), ..Self::default() };
    }

    /// How many changes there were since. One that was taken back between two looks counts as well: it
    /// shows in the time since when the member is in its state.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// The changes by member, the most frequent first.
    pub(crate) fn story(&self) -> String {
        let mut tally: Vec<_> = self.tally.iter().collect();
        tally.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let told = tally.iter().take(6).map(|(change, count)| format!("{count} × {change}"));
        let mut story = told.collect::<Vec<_>>().join(", ");
        if tally.len() > 6 {
            story.push_str(", …");
        }
        story
    }

    /// Everybody whom somebody sees.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.views.keys().map(|(_, member)| member.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn peers(members: &[(&str, &str, u64)]) -> Value {
        let peers: Vec<_> = members
            .iter()
            .map(|(name, state, since)| {
                json!({"node_id": name, "state": state, "incarnation": 1, "since_at_ms": since})
            })
            .collect();
        json!({"gossip": true, "peers": peers})
    }

    fn begun() -> Members {
        let mut members = Members::default();
        members.on_peers("n1", &peers(&[("n1", "alive", 1), ("n2", "alive", 1)]), []);
        members.begin();
        members
    }

    #[test]
    fn the_same_view_is_no_change() {
        let mut members = begun();
        members.on_peers("n1", &peers(&[("n1", "alive", 1), ("n2", "alive", 1)]), []);
        assert_eq!((members.count(), members.story().as_str()), (0, ""));
    }

    #[test]
    fn a_change_that_was_taken_back_between_two_looks_shows() {
        let mut members = begun();
        members.on_peers("n1", &peers(&[("n1", "alive", 1), ("n2", "alive", 9)]), []);
        assert_eq!(members.story(), "1 × n2: alive → alive");
    }

    #[test]
    fn strangers_and_those_who_vanish_are_changes() {
        let mut members = begun();
        members.on_peers("n1", &peers(&[("n1", "alive", 1), ("x", "down", 3)]), []);
        assert_eq!(members.count(), 2);
        assert_eq!(members.story(), "1 × n2: alive → nothing, 1 × x: nothing → down");
        assert!(members.names().contains("x"));
    }

    #[test]
    fn a_view_is_whole_when_all_are_alive_in_it() {
        let mut members = begun();
        let mut is_whole = |answer: &Value| members.on_peers("n1", answer, ["n1", "n2"]);
        assert!(is_whole(&peers(&[("n1", "alive", 1), ("n2", "alive", 1), ("w1", "down", 1)])));
        assert!(!is_whole(&peers(&[("n1", "alive", 1), ("n2", "suspect", 1)])));
        assert!(!is_whole(&peers(&[("n1", "alive", 1)])));
    }

    #[test]
    fn an_answer_without_members_changes_nothing_and_is_no_view() {
        let mut members = begun();
        for answer in [json!({"gossip": false}), Value::Null] {
            assert!(!members.on_peers("n1", &answer, ["n1", "n2"]), "what was seen before is old");
        }
        assert_eq!(members.count(), 0);
    }
}
