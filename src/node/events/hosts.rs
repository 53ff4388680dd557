//! Members of gossip, as events.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::{Gap, GapReason, Happening, Host};
use crate::node::{Gossip, Member, open::Node};

/// Records what becomes of members, until gossip ends.
pub(in crate::node) async fn follow(node: Arc<Node>, gossip: Gossip) {
    let mut changes = gossip.changes();
    loop {
        let (at_ms, what) = match changes.recv().await {
            Ok(member) => (member.since_wall_ms, Happening::Host(host(member))),
            Err(RecvError::Lagged(missed)) => {
                let rev = node.look(|machine| machine.state().rev());
                let gap =
                    Gap { reason: GapReason::Overrun, after: None, missed: Some(missed), rev };
                (node.clock.wall_ms(), Happening::Gap(gap))
            }
            Err(RecvError::Closed) => return,
        };
        node.bells.events().record_one(at_ms, what);
    }
}

fn host(member: Member) -> Host {
    Host {
        kind: member.kind,
        name: member.name,
        state: member.state,
        incarnation: member.incarnation,
    }
}
