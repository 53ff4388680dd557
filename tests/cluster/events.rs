//! What a listener to a survivor is told when a voter is killed.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Caller, Cluster};

/// Listens to one voter; returns once that has begun.
fn listen(cluster: &Cluster, index: usize, query: &str) -> Receiver<Value> {
    let mut stream = TcpStream::connect(&cluster.voters[index].http).expect("a voter that runs");
    let request = format!("GET /events{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    // The first id says that whatever happens from now on is told. The lines of its chunks are no fields.
    lines.find(|line| line.starts_with("id: ")).expect("a stream that begins");
    let (events, received) = channel();
    std::thread::spawn(move || {
        for line in lines {
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event = serde_json::from_str(data).expect("an event is JSON");
            if events.send(event).is_err() {
                return;
            }
        }
    });
    received
}

/// The first event that is wanted, within a minute; what came before it is shown if none comes.
fn await_event(events: &Receiver<Value>, claim: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut others = Vec::new();
    while let Ok(event) = events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if wanted(&event) {
            return event;
        }
        others.push(event);
    }
    panic!("not within a minute: {claim}; but {others:#?}");
}

/// api 3.events.killed
#[test]
fn who_listens_to_a_survivor_is_told_of_the_new_leader_and_of_the_dead_voter() {
    let mut cluster = Cluster::of_three();
    let leader = cluster.leader();
    let label = cluster.voters[leader].label.clone();
    let survivor = (leader + 1) % 3;
    let mut caller = Caller::to(&[cluster.voters[survivor].http.clone()]);
    let peers = |caller: &mut Caller| caller.insist("GET", "/peers", None).1;
    // As its own configuration says, whether or not the cards have come that say so too.
    cluster.eventually("the survivor knows three voters alive", || {
        let peers = peers(&mut caller);
        let is_alive = |peer: &&Value| peer["state"] == "alive" && peer["kind"] == "voter";
        let alive = peers["peers"].as_array()?.iter().filter(is_alive);
        (alive.count() == 3).then_some(())
    });
    let leaders = listen(&cluster, survivor, "?types=leader_elected");
    let hosts = listen(&cluster, survivor, "?types=host_*");
    let jobs = listen(&cluster, survivor, "?types=job_*");
    cluster.kill(leader);
    let elected = await_event(&leaders, "another leader", |event| event["leader_id"] != label);
    assert_eq!(elected["type"], "leader_elected");
    assert!(elected["term"].is_u64() && elected["gap_ms"].is_u64(), "{elected}");
    assert_eq!(elected["cause"], "crash", "{elected}");
    let is_it =
        |event: &Value, event_type: &str| event["type"] == event_type && event["node_id"] == label;
    let suspect = await_event(&hosts, "it is suspected", |event| is_it(event, "host_suspect"));
    let offline = await_event(&hosts, "it is down", |event| is_it(event, "host_offline"));
    assert_eq!(suspect["incarnation"], offline["incarnation"]);
    assert_eq!(offline["kind"], "voter");
    cluster.start(leader);
    let online = await_event(&hosts, "it is back", |event| is_it(event, "host_online"));
    assert!(online["incarnation"].as_u64() > offline["incarnation"].as_u64(), "{online}");
    let (status, added) = caller.insist("POST", "/work/add", Some(&json!({"work_id": "a"})));
    assert_eq!(status, 201, "{added}");
    let event = await_event(&jobs, "the job", |event| event["work_id"] == "a");
    assert_eq!((&event["type"], &event["rev"]), (&json!("job_added"), &added["rev"]));
}
