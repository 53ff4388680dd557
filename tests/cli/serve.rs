//! `queue serve`: how it starts, how it refuses to, and how it ends.

use std::{net::TcpListener, path::Path};

use serde_json::Value;

use crate::harness::{PATIENCE, Server, User, two_ports, until};

/// The complaint of a `serve` that must not start and must not write.
#[track_caller]
fn refusal(user: &User, words: &[&str]) -> String {
    let data = user.path("untouched").display().to_string();
    let words = [&["serve", "--data-dir", &data], words].concat();
    let complaint = user.queue(&words).complaint(2);
    assert!(!Path::new(&data).exists(), "nothing is written");
    complaint
}

/// api 4.serve.no-flags
#[test]
fn no_flags_is_a_single_voter_that_is_ready_to_use() {
    let mut user = User::new();
    let port = two_ports();
    // Not even the ports are flags: the well-known ones may be taken on the machine of a test.
    user.set("QUEUE_LISTEN", &port.to_string());
    let server = Server::spawn(&user, port, &["serve"]);
    server.await_leader(&user);
    user.set("QUEUE_ADDR", &server.address);
    user.queue(&["add", "--id", "a"]).with_code(0);
    let log = server.log(&user);
    assert!(
        log.contains(&format!("serves http://127.0.0.1:{port}, peers 127.0.0.1:{}", port + 1)),
        "{log}"
    );
    assert!(user.path(".local/share/quorate").is_dir(), "in the user's data folder");
}

#[test]
fn what_was_acknowledged_survives_a_stop_and_a_kill() {
    let user = User::new();
    let data = user.path("data");
    let server = Server::start(&user, &data);
    user.queue(&["add", "--id", "a", "--addr", &server.address]).with_code(0);
    assert_eq!(server.terminate(), Some(0), "a graceful end is a success");
    let server = Server::start(&user, &data);
    user.queue(&["add", "--id", "b", "--addr", &server.address]).with_code(0);
    drop(server);
    let server = Server::start(&user, &data);
    for id in ["a", "b"] {
        let job = user.queue(&["get", id, "--addr", &server.address]).with_code(0);
        assert_eq!(job, format!("{id} pending"));
    }
}

#[test]
fn a_port_in_use_is_one_line_and_nothing_is_written() {
    let user = User::new();
    let port = two_ports();
    for taken in [port, port + 1] {
        let holder = TcpListener::bind(("127.0.0.1", taken)).unwrap();
        let complaint = refusal(&user, &["--listen", &port.to_string()]);
        assert!(complaint.contains(&format!("127.0.0.1:{taken} is in use")), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        drop(holder);
    }
}

#[test]
fn a_directory_of_another_node_or_process_is_refused() {
    let user = User::new();
    let data = user.path("data");
    let server = Server::start(&user, &data);
    let data = data.display().to_string();
    let port = two_ports().to_string();
    let words = ["serve", "--listen", &port, "--data-dir", &data, "--node-id", "n1"];
    let complaint = user.queue(&words).complaint(2);
    assert!(complaint.contains("in use by another process"), "{complaint}");
    assert_eq!(server.terminate(), Some(0));
    let words = ["serve", "--listen", &port, "--data-dir", &data, "--node-id", "n2"];
    let complaint = user.queue(&words).complaint(2);
    assert!(complaint.contains(&data) && complaint.contains("\"n1\""), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn a_corrupt_log_is_refused_loudly() {
    let user = User::new();
    let data = user.path("data");
    let server = Server::start(&user, &data);
    for id in ["a", "b", "c", "d"] {
        user.queue(&["add", "--id", id, "--addr", &server.address]).with_code(0);
    }
    drop(server);
    let segment = std::fs::read_dir(data.join("log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end / 2] ^= 0xff;
    std::fs::write(&segment, bytes).unwrap();
    let (data, port) = (data.display().to_string(), two_ports().to_string());
    let words =
        ["serve", "--listen", &port, "--data-dir", &data, "--node-id", "n1", "--log", "off"];
    let complaint = user.queue(&words).complaint(1);
    assert!(complaint.contains("corrupt at byte"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

/// api 5.fault.nothing-written
#[test]
fn every_fault_of_a_configuration_is_reported_and_nothing_is_written() {
    let user = User::new();
    let file = user.write("cluster.yaml", "voters: [n1]\nnods: {}\ndrain_ms: 5\n");
    let complaint = refusal(&user, &["--config", &file]);
    assert_eq!(complaint, format!("error: nods: unknown key (from {file}: nods)"), "did you mean");
    let complaint = refusal(&user, &["--listen", "nowhere", "--drain-ms", "9h", "--timing", "x"]);
    assert_eq!(complaint.lines().count(), 3, "{complaint}");
    for (words, hint) in [
        (&["--listen", "0.0.0.0:22000"][..], "--insecure"),
        (&["--bootstrap-expect", "3"], "join: is needed"),
        (&["--config", "/nonexistent.toml"], "cannot read /nonexistent.toml"),
        (&["--nod-id", "x"], "--node-id"),
        (&["-o", "json", "--listen", "x"], "\"code\":\"invalid_configuration\""),
    ] {
        let complaint = refusal(&user, words);
        assert!(complaint.contains(hint), "{words:?}: {complaint}");
    }
}

#[test]
fn printed_settings_say_where_they_came_from() {
    let mut user = User::new();
    user.set("P2P_NODE_ID", "old");
    user.set("QUEUE_TIMING", "wide");
    let file = user.write("c.toml", "drain_ms = \"3s\"\naddr = \"http://a:1\"\n");
    let words = ["serve", "--config", &file, "--listen", "22000", "--print-config", "-o", "json"];
    let printed: Value = serde_json::from_str(&user.queue(&words).with_code(0)).unwrap();
    let setting = |key: &str| {
        let settings = printed["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    let expect = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(setting("node_id"), expect("old", "P2P_NODE_ID"));
    assert_eq!(setting("timing"), expect("wide", "QUEUE_TIMING"));
    assert_eq!(setting("drain_ms"), expect("3000", &format!("{file}: drain_ms")));
    assert_eq!(setting("listen"), expect("127.0.0.1:22000", "flag"));
    assert_eq!(setting("peer_listen"), expect("127.0.0.1:22001", "default"));
    assert!(!user.path(".local").exists(), "nothing is written");
}

/// api 4.serve.config
#[test]
fn one_cluster_file_starts_three_nodes_and_one_may_die() {
    let user = User::new();
    let ports = [two_ports(), two_ports(), two_ports()];
    let node = |n: usize| format!("  n{n}: {{host: 127.0.0.1, port: {}}}", ports[n - 1]);
    let nodes = [node(1), node(2), node(3)].join("\n");
    let text = format!("voters: [n1, n2, n3]\nlog: warn\nnodes:\n{nodes}\n");
    let file = user.write("cluster.yaml", &text);
    let start = |n: usize| {
        let data = user.path(&format!("n{n}")).display().to_string();
        let words =
            ["serve", "--config", &file, "--node-id", &format!("n{n}"), "--data-dir", &data];
        Server::spawn(&user, ports[n - 1], &words)
    };
    let mut servers: Vec<Server> = (1..=3).map(start).collect();
    for server in &servers {
        server.await_leader(&user);
    }
    let all: Vec<String> = servers.iter().map(|server| server.address.clone()).collect();
    let all = all.join(",");
    assert_eq!(user.queue(&["add", "--id", "a", "--addr", &all]).with_code(0), "a");
    let leader = user.queue(&["leader", "--addr", &all]).with_code(0);
    let place: usize = leader.trim_start_matches('n').parse().unwrap();
    drop(servers.remove(place - 1));
    // One command, no retry of its caller's: the address that is gone costs a step, the election a wait.
    assert_eq!(user.queue(&["add", "--id", "b", "--addr", &all]).with_code(0), "b");
    let is_replaced = until(PATIENCE, || {
        let now = user.queue(&["leader", "--addr", &all]);
        now.code == Some(0) && now.stdout.trim() != leader
    });
    assert!(is_replaced);
    assert_eq!(user.queue(&["get", "a", "--addr", &all]).with_code(0), "a pending");
}
