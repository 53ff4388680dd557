//! `queue worker` at a server that takes its time.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{PATIENCE, Server, User, finish, signal, until};

/// What went through a relay.
#[derive(Default)]
struct Passed {
    heartbeats: usize,
    /// Whether a heartbeat came while the claim that was called back had no answer yet; `None` as long
    /// as none was called back.
    beat_meanwhile: Option<bool>,
}

type Record = Arc<(Mutex<Passed>, Condvar)>;

/// Hands requests on to a server. A claim that does not wait, as one that is called back, is handed on
/// once a heartbeat has come after it, or its client has given it up.
fn relay(server: &str) -> (String, Record) {
    let server = server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let record = Record::default();
    let passed = Arc::clone(&record);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (passed, server) = (Arc::clone(&passed), server.clone());
            thread::spawn(move || serve(client, &server, &passed));
        }
    });
    (address, record)
}

/// One connection, until either side ends it.
fn serve(mut client: TcpStream, server: &str, record: &Record) -> Option<()> {
    let mut server = TcpStream::connect(server).ok()?;
    loop {
        let (head, body) = message(&mut client)?;
        let is_claim = head.starts_with("POST /work/claim_batch");
        if is_claim && !String::from_utf8_lossy(&body).contains("wait_ms") {
            let beat_meanwhile = await_heartbeat(&client, record);
            record.0.lock().unwrap().beat_meanwhile = Some(beat_meanwhile);
        }
        if head.starts_with("POST /work/heartbeat") {
            record.0.lock().unwrap().heartbeats += 1;
            record.1.notify_all();
        }
        server.write_all(&[head.as_bytes(), &body].concat()).ok()?;
        let (head, body) = message(&mut server)?;
        client.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    }
}

/// Whether another heartbeat came while this client was still there.
fn await_heartbeat(client: &TcpStream, record: &Record) -> bool {
    let passed = record.0.lock().unwrap();
    let before = passed.heartbeats;
    let none_yet = |passed: &mut Passed| passed.heartbeats == before;
    drop(record.1.wait_timeout_while(passed, PATIENCE, none_yet).unwrap());
    client.set_nonblocking(true).unwrap();
    let is_there = client.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    client.set_nonblocking(false).unwrap();
    is_there && record.0.lock().unwrap().heartbeats > before
}

/// The next message of HTTP/1.1 whose length its head tells.
fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

#[test]
fn what_runs_is_kept_while_a_claim_is_called_back() {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    let (address, record) = relay(&server.address);
    user.set("QUEUE_ADDR", &server.address);
    user.queue(&["add", "--id", "a", "--lease", "6s"]).with_code(0);
    let (started, go) = (user.path("started"), user.path("go"));
    let script =
        format!("touch {}; until [ -e {} ]; do sleep 0.02; done", started.display(), go.display());
    let words = ["worker", "--slots", "2", "--no-gossip", "--addr", &address];
    let words = [&words[..], &["--", "sh", "-c", &script]].concat();
    let worker = user.command(&words).spawn().unwrap();
    assert!(until(PATIENCE, || started.exists()), "the job runs");
    // From its first heartbeat on it waits in a second claim.
    assert!(until(PATIENCE, || record.0.lock().unwrap().heartbeats > 0), "it beats");
    signal(&worker, Signal::TERM);
    let beat_meanwhile = || record.0.lock().unwrap().beat_meanwhile;
    assert!(until(PATIENCE, || beat_meanwhile().is_some()), "the claim is called back");
    assert_eq!(beat_meanwhile(), Some(true), "it stood still while it called its claim back");
    std::fs::write(&go, "").unwrap();
    finish(worker).with_code(0);
    let job = user.queue(&["get", "a", "-o", "json"]).with_code(0);
    let job: Value = serde_json::from_str(&job).unwrap();
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(job["attempts"].as_array().map(Vec::len), Some(1), "its lease held: {job}");
}
