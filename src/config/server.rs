//! The server's configuration, resolved: every value checked, every reference followed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::{
    Explained, Fault, Faults, NodeEntry, Origin, Raw, Sourced, Surroundings, file::bracketed, parse,
};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8770);

/// What a node is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The node's name, its Raft label.
    pub node_id: String,
    /// Its directory, bound to it for ever.
    pub data_dir: PathBuf,
    /// Where it serves HTTP.
    pub listen: SocketAddr,
    /// Where it listens for peers, TCP and UDP.
    pub peer_listen: SocketAddr,
    /// What it tells peers to dial: `host:port`.
    pub peer_advertise: String,
    /// Whether addresses that other machines can reach are accepted, although nothing protects them.
    pub insecure: bool,
    /// The cluster's name.
    pub cluster: String,
    /// What a fresh directory does.
    pub bootstrap: Bootstrap,
    /// The timers.
    pub timing: TimingPreset,
    /// Whether voters listen to each other beside Raft, so that a dead leader is replaced sooner.
    pub has_lifeline: bool,
    /// Gossip; `None`: it is off.
    pub gossip: Option<Gossip>,
    /// What the file says of this node besides where it is.
    pub labels: BTreeMap<String, String>,
    /// How long a request is held while there is no leader, unless it says otherwise, ms.
    pub hold_ms: u64,
    /// What requests under way get to finish in when the node stops, ms.
    pub drain_ms: u64,
    /// The largest body of a request, bytes.
    pub max_body_bytes: u64,
    /// The most connections at once.
    pub max_connections: u64,
    /// A log segment's size, bytes.
    pub segment_bytes: u64,
    /// How much log calls for a snapshot, bytes.
    pub snapshot_log_bytes: u64,
    /// How many entries stay in the log behind a snapshot.
    pub kept_entries: u64,
    /// Below this many free bytes on the disk adds are refused; 0: never.
    pub disk_reserve_bytes: u64,
    /// How many finished jobs the archive keeps; the oldest go first.
    pub archive_max_jobs: u64,
    /// How many bytes of them; 0: there is no archive.
    pub archive_max_bytes: u64,
    /// What is logged: a level, or `target=level` pairs.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Every setting as it was resolved, for `--print-config`.
    pub explained: Vec<Explained>,
}

/// How the node gossips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossip {
    /// The file with the keys that seal it; `None`: it is not sealed.
    pub key_file: Option<PathBuf>,
    /// The timers.
    pub profile: GossipProfile,
    /// `host:port` of members to find the others through.
    pub seeds: Vec<String>,
}

/// The timers of gossip, by where the members stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GossipProfile {
    /// On one machine.
    Local,
    /// Up to about 50 members in one building.
    Lan,
    /// More members, or farther apart.
    Wan,
}

/// What a fresh directory does; one that is not fresh goes on as what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// It is a cluster of one voter, at once.
    Alone,
    /// It founds none, and waits until one takes it in.
    Join,
    /// It finds the others first.
    Expect {
        /// How many voters, this one included.
        voters: usize,
        /// `host:port` of the others (its own may be among them).
        seeds: Vec<String>,
        /// The names that may be among the voters; `None`: any.
        only: Option<BTreeSet<String>>,
    },
}

/// The timers, by where the voters stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TimingPreset {
    /// In one building: a dead leader is replaced within tens of milliseconds.
    Lan,
    /// Tens of milliseconds apart.
    Wide,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Checks everything once. Nothing is read or written.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn resolve(raw: &Raw, surroundings: &Surroundings) -> Result<Self, Faults> {
        let mut resolver = Resolver { raw, surroundings, faults: vec![], explained: vec![] };
        match resolver.config() {
            Some(config) if resolver.faults.is_empty() => {
                Ok(Self { explained: resolver.explained, ..config })
            }
            _ => Err(Faults(resolver.faults)),
        }
    }
}

/// Resolves key by key. `None` from any step means that its fault is recorded.
struct Resolver<'a> {
    raw: &'a Raw,
    surroundings: &'a Surroundings,
    faults: Vec<Fault>,
    explained: Vec<Explained>,
}

impl Resolver<'_> {
    /// Every step runs, so that every fault is found, before the first `?`.
    fn config(&mut self) -> Option<Config> {
        let node_id = self.node_id();
        let data_dir = self.data_dir(node_id.as_deref());
        let node = node_id.as_ref().and_then(|name| self.raw.file.nodes.get(name));
        let listen = self.listen(node_id.as_deref(), node);
        let peer_listen = self.peer_listen(node_id.as_deref(), node, listen);
        let peer_advertise = self.peer_advertise(node_id.as_deref(), node, peer_listen);
        let insecure = self.take("insecure", parse::truth, || false);
        if insecure == Some(false) {
            self.check_exposure(listen, peer_listen);
        }
        let cluster = self.take("cluster", parse::node_id, || "quorate".into());
        let join = self.take("join", dial_list, || Listed(vec![])).map(|join| join.0);
        let bootstrap = join.clone().and_then(|join| self.bootstrap(node_id.as_deref(), join));
        let timing = self.take_word("timing", TimingPreset::Lan);
        let has_lifeline = self.take("lifeline", parse::truth, || true);
        let gossip = self.gossip(peer_listen, join);
        let hold_ms = self.take("hold_ms", hold_ms, || 5000);
        let drain_ms =
            self.take("drain_ms", |text| parse::milliseconds(text, 0..=600_000), || 10_000);
        let max_body_bytes = self.take_number("max_body_bytes", 1 << 20, 64 << 20, 8 << 20);
        let max_connections = self.take_number("max_connections", 1, 1_000_000, 8192);
        let segment_bytes = self.take_number("segment_bytes", 1 << 20, 1 << 30, 64 << 20);
        let snapshot_log_bytes =
            self.take_number("snapshot_log_bytes", 1 << 20, 1 << 40, 256 << 20);
        let kept_entries = self.take_number("kept_entries", 0, 10_000_000, 10_000);
        let disk_reserve_bytes = self.take_number("disk_reserve_bytes", 0, 1 << 40, 256 << 20);
        let archive_max_jobs = self.take_number("archive_max_jobs", 1, 1_000_000_000, 1_000_000);
        let archive_max_bytes = self.take_number("archive_max_bytes", 0, 1 << 40, 4 << 30);
        let log = self.take("log", log_filter, || "info".into());
        let log_format = self.take_word("log_format", LogFormat::Text);
        Some(Config {
            node_id: node_id?,
            data_dir: data_dir?,
            listen: listen?,
            peer_listen: peer_listen?,
            peer_advertise: peer_advertise?,
            insecure: insecure?,
            cluster: cluster?,
            bootstrap: bootstrap?,
            timing: timing?,
            has_lifeline: has_lifeline?,
            gossip: gossip.and_then(|(is_on, gossip)| is_on.then_some(gossip)),
            labels: node.map(|node| node.labels.clone()).unwrap_or_default(),
            hold_ms: hold_ms?,
            drain_ms: drain_ms?,
            max_body_bytes: max_body_bytes?,
            max_connections: max_connections?,
            segment_bytes: segment_bytes?,
            snapshot_log_bytes: snapshot_log_bytes?,
            kept_entries: kept_entries?,
            disk_reserve_bytes: disk_reserve_bytes?,
            archive_max_jobs: archive_max_jobs?,
            archive_max_bytes: archive_max_bytes?,
            log: log?,
            log_format: log_format?,
            explained: vec![],
        })
    }

    fn node_id(&mut self) -> Option<String> {
        let host_name = self.surroundings.host_name.as_deref();
        let fallback = host_name.and_then(|name| parse::node_id(name).ok());
        self.take("node_id", parse::node_id, || fallback.unwrap_or_else(|| "n1".into()))
    }

    fn data_dir(&mut self, node_id: Option<&str>) -> Option<PathBuf> {
        let given = self.raw.values.get("data_dir");
        if given.is_none() && self.surroundings.data_folder().is_none() {
            self.fault("data_dir", "is needed: neither XDG_DATA_HOME nor HOME is set", None);
            return None;
        }
        let folder = self.surroundings.data_folder().unwrap_or_default();
        let fallback = folder.join("quorate").join(node_id.unwrap_or_default());
        let shown =
            self.take("data_dir", |text| Ok(text.to_owned()), || fallback.display().to_string());
        shown.map(|shown| if given.is_some() { shown.into() } else { fallback })
    }

    fn listen(&mut self, node_id: Option<&str>, node: Option<&NodeEntry>) -> Option<SocketAddr> {
        let of_node = node.map(|node| self.of_node(node_id, "port", bind(&node.host, node.port)));
        self.take_over("listen", of_node, parse::listen_address, || Some(DEFAULT_LISTEN))
    }

    fn peer_listen(
        &mut self,
        node_id: Option<&str>,
        node: Option<&NodeEntry>,
        listen: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        let of_node =
            node.map(|node| self.of_node(node_id, "peer_port", bind(&node.host, node.peer_port)));
        if of_node.is_none() && !self.raw.values.contains_key("peer_listen") && listen.is_none() {
            return None; // It follows `listen`, whose fault is recorded.
        }
        let next = listen.unwrap_or(DEFAULT_LISTEN);
        let following = next.port().checked_add(1).map(|port| SocketAddr::new(next.ip(), port));
        let address = self.take_over("peer_listen", of_node, parse::listen_address, || following);
        if address.is_none() && following.is_none() {
            self.fault("peer_listen", "is needed: `listen` has the last port there is", None);
        }
        if address.is_some() && address == listen {
            self.fault(
                "peer_listen",
                "is the same address as `listen`",
                self.origin("peer_listen"),
            );
        }
        address
    }

    fn peer_advertise(
        &mut self,
        node_id: Option<&str>,
        node: Option<&NodeEntry>,
        peer_listen: Option<SocketAddr>,
    ) -> Option<String> {
        let of_node = node.map(|node| self.of_node(node_id, "host", dial(node)));
        let peer_listen = peer_listen?;
        let fallback = (!peer_listen.ip().is_unspecified()).then(|| peer_listen.to_string());
        let is_derivable = of_node.is_some() || fallback.is_some();
        if !is_derivable && !self.raw.values.contains_key("peer_advertise") {
            let reason = format!("is needed: peers cannot dial {peer_listen}; say `host:port`");
            self.fault("peer_advertise", reason, None);
            return None;
        }
        self.take_over("peer_advertise", of_node, parse::dial_address, || fallback)
    }

    /// Until requests are authenticated and links encrypted, being reachable is a decision.
    fn check_exposure(&mut self, listen: Option<SocketAddr>, peer_listen: Option<SocketAddr>) {
        for (key, address) in [("listen", listen), ("peer_listen", peer_listen)] {
            let exposed = address.filter(|address| !address.ip().is_loopback());
            if let Some(address) = exposed {
                let reason = format!(
                    "{address} can be reached from other machines, without encryption or passwords: \
                     --insecure accepts that"
                );
                self.fault(key, reason, self.origin(key));
            }
        }
    }

    /// Whether the node gossips, and how it would. Beyond loopback it needs a key, with `insecure` as well:
    /// gossip can end leases.
    fn gossip(
        &mut self,
        peer_listen: Option<SocketAddr>,
        join: Option<Vec<String>>,
    ) -> Option<(bool, Gossip)> {
        let is_on = self.take("gossip", parse::truth, || true);
        let key_file = self.take("gossip_key_file", parse::text, String::new);
        let profile = self.take_word("gossip_profile", GossipProfile::Lan);
        let key_file = Some(key_file?).filter(|path| !path.is_empty()).map(PathBuf::from);
        let is_open = is_on? && key_file.is_none();
        if let Some(address) = peer_listen.filter(|address| is_open && !address.ip().is_loopback())
        {
            let reason = format!(
                "is needed: whoever reaches {address} could declare members dead; write a key with \
                 `queue keygen FILE` and name that file on every node, or say `--gossip off`"
            );
            self.fault("gossip_key_file", reason, None);
            return None;
        }
        let dials = self.raw.file.voters.iter().filter_map(|name| self.raw.file.nodes.get(name));
        let seeds = dials.map(dial).chain(join?).collect();
        Some((is_on?, Gossip { key_file, profile: profile?, seeds }))
    }

    fn bootstrap(&mut self, node_id: Option<&str>, join: Vec<String>) -> Option<Bootstrap> {
        let faults_before = self.faults.len();
        let listed = self.raw.file.voters.len();
        let is_joining = listed == 0 && !join.is_empty();
        let derived = if is_joining { 0 } else { listed.max(1) };
        let expect =
            self.take("bootstrap_expect", |text| parse::within(text, 0..=9), || derived)?;
        if listed > 0 {
            let seeds = self.seeds_of_file(node_id, expect);
            let is_sound = self.faults.len() == faults_before;
            let only = Some(self.raw.file.voters.iter().cloned().collect());
            let seeds = seeds.into_iter().chain(join).collect();
            return is_sound.then(|| voters_of(expect, seeds, only));
        }
        let fault = match (expect, join.is_empty()) {
            (0, true) => Some(("join", "is needed to find the cluster to be taken into".into())),
            (2.., true) => {
                Some(("join", format!("is needed to find the other {} voters", expect - 1)))
            }
            (1, false) => Some((
                "bootstrap_expect",
                "is 1: it would be a cluster of its own, and join none; leave it out to be taken \
                 into one, or say how many voters a new one has"
                    .into(),
            )),
            _ => None,
        };
        if let Some((key, reason)) = fault {
            self.fault(key, reason, self.origin(key));
            return None;
        }
        Some(voters_of(expect, join, None))
    }

    /// The peer addresses of the file's voters; faults when the file does not add up.
    fn seeds_of_file(&mut self, node_id: Option<&str>, expect: usize) -> Vec<String> {
        let file = &self.raw.file;
        let at = |at: &str| Some(Origin::File { file: file.path.clone(), at: at.into() });
        if expect != file.voters.len() {
            let reason =
                format!("{expect} is not the number of voters listed, {}", file.voters.len());
            self.fault("bootstrap_expect", reason, self.origin("bootstrap_expect"));
        }
        if let Some(name) = node_id.filter(|name| !file.voters.iter().any(|voter| voter == name)) {
            let reason = format!("`{name}` is none of the voters {}", file.voters.join(", "));
            self.fault("node_id", reason, self.origin("node_id"));
        }
        for name in file.voters.iter().filter(|name| !file.nodes.contains_key(*name)) {
            self.fault("voters", format!("`{name}` has no entry in `nodes`"), at("voters"));
        }
        file.voters.iter().filter_map(|name| file.nodes.get(name)).map(dial).collect()
    }

    /// A value of this node's entry, above the file's own settings.
    fn of_node(&self, node_id: Option<&str>, key: &str, value: String) -> Sourced<String> {
        let at = format!("nodes.{}.{key}", node_id.unwrap_or_default());
        Sourced { value, origin: Origin::File { file: self.raw.file.path.clone(), at } }
    }

    fn take_number(
        &mut self,
        key: &'static str,
        least: u64,
        most: u64,
        default: u64,
    ) -> Option<u64> {
        self.take(key, |text| parse::within(text, least..=most), || default)
    }

    fn take_word<T: ValueEnum>(&mut self, key: &'static str, default: T) -> Option<T> {
        self.take(key, |text| parse::word(text).map(Word), || Word(default)).map(|word| word.0)
    }

    fn take<T: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> Option<T> {
        self.take_over(key, None, parse, || Some(default()))
    }

    /// The value given for `key`; `of_node` stands between the environment and the file's settings.
    fn take_over<T: Display>(
        &mut self,
        key: &'static str,
        of_node: Option<Sourced<String>>,
        parse: impl FnOnce(&str) -> Result<T, String>,
        default: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let given = self.raw.values.get(key).cloned();
        let given = match (given, of_node) {
            (Some(Sourced { origin: Origin::File { .. }, .. }), Some(of_node)) => Some(of_node),
            (given, of_node) => given.or(of_node),
        };
        let (value, origin) = match given {
            Some(Sourced { value, origin }) => match parse(&value) {
                Ok(value) => (value, origin),
                Err(reason) => {
                    self.fault(key, reason, Some(origin));
                    return None;
                }
            },
            None => (default()?, Origin::Default),
        };
        self.explained.push(Explained { key, value: value.to_string(), origin });
        Some(value)
    }

    /// Where the resolved value of `key` came from.
    fn origin(&self, key: &str) -> Option<Origin> {
        let explained = self.explained.iter().find(|explained| explained.key == key);
        explained.map(|explained| explained.origin.clone())
    }

    fn fault(&mut self, key: &str, reason: impl Into<String>, origin: Option<Origin>) {
        self.faults.push(Fault { key: key.into(), reason: reason.into(), origin });
    }
}

fn voters_of(voters: usize, seeds: Vec<String>, only: Option<BTreeSet<String>>) -> Bootstrap {
    match voters {
        0 => Bootstrap::Join,
        1 => Bootstrap::Alone,
        _ => Bootstrap::Expect { voters, seeds, only },
    }
}

fn dial(node: &NodeEntry) -> String {
    format!("{}:{}", bracketed(&node.host), node.peer_port)
}

/// What a node of that host binds: the host when it is an address or `localhost`, else everything (a
/// name may lead to it through a translator, so it need not be an address of the machine).
fn bind(host: &str, port: u16) -> String {
    let is_local = host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_local { format!("{}:{port}", bracketed(host)) } else { format!("0.0.0.0:{port}") }
}

/// A word that shows itself as it would be written.
struct Word<T>(T);

impl<T: ValueEnum> Display for Word<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&parse::spelling(&self.0))
    }
}

/// A list that shows itself as it would be written.
struct Listed(Vec<String>);

impl Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

fn dial_list(text: &str) -> Result<Listed, String> {
    parse::list(text).map(parse::dial_address).collect::<Result<_, _>>().map(Listed)
}

pub(super) fn hold_ms(text: &str) -> Result<u64, String> {
    parse::milliseconds(text, 0..=60_000)
}

/// A filter of tracing's; the older system's `WARNING` and `CRITICAL` are understood.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let level = match text.to_ascii_lowercase().as_str() {
        "warning" => "warn".into(),
        "critical" => "error".into(),
        _ if text.contains(['=', ',']) => text.to_owned(),
        lower => lower.to_owned(),
    };
    let is_level = ["trace", "debug", "info", "warn", "error", "off"].contains(&level.as_str());
    if is_level || (level.contains('=') && EnvFilter::try_new(&level).is_ok()) {
        Ok(level)
    } else {
        Err(format!(
            "`{text}` is no level (trace, debug, info, warn, error, off) or `target=level`"
        ))
    }
}

#[cfg(test)]
mod tests;
