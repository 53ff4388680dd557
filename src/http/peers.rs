//! `GET /peers`, `GET /gossip/peers`: the members that gossip knows.

use super::{
    answer::{Answer, Failure},
    call::Call,
};
use crate::{
    node::{self, Card, Gossip, Kind, Member},
    wire::{Freshness, MemberKind, MemberState, PeerMember, PeersResponse},
};

pub(super) async fn peers(call: Call) -> Result<Answer, Failure> {
    call.no_query()?;
    let handle = &call.site.handle;
    let gossip = handle.gossip();
    let members = gossip.iter().flat_map(Gossip::members);
    let peers: Vec<PeerMember> = members.map(|member| peer(member, handle.wall_ms())).collect();
    let body = PeersResponse {
        node_id: handle.status().raft.me.label,
        gossip: gossip.is_some(),
        cluster: gossip.as_ref().map(|gossip| gossip.cluster().to_owned()),
        profile: gossip.as_ref().map(|gossip| gossip.profile().as_str().to_owned()),
        count: peers.len(),
        peers,
    };
    Ok(Answer::ok(&body).seen(Freshness::Stale))
}

fn peer(member: Member, now_ms: u64) -> PeerMember {
    let card = member.card.as_ref();
    let said = |text: fn(&Card) -> &String| card.map(text).filter(|text| !text.is_empty()).cloned();
    PeerMember {
        state: state(member.state),
        kind: member.kind.map(kind),
        incarnation: member.incarnation,
        gossip_addr: member.address.to_string(),
        peer_addr: said(|card| &card.raft_address),
        http_addr: said(|card| &card.http_address),
        session: card.filter(|card| card.kind == Kind::Worker).map(|card| card.session),
        version: said(|card| &card.version),
        labels: card.map(|card| card.labels.clone()).unwrap_or_default(),
        rtt_us: member.rtt_us,
        since_at_ms: member.since_wall_ms,
        since_ms_ago: now_ms.saturating_sub(member.since_wall_ms),
        is_self: member.is_self,
        node_id: member.name,
    }
}

fn state(state: node::MemberState) -> MemberState {
    match state {
        node::MemberState::Alive => MemberState::Alive,
        node::MemberState::Suspect => MemberState::Suspect,
        node::MemberState::Down => MemberState::Down,
    }
}

pub(super) fn kind(kind: Kind) -> MemberKind {
    match kind {
        Kind::Voter => MemberKind::Voter,
        Kind::Learner => MemberKind::Learner,
        Kind::Worker => MemberKind::Worker,
        Kind::Fresh => MemberKind::Fresh,
    }
}
