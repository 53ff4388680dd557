//! The configuration file: TOML or YAML, one shape.
//!
//! Besides the settings it may list the cluster, as the system that this one replaces does:
//! `voters: [n1, n2, n3]` and `nodes: {n1: {host, port, peer_port, labels}}`. What else stands in a
//! node's entry (`provider`, `gpu`) becomes a label of it; anywhere else an unknown key is a fault.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    Fault, Faults, Origin, parse,
    settings::{SETTINGS, setting},
};

/// Larger than any sensible file; a wrong path (a device, a log) ends here.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a node of the file listens, unless its entry says otherwise.
const DEFAULT_PORT: u16 = 8770;

/// A file as it was read: every key known, every shape right, no value looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The settings it gives, as text.
    pub values: BTreeMap<&'static str, String>,
    /// The names of the voters; empty when the file lists no cluster.
    pub voters: Vec<String>,
    /// The nodes by name.
    pub nodes: BTreeMap<String, NodeEntry>,
}

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEntry {
    /// Where the others reach it: a name or an address, without a port.
    pub host: String,
    /// Its HTTP port.
    pub port: u16,
    /// Its port for peers; when absent, the one after `port`.
    pub peer_port: u16,
    /// What the file says of it besides.
    pub labels: BTreeMap<String, String>,
}

impl ConfigFile {
    /// Reads a file; YAML when its name ends so, TOML otherwise.
    ///
    /// # Errors
    /// Every fault of its shape, or the one that it cannot be read.
    pub fn read(path: &Path) -> Result<Self, Faults> {
        let unreadable = |reason: String| Faults::one("config", reason);
        let mut text = String::new();
        let length = std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
            .map_err(|error| unreadable(format!("cannot read {}: {error}", path.display())))?;
        if length as u64 > FILE_BYTES_MAX {
            return Err(unreadable(format!("{} is larger than 1 MiB", path.display())));
        }
        Self::parse(path, &text)
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// Every fault of its shape.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Faults> {
        let table = parse_table(path, text)
            .map_err(|reason| Faults::one("config", format!("{}: {reason}", path.display())))?;
        let mut reader =
            Reader { file: Self { path: path.into(), ..Self::default() }, faults: vec![] };
        for (key, value) in &table {
            match (key.as_str(), setting(key)) {
                ("voters", _) => reader.on_voters(value),
                ("nodes", _) => reader.on_nodes(value),
                (_, Some(setting)) => reader.on_setting(setting.key, value),
                (_, None) => reader.fault(key, unknown_key(key)),
            }
        }
        if reader.faults.is_empty() { Ok(reader.file) } else { Err(Faults(reader.faults)) }
    }
}

fn parse_table(path: &Path, text: &str) -> Result<Map<String, Value>, String> {
    let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let value = if is_yaml {
        serde_saphyr::from_str::<Option<Value>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|error| first_line(&error.to_string()))?
    } else {
        toml::from_str::<Value>(text).map_err(|error| toml_fault(text, &error))?
    };
    match value {
        Value::Object(table) => Ok(table),
        Value::Null => Ok(Map::new()),
        _ => Err("not a list of `key: value`".into()),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn toml_fault(text: &str, error: &toml::de::Error) -> String {
    let message = first_line(error.message());
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

fn unknown_key(key: &str) -> String {
    let mut known = SETTINGS.iter().map(|setting| setting.key).chain(["voters", "nodes"]);
    match known.find(|known| is_close(key, known)) {
        Some(close) => format!("unknown key; did you mean `{close}`?"),
        None => "unknown key".into(),
    }
}

/// Whether two keys differ only in case and in `-`, `_` or a final `s`.
fn is_close(given: &str, known: &str) -> bool {
    let bare = |text: &str| {
        let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
        plain.to_ascii_lowercase().trim_end_matches('s').to_owned()
    };
    bare(given) == bare(known)
}

/// Fills a [`ConfigFile`] and gathers what is wrong on the way.
struct Reader {
    file: ConfigFile,
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, at: &str, reason: impl Into<String>) {
        let origin = Some(Origin::File { file: self.file.path.clone(), at: at.into() });
        self.faults.push(Fault { key: at.into(), reason: reason.into(), origin });
    }

    fn on_setting(&mut self, key: &'static str, value: &Value) {
        match scalar_or_list(value) {
            Some(text) => {
                self.file.values.insert(key, text);
            }
            None => self.fault(key, "must be a single value or a list"),
        }
    }

    fn on_voters(&mut self, value: &Value) {
        let Value::Array(items) = value else {
            return self.fault("voters", "must be a list of node names");
        };
        for item in items {
            match scalar(item) {
                Some(name) if self.file.voters.contains(&name) => {
                    self.fault("voters", format!("`{name}` is listed twice"));
                }
                Some(name) => self.file.voters.push(name),
                None => self.fault("voters", "must be a list of node names"),
            }
        }
    }

    fn on_nodes(&mut self, value: &Value) {
        let Value::Object(nodes) = value else {
            return self.fault("nodes", "must map node names to entries");
        };
        for (name, entry) in nodes {
            if let Err(reason) = parse::node_id(name) {
                self.fault("nodes", reason);
            }
            match entry {
                Value::Object(entry) => self.on_node(name, entry),
                _ => self.fault(&format!("nodes.{name}"), "must have a `host`"),
            }
        }
    }

    fn on_node(&mut self, name: &str, entry: &Map<String, Value>) {
        let at = |key: &str| format!("nodes.{name}.{key}");
        let port = self.port(&at("port"), entry.get("port")).unwrap_or(DEFAULT_PORT);
        let peer_port = match self.port(&at("peer_port"), entry.get("peer_port")) {
            Some(peer_port) => peer_port,
            None if port == u16::MAX => {
                return self.fault(&at("port"), "65535 leaves no port for peers: give `peer_port`");
            }
            None => port + 1,
        };
        let Some(host) = entry.get("host").and_then(scalar) else {
            return self.fault(&at("host"), "is missing: where the others reach this node");
        };
        if let Err(reason) = parse::dial_address(&format!("{}:1", bracketed(&host))) {
            return self.fault(&at("host"), reason.replace(":1`", "`"));
        }
        let mut labels = BTreeMap::new();
        for (key, value) in entry {
            match (key.as_str(), value) {
                ("host" | "port" | "peer_port", _) => {}
                ("labels", Value::Object(given)) => {
                    labels.extend(given.iter().filter_map(|(k, v)| Some((k.clone(), scalar(v)?))));
                }
                ("labels", _) => self.fault(&at("labels"), "must map names to values"),
                (_, value) => labels.extend(scalar(value).map(|value| (key.clone(), value))),
            }
        }
        self.file.nodes.insert(name.into(), NodeEntry { host, port, peer_port, labels });
    }

    fn port(&mut self, at: &str, value: Option<&Value>) -> Option<u16> {
        let text = scalar(value?).unwrap_or_default();
        match parse::within(&text, 1..=u16::MAX) {
            Ok(port) => Some(port),
            Err(reason) => {
                self.fault(at, reason);
                None
            }
        }
    }
}

/// `[::1]` for a bare IPv6 address, anything else as it is.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.into() }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn scalar_or_list(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => {
            items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        single => scalar(single),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Result<ConfigFile, Faults> {
        ConfigFile::parse(Path::new("cluster.yaml"), text)
    }

    /// api 5.file.seed
    #[test]
    fn the_older_systems_cluster_file_is_understood() {
        let file = yaml(
            "# Voter nodes\nvoters:\n  - runpod-h100\nnodes:\n  runpod-h100:\n    host: '102.210.171.65'\n    \
             port: 30178\n    provider: runpod\n    gpu: H100\n  vast-5090-1:\n    host: 'example.vast.ai'\n    \
             port: 22\n    gpu: RTX_5090\n",
        )
        .unwrap();
        assert_eq!(file.voters, ["runpod-h100"]);
        let node = &file.nodes["runpod-h100"];
        assert_eq!(
            (node.host.as_str(), node.port, node.peer_port),
            ("102.210.171.65", 30178, 30179)
        );
        assert_eq!(node.labels["gpu"], "H100");
    }

    #[test]
    fn every_fault_of_a_file_is_reported_and_named() {
        let faults = yaml(
            "drainms: 3\nvoters: n1\nnodes: {n1: {port: 70000, host: a}, n2: {port: 1}, n3: 4}\nwhat: 1\n",
        )
        .unwrap_err();
        let lines = faults.to_string();
        for claim in [
            "drainms: unknown key; did you mean `drain_ms`?",
            "voters: must be a list",
            "nodes.n1.port: `70000`",
            "nodes.n2.host: is missing",
            "nodes.n3: must have a `host`",
            "what: unknown key (from cluster.yaml: what)",
        ] {
            assert!(lines.contains(claim), "{claim} in\n{lines}");
        }
        assert_eq!(faults.0.len(), 6, "{lines}");
    }

    /// api 5.file.formats
    #[test]
    fn toml_and_yaml_of_the_same_words_are_the_same_file() {
        let toml = ConfigFile::parse(
            Path::new("c.toml"),
            "drain_ms = 3000\njoin = ['a:1', 'b:2']\ninsecure = true\nvoters = ['n1']\n[nodes.n1]\nhost = 'h'\n",
        )
        .unwrap();
        let yaml = yaml(
            "drain_ms: 3000\njoin: [a:1, b:2]\ninsecure: true\nvoters: [n1]\nnodes: {n1: {host: h}}",
        )
        .unwrap();
        assert_eq!(toml, ConfigFile { path: "c.toml".into(), ..yaml });
        assert_eq!(toml.values["join"], "a:1,b:2");
    }

    #[test]
    fn a_file_that_does_not_parse_is_one_line_that_says_where() {
        let fault = ConfigFile::parse(Path::new("c.toml"), "a = 1\nb = = 2\n").unwrap_err();
        assert!(fault.to_string().starts_with("config: c.toml: line 2: "), "{fault}");
        assert_eq!(fault.to_string().lines().count(), 1);
        let fault = yaml("a: [1\nb: 2").unwrap_err();
        assert_eq!(fault.to_string().lines().count(), 1, "{fault}");
    }

    #[test]
    fn an_empty_file_gives_nothing_and_a_missing_one_is_a_fault() {
        assert_eq!(yaml("# nothing\n").unwrap().values.len(), 0);
        let fault = ConfigFile::read(Path::new("/nonexistent/cluster.yaml")).unwrap_err();
        assert!(fault.to_string().starts_with("config: cannot read /nonexistent/cluster.yaml"));
    }
}
