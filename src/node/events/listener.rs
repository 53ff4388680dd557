//! One listener, as HTTP holds it.

use std::sync::Arc;

use super::{
    Event, EventId, Gap, Happening,
    feed::{Cursor, Missing, Taken},
};
use crate::node::{Handle, Reason, Unavailable, open::Node};

/// A place among the listeners to a node's events, given up when dropped.
#[derive(Debug)]
pub struct Listener {
    node: Arc<Node>,
    cursor: Cursor,
}

impl Handle {
    /// Listens to what happens from now on; with `after`, to everything since that event, or to a gap and
    /// what is left. Each node tells what it sees itself.
    ///
    /// # Errors
    /// [`Reason::TooManyWaiters`] when all places are taken, [`Reason::ShuttingDown`] when this node is on
    /// its way out.
    pub fn listen(&self, after: Option<EventId>) -> Result<Listener, Unavailable> {
        if self.is_leaving() {
            return Err(Unavailable::NotApplied(Reason::ShuttingDown));
        }
        let node = self.node();
        let cursor = node.bells.events().listen(after).map_err(Unavailable::NotApplied)?;
        Ok(Listener { node: Arc::clone(node), cursor })
    }
}

impl Listener {
    /// The id to go on after, when everything up to now was taken.
    pub fn position(&self) -> EventId {
        self.cursor.position()
    }

    /// The next events among those that are `wanted`; a gap is, always. Waits until there are some; `None`
    /// once nobody is to wait here any more ([`Handle::end_waits`]). Dropping the future loses nothing but what it was about to return.
    pub async fn next(
        &mut self,
        wanted: &(impl Fn(&Happening) -> bool + Sync),
    ) -> Option<Vec<Event>> {
        let node = &self.node;
        let Taken { gap, events, .. } = tokio::select! {
            biased;
            () = node.stopping() => return None,
            taken = self.cursor.next(wanted) => taken,
        };
        let gap = gap.map(|missing| self.told(missing));
        Some(gap.into_iter().chain(events).collect())
    }

    /// Returns once nobody is to wait here any more.
    pub async fn ended(&self) {
        self.node.stopping().await;
    }

    fn told(&self, missing: Missing) -> Event {
        let rev = self.node.look(|machine| machine.state().rev());
        let Missing { reason, after, until, missed } = missing;
        let gap = Gap { reason, after: Some(after), missed, rev };
        Event { id: until, at_ms: self.node.clock.wall_ms(), what: Happening::Gap(gap) }
    }
}
