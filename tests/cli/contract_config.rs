//! The contract of the configuration: where values come from, and what is refused before anything is
//! written.

use std::{net::TcpListener, path::Path};

use quorate::config::{ClientConfig, ConfigFile, Raw, SETTINGS, Side, Surroundings};
use serde_json::Value;

use crate::harness::{Server, User, two_ports};

/// The settings that `--print-config` shows: key, value, origin.
fn printed(user: &User, words: &[&str]) -> Vec<(String, String, String)> {
    let words = [&["serve", "--print-config", "-o", "json"], words].concat();
    let printed: Value = serde_json::from_str(&user.queue(&words).with_code(0)).unwrap();
    let text =
        |setting: &Value, field: &str| setting[field].as_str().unwrap_or_default().to_owned();
    let all = printed["settings"].as_array().unwrap().iter();
    all.map(|setting| (text(setting, "key"), text(setting, "value"), text(setting, "origin")))
        .collect()
}

fn setting(printed: &[(String, String, String)], key: &str) -> (String, String) {
    let (_, value, origin) = printed.iter().find(|(known, ..)| known == key).unwrap();
    (value.clone(), origin.clone())
}

/// The complaint of a `serve` that must not start and must not write: one line, exit code 2.
#[track_caller]
fn refusal(user: &User, words: &[&str]) -> String {
    let data = user.path("untouched").display().to_string();
    let complaint = user.queue(&[&["serve", "--data-dir", &data], words].concat()).complaint(2);
    assert!(!Path::new(&data).exists(), "nothing is written");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    complaint
}

/// api 5.file.labels, 5.file.nodes
#[test]
fn a_cluster_file_lists_voters_and_nodes_with_host_ports_and_labels() {
    let text = "voters: [n1, n2]\nnodes:\n  n1: {host: 10.0.0.1, port: 9000, peer_port: 9500, labels: {rack: a}}\n  \
                n2: {host: db.example.org}\n";
    let file = ConfigFile::parse(Path::new("cluster.yaml"), text).unwrap();
    assert_eq!(file.voters, ["n1", "n2"]);
    let n1 = &file.nodes["n1"];
    assert_eq!((n1.host.as_str(), n1.port, n1.peer_port), ("10.0.0.1", 9000, 9500));
    assert_eq!(n1.labels["rack"], "a");
    let n2 = &file.nodes["n2"];
    assert_eq!((n2.host.as_str(), n2.port, n2.peer_port), ("db.example.org", 8770, 8771));
}

/// api 5.file.same, 5.file.picks
#[test]
fn the_same_file_serves_every_node_and_node_id_picks() {
    let user = User::new();
    let text = "voters: [n1, n2]\nnodes:\n  n1: {host: 127.0.0.1, port: 22001}\n  n2: {host: 127.0.0.1, port: 22003}\n";
    let file = user.write("cluster.yaml", text);
    for (node, listen) in [("n1", "127.0.0.1:22001"), ("n2", "127.0.0.1:22003")] {
        let shown = printed(&user, &["--config", &file, "--node-id", node]);
        let origin = format!("{file}: nodes.{node}.port");
        assert_eq!(setting(&shown, "listen"), (listen.to_owned(), origin));
    }
    let complaint = refusal(&user, &["--config", &file, "--node-id", "n3"]);
    assert!(complaint.contains("n3"), "{complaint}");
}

/// api 5.env.ours
#[test]
fn every_setting_has_its_variable() {
    for known in &SETTINGS {
        assert_eq!(known.variable, format!("QUEUE_{}", known.key.to_uppercase()));
    }
    let mut user = User::new();
    user.set("QUEUE_NODE_ID", "mine");
    user.set("QUEUE_LISTEN", "22005");
    user.set("QUEUE_DRAIN_MS", "7s");
    let shown = printed(&user, &[]);
    for (key, value, variable) in [
        ("node_id", "mine", "QUEUE_NODE_ID"),
        ("listen", "127.0.0.1:22005", "QUEUE_LISTEN"),
        ("drain_ms", "7000", "QUEUE_DRAIN_MS"),
    ] {
        assert_eq!(setting(&shown, key), (value.to_owned(), variable.to_owned()));
    }
}

/// api 5.env.seed
#[test]
fn the_seeds_variables_are_honoured_below_ours() {
    let mut user = User::new();
    let data = user.path("seed").display().to_string();
    for (name, value) in [("P2P_NODE_ID", "old"), ("P2P_PORT", "22007"), ("P2P_DATA_DIR", &data)] {
        user.set(name, value);
    }
    let shown = printed(&user, &[]);
    assert_eq!(setting(&shown, "node_id"), ("old".to_owned(), "P2P_NODE_ID".to_owned()));
    assert_eq!(setting(&shown, "listen"), ("127.0.0.1:22007".to_owned(), "P2P_PORT".to_owned()));
    assert_eq!(setting(&shown, "data_dir"), (data, "P2P_DATA_DIR".to_owned()));
    user.set("QUEUE_NODE_ID", "new");
    assert_eq!(setting(&printed(&user, &[]), "node_id").0, "new");
}

/// api 5.print-config
#[test]
fn print_config_shows_every_setting_and_where_it_came_from() {
    let mut user = User::new();
    user.set("QUEUE_TIMING", "wide");
    let file = user.write("c.toml", "drain_ms = 3000\n");
    let shown = printed(&user, &["--config", &file, "--hold-ms", "1s"]);
    for known in SETTINGS.iter().filter(|known| known.side == Side::Server) {
        assert!(shown.iter().any(|(key, ..)| key == known.key), "{}", known.key);
    }
    assert_eq!(setting(&shown, "hold_ms").1, "flag");
    assert_eq!(setting(&shown, "timing").1, "QUEUE_TIMING");
    assert_eq!(setting(&shown, "drain_ms").1, format!("{file}: drain_ms"));
    assert_eq!(setting(&shown, "max_connections").1, "default");
    let table = user.queue(&["serve", "--print-config", "-o", "table"]).with_code(0);
    assert!(table.contains("hold_ms") && table.contains("default"), "{table}");
}

/// api 4.precedence
#[test]
fn a_flag_beats_the_environment_which_beats_the_file_and_having_all_is_no_error() {
    let mut user = User::new();
    let file = user.write("c.toml", "drain_ms = 3000\n");
    let value = |user: &User, words: &[&str]| {
        setting(&printed(user, &[&["--config", &file], words].concat()), "drain_ms").0
    };
    assert_eq!(value(&user, &[]), "3000");
    user.set("QUEUE_DRAIN_MS", "2000");
    assert_eq!(value(&user, &[]), "2000");
    assert_eq!(value(&user, &["--drain-ms", "1000"]), "1000");
}

/// api 5.fault.unknown-key, 5.fault.range
#[test]
fn an_unknown_key_and_a_value_out_of_range_are_one_line_that_names_them() {
    let user = User::new();
    let file = user.write("c.toml", "drain = 5\n");
    let complaint = refusal(&user, &["--config", &file]);
    assert!(complaint.contains("drain: unknown key") && complaint.contains(&file), "{complaint}");
    let complaint = refusal(&user, &["--hold-ms", "61s"]);
    assert!(complaint.contains("hold_ms: `61s` is out of range: 0 to 60000"), "{complaint}");
}

/// api 5.fault.port
#[test]
fn a_port_in_use_is_one_line_that_names_it() {
    let user = User::new();
    let port = two_ports();
    for taken in [port, port + 1] {
        let _holder = TcpListener::bind(("127.0.0.1", taken)).unwrap();
        let complaint = refusal(&user, &["--listen", &port.to_string()]);
        assert!(complaint.contains(&format!("127.0.0.1:{taken} is in use")), "{complaint}");
    }
}

/// api 5.fault.other-node, 5.fault.other-cluster
#[test]
fn a_directory_of_another_node_or_cluster_is_one_line_that_names_it_and_stays_as_it_was() {
    let user = User::new();
    let data = user.path("data");
    assert_eq!(Server::start(&user, &data).terminate(), Some(0));
    let log = || {
        let files = std::fs::read_dir(data.join("log")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
    };
    let before = log();
    let (data_dir, port) = (data.display().to_string(), two_ports().to_string());
    let serve = ["serve", "--listen", &port, "--data-dir", &data_dir];
    for (words, named) in [
        (["--node-id", "n2"].to_vec(), "\"n1\""),
        (vec!["--node-id", "n1", "--cluster", "other"], "other"),
    ] {
        let complaint = user.queue(&[&serve[..], &words].concat()).complaint(2);
        assert!(complaint.contains(&data_dir) && complaint.contains(named), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
    assert!(log() == before, "nothing is written");
}

/// api 4.config.variable, 4.config.default
#[test]
fn the_client_reads_the_file_of_queue_config_else_that_of_the_users_folder() {
    let mut user = User::new();
    let addressed = |port: u16| format!("addr = \"http://127.0.0.1:{port}\"\ntimeout = \"1s\"\n");
    let (one, other) = (two_ports(), two_ports());
    std::fs::create_dir_all(user.path(".config/queue")).unwrap();
    user.write(".config/queue/config.toml", &addressed(one));
    let complaint = user.queue(&["leader"]).complaint(5);
    assert!(complaint.contains(&one.to_string()), "{complaint}");
    let file = user.write("mine.toml", &addressed(other));
    user.set("QUEUE_CONFIG", &file);
    let complaint = user.queue(&["leader"]).complaint(5);
    assert!(complaint.contains(&other.to_string()), "{complaint}");
}

/// api 4.addr.default
#[test]
fn without_an_address_the_client_asks_port_8770_of_this_machine() {
    let nothing = Surroundings::default();
    let raw = Raw::layered(Side::Client, &[], ConfigFile::default(), &nothing);
    let client = ClientConfig::resolve(&raw, &nothing).unwrap();
    assert_eq!(client.addresses, ["http://127.0.0.1:8770"]);
}
