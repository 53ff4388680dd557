//! A node that knows where the cluster is and has another key: what it sends is well made, and nobody can
//! open it.

use std::{fs, net::Ipv4Addr, process::Stdio};

use super::{Cluster, Process, nodes::HTTP_PORT};
use crate::exit::Failure;

/// Its name, and its leg of the hub.
const NAME: &str = "stranger";
const LEG: u8 = 200;

/// It runs until it is dropped.
pub(crate) struct Stranger {
    pub(crate) name: &'static str,
    pub(crate) address: Ipv4Addr,
    process: Process,
}

impl Cluster {
    /// Starts the one there may be. Needs the hub, for without it gossip is not sealed.
    pub(crate) fn add_stranger(&mut self) -> Result<Stranger, Failure> {
        if !self.binary.has_gossip_keys {
            let why = "this `queue` does not seal its gossip (serve --gossip-key-file)";
            return Err(Failure::Unable(why.to_owned()));
        }
        let key = self.make_key("stranger.key")?;
        let hub = self.hub.as_mut().expect("a stranger is given a hub");
        let address = hub.add_leg(NAME, LEG)?;
        let log_path = self.log_path(NAME);
        let log = fs::File::create(&log_path)
            .map_err(Failure::harness(log_path.display().to_string()))?;
        let seeds: Vec<String> = self.nodes.iter().map(|node| node.peer.to_string()).collect();
        let mut command = self.command_at(NAME);
        command
            .args(["serve", "--node-id", NAME, "--insecure", "--data-dir"])
            .arg(self.directory().join(NAME))
            .args(["--listen", &format!("{address}:{HTTP_PORT}")])
            .args(["--peer-listen", &format!("{address}:{}", HTTP_PORT + 1)])
            .args(["--join", &seeds.join(","), "--gossip-key-file"])
            .arg(&key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let process = Process::start(&mut command, &self.sweeper)?;
        Ok(Stranger { name: NAME, address, process })
    }
}

impl Stranger {
    pub(crate) fn lives(&self) -> bool {
        self.process.lives()
    }
}
