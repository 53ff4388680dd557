//! `GET /events`: what is told, to whom, and what is said of that which is not.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate::{http::Limits, node};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::support::{PATIENCE, Setup, Site, cluster};

/// A stream of server-sent events, read by hand.
struct Stream {
    socket: TcpStream,
    /// What came and was not read, chunked.
    raw: Vec<u8>,
    /// The same without its chunks.
    text: String,
    /// The last id, of a block with an event or without.
    id: String,
    head: String,
}

/// One block of a stream.
enum Block {
    Event(Value),
    /// Lines that are no event.
    Other(String),
}

impl Stream {
    /// Begins to listen, and waits until that has begun.
    async fn open(site: &Site, query: &str, last_event_id: Option<&str>) -> Self {
        let mut socket = site.connect().await;
        let header = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /events{query} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut stream = Self {
            socket,
            raw: vec![],
            text: String::new(),
            id: String::new(),
            head: String::new(),
        };
        let head = async {
            loop {
                if let Some(at) = stream.raw.windows(4).position(|window| window == b"\r\n\r\n") {
                    let rest = stream.raw.split_off(at + 4);
                    stream.head =
                        String::from_utf8(std::mem::replace(&mut stream.raw, rest)).unwrap();
                    return;
                }
                assert_ne!(stream.socket.read_buf(&mut stream.raw).await.unwrap(), 0, "a head");
            }
        };
        timeout(PATIENCE, head).await.expect("a head in time");
        assert!(stream.head.starts_with("HTTP/1.1 200 "), "{}", stream.head);
        let Some(Block::Other(opening)) = stream.block().await else { panic!("an opening block") };
        assert!(opening.starts_with("retry: 1000\nid: "), "{opening}");
        stream
    }

    /// The next block; `None` at the stream's end, which is marked.
    async fn block(&mut self) -> Option<Block> {
        let block = timeout(PATIENCE, async {
            loop {
                if let Some((block, rest)) = self.text.split_once("\n\n") {
                    let (block, rest) = (block.to_owned(), rest.to_owned());
                    self.text = rest;
                    return Some(block);
                }
                if !self.unchunk().await {
                    return None;
                }
            }
        });
        let block = block.await.expect("a block in time")?;
        let field =
            |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if let Some(id) = field("id") {
            id.clone_into(&mut self.id);
        }
        let Some(data) = field("data") else { return Some(Block::Other(block)) };
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(field("event"), event["type"].as_str(), "{block}");
        assert_eq!(field("id"), event["id"].as_str(), "{block}");
        assert!(event["at_ms"].is_u64(), "{block}");
        Some(Block::Event(event))
    }

    /// Reads one chunk; `false` when it is the last one.
    async fn unchunk(&mut self) -> bool {
        loop {
            let line = self.raw.windows(2).position(|window| window == b"\r\n");
            if let Some(at) = line {
                let size = std::str::from_utf8(&self.raw[..at]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                let end = at + 2 + size;
                if self.raw.len() >= end + 2 {
                    self.text += std::str::from_utf8(&self.raw[at + 2..end]).unwrap();
                    self.raw.drain(..end + 2);
                    return size > 0;
                }
            }
            let read = self.socket.read_buf(&mut self.raw).await.unwrap();
            assert_ne!(read, 0, "the stream broke off: {:?}", String::from_utf8_lossy(&self.raw));
        }
    }

    /// The next event.
    async fn next(&mut self) -> Value {
        loop {
            match self.block().await {
                Some(Block::Event(event)) => return event,
                Some(Block::Other(_)) => {}
                None => panic!("the stream has ended"),
            }
        }
    }

    /// The next event, which is of this type.
    async fn expect(&mut self, event_type: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["type"], event_type, "{event}");
        event
    }

    /// The first event of this type, whatever comes before it.
    async fn first(&mut self, event_type: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["type"] == event_type {
                return event;
            }
        }
    }
}

async fn site_with(listeners: usize, events: usize) -> Site {
    let node = node::Limits { listeners, events, ..node::Limits::default() };
    let site = Setup { node, ..Setup::default() }.start().await;
    site.until_ready().await;
    site
}

/// api 3.events.jobs, 3.events.fields
#[tokio::test(flavor = "multi_thread")]
async fn each_thing_that_happens_to_a_job_is_told_under_its_name() {
    let site = Site::start().await;
    let mut stream = Stream::open(&site, "", None).await;
    for header in ["content-type: text/event-stream", "cache-control: no-store"] {
        assert!(stream.head.contains(header), "{}", stream.head);
    }
    let added = site.add(json!({"work_id": "a", "work_type": "send", "max_attempts": 3})).await;
    let event = stream.expect("job_added").await;
    let expected = json!({
        "id": event["id"], "type": "job_added", "at_ms": event["at_ms"], "work_id": "a",
        "queue": "default", "work_type": "send", "state": "pending", "rev": added["rev"],
    });
    assert_eq!(event, expected);
    let work = site.claim().await;
    let event = stream.expect("job_claimed").await;
    for (field, value) in [
        ("state", json!("claimed")),
        ("attempt", json!(1)),
        ("token", work["token"].clone()),
        ("rev", work["token"].clone()),
        ("node_id", json!("w1")),
    ] {
        assert_eq!(event[field], value, "{field} of {event}");
    }
    site.settle("start", &work, json!({})).await;
    assert_eq!(stream.expect("job_started").await["state"], "running");
    site.settle("release", &work, json!({})).await;
    assert_eq!(stream.expect("job_released").await["end"], "released");
    let work = site.claim().await;
    stream.expect("job_claimed").await;
    site.settle("fail", &work, json!({"retry_in_ms": 1})).await;
    let event = stream.expect("job_retrying").await;
    assert_eq!((&event["end"], &event["state"]), (&json!("failed"), &json!("scheduled")));
    assert_eq!(stream.expect("job_pending").await["attempt"], Value::Null);
    let work = site.claim().await;
    stream.expect("job_claimed").await;
    site.settle("fail", &work, json!({"retry": false})).await;
    assert_eq!(stream.expect("job_failed").await["state"], "failed");
    site.call("/work/retry", json!({"work_id": "a"})).await;
    stream.expect("job_retried").await;
    let claim = json!({"node_id": "w1", "lease_ms": 100});
    site.call("/work/claim", claim).await;
    stream.expect("job_claimed").await;
    assert_eq!(stream.expect("job_lease_expired").await["end"], "expired");
    let session = |number: u64| json!({"node_id": "agent", "session": number});
    site.call("/work/claim", session(1)).await;
    stream.expect("job_claimed").await;
    let work = site.call("/work/claim", session(2)).await["work"].clone();
    assert_eq!(stream.expect("job_worker_down").await["node_id"], "agent");
    stream.expect("job_claimed").await;
    site.add(json!({"work_id": "b", "depends_on": ["a"], "delay_ms": "1h"})).await;
    assert_eq!(stream.expect("job_added").await["state"], "blocked");
    site.settle("complete", &work, json!({})).await;
    assert_eq!(stream.expect("job_completed").await["end"], "completed");
    assert_eq!(stream.expect("job_scheduled").await["work_id"], "b");
    site.call("/work/cancel", json!({"work_id": "b"})).await;
    assert_eq!(stream.expect("job_cancelled").await["state"], "cancelled");
    site.add(json!({"work_id": "c", "expires_in_ms": 1})).await;
    stream.expect("job_added").await;
    stream.expect("job_expired").await;
}

/// api 3.events.filters
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_gets_the_types_and_queues_that_it_asks_for() {
    let site = Site::start().await;
    let mut ends = Stream::open(&site, "?types=job_can*,job_completed&queue=mail,more", None).await;
    let mut leaders = Stream::open(&site, "?types=leader_elected", None).await;
    for (id, queue) in [("a", "other"), ("b", "mail"), ("c", "more")] {
        site.add(json!({"work_id": id, "queue": queue})).await;
        site.call("/work/cancel", json!({"work_id": id})).await;
    }
    for id in ["b", "c"] {
        assert_eq!(ends.expect("job_cancelled").await["work_id"], id);
    }
    // All of it, and this, is nothing to who asked for leaders alone: the end is the first that it gets.
    site.add(json!({"work_id": "d"})).await;
    let mut site = site;
    site.handle.stop().await;
    assert!(leaders.block().await.is_none(), "nothing came that was not asked for");
    site.stop_serving().await;
}

/// api 3.events.resume
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_with_the_last_id_misses_nothing() {
    let site = Site::start().await;
    let mut stream = Stream::open(&site, "", None).await;
    let begun_at = stream.id.clone();
    site.add(json!({"work_id": "a"})).await;
    let first = stream.expect("job_added").await;
    drop(stream);
    site.add(json!({"work_id": "b"})).await;
    let id = first["id"].as_str().unwrap();
    let query = format!("?after={id}");
    assert_eq!(Stream::open(&site, &query, None).await.next().await["work_id"], "b");
    assert_eq!(Stream::open(&site, "", Some(id)).await.next().await["work_id"], "b");
    let old = format!("?after={begun_at}");
    assert_eq!(Stream::open(&site, &old, None).await.next().await, first, "told again as it was");
    assert_eq!(Stream::open(&site, &old, Some(id)).await.next().await["work_id"], "b");
}

/// api 3.events.gap.slow, 3.events.gap.old
#[tokio::test(flavor = "multi_thread")]
async fn who_falls_behind_what_is_kept_is_told_how_much_it_missed_and_goes_on() {
    let site = site_with(8, 10).await;
    let mut stream = Stream::open(&site, "", None).await;
    let begun_at = stream.id.clone();
    // One entry: all of its events are there at once.
    let items: Vec<_> = (0..50).map(|number| json!({"work_id": format!("j{number}")})).collect();
    let rev = site.call("/work/add_batch", json!({"items": items})).await["rev"].clone();
    let gap = stream.expect("gap").await;
    for (field, value) in [
        ("reason", json!("too_slow")),
        ("missed", json!(40)),
        ("after", json!(begun_at)),
        ("rev", rev),
    ] {
        assert_eq!(gap[field], value, "{field} of {gap}");
    }
    for number in 40..50 {
        assert_eq!(stream.expect("job_added").await["work_id"], format!("j{number}"));
    }
    // The id of a gap is one to go on after.
    let id = gap["id"].as_str().unwrap();
    assert_eq!(Stream::open(&site, "", Some(id)).await.next().await["work_id"], "j40");
    let gap = Stream::open(&site, "?types=host_*", Some(&begun_at)).await.next().await;
    assert_eq!((&gap["type"], &gap["reason"]), (&json!("gap"), &json!("too_old")));
    assert_eq!(gap["missed"], 40, "a gap passes every filter");
    let metrics = String::from_utf8(site.get("/metrics").await.body).unwrap();
    for line in [
        "queue_events_total 50",
        r#"queue_event_gaps_total{reason="too_slow"} 1"#,
        r#"queue_event_gaps_total{reason="too_old"} 1"#,
        "queue_events_missed_total 80",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
}

/// api 3.events.gap.run
#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_another_node_or_run_is_a_gap_and_never_another_event() {
    let [one, other] = [Site::start().await, Site::start().await];
    let mut stream = Stream::open(&one, "", None).await;
    one.add(json!({"work_id": "a"})).await;
    let id = stream.expect("job_added").await["id"].as_str().unwrap().to_owned();
    let mut stream = Stream::open(&other, "", Some(&id)).await;
    assert_eq!(stream.id, id, "who is cut off now asks again and is told again");
    let gap = stream.expect("gap").await;
    assert_eq!((&gap["reason"], &gap["after"]), (&json!("other_run"), &json!(id)));
    assert_eq!((&gap["missed"], gap["rev"].is_u64()), (&Value::Null, true));
    other.add(json!({"work_id": "b"})).await;
    assert_eq!(stream.expect("job_added").await["work_id"], "b");
}

/// api 3.events.bounded
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_too_many_is_told_so_until_another_one_leaves() {
    let site = site_with(1, 10).await;
    let stream = Stream::open(&site, "", None).await;
    let reply = site.get("/events").await;
    let details = reply.failed(429, "too_many_waiters");
    assert!(details["retry_after_ms"].is_u64() && reply.headers.contains_key("retry-after"));
    drop(stream);
    let there_is_room = async {
        while site.handle.figures().events.listeners > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, there_is_room).await.expect("a place is given back");
    Stream::open(&site, "", None).await;
}

/// api 3.events.refused
#[tokio::test(flavor = "multi_thread")]
async fn what_a_listener_asks_for_wrongly_is_named() {
    let site = Site::start().await;
    for (query, field) in [
        ("types=job_lost", "types"),
        ("types=zzz*", "types"),
        ("queue=a%20b", "queue"),
        ("after=soon", "after"),
        ("limit=3", "limit"),
        ("after=a&after=b", "after"),
    ] {
        let details = site.get(&format!("/events?{query}")).await.failed(400, "invalid_argument");
        assert_eq!(details["field"], field, "{query}");
    }
    let reply = site.send("GET", "/events", &[("Last-Event-ID", "x")], b"").await;
    assert_eq!(reply.failed(400, "invalid_argument")["field"], "Last-Event-ID");
}

// Situation: nothing happens for longer than the client may leave a piece untaken (a write's time, and a
// second for its bytes). Claim: the stream lives, says so, and its id moves on with what its listener did
// not want.
/// api 3.events.heartbeat
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_lives_and_says_so() {
    let http = Limits {
        write_timeout: Duration::from_millis(300),
        event_heartbeat: Duration::from_secs(2),
        ..Limits::default()
    };
    let site = Site::with(http).await;
    let mut stream = Stream::open(&site, "?types=host_*", None).await;
    let begun_at = stream.id.clone();
    site.add(json!({"work_id": "a"})).await;
    let Some(Block::Other(text)) = stream.block().await else { panic!("a heartbeat") };
    assert!(text.starts_with(": "), "{text}");
    assert_ne!(stream.id, begun_at);
}

// Situation: a client listens and takes nothing, however much there is to take. Claim: its connection is
// cut, its place is given back, and nobody else notices.
/// api 3.events.stuck
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_off_and_holds_nobody_up() {
    let http = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let node = node::Limits { events: 2_000, ..node::Limits::default() };
    let site = Setup { http, node, ..Setup::default() }.start().await;
    site.until_ready().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stuck = socket.connect(site.address).await.unwrap();
    stuck.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut other = Stream::open(&site, "?types=job_cancelled", None).await;
    let listeners = || site.handle.figures().events.listeners;
    let more_and_more = async {
        while listeners() < 2 {
            tokio::task::yield_now().await;
        }
        while listeners() == 2 {
            let items: Vec<_> = (0..500).map(|number| json!({"payload": number})).collect();
            site.call("/work/add_batch", json!({"items": items})).await;
        }
    };
    timeout(PATIENCE, more_and_more).await.expect("it is cut off");
    site.add(json!({"work_id": "a"})).await;
    site.call("/work/cancel", json!({"work_id": "a"})).await;
    assert_eq!(other.first("job_cancelled").await["work_id"], "a");
}

// Situation: two streams of one HTTP/2 connection, silent for as long. Claim: both
// live, and are told what happens then.
#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_http2_connection_may_be_silent() {
    let http = Limits {
        write_timeout: Duration::from_millis(300),
        event_heartbeat: Duration::from_secs(2),
        ..Limits::default()
    };
    let site = Site::with(http).await;
    let io = TokioIo::new(site.connect().await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let request = hyper::Request::get("http://localhost:8770/events");
        let request = request.body(Full::new(bytes::Bytes::new())).unwrap();
        bodies.push(sender.send_request(request).await.unwrap().into_body());
    }
    for body in &mut bodies {
        until_told(body, ": nothing new").await;
    }
    site.add(json!({"work_id": "a"})).await;
    for body in &mut bodies {
        until_told(body, "event: job_added").await;
    }
}

/// Reads a stream until this stands in one of its pieces.
async fn until_told(body: &mut hyper::body::Incoming, text: &str) {
    let told = async {
        loop {
            let piece = body.frame().await.expect("the stream goes on").unwrap();
            let piece = piece.into_data().unwrap();
            if String::from_utf8_lossy(&piece).contains(text) {
                return;
            }
        }
    };
    timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("not in time: {text}"));
}

/// api 3.events.end
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_cleanly_when_its_node_stops() {
    let mut site = Site::start().await;
    let mut stream = Stream::open(&site, "", None).await;
    site.add(json!({"work_id": "a"})).await;
    stream.expect("job_added").await;
    site.handle.stop().await;
    assert!(stream.block().await.is_none(), "the end is marked");
    site.get("/events").await.failed(503, "shutting_down");
    site.stop_serving().await;
}

// Situation: three voters that gossip; one hands over, one stops. Claim: every node tells of every job in
// the order of the revisions, of who leads, and of who is there.
/// api 3.events.every-node, 3.events.order, 3.events.leader, 3.events.hosts
#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_of_every_job_of_leaders_and_of_members() {
    let mut setups = Setup::three();
    let peers: Vec<_> = setups.iter().map(|setup| setup.peer.to_string()).collect();
    for setup in &mut setups {
        setup.gossip = Some(peers.clone());
    }
    let mut sites = cluster(setups).await;
    let mut streams = Vec::new();
    for site in &sites {
        streams.push(Stream::open(site, "?types=job_*", None).await);
    }
    for number in 0..9 {
        sites[number % 3].add(json!({"work_id": format!("j{number}")})).await;
        sites[number % 3].claim().await;
    }
    let mut told = Vec::new();
    for stream in &mut streams {
        let mut seen = Vec::new();
        while seen.len() < 18 {
            let event = stream.next().await;
            seen.push((
                event["rev"].as_u64().unwrap(),
                event["type"].clone(),
                event["at_ms"].clone(),
            ));
        }
        assert!(seen.is_sorted_by_key(|(rev, ..)| *rev), "{seen:?}");
        told.push(seen);
    }
    assert!(told[0] == told[1] && told[1] == told[2], "{told:#?}");
    let leader = sites[0].handle.leader().unwrap();
    let leads = sites.iter().position(|site| site.handle.status().raft.me.label == leader).unwrap();
    let watching = (leads + 1) % 3;
    let mut leaders = Stream::open(&sites[watching], "?types=leader_elected", None).await;
    let mut hosts = Stream::open(&sites[watching], "?types=host_*", None).await;
    sites.swap_remove(leads).handle.stop().await;
    let event = leaders.expect("leader_elected").await;
    assert_ne!(event["leader_id"], leader, "{event}");
    assert!(event["term"].is_u64() && event["gap_ms"].is_u64(), "{event}");
    assert_eq!(event["cause"], "transfer", "{event}");
    let event = hosts.first("host_offline").await;
    assert_eq!(
        (&event["node_id"], event["incarnation"].is_u64()),
        (&json!(leader), true),
        "{event}"
    );
}
