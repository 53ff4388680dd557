//! `queue members` and `queue keygen`, and what `queue serve` says of keys and of its gossip port.

use std::{net::UdpSocket, path::Path};

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Server, User, two_ports, until};

/// A user whose commands find the server.
fn user_and_server() -> (User, Server) {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    (user, server)
}

/// The complaint of a `serve` that must not start and must not write.
#[track_caller]
fn refusal(user: &User, words: &[&str]) -> String {
    let data = user.path("untouched").display().to_string();
    let port = two_ports().to_string();
    let words = [&["serve", "--data-dir", &data, "--listen", &port], words].concat();
    let complaint = user.queue(&words).complaint(2);
    assert!(!Path::new(&data).exists(), "nothing is written");
    complaint
}

/// api 4.members
#[test]
fn members_shows_the_node_itself_in_every_format() {
    let (user, _server) = user_and_server();
    let shown = until(PATIENCE, || user.queue(&["members"]).with_code(0).ends_with(" alive voter"));
    assert!(shown, "{:?}", user.queue(&["members"]));
    let answer: Value =
        serde_json::from_str(&user.queue(&["members", "-o", "json"]).with_code(0)).unwrap();
    assert_eq!((&answer["gossip"], &answer["count"]), (&json!(true), &json!(1)));
    let item: Value =
        serde_json::from_str(&user.queue(&["members", "-o", "jsonl"]).with_code(0)).unwrap();
    for field in ["node_id", "incarnation", "peer_addr"] {
        assert_eq!(item[field], answer["peers"][0][field]);
    }
    let table = user.queue(&["members", "-o", "table"]).with_code(0);
    assert!(table.contains("MEMBER") && table.contains("self"), "{table}");
}

// Situation: a node is told to join a cluster, and of no number of voters. Claim: it founds none, and
// each sees the other.
#[test]
fn a_node_that_joins_waits_to_be_taken_in_and_is_seen_as_fresh() {
    let (user, server) = user_and_server();
    let port = two_ports();
    let (listen, data) = (port.to_string(), user.path("second").display().to_string());
    let peer = format!("127.0.0.1:{}", server.port + 1);
    let words =
        ["serve", "--node-id", "n2", "--listen", &listen, "--data-dir", &data, "--join", &peer];
    let joining = Server::spawn(&user, port, &words);
    for address in [&server.address, &joining.address] {
        let shown = until(PATIENCE, || {
            let said = user.queue(&["members", "--addr", address]).stdout;
            said.lines().collect::<Vec<_>>() == ["n1 alive voter", "n2 alive fresh"]
        });
        assert!(shown, "{:?}", user.queue(&["members", "--addr", address]));
    }
    let status = user.queue(&["status", "--addr", &joining.address]).with_code(0);
    assert!(status.lines().any(|line| line == "role fresh"), "{status}");
}

#[test]
fn a_node_without_gossip_says_so() {
    let user = User::new();
    let port = two_ports();
    let data = user.path("data").display().to_string();
    let words = ["serve", "--listen", &port.to_string(), "--data-dir", &data, "--gossip", "off"];
    let server = Server::spawn(&user, port, &words);
    server.await_leader(&user);
    let complaint = user.queue(&["members", "--addr", &server.address]).complaint(5);
    assert!(complaint.contains("does not gossip"), "{complaint}");
}

#[test]
fn a_key_is_made_once_and_serves() {
    let user = User::new();
    let file = user.path("gossip.key").display().to_string();
    assert_eq!(user.queue(&["keygen", &file]).with_code(0), file);
    let again = user.queue(&["keygen", &file]).complaint(1);
    assert!(again.contains("exists already"), "{again}");
    let printed = user.queue(&["keygen"]).with_code(0);
    let key = printed.lines().last().unwrap();
    assert!(key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{printed}");
    let port = two_ports();
    let data = user.path("data").display().to_string();
    let port_text = port.to_string();
    let words = ["serve", "--listen", &port_text, "--data-dir", &data, "--gossip-key-file", &file];
    Server::spawn(&user, port, &words).await_leader(&user);
}

#[test]
fn a_key_file_that_cannot_be_used_is_one_line_and_nothing_is_written() {
    let user = User::new();
    let bad = user.write("bad.key", "# no key\nabc\n");
    for (file, complaint) in [
        (bad.as_str(), "bad.key: line 2 of the keyring has 3 characters where a key has 64"),
        ("/no/such.key", "cannot read the keyring /no/such.key"),
    ] {
        let said = refusal(&user, &["--gossip-key-file", file]);
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        let [error] = errors[..] else { panic!("one line: {said}") };
        assert!(error.contains("gossip_key_file: ") && error.contains(complaint), "{error}");
    }
}

#[test]
fn a_gossip_port_in_use_is_one_line_and_nothing_is_written() {
    let user = User::new();
    let port = two_ports();
    let _holder = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let complaint = refusal(&user, &["--peer-listen", &port.to_string()]);
    assert!(
        complaint.contains(&format!("peer_listen: 127.0.0.1:{port} (UDP) is in use")),
        "{complaint}"
    );
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn beyond_loopback_gossip_needs_a_key_and_the_complaint_says_how_to_get_one() {
    let user = User::new();
    let open = ["--peer-listen", "0.0.0.0:8771", "--peer-advertise", "10.0.0.1:8771"];
    for words in [&open[..], &[&open[..], &["--insecure"]].concat()] {
        let complaint = refusal(&user, words);
        let line = complaint.lines().find(|line| line.contains("gossip_key_file: is needed"));
        let line = line.unwrap_or_else(|| panic!("{words:?}: {complaint}"));
        assert!(line.contains("queue keygen FILE") && line.contains("--gossip off"), "{line}");
    }
}
