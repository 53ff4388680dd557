//! The nodes of one cluster under test: started, asked for their standing, waited for.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Agent, Binary, Control, Process};
use crate::{exit::Failure, network::Hub, sweeper::Sweeper};

/// In a namespace of its own every node has the contract's ports.
pub(super) const HTTP_PORT: u16 = 8770;
/// How long a cluster may take to come up, or to come back.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at the nodes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a cluster is made of.
pub(crate) struct Plan {
    pub(crate) nodes: u8,
    pub(crate) binary: Binary,
    /// Whether each node has a network namespace; else all listen on the loopback interface.
    pub(crate) in_namespaces: bool,
    /// Below which the data directories are; the system's temporary folder unless it is given.
    pub(crate) folder: Option<PathBuf>,
    /// Flags of `queue serve` beyond the harness's own.
    pub(crate) serve_flags: Vec<String>,
}

/// One node: where it is, and its process while it runs.
pub(crate) struct Node {
    pub(crate) label: String,
    pub(crate) http: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) process: Option<Process>,
}

/// Several nodes that are, or were, one cluster. Dropping it ends them and removes their directories.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) hub: Option<Hub>,
    pub(crate) control: Control,
    pub(crate) sweeper: Arc<Sweeper>,
    pub(crate) binary: Binary,
    directory: tempfile::TempDir,
    flags: Vec<String>,
    gossip_key: Option<PathBuf>,
}

impl Cluster {
    /// Starts all nodes and waits until they are one settled cluster.
    pub(crate) fn start(plan: &Plan, sweeper: &Arc<Sweeper>) -> Result<Self, Failure> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("jepsen-like-");
        let folder = plan.folder.clone().unwrap_or_else(std::env::temp_dir);
        let directory =
            builder.tempdir_in(&folder).map_err(Failure::harness(folder.display().to_string()))?;
        sweeper.remove(directory.path());
        let mut hub = plan.in_namespaces.then(Hub::new);
        let nodes =
            (1..=plan.nodes).map(|number| place(hub.as_mut(), number)).collect::<Result<_, _>>()?;
        let mut cluster = Self {
            nodes,
            agents: vec![],
            hub,
            control: Control::new()?,
            sweeper: Arc::clone(sweeper),
            binary: plan.binary.clone(),
            directory,
            flags: plan.serve_flags.clone(),
            gossip_key: None,
        };
        cluster.protect_gossip()?;
        for index in 0..cluster.nodes.len() {
            cluster.start_node(index)?;
        }
        cluster.wait_settled("the cluster comes up")?;
        Ok(cluster)
    }

    /// Where clients may reach other machines, gossip wants a key.
    fn protect_gossip(&mut self) -> Result<(), Failure> {
        if self.hub.is_some() && self.binary.has_gossip_keys {
            self.gossip_key = Some(self.make_key("gossip.key")?);
        }
        Ok(())
    }

    /// Has the binary write a fresh key into a file of this name.
    pub(super) fn make_key(&self, name: &str) -> Result<PathBuf, Failure> {
        let key = self.directory.path().join(name);
        let made = Command::new(&self.binary.path)
            .arg("keygen")
            .arg(&key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(Failure::harness("queue keygen"))?;
        if !made.success() {
            return Err(Failure::Unable("`queue keygen` makes no gossip key".to_owned()));
        }
        Ok(key)
    }

    /// What nodes and agents are told of the key.
    pub(super) fn gossip_key_flags(&self) -> Vec<&OsStr> {
        let flags = |key| vec![OsStr::new("--gossip-key-file"), key];
        self.gossip_key.as_ref().map(|key| flags(key.as_os_str())).unwrap_or_default()
    }

    /// Starts one node; its log goes on in `LABEL.log`.
    pub(crate) fn start_node(&mut self, index: usize) -> Result<(), Failure> {
        let node = &self.nodes[index];
        let log_path = self.log_path(&node.label);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(Failure::harness(log_path.display().to_string()))?;
        let seeds: Vec<String> = self.nodes.iter().map(|node| node.peer.to_string()).collect();
        let mut command = self.command_at(&node.label);
        command
            .args(["serve", "--node-id", &node.label, "--data-dir"])
            .arg(self.directory.path().join(&node.label))
            .args(["--listen", &node.http.to_string()])
            .args(["--peer-listen", &node.peer.to_string()])
            .args(["--bootstrap-expect", &self.nodes.len().to_string()])
            .args(["--join", &seeds.join(",")])
            .args(self.hub.as_ref().map(|_| "--insecure"))
            .args(self.gossip_key_flags())
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let process = Process::start(&mut command, &self.sweeper)?;
        self.nodes[index].process = Some(process);
        Ok(())
    }

    /// A command of the binary under test that will run where this name is: in its namespace, if it has
    /// one. No variable of ours reaches it.
    pub(crate) fn command_at(&self, name: &str) -> Command {
        let mut command = if self.hub.is_some() {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", name]).arg(&self.binary.path);
            command
        } else {
            Command::new(&self.binary.path)
        };
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("QUEUE_") {
                command.env_remove(key);
            }
        }
        command
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    /// Leaves the directory, with the logs in it, for somebody to look at.
    pub(crate) fn keep_directory(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.sweeper.keep(self.directory.path());
        self.directory.path().to_owned()
    }

    /// What a node says of its election; `None` when it does not answer.
    pub(crate) fn election(&self, index: usize) -> Option<Value> {
        self.control.get(self.nodes[index].http, "/election/status")
    }

    /// The node that these say leads; `None` while they do not agree.
    pub(crate) fn leader_among(&self, indexes: &[usize]) -> Option<usize> {
        let mut agreed: Option<String> = None;
        for index in indexes {
            let election = self.election(*index)?;
            let label = election["leader_id"].as_str().filter(|label| !label.is_empty())?;
            if agreed.get_or_insert_with(|| label.to_owned()) != label {
                return None;
            }
        }
        self.nodes.iter().position(|node| Some(&node.label) == agreed.as_ref())
    }

    /// The node that all say leads.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.leader_among(&(0..self.nodes.len()).collect::<Vec<_>>())
    }

    /// Waits until every node is ready.
    pub(crate) fn wait_ready(&self, what: &str) -> Result<(), Failure> {
        self.eventually(what, || {
            let is_ready = |node: &Node| self.control.get(node.http, "/ready").is_some();
            self.nodes.iter().all(is_ready).then_some(())
        })
    }

    /// Waits until every node is ready, all agree on the leader, and all have applied the same. Without
    /// traffic that comes to pass.
    pub(crate) fn wait_settled(&self, what: &str) -> Result<usize, Failure> {
        self.wait_ready(what)?;
        self.eventually(what, || {
            let leader = self.leader()?;
            let mut applied = self.nodes.iter().map(|node| {
                self.control
                    .get(node.http, "/status")
                    .and_then(|body| body["applied_index"].as_u64())
            });
            let first = applied.next()??;
            applied.all(|index| index == Some(first)).then_some(leader)
        })
    }

    /// Asks until there is an answer, for at most a minute.
    pub(crate) fn eventually<T>(
        &self,
        what: &str,
        mut ask: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask() {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                return Err(Failure::Cluster(format!(
                    "not within {} s: {what}\n{}",
                    PATIENCE.as_secs(),
                    self.last_lines()
                )));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// The ends of all logs.
    fn last_lines(&self) -> String {
        let nodes = self.nodes.iter().map(|node| &node.label);
        let ends = nodes.chain(self.agents.iter().map(|agent| &agent.name)).map(|name| {
            let log = fs::read_to_string(self.log_path(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(12)..].join("\n  ");
            format!("{name}:\n  {end}")
        });
        ends.collect::<Vec<_>>().join("\n")
    }
}

fn place(hub: Option<&mut Hub>, number: u8) -> Result<Node, Failure> {
    let label = format!("n{number}");
    let (http, peer) = if let Some(hub) = hub {
        let address = hub.add_leg(&label, number)?;
        ((address, HTTP_PORT).into(), (address, HTTP_PORT + 1).into())
    } else {
        ((Ipv4Addr::LOCALHOST, free_port()).into(), (Ipv4Addr::LOCALHOST, free_port()).into())
    };
    Ok(Node { label, http, peer, process: None })
}

/// A port below the ephemeral range on which nothing listens, given out once by this process.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 14_000 + u16::try_from(std::process::id() % 800).expect("below 800") * 20;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
