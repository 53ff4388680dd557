//! What a node that cannot carry a request out says of it: not now, and certainly not applied; or, once
//! it was proposed, that nobody knows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quorate::node;
use raft::{Bootstrap, Role, disk::HangingDisk};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use crate::{
    disks::Gauge,
    support::{PATIENCE, Reply, Setup, Site, cluster, read_reply},
};

/// Polls until `condition` gives something.
async fn eventually<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let polled = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, polled).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Checks the promise of a refusal: repeat it, nothing happened, and when to.
fn assert_refused(reply: &Reply, status: u16, code: &str) -> Value {
    let details = reply.failed(status, code);
    let json = reply.json();
    assert_eq!((&json["retryable"], &json["applied"]), (&json!(true), &json!("no")), "{json}");
    let retry_after_ms = details["retry_after_ms"].as_u64().expect("it says when to try again");
    let seconds: u64 = reply.headers["retry-after"].parse().unwrap();
    assert_eq!(seconds, retry_after_ms.div_ceil(1000));
    details
}

async fn add_held(site: &Site, work_id: &str, hold_ms: &str) -> Reply {
    let body = format!(r#"{{"work_id":"{work_id}"}}"#);
    site.send("POST", "/work/add", &[("X-Queue-Hold-Ms", hold_ms)], body.as_bytes()).await
}

/// api 1.error.503.not-ready, 1.error.503.retry-after
#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_no_cluster_is_not_ready() {
    // Nobody listens on port 1: the other voters are never found.
    let seeds = vec!["127.0.0.1:1".to_owned()];
    let bootstrap = Bootstrap::Expect { voters: 3, seeds, only: None };
    let site = Setup { bootstrap, ..Setup::default() }.start().await;
    let checks = assert_refused(&site.get("/ready").await, 503, "not_ready")["checks"].clone();
    assert_eq!((&checks[0]["name"], &checks[0]["ok"]), (&json!("bootstrapped"), &json!(false)));
    assert_refused(&add_held(&site, "j", "0").await, 503, "not_ready");
    let read = site.send("GET", "/work/get/j", &[("X-Queue-Hold-Ms", "0")], b"").await;
    assert_refused(&read, 503, "not_ready");
    assert_eq!(site.get("/health").await.status, 200);
}

/// A long poll that is not answered yet.
async fn poll(site: &Site) -> TcpStream {
    let body = r#"{"node_id":"w","wait_ms":60000}"#;
    let bytes = body.len();
    let head =
        format!("POST /work/claim HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n");
    let mut stream = site.connect().await;
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    stream
}

/// api 1.error.429.too-many-waiters, 1.error.429.retry-after
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_too_many_is_told_so_and_the_waiting_one_stays() {
    let limits = node::Limits { claims: 1, ..node::Limits::default() };
    let site = Setup { node: limits, ..Setup::default() }.start().await;
    site.until_ready().await;
    let (one, other) = (poll(&site).await, poll(&site).await);
    // Whichever came first waits; the other is answered.
    let answered = async {
        tokio::select! {
            _ = one.readable() => true,
            _ = other.readable() => false,
        }
    };
    let is_one = timeout(PATIENCE, answered).await.expect("one of them is answered");
    let (mut answered, mut waiting) = if is_one { (one, other) } else { (other, one) };
    let refused = read_reply(&mut answered).await;
    assert_refused(&refused.unwrap(), 429, "too_many_waiters");
    site.done("/work/add", r#"{"work_id":"j"}"#).await;
    let claimed = read_reply(&mut waiting).await.unwrap().json();
    assert_eq!(claimed["work"]["work_id"], "j", "{claimed}");
}

// Situation: the log's disk does not answer, so what is proposed is neither durable nor refused. Claim:
// whoever proposed is told that nobody knows, whoever came too late for the lane that certainly nothing
// happened; and when the disk answers again, the command is found to have been carried out once.
/// api 1.hold.504, 1.error.429.rate-limited, 1.error.504
#[tokio::test(flavor = "multi_thread")]
async fn an_add_whose_disk_hangs_has_an_unknown_outcome_and_may_be_repeated() {
    let disk = HangingDisk::default();
    // One command at a time: an empty lane lets in one, however small it is.
    let limits = node::Limits { lane_commands: 0, ..node::Limits::default() };
    let site =
        Setup { node: limits, disk: Arc::new(disk.clone()), ..Setup::default() }.start().await;
    site.until_ready().await;
    disk.set_hanging(true);
    let (one, other) = tokio::join!(add_held(&site, "j", "1000"), add_held(&site, "j", "1000"));
    let (unknown, refused) = if one.status == 504 { (one, other) } else { (other, one) };
    assert_refused(&refused, 429, "rate_limited");
    unknown.failed(504, "outcome_unknown");
    let json = unknown.json();
    assert_eq!((&json["retryable"], &json["applied"]), (&json!(true), &json!("unknown")));
    disk.set_hanging(false);
    let again = eventually("the lane is empty again", async || {
        let reply = add_held(&site, "j", "5000").await;
        (reply.status != 429).then_some(reply)
    })
    .await;
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &json!(true)), "{again:?}");
    assert_eq!(site.get("/work/status").await.json()["total_items"], 1);
}

async fn leader_of(sites: &[Site]) -> usize {
    let leads = |site: &Site| site.handle.status().raft.role == Role::Leader;
    eventually("there is a leader", async || sites.iter().position(leads)).await
}

/// api 1.hold.held, 1.hold.header, 1.hold.503, 1.read.stale.local, 1.error.503.no-leader
#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_held_without_a_leader_and_then_certainly_not_applied() {
    let mut sites = cluster(Setup::three()).await;
    let leader = leader_of(&sites).await;
    let leader = sites.remove(leader);
    let [survivor, other] = &sites[..] else { panic!("two followers") };
    other.handle.stop().await;
    drop(leader);
    eventually("the leader is gone", async || {
        (add_held(survivor, "early", "0").await.status == 503).then_some(())
    })
    .await;
    // What was on its way as the leader's connections closed has an unknown outcome.
    let (refused, took) = eventually("nothing is on its way to it", async || {
        let asked_at = Instant::now();
        let reply = add_held(survivor, "j", "400").await;
        (reply.status == 503).then_some((reply, asked_at.elapsed()))
    })
    .await;
    assert_refused(&refused, 503, "no_leader");
    assert!(took >= Duration::from_millis(400), "it was held: {took:?}");
    let headers = [("X-Queue-Hold-Ms", "0")];
    let read = survivor.send("GET", "/work/get/j", &headers, b"").await;
    assert_refused(&read, 503, "no_leader");
    survivor.get("/work/get/j?consistency=stale").await.failed(404, "not_found");
}

/// The check `disk` of `/ready`.
async fn disk_check(site: &Site) -> Value {
    let ready = site.get("/ready").await;
    assert_eq!(ready.status, 200, "little room is no reason to go elsewhere: {ready:?}");
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    checks.into_iter().find(|check| check["name"] == "disk").unwrap()
}

/// Waits until a node has seen how much room its disk has.
async fn until_it_has_room(site: &Site, has_room: bool) {
    eventually("the node looks at its disk", async || {
        (disk_check(site).await["ok"] == has_room).then_some(())
    })
    .await;
}

/// api 1.error.503.disk-full
#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_refuses_adds_and_nothing_else() {
    let gauge = Arc::new(Gauge::with(1000));
    let setup = Setup { space: gauge.clone(), disk_reserve_bytes: 1000, ..Setup::default() };
    let site = setup.start().await;
    site.until_ready().await;
    site.done("/work/add_batch", r#"{"items":[{"work_id":"a"},{"work_id":"b"}]}"#).await;
    gauge.set(999);
    until_it_has_room(&site, false).await;
    let detail = disk_check(&site).await["detail"].clone();
    assert!(detail.as_str().unwrap().starts_with("999 bytes are free"), "{detail}");
    assert_refused(&site.post("/work/add", "{}").await, 503, "disk_full");
    assert_refused(&site.post("/work/add_batch", r#"{"items":[{}]}"#).await, 503, "disk_full");
    let claim = site.done("/work/claim", r#"{"node_id":"w"}"#).await["work"].clone();
    let held =
        format!(r#"{{"node_id":"w","work_id":{},"token":{}}}"#, claim["work_id"], claim["token"]);
    site.done("/work/heartbeat", &held).await;
    let done = format!(
        r#"{{"work_id":{},"token":{},"then":[{{"work_id":"c"}}]}}"#,
        claim["work_id"], claim["token"]
    );
    site.done("/work/complete", &done).await;
    site.done("/work/cancel", r#"{"work_id":"b"}"#).await;
    assert_eq!(site.state_of("c").await, "pending");
    gauge.set(1000);
    until_it_has_room(&site, true).await;
    site.done("/work/add", "{}").await;
}

// Situation: one disk of three is nearly full. Claim: that matters where entries are made, so adds are
// refused, through every node, exactly while it is the leader's.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_leaders_disk_is_asked_and_every_node_says_so() {
    let mut setups = Setup::three();
    let gauges: Vec<_> = setups.iter().map(|_| Arc::new(Gauge::with(1000))).collect();
    for (setup, gauge) in setups.iter_mut().zip(&gauges) {
        (setup.space, setup.disk_reserve_bytes) = (gauge.clone(), 1000);
    }
    let sites = cluster(setups).await;
    let leader = leader_of(&sites).await;
    let follower = (leader + 1) % sites.len();
    gauges[follower].set(0);
    until_it_has_room(&sites[follower], false).await;
    sites[follower].done("/work/add", "{}").await;
    gauges[follower].set(1000);
    gauges[leader].set(0);
    until_it_has_room(&sites[leader], false).await;
    for site in &sites {
        assert_refused(&site.post("/work/add", "{}").await, 503, "disk_full");
    }
    assert_eq!(
        sites[follower].done("/work/claim", r#"{"node_id":"w"}"#).await["status"],
        "claimed"
    );
}
