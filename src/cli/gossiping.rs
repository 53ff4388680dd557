//! How an agent comes to gossip: what it needs to know it learns from a server.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use membership::{Keyring, Profile};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{Failure, report::complain, server::keyring};
use crate::{
    client::Client,
    node::{Gossip, MemberOptions, OpenError},
    queue::WorkerId,
    wire::{MemberKind, MemberState, PeersResponse},
};

/// Between two tries to learn from a server how its cluster gossips.
const PAUSE: Duration = Duration::from_secs(1);
/// Below the range from which outgoing connections take their ports.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many of them are tried.
const PORT_TRIES: u16 = 64;
/// How often a port that was free a moment ago may be taken.
const BIND_TRIES: u32 = 8;

/// An agent that gossips, or tries to.
pub(super) struct Gossiping {
    task: JoinHandle<()>,
    gossip: watch::Receiver<Option<Gossip>>,
}

impl Gossiping {
    /// Begins as soon as a server says how. Until then, and when nothing comes of it, leases decide.
    pub(super) fn start(
        client: Client,
        worker: &WorkerId,
        session: watch::Receiver<u64>,
        labels: BTreeMap<String, String>,
        key_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let keyring = key_file.map(keyring).transpose()?;
        let (found, gossip) = watch::channel(None);
        let name = worker.to_string();
        let task = tokio::spawn(async move {
            match begin(&client, &name, session, labels, keyring).await {
                Ok(gossip) => drop(found.send(Some(gossip))),
                Err(reason) => complain(&format!(
                    "this worker does not gossip: {reason}. Should it die, its jobs wait for the end \
                     of their leases\n"
                )),
            }
        });
        Ok(Self { task, gossip })
    }

    /// Says goodbye.
    pub(super) async fn end(self) {
        self.task.abort();
        let gossip = self.gossip.borrow().clone();
        if let Some(gossip) = gossip {
            gossip.leave().await;
            gossip.stop().await;
        }
    }
}

async fn begin(
    client: &Client,
    name: &str,
    session: watch::Receiver<u64>,
    labels: BTreeMap<String, String>,
    keyring: Option<Keyring>,
) -> Result<Gossip, String> {
    let peers = loop {
        match client.peers().await {
            Ok(answer) if !answer.value.gossip => return Err("the servers do not".to_owned()),
            Ok(answer) => break answer.value,
            Err(error) if error.may_be_answered_yet() => sleep(PAUSE).await,
            Err(error) => return Err(error.to_string()),
        }
    };
    let mut tries = 1;
    loop {
        let options = member(name, &peers, keyring.clone())?;
        match Gossip::of_worker(options, session.clone(), labels.clone()).await {
            Ok(gossip) => return Ok(gossip),
            // Another process was faster; the next port that is free is another one.
            Err(OpenError::Gossip(membership::OpenError::Bind { .. })) if tries < BIND_TRIES => {
                tries += 1;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// The member that this agent is, from what a server says of the others.
fn member(
    name: &str,
    peers: &PeersResponse,
    keyring: Option<Keyring>,
) -> Result<MemberOptions, String> {
    let nodes = peers.peers.iter().filter(|peer| {
        peer.state != MemberState::Down && peer.kind.is_some_and(|kind| kind != MemberKind::Worker)
    });
    let seeds: Vec<SocketAddr> = nodes.filter_map(|peer| peer.gossip_addr.parse().ok()).collect();
    let first = seeds.first().ok_or("the servers know no member")?;
    if keyring.is_none() && !first.ip().is_loopback() {
        return Err("its datagrams would not be sealed: name the cluster's keys with \
                    --gossip-key-file"
            .to_owned());
    }
    let address = own_address(*first).map_err(|error| format!("it has no address: {error}"))?;
    Ok(MemberOptions {
        name: name.to_owned(),
        cluster: peers.cluster.clone().unwrap_or_default(),
        listen: address,
        advertise: address.to_string(),
        profile: peers.profile.as_deref().and_then(Profile::parse).unwrap_or(Profile::Lan),
        keyring,
        seeds: seeds.iter().map(ToString::to_string).collect(),
    })
}

/// An address of this machine from which that one is reached, with a port that is free.
fn own_address(seed: SocketAddr) -> std::io::Result<SocketAddr> {
    let any: IpAddr = match seed {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Sends nothing: it only finds the way.
    socket.connect(seed)?;
    let ip = socket.local_addr()?.ip();
    let width = PORTS.end - PORTS.start;
    let start = u16::try_from(std::process::id() % u32::from(width)).unwrap_or(0);
    let tried = (0..PORT_TRIES).map(|step| PORTS.start + (start + step * 37) % width);
    let free = tried.map(|port| SocketAddr::new(ip, port)).find(|at| UdpSocket::bind(at).is_ok());
    free.ok_or_else(|| std::io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(body: &str) -> PeersResponse {
        serde_json::from_str(body).unwrap()
    }

    const MEMBERS: &str = r#"{"node_id":"n1","gossip":true,"cluster":"c","profile":"local","count":3,"peers":[
        {"node_id":"n1","state":"alive","kind":"voter","incarnation":9,"gossip_addr":"ADDRESS",
         "rtt_us":null,"since_at_ms":5,"since_ms_ago":1,"self":true},
        {"node_id":"n2","state":"down","kind":"voter","incarnation":9,"gossip_addr":"127.0.0.1:8781",
         "rtt_us":null,"since_at_ms":5,"since_ms_ago":1},
        {"node_id":"w","state":"alive","kind":"worker","incarnation":9,"gossip_addr":"127.0.0.1:9002",
         "rtt_us":null,"since_at_ms":5,"since_ms_ago":1}]}"#;

    #[test]
    fn an_agent_gossips_as_the_cluster_does_and_through_its_live_nodes() {
        let member =
            member("w2", &peers(&MEMBERS.replace("ADDRESS", "127.0.0.1:8771")), None).unwrap();
        assert_eq!((member.cluster.as_str(), member.profile), ("c", Profile::Local));
        assert_eq!(member.seeds, ["127.0.0.1:8771"]);
        assert!(member.listen.ip().is_loopback());
        assert!(PORTS.contains(&member.listen.port()));
        assert_eq!(member.advertise, member.listen.to_string());
    }

    #[test]
    fn beyond_this_machine_nothing_is_said_unsealed() {
        let refused = member("w2", &peers(&MEMBERS.replace("ADDRESS", "192.0.2.1:8771")), None);
        assert!(refused.unwrap_err().contains("--gossip-key-file"));
    }
}
