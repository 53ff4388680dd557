//! Whom gossip speaks of, and for.

use tokio::sync::watch;

use super::{Card, Kind};

/// The process that gossips, as far as gossip needs it: what to say of it, and what it makes of the rest.
/// None of the calls may block: they are made between two datagrams.
pub(in crate::node) trait Subject: Send + Sync + 'static {
    /// What is said of it, as of now.
    fn card(&self) -> Card;

    /// What it knows for itself that a member of this name is, which says that much of itself; `None`: it
    /// does not know the member, and has only the member's own word.
    fn kind_of(&self, name: &str, said: Option<&Card>) -> Option<Kind>;

    /// Where else it knows nodes to be, `host:port`, besides the seeds that it was configured with.
    fn addresses(&self) -> Vec<String>;

    /// The member of this name did not answer a probe of this process itself. Hearsay is not told.
    fn on_suspect(&self, name: &str);

    /// Where nodes are that gossip knows and that are not down, `host:port`. Told when that has changed.
    fn on_nodes(&self, addresses: Vec<String>);
}

/// An agent: it is what it is, but for its session, and makes nothing of the rest.
pub(super) struct Worker {
    pub(super) card: Card,
    pub(super) session: watch::Receiver<u64>,
}

impl Subject for Worker {
    fn card(&self) -> Card {
        Card { session: *self.session.borrow(), ..self.card.clone() }
    }

    fn kind_of(&self, _name: &str, _said: Option<&Card>) -> Option<Kind> {
        None
    }

    fn addresses(&self) -> Vec<String> {
        vec![]
    }

    fn on_suspect(&self, _name: &str) {}

    fn on_nodes(&self, _addresses: Vec<String>) {}
}
