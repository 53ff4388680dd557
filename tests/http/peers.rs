//! `GET /peers`, `GET /gossip/peers`, and what `/status` and `/metrics` say of the members.

use std::future::Future;

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, Site};

/// Three voters that gossip; each is told to join the next alone.
async fn three() -> Vec<Site> {
    let mut setups = Setup::three();
    let peers: Vec<_> = setups.iter().map(|setup| setup.peer.to_string()).collect();
    for (number, setup) in setups.iter_mut().enumerate() {
        setup.gossip = Some(vec![peers[(number + 1) % 3].clone()]);
    }
    let mut sites = Vec::new();
    for setup in setups {
        sites.push(setup.start().await);
    }
    sites
}

async fn peers(site: &Site) -> Value {
    let reply = site.get("/peers").await;
    assert_eq!(reply.status, 200);
    reply.json()
}

/// How many of the members shown are so.
fn count(peers: &Value, field: &str, value: &str) -> usize {
    peers["peers"].as_array().unwrap().iter().filter(|peer| peer[field] == value).count()
}

/// Asks until what is wanted is there.
async fn eventually<F: Future<Output = Option<Value>>>(what: &str, ask: impl Fn() -> F) -> Value {
    let polled = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, polled).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// api 3.peers.fields, 3.peers.gossip-peers
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_gossips_is_its_own_first_member() {
    let site = Setup { gossip: Some(vec![]), ..Setup::default() }.start().await;
    site.until_ready().await;
    let shown = eventually("it says that it votes", async || {
        let peers = peers(&site).await;
        (count(&peers, "kind", "voter") == 1).then_some(peers)
    })
    .await;
    assert_eq!((&shown["gossip"], &shown["count"]), (&json!(true), &json!(1)));
    let me = &shown["peers"][0];
    for (field, value) in [
        ("node_id", json!("n1")),
        ("state", json!("alive")),
        ("self", json!(true)),
        ("rtt_us", Value::Null),
        ("http_addr", json!("127.0.0.1:8770")),
        ("labels", json!({"rack": "a"})),
    ] {
        assert_eq!(me[field], value, "{field} of {me}");
    }
    assert!(me["incarnation"].as_u64() > Some(1_600_000_000_000), "{me}");
    assert!(me["since_at_ms"].is_u64() && me["since_ms_ago"].is_u64(), "{me}");
    assert!(me["gossip_addr"].as_str().unwrap().starts_with("127.0.0.1:"), "{me}");
    assert_eq!(site.get("/gossip/peers").await.json()["peers"][0]["node_id"], "n1");
}

/// api 3.peers.off
#[tokio::test(flavor = "multi_thread")]
async fn without_gossip_there_are_no_members_and_a_leader_vouches_for_the_rest() {
    let site = Site::start().await;
    let off = json!({"node_id": "n1", "gossip": false, "count": 0, "peers": []});
    assert_eq!(peers(&site).await, off);
    let status = site.get("/status").await.json();
    assert_eq!((&status["swim"], &status["alive_peers"]), (&Value::Null, &json!(1)));
}

// Situation: three voters, of whom each is told of one other, and one is stopped as an operator does it.
// Claim: all know all, and the two that are left see it down because it said goodbye.
/// api 1.peers.gossip, 3.peers.all, 3.status.swim, 3.status.alive-peers
#[tokio::test(flavor = "multi_thread")]
async fn every_member_is_shown_with_its_state_and_counted() {
    let mut sites = three().await;
    for site in &sites {
        let shown = eventually("three voters alive, the others measured", async || {
            let peers = peers(site).await;
            let all = peers["peers"].as_array().unwrap();
            let measured = all.iter().filter(|peer| peer["rtt_us"].is_u64()).count();
            let is_so = count(&peers, "state", "alive") == 3
                && count(&peers, "kind", "voter") == 3
                && measured == 2;
            is_so.then_some(peers)
        })
        .await;
        let all = shown["peers"].as_array().unwrap();
        let names: Vec<_> = all.iter().map(|peer| peer["node_id"].as_str().unwrap()).collect();
        assert_eq!(names, ["n1", "n2", "n3"]);
        let peer_addr = all[0]["peer_addr"].as_str().unwrap();
        assert_eq!(all[0]["gossip_addr"], peer_addr, "the same port, TCP and UDP");
        let status = site.get("/status").await.json();
        assert_eq!(status["swim"], json!({"members": 3, "suspect": 0, "down": 0}));
        assert_eq!(status["alive_peers"], 3);
    }
    let leaving = sites.remove(1);
    leaving.handle.stop().await;
    for site in &sites {
        eventually("it is down", async || {
            let status = site.get("/status").await.json();
            let swim = json!({"members": 3, "suspect": 0, "down": 1});
            (status["swim"] == swim && status["alive_peers"] == 2).then_some(status)
        })
        .await;
        assert_eq!(peers(site).await["peers"][1]["state"], "down");
        let metrics = String::from_utf8(site.get("/metrics").await.body).unwrap();
        for line in [
            r#"queue_member_state{state="alive",kind="voter"} 2"#,
            r#"queue_member_state{state="down",kind="voter"} 1"#,
            r#"queue_member_state{state="suspect",kind="worker"} 0"#,
        ] {
            assert!(metrics.contains(line), "{line} in\n{metrics}");
        }
    }
}
