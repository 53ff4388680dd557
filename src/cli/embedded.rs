//! A server of one's own, for a command that finds none: a single voter with a real log, in this
//! process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use ulid::Ulid;

use super::{Exit, Failure, server::Server};
use crate::config::{Config, ConfigFile, Raw, Side, Surroundings};

/// Below the ports that systems hand out to outgoing connections, so that none of those is in the way.
const PORTS: std::ops::Range<u16> = 20_000..32_766;
/// How many pairs of ports are tried.
const TRIES: u16 = 50;

/// A running server and where it keeps its data.
pub(super) struct Embedded {
    server: Server,
    /// The base URL.
    pub(super) address: String,
    data: Data,
}

/// Where the data is, and what becomes of it.
enum Data {
    Kept,
    Temporary(PathBuf),
}

impl Embedded {
    /// Starts a single voter in `data_dir`, or in a fresh folder that is removed at the end.
    pub(super) async fn start(
        data_dir: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Self, Failure> {
        let (dir, data) = if let Some(dir) = data_dir {
            (dir.to_owned(), Data::Kept)
        } else {
            let name = format!("queue-run-{}", Ulid::generate());
            let dir = surroundings.temporary_folder().join(name);
            (dir.clone(), Data::Temporary(dir))
        };
        let (server, listen) = start_on_a_free_port(&dir).await?;
        Ok(Self { server, address: format!("http://{listen}"), data })
    }

    /// Waits until it cannot go on, and says why.
    pub(super) async fn failed(&self) -> String {
        self.server.failed().await
    }

    /// Stops it, and removes what was to be removed.
    pub(super) async fn stop(self) {
        self.server.stop().await;
        if let Data::Temporary(dir) = self.data
            && let Err(error) = tokio::fs::remove_dir_all(&dir).await
        {
            tracing::warn!(dir = %dir.display(), %error, "cannot remove a temporary folder");
        }
    }
}

/// Another process may take a port between the look and the use: then the next pair is tried.
async fn start_on_a_free_port(dir: &Path) -> Result<(Server, SocketAddr), Failure> {
    let first = Ulid::generate().random() % u128::from(PORTS.end - PORTS.start);
    let first = u16::try_from(first).expect("a remainder is below its divisor");
    let mut refused = None;
    for step in 0..TRIES {
        let port = PORTS.start + (first + step * 2) % (PORTS.end - PORTS.start);
        let config = config(dir, port)?;
        match Server::start(&config, None, Arc::new(raft::disk::OsDisk)).await {
            Ok(server) => return Ok((server, config.listen)),
            Err(failure) if failure.is("address_unavailable") => refused = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    let nothing = || Failure::new(Exit::FAILED, "address_unavailable", "no port is free");
    Err(refused.unwrap_or_else(nothing))
}

/// Only what is said here counts: settings meant for a real server are none for this one.
fn config(dir: &Path, port: u16) -> Result<Config, Failure> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let flags = [
        ("node_id", "run".to_owned()),
        ("data_dir", dir.display().to_string()),
        ("listen", listen.to_string()),
        ("drain_ms", "1000".to_owned()),
        ("gossip", "off".to_owned()),
    ];
    let nothing_else = Surroundings::default();
    let raw = Raw::layered(Side::Server, &flags, ConfigFile::default(), &nothing_else);
    Ok(Config::resolve(&raw, &nothing_else)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_that_may_be_tried_is_below_the_ephemeral_ones_with_its_peer_port() {
        for port in [PORTS.start, PORTS.end - 1] {
            let config = config(Path::new("/d"), port).unwrap();
            assert!(config.listen.port() < 32_768 && config.peer_listen.port() < 32_768);
            assert!(config.listen.ip().is_loopback());
        }
    }
}
