//! What is done as members come and go, and as this node changes.

use std::{
    collections::BTreeSet,
    sync::{Weak, atomic::Ordering},
    time::Duration,
};

use membership::{Event, Membership};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{MissedTickBehavior, interval},
};

use super::{Card, Kind, Member, MemberState, gossip::Inner, workers::WorkerEvent};

/// How often it is looked whether there is something new to say.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Follows the membership until it or the last handle ends.
pub(super) async fn follow(
    inner: Weak<Inner>,
    membership: Membership,
    mut events: Receiver<Event>,
) {
    let mut follower = Follower { membership, said: None, joined: vec![], told: None };
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => Some(event),
            _ = looks.tick() => None,
        };
        let Some(inner) = inner.upgrade() else { return };
        match event {
            Some(Ok(event)) => inner.on_event(event),
            // What was missed shows in the members.
            Some(Err(RecvError::Lagged(_))) => {}
            Some(Err(RecvError::Closed)) => return,
            None => follower.look(&inner),
        }
    }
}

/// What was said and told so far.
struct Follower {
    membership: Membership,
    /// The card that was last published.
    said: Option<Card>,
    /// The addresses that were last handed to the membership.
    joined: Vec<String>,
    /// The addresses of nodes that the subject was last told.
    told: Option<BTreeSet<String>>,
}

impl Follower {
    /// Says what is new of the subject, and tells it what is new of the members.
    fn look(&mut self, inner: &Inner) {
        let card = inner.subject.card();
        if self.said.as_ref() != Some(&card) {
            let fitted = card.clone().fitted();
            if fitted.labels.len() < card.labels.len() && self.said.is_none() {
                let left_out = card.labels.len() - fitted.labels.len();
                tracing::warn!(left_out, "labels of this node do not fit into gossip");
            }
            self.membership.publish(fitted.encode());
        }
        let addresses = inner.subject.addresses();
        if self.joined != addresses {
            self.membership.join(addresses.clone());
            self.joined = addresses;
        }
        // Nobody else has to find nodes, so for nobody else are the members looked through.
        if card.kind == Kind::Fresh {
            let nodes = inner.members().into_iter().filter_map(address_of_node).collect();
            if self.told.as_ref() != Some(&nodes) {
                inner.subject.on_nodes(nodes.iter().cloned().collect());
                self.told = Some(nodes);
            }
        }
        self.said = Some(card);
    }
}

impl Inner {
    fn on_event(&self, event: Event) {
        match event {
            Event::Suspect(member) => {
                tracing::info!(name = member.identity.name(), "a member does not answer");
                self.subject.on_suspect(member.identity.name());
                self.tell(self.seen(member));
            }
            Event::Metadata(member) => {
                if let Some(Err(error)) = member.metadata.as_ref().map(|bytes| Card::decode(bytes))
                {
                    self.unreadable_cards.fetch_add(1, Ordering::Relaxed);
                    let name = member.identity.name();
                    tracing::debug!(name, %error, "a card cannot be read");
                }
                self.tell_of_worker(self.seen(member));
            }
            Event::Up(member)
            | Event::Refuted(member)
            | Event::Rejoined(member)
            | Event::Down(member) => {
                let member = self.seen(member);
                let (name, state) = (&member.name, member.state.as_str());
                tracing::info!(name, state, address = %member.address, "a member");
                self.tell_of_worker(member.clone());
                self.tell(member);
            }
        }
    }

    fn tell(&self, changed: Member) {
        // Nobody may listen.
        let _ = self.changes.send(changed);
    }

    fn tell_of_worker(&self, member: Member) {
        if let Some(event) = WorkerEvent::of(member) {
            // Nobody may listen.
            let _ = self.worker_events.send(event);
        }
    }
}

/// Where another node listens for its peers, unless it is down.
fn address_of_node(member: Member) -> Option<String> {
    let is_wanted = !member.is_self && member.state != MemberState::Down;
    let card = member.card.filter(|card| is_wanted && card.kind.is_node())?;
    Some(card.raft_address).filter(|address| !address.is_empty())
}
