//! `queue members`: who is alive, by gossip.

use clap::Args;

use super::{
    Exit, Failure,
    pages::items_of,
    report::{Cell, Report, Table, for_people, serde_name, shortened},
    session::Session,
};
use crate::{
    client::{Answer, Client},
    wire::{MemberKind, MemberState, PeerMember, PeersResponse},
};

const NOTES: &str = "\
It is the view of the node that answers, and advice: what votes is in `queue status`. A member that
is down stays on the list for a while.";

/// Show the members of the cluster, nodes and agents, and how they are; prints `name state kind`.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(super) struct MembersArgs {}

impl MembersArgs {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let ask = async |client: &Client| client.peers().await;
        let answer = session.ask_one_that_knows(ask, |peers| peers.gossip).await?;
        if !answer.value.gossip {
            let message =
                format!("node {} does not gossip (`gossip` is off)", answer.value.node_id);
            return Err(Failure::new(Exit::UNAVAILABLE, "gossip_off", message));
        }
        session.end(&report(&answer), Exit::OK)
    }
}

fn report(answer: &Answer<PeersResponse>) -> Report {
    let peers = &answer.value.peers;
    Report {
        json: answer.body.clone(),
        items: Some(items_of(&answer.body, "peers")),
        plain: peers.iter().map(plain).collect(),
        table: Table::list(
            ["MEMBER", "KIND", "STATE", "FOR", "RTT", "HTTP", "PEERS", "LABELS"],
            peers.iter().map(row),
        ),
    }
}

fn plain(peer: &PeerMember) -> String {
    format!("{} {} {}", peer.node_id, serde_name(&peer.state), kind(peer.kind))
}

fn row(peer: &PeerMember) -> [Cell; 8] {
    let address = |address: &Option<String>| address.clone().unwrap_or_else(|| "-".into());
    let labels = peer.labels.iter().map(|(key, value)| format!("{key}={value}"));
    [
        (&peer.node_id).into(),
        kind(peer.kind).into(),
        state(peer.state),
        for_people(peer.since_ms_ago).into(),
        rtt(peer).into(),
        address(&peer.http_addr).into(),
        peer.peer_addr.clone().unwrap_or_else(|| peer.gossip_addr.clone()).into(),
        shortened(&labels.collect::<Vec<_>>().join(", "), 60).into(),
    ]
}

fn kind(kind: Option<MemberKind>) -> String {
    kind.map_or_else(|| "unknown".into(), |kind| serde_name(&kind))
}

fn state(state: MemberState) -> Cell {
    let name = serde_name(&state);
    match state {
        MemberState::Alive => Cell::good(name),
        MemberState::Suspect => Cell::busy(name),
        MemberState::Down => Cell::bad(name),
    }
}

fn rtt(peer: &PeerMember) -> String {
    match peer.rtt_us {
        _ if peer.is_self => "self".into(),
        None => "-".into(),
        Some(rtt_us) => format!("{}.{:02} ms", rtt_us / 1000, rtt_us % 1000 / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_row_for_people_and_a_line_for_scripts() {
        let body = r#"{"node_id":"n1","gossip":true,"count":3,"peers":[
            {"node_id":"n1","state":"alive","kind":"voter","incarnation":9,"gossip_addr":"127.0.0.1:8771",
             "peer_addr":"127.0.0.1:8771","http_addr":"127.0.0.1:8770","version":"0.1.0","rtt_us":null,
             "since_at_ms":5,"since_ms_ago":63000,"self":true},
            {"node_id":"w1","state":"suspect","kind":"worker","incarnation":9,"session":7,
             "gossip_addr":"127.0.0.1:9001","labels":{"gpu":"a100"},"rtt_us":1234,"since_at_ms":5,"since_ms_ago":40},
            {"node_id":"x","state":"down","kind":null,"incarnation":9,"gossip_addr":"127.0.0.1:9002",
             "rtt_us":null,"since_at_ms":5,"since_ms_ago":1000}]}"#;
        let answer = Answer { value: serde_json::from_str(body).unwrap(), body: body.into() };
        let report = report(&answer);
        assert_eq!(report.plain, ["n1 alive voter", "w1 suspect worker", "x down unknown"]);
        assert_eq!(report.items.unwrap().len(), 3);
        let rows = format!("{:?}", report.table.rows);
        for shown in ["1 min 3 s", "self", "1.23 ms", "127.0.0.1:9001", "gpu=a100"] {
            assert!(rows.contains(shown), "{shown} in {rows}");
        }
    }
}
