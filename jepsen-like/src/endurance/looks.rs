//! Of how much of a run something was seen at each node.

use std::{collections::BTreeMap, time::Duration};

/// Looks at every node, each as long as it took: one that ends at its deadline stands for more of the run
/// than one that is answered at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Looks {
    by_node: BTreeMap<String, Share>,
}

/// The looks at one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Share {
    looks: u64,
    hits: u64,
    seen: Duration,
    looked: Duration,
}

impl Looks {
    /// One look at a node that stands for so much of the run, and whether it saw what was looked for.
    pub(crate) fn note(&mut self, node: &str, lasted: Duration, is_hit: bool) {
        let share = self.by_node.entry(node.to_owned()).or_default();
        share.looks += 1;
        share.looked += lasted;
        if is_hit {
            share.hits += 1;
            share.seen += lasted;
        }
    }

    /// Of how many looks at each node how many saw it, in words.
    pub(crate) fn story(&self) -> String {
        let told = self
            .by_node
            .iter()
            .map(|(node, share)| format!("{} of {} at {node}", share.hits, share.looks));
        told.collect::<Vec<_>>().join(", ")
    }

    /// Whether it was seen at each of these nodes, more than once and for half of the time at least. Of no
    /// node at all it was not.
    pub(crate) fn cover<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) -> bool {
        let covers = |share: &Share| share.hits > 1 && share.seen * 2 >= share.looked;
        let mut covered = nodes.into_iter().map(|node| self.by_node.get(node).is_some_and(covers));
        covered.next().is_some_and(|first| first && covered.all(|is_covered| is_covered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(100);

    fn looks(seen: &[(&str, Duration, bool)]) -> Looks {
        let mut looks = Looks::default();
        for (node, lasted, is_hit) in seen {
            looks.note(node, *lasted, *is_hit);
        }
        looks
    }

    #[test]
    fn every_node_must_have_been_seen_again_and_again() {
        let twice = looks(&[("n1", SOON, true), ("n2", SOON, true), ("n1", SOON, true)]);
        assert!(twice.cover(["n1"]));
        assert!(!twice.cover(["n1", "n2"]), "once is not again");
        assert!(!twice.cover(["n1", "n3"]), "nobody looked");
        assert!(!twice.cover([]), "of nobody nothing is seen");
        assert_eq!(twice.story(), "2 of 2 at n1, 1 of 1 at n2");
        assert!(!Looks::default().cover(["n1"]));
    }

    #[test]
    fn half_of_the_time_is_enough_and_less_is_not() {
        let (hit, miss) = (("n1", SOON, true), ("n1", SOON, false));
        assert!(looks(&[hit, hit, miss, miss]).cover(["n1"]));
        assert!(!looks(&[hit, hit, miss, miss, miss]).cover(["n1"]));
    }

    #[test]
    fn a_look_that_waits_for_its_deadline_outweighs_many_that_are_answered() {
        let mut seen = vec![("n1", SOON, true); 30];
        seen.extend([("n1", SOON * 28, false); 28]);
        assert!(!looks(&seen).cover(["n1"]));
    }
}
