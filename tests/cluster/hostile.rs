//! Who means ill, at both ports of real processes.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use proptest::{
    arbitrary::any,
    collection::vec,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::json;

use crate::support::{Caller, Cluster, Reply, SetOnFailure};

const ROUNDS: usize = 40;
/// After so many of them caches and the allocator have what they want.
const WARM_UP: usize = 5;
/// Clients at each port that have sent one byte and no more.
const DAWDLERS: usize = 20;
/// What a node's memory may be more after all rounds than after the warm-up: the allocator's slack. Ten times
/// as much is sent to it meanwhile.
const GROWTH_MAX_BYTES: u64 = 24 << 20;
/// Between two jobs of the one that means well.
const PACE: Duration = Duration::from_millis(20);
/// Everybody hears of their end within this, the dawdlers aside.
const PATIENCE: Duration = Duration::from_secs(30);

fn post(header: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /work/add HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// What is sent to the HTTP port.
fn requests(chance: &mut TestRunner) -> Vec<Vec<u8>> {
    let deep = format!(r#"{{"payload":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    let mut noise = by_chance(chance);
    noise.extend_from_slice(b"\r\n\r\n");
    vec![
        noise,
        post("Content-Length: 4294967296", &[b' '; 64 << 10]),
        // One chunk of 4 GiB, and more of it than a body may have.
        post("Transfer-Encoding: chunked", &[b"FFFFFFFF\r\n", &[b' '; 9 << 20][..]].concat()),
        post(&format!("Content-Length: {}", deep.len()), deep.as_bytes()),
        post(&format!("X-Big: {}", "x".repeat(64 << 10)), b""),
    ]
}

/// What is sent to the peers' port.
fn frames(chance: &mut TestRunner) -> Vec<Vec<u8>> {
    let length_of_4_gib = [0xff; 4];
    vec![
        by_chance(chance),
        by_chance(chance),
        [&length_of_4_gib[..], &[1; 1 << 20]].concat(),
        vec![0; 1 << 20],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    ]
}

fn by_chance(chance: &mut TestRunner) -> Vec<u8> {
    vec(any::<u8>(), 1..4096).new_tree(chance).expect("bytes").current()
}

fn connected(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket");
    stream
}

/// Sends this, and waits until the node has hung up.
fn is_dropped(address: &str, bytes: &[u8]) {
    let mut stream = connected(address);
    // It may hang up before it has everything.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                let is_reset = error.kind() == std::io::ErrorKind::ConnectionReset;
                assert!(is_reset, "{address} is still there for {:?}…: {error}", &bytes[..8]);
                return;
            }
        }
    }
}

/// Each of everything, to each voter; those that send one byte and no more are there meanwhile.
fn round(cluster: &Cluster, chance: &mut TestRunner) {
    for voter in &cluster.voters {
        let dawdlers: Vec<TcpStream> = [&voter.http, &voter.peer]
            .into_iter()
            .flat_map(|address| (0..DAWDLERS).map(move |_| connected(address)))
            .map(|mut stream| stream.write_all(b"P").map(|()| stream).expect("a byte is taken"))
            .collect();
        for request in requests(chance) {
            is_dropped(&voter.http, &request);
        }
        for frame in frames(chance) {
            is_dropped(&voter.peer, &frame);
        }
        drop(dawdlers);
    }
}

// Situation: to both ports of three voters come bytes by chance, lengths of 4 GiB, JSON that nests 20,000
// deep, heads of 64 KiB, and clients that send one byte and no more; somebody adds jobs all the while.
// Claim: each of those jobs is added at the first call, all voters live, and none has grown.
#[test]
fn who_means_ill_costs_nobody_a_request_and_no_memory_that_stays() {
    let mut cluster = Cluster::of_three();
    let addresses = cluster.addresses();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (cluster, addresses, is_over) = (&cluster, &addresses, &is_over);
        let _failure = SetOnFailure(is_over);
        scope.spawn(move || {
            let mut caller = Caller::to(addresses);
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    assert!(number > 0, "nothing was added meanwhile");
                    return;
                }
                let body = json!({"work_id": number.to_string()});
                let reply = caller.call("POST", "/work/add", Some(&body));
                assert!(matches!(reply, Reply::Answer { status: 201, .. }), "{reply:?}");
                std::thread::park_timeout(PACE);
            }
        });
        let mut chance = TestRunner::deterministic();
        for _ in 0..WARM_UP {
            round(cluster, &mut chance);
        }
        let of_all = || (0..3).map(|index| cluster.resident_bytes(index));
        let before: Vec<u64> = of_all().collect();
        for _ in WARM_UP..ROUNDS {
            round(cluster, &mut chance);
        }
        for (index, (before, after)) in before.into_iter().zip(of_all()).enumerate() {
            let label = &cluster.voters[index].label;
            let holds = after <= before + GROWTH_MAX_BYTES;
            assert!(holds, "{label} has grown from {before} to {after} bytes");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for index in 0..3 {
        assert!(cluster.wait_exit(index, Duration::ZERO).is_none(), "it lives");
    }
}
