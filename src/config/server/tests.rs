use std::path::Path;

use super::{super::*, *};

const CLUSTER: &str = "voters: [n1, n2, n3]\ndrain_ms: 2s\nnodes:\n  n1: {host: 127.0.0.1, port: 9001}\n  \
                       n2: {host: 127.0.0.1, port: 9003, peer_port: 9900}\n  n3: {host: db.example.org}\n";

fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
    let home = [("HOME", "/home/u")];
    let variables = home.iter().chain(variables).map(|(k, v)| ((*k).into(), (*v).into())).collect();
    Surroundings { variables, host_name: Some("box".into()) }
}

fn resolve(
    flags: &[(&'static str, &str)],
    variables: &[(&str, &str)],
    yaml: &str,
) -> Result<Config, Faults> {
    let file = ConfigFile::parse(Path::new("cluster.yaml"), yaml)?;
    let surroundings = surroundings(variables);
    let flags: Vec<Flag> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Config::resolve(&Raw::layered(Side::Server, &flags, file, &surroundings), &surroundings)
}

fn origin(config: &Config, key: &str) -> String {
    config.explained.iter().find(|line| line.key == key).unwrap().origin.to_string()
}

/// api 1.http.port, 1.http.loopback, 1.peers.port, 1.hold.default
#[test]
fn nothing_given_is_a_single_voter_on_loopback() {
    let config = resolve(&[], &[], "").unwrap();
    assert_eq!(config.node_id, "box");
    assert_eq!(config.data_dir, Path::new("/home/u/.local/share/quorate/box"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8770");
    assert_eq!(config.peer_listen.to_string(), "127.0.0.1:8771");
    assert_eq!(config.peer_advertise, "127.0.0.1:8771");
    assert_eq!((config.bootstrap, config.drain_ms), (Bootstrap::Alone, 10_000));
    assert_eq!(config.hold_ms, 5000);
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let hold = |flags: &[_], variables: &[_], yaml| {
        let config = resolve(flags, variables, yaml).unwrap();
        (config.drain_ms, origin(&config, "drain_ms"))
    };
    let (flag, variable, file) = (("drain_ms", "1"), ("QUEUE_DRAIN_MS", "2"), "drain_ms: 3");
    assert_eq!(hold(&[flag], &[variable], file), (1, "flag".into()));
    assert_eq!(hold(&[], &[variable], file), (2, "QUEUE_DRAIN_MS".into()));
    assert_eq!(hold(&[], &[], file), (3, "cluster.yaml: drain_ms".into()));
    assert_eq!(hold(&[], &[("QUEUE_DRAIN_MS", "")], ""), (10_000, "default".into()));
}

#[test]
fn the_older_names_are_honoured_below_ours() {
    let older = [("P2P_NODE_ID", "old"), ("P2P_PORT", "9000"), ("P2P_DATA_DIR", "/d")];
    let config = resolve(&[], &older, "").unwrap();
    assert_eq!((config.node_id.as_str(), config.data_dir.as_path()), ("old", Path::new("/d")));
    assert_eq!(config.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.peer_listen.to_string(), "127.0.0.1:9001", "it follows listen");
    let both = [("P2P_NODE_ID", "old"), ("QUEUE_NODE_ID", "new")];
    assert_eq!(resolve(&[], &both, "").unwrap().node_id, "new");
    assert_eq!(resolve(&[], &[("P2P_LOG_LEVEL", "WARNING")], "").unwrap().log, "warn");
}

#[test]
fn one_cluster_file_serves_every_node() {
    let n2 = resolve(&[("node_id", "n2")], &[], CLUSTER).unwrap();
    assert_eq!(n2.listen.to_string(), "127.0.0.1:9003");
    assert_eq!(n2.peer_listen.to_string(), "127.0.0.1:9900");
    assert_eq!(origin(&n2, "listen"), "cluster.yaml: nodes.n2.port");
    let Bootstrap::Expect { voters, seeds, only } = n2.bootstrap else { panic!("it is a cluster") };
    assert_eq!((voters, only.map(|only| only.len())), (3, Some(3)));
    assert_eq!(seeds, ["127.0.0.1:9002", "127.0.0.1:9900", "db.example.org:8771"]);
    // A host that is a name is bound everywhere, which has to be accepted, and advertised by name.
    let n3 = [("node_id", "n3"), ("insecure", "true"), ("gossip_key_file", "/k")];
    let n3 = resolve(&n3, &[], CLUSTER).unwrap();
    assert_eq!(n3.listen.to_string(), "0.0.0.0:8770");
    assert_eq!(n3.peer_advertise, "db.example.org:8771");
    // A flag still wins over the node's entry.
    let n1 = resolve(&[("node_id", "n1"), ("listen", "127.0.0.1:7000")], &[], CLUSTER).unwrap();
    assert_eq!(n1.listen.port(), 7000);
    assert_eq!(n1.peer_listen.port(), 9002);
}

#[test]
fn a_cluster_that_does_not_add_up_is_refused() {
    for (flags, yaml, complaint) in [
        (
            vec![("node_id", "n9")],
            CLUSTER,
            "node_id: `n9` is none of the voters n1, n2, n3 (from --node-id)",
        ),
        (
            vec![("node_id", "n1"), ("bootstrap_expect", "2")],
            CLUSTER,
            "bootstrap_expect: 2 is not the number of voters listed, 3 (from --bootstrap-expect)",
        ),
        (
            vec![("node_id", "n1")],
            "voters: [n1, n2]\nnodes: {n1: {host: ::1}}",
            "voters: `n2` has no entry",
        ),
        (vec![("bootstrap_expect", "3")], "", "join: is needed to find the other 2 voters"),
        (
            vec![("bootstrap_expect", "1"), ("join", "a:1")],
            "",
            "bootstrap_expect: is 1: it would be a cluster of its own, and join none",
        ),
        (vec![("bootstrap_expect", "0")], "", "join: is needed to find the cluster"),
        (vec![("join", "a")], "", "join: `a` is not `host:port` (from --join)"),
    ] {
        let faults = resolve(&flags, &[], yaml).unwrap_err().to_string();
        assert!(faults.contains(complaint), "{complaint} in\n{faults}");
    }
}

#[test]
fn join_alone_waits_to_be_taken_in_and_with_a_number_founds() {
    let config = resolve(&[("join", "a:1,b:2")], &[], "").unwrap();
    assert_eq!(config.bootstrap, Bootstrap::Join);
    assert_eq!(config.gossip.unwrap().seeds, ["a:1", "b:2"]);
    let founding = resolve(&[("join", "a:1"), ("bootstrap_expect", "3")], &[], "").unwrap();
    let seeds = vec!["a:1".to_owned()];
    assert_eq!(founding.bootstrap, Bootstrap::Expect { voters: 3, seeds, only: None });
}

#[test]
fn gossip_is_on_and_needs_a_key_where_others_reach_it() {
    let gossip = |flags: &[_], yaml| resolve(flags, &[], yaml).map(|config| config.gossip);
    let plain = gossip(&[], "").unwrap().unwrap();
    assert_eq!((plain.key_file, plain.profile), (None, GossipProfile::Lan));
    assert_eq!(gossip(&[("gossip", "off")], ""), Ok(None));
    let n1 = [("node_id", "n1"), ("gossip_key_file", "/k"), ("gossip_profile", "wan")];
    let n1 = gossip(&n1, CLUSTER).unwrap().unwrap();
    assert_eq!((n1.key_file, n1.profile), (Some("/k".into()), GossipProfile::Wan));
    assert_eq!(n1.seeds, ["127.0.0.1:9002", "127.0.0.1:9900", "db.example.org:8771"]);

    let open = [("peer_listen", "10.0.0.1:8771")];
    let faults = resolve(&open, &[], "").unwrap_err().to_string();
    let fault = faults.lines().find(|line| line.starts_with("gossip_key_file: is needed: "));
    let fault = fault.unwrap_or_else(|| panic!("no such line in\n{faults}"));
    for way_out in ["`queue keygen FILE`", "`--gossip off`"] {
        assert!(fault.contains(way_out), "{way_out} in {fault}");
    }
    for settled in [("gossip", "off"), ("gossip_key_file", "/k")] {
        let faults = resolve(&[open[0], settled], &[], "").unwrap_err().to_string();
        assert!(!faults.contains("gossip_key_file"), "{faults}");
    }
    let insecure = [open[0], ("insecure", "true")];
    let faults = resolve(&insecure, &[], "").unwrap_err().to_string();
    assert!(faults.starts_with("gossip_key_file: is needed: "), "a key costs nothing: {faults}");
    let sealed = gossip(&[open[0], insecure[1], ("gossip_key_file", "/k")], "").unwrap();
    assert_eq!(sealed.unwrap().key_file, Some("/k".into()));
}

#[test]
fn labels_are_those_of_the_nodes_entry() {
    let yaml = "voters: [n1]\nnodes: {n1: {host: 127.0.0.1, labels: {rack: a}, gpu: a100}}";
    let labels = resolve(&[("node_id", "n1")], &[], yaml).unwrap().labels;
    let expected = [("gpu", "a100"), ("rack", "a")];
    assert_eq!(labels, expected.map(|(key, value)| (key.into(), value.into())).into());
}

#[test]
fn all_faults_are_reported_at_once_one_line_each() {
    let flags = [("listen", "nowhere"), ("drain_ms", "2h"), ("timing", "fast")];
    let variables = [
        ("QUEUE_SEGMENT_BYTES", "1"),
        ("QUEUE_DISK_RESERVE_BYTES", "2000000000000"),
        ("QUEUE_LOG", "loud"),
        ("QUEUE_INSECURE", "perhaps"),
    ];
    let faults = resolve(&flags, &variables, "kept_entries: many").unwrap_err();
    let lines = faults.to_string();
    for claim in [
        "listen: `nowhere` is not an address such as `127.0.0.1:8770` (from --listen)",
        "drain_ms: `2h` is out of range: 0 to 600000 (from --drain-ms)",
        "timing: `fast` is none of lan, wide (from --timing)",
        "segment_bytes: `1` is out of range: 1048576 to 1073741824 (from QUEUE_SEGMENT_BYTES)",
        "disk_reserve_bytes: `2000000000000` is out of range: 0 to 1099511627776 (from QUEUE_DISK_RESERVE_BYTES)",
        "log: `loud` is no level",
        "insecure: `perhaps` is neither `true` nor `false` (from QUEUE_INSECURE)",
        "kept_entries: `many` is not a whole number from 0 to 10000000 (from cluster.yaml: kept_entries)",
    ] {
        assert!(lines.lines().any(|line| line.starts_with(claim)), "{claim} in\n{lines}");
    }
    assert_eq!(lines.lines().count(), 8, "{lines}");
}

#[test]
fn listening_beyond_loopback_needs_a_decision() {
    let faults = resolve(&[("listen", "0.0.0.0:8770")], &[], "").unwrap_err().to_string();
    assert!(faults.contains("listen: 0.0.0.0:8770 can be reached"), "{faults}");
    assert!(faults.contains("--insecure"), "{faults}");
    assert!(faults.contains("peer_advertise: is needed"), "{faults}");
    let accepted = [
        ("listen", "0.0.0.0:8770"),
        ("insecure", "true"),
        ("peer_advertise", "box.example.org:8771"),
        ("gossip", "off"),
    ];
    assert_eq!(resolve(&accepted, &[], "").unwrap().listen.port(), 8770);
}

#[test]
fn the_two_addresses_differ_and_have_ports() {
    for (listen, peer_listen, complaint) in [
        ("127.0.0.1:9", "127.0.0.1:9", "peer_listen: is the same address"),
        ("127.0.0.1:0", "127.0.0.1:9", "listen: `127.0.0.1:0`: a port is 1 to 65535"),
    ] {
        let flags = [("listen", listen), ("peer_listen", peer_listen)];
        let faults = resolve(&flags, &[], "").unwrap_err().to_string();
        assert!(faults.contains(complaint), "{complaint} in\n{faults}");
    }
    let faults = resolve(&[("listen", "65535")], &[], "").unwrap_err().to_string();
    assert_eq!(faults, "peer_listen: is needed: `listen` has the last port there is");
}

#[test]
fn a_data_directory_has_to_come_from_somewhere() {
    let nowhere = Surroundings::default();
    let raw = Raw::layered(Side::Server, &[], ConfigFile::default(), &nowhere);
    let faults = Config::resolve(&raw, &nowhere).unwrap_err().to_string();
    assert_eq!(faults, "data_dir: is needed: neither XDG_DATA_HOME nor HOME is set");
    let config = resolve(&[], &[("XDG_DATA_HOME", "/x")], "").unwrap();
    assert_eq!(config.data_dir, Path::new("/x/quorate/box"));
}

#[test]
fn every_server_setting_is_explained_in_the_tables_order_of_keys() {
    let config = resolve(&[], &[], "").unwrap();
    for setting in SETTINGS.iter().filter(|setting| setting.side == Side::Server) {
        assert!(config.explained.iter().any(|line| line.key == setting.key), "{}", setting.key);
    }
}

/// `config/example.toml` shows every setting, commented out, with its default: with the comment signs
/// taken away it parses, and means what an empty file means.
#[test]
fn the_example_file_shows_every_setting_with_its_default() {
    let example = include_str!("../../../config/example.toml");
    assert_eq!(ConfigFile::parse(Path::new("example.toml"), example).unwrap().values.len(), 0);
    let uncommented: Vec<&str> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(char::is_alphabetic))
        .collect();
    let file = ConfigFile::parse(Path::new("example.toml"), &uncommented.join("\n")).unwrap();
    for setting in &SETTINGS {
        let shown = file.values.get(setting.key);
        assert!(shown.is_some(), "{} is not in config/example.toml", setting.key);
        if !setting.default.is_empty() {
            assert_eq!(shown.unwrap(), setting.default, "{}", setting.key);
        }
    }
    let surroundings = surroundings(&[]);
    let empty = Raw::layered(Side::Server, &[], ConfigFile::default(), &surroundings);
    let empty = Config::resolve(&empty, &surroundings).unwrap();
    let shown = Raw::layered(Side::Server, &[], file, &surroundings);
    let shown = Config::resolve(&shown, &surroundings).unwrap();
    assert_eq!((shown.drain_ms, shown.kept_entries), (empty.drain_ms, empty.kept_entries));
    assert_eq!(shown.disk_reserve_bytes, empty.disk_reserve_bytes);
    assert_eq!((shown.listen, shown.peer_listen), (empty.listen, empty.peer_listen));
    assert_eq!((shown.bootstrap, shown.log), (empty.bootstrap, empty.log));
}
