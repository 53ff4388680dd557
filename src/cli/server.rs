//! A node and its HTTP, put together: what `serve` runs, and what `run` embeds.

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use membership::{Keyring, KeyringError, Profile};
use tokio::{
    net::{TcpListener, TcpSocket, UdpSocket},
    sync::oneshot,
};
use ulid::Ulid;

use super::{Exit, Failure, operator::Console};
use crate::{
    archive::{self, DiskArchive},
    config::{Bootstrap, Config, GossipProfile, TimingPreset},
    http::{self, Exposure, Hold, HttpOptions},
    node::{
        self, Archive, GossipOptions, Handle, MachineClock, NoArchive, Node, NodeOptions,
        OpenError, RaftRuntime, Space,
    },
};

/// How long a server that stops waits for its archive, which is written a little later than the log.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(2);

/// A running node that serves HTTP.
pub(super) struct Server {
    handle: Handle,
    archive: Option<Arc<DiskArchive>>,
    http: http::Server,
    stop_http: oneshot::Sender<()>,
}

impl Server {
    /// Opens the node and serves it; orders over HTTP go to `console`. Nothing is written before both ports are known to be free.
    pub(super) async fn start(
        config: &Config,
        console: Option<&Arc<Console>>,
        disk: Arc<dyn raft::Disk>,
    ) -> Result<Self, Failure> {
        let gossip = gossip(config)?;
        let http_port = reserve("listen", config.listen)?;
        drop(reserve("peer_listen", config.peer_listen)?);
        if gossip.is_some() {
            drop(reserve_datagrams(config.peer_listen).await?);
        }
        let archive = archive(config).map(Arc::new);
        let environment = environment(disk, archive.clone());
        // Opening takes much room, once: it is not carried along through everything that starts a server.
        let opening = Node::open(node_options(config, gossip), environment, RaftRuntime::Own);
        let opened = Box::pin(opening).await;
        let handle = opened.map_err(|error| of_open_error(&error))?;
        if let Some(archive) = &archive {
            archive.start(); // Now that the data directory is known to be this node's.
        }
        let (stop_http, stopping) = oneshot::channel();
        let shutdown = async { drop(stopping.await) };
        let served = listen(http_port, config.listen).and_then(|listener| {
            http::serve_on(listener, http_options(config, console), handle.clone(), shutdown)
                .map_err(|error| Failure::new(Exit::USAGE, "listen", error.to_string()))
        });
        match served {
            Ok(http) => Ok(Self { handle, archive, http, stop_http }),
            Err(failure) => {
                handle.stop().await;
                Err(failure)
            }
        }
    }

    /// Waits until the node cannot go on, and says why.
    pub(super) async fn failed(&self) -> String {
        self.handle.failed().await
    }

    /// Hands leadership over, answers what is under way, and stops. Requests are served until the last
    /// connection is closed, most of the time through whoever leads then.
    pub(super) async fn stop(self) {
        self.handle.leave().await;
        let _ = self.stop_http.send(());
        self.http.stopped().await;
        self.handle.stop().await;
        if let Some(archive) = self.archive {
            let closed = tokio::task::spawn_blocking(move || archive.close(ARCHIVE_PATIENCE)).await;
            if !matches!(closed, Ok(true)) {
                tracing::warn!("stopping without the last of the archive of finished jobs");
            }
        }
    }
}

/// How many connections may wait to be accepted, as far as the kernel lets them.
const BACKLOG: u32 = 1024;

/// Binds a port that the node will need, to learn before anything is written that it can. Nobody listens
/// there yet: until the node is open, clients are refused and go to another one at once, where a
/// listener would have them wait for an answer.
fn reserve(key: &str, address: SocketAddr) -> Result<TcpSocket, Failure> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As listeners do: connections of a former process may still be winding up.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bind().map_err(|error| cannot_listen(key, &address.to_string(), &error))
}

/// Listens on a port that was reserved. Another process that shares it may have been faster.
fn listen(reserved: TcpSocket, address: SocketAddr) -> Result<TcpListener, Failure> {
    let listening = reserved.listen(BACKLOG);
    listening.map_err(|error| cannot_listen("listen", &address.to_string(), &error))
}

/// As [`reserve`], the UDP port of gossip.
async fn reserve_datagrams(address: SocketAddr) -> Result<UdpSocket, Failure> {
    let bound = UdpSocket::bind(address).await;
    bound.map_err(|error| cannot_listen("peer_listen", &format!("{address} (UDP)"), &error))
}

fn cannot_listen(key: &str, address: &str, error: &io::Error) -> Failure {
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => format!("{key}: {address} is in use by another process"),
        _ => format!("{key}: cannot listen on {address}: {error}"),
    };
    Failure::new(Exit::USAGE, "address_unavailable", message)
}

/// The archive that the configuration asks for, not open yet.
fn archive(config: &Config) -> Option<DiskArchive> {
    (config.archive_max_bytes > 0).then(|| {
        DiskArchive::new(archive::Options {
            directory: config.data_dir.join("archive"),
            jobs_max: config.archive_max_jobs,
            bytes_max: config.archive_max_bytes,
            reserve_bytes: config.disk_reserve_bytes,
            space: space(),
        })
    })
}

fn space() -> Arc<dyn Space> {
    Arc::new(node::FileSystem)
}

fn environment(disk: Arc<dyn raft::Disk>, archive: Option<Arc<DiskArchive>>) -> node::Environment {
    let archive: Arc<dyn Archive> = match archive {
        Some(archive) => archive,
        None => Arc::new(NoArchive),
    };
    // A replica's id is drawn from the seed and has to be unlike any other's, for ever.
    let random = Ulid::generate().random();
    let seed = u64::try_from(random & u128::from(u64::MAX)).expect("the mask leaves 64 bits");
    node::Environment {
        raft: raft::Environment { disk, net: Arc::new(raft::OsNet), seed },
        clock: Arc::new(MachineClock::start()),
        space: space(),
        archive,
    }
}

fn node_options(config: &Config, gossip: Option<GossipOptions>) -> NodeOptions {
    NodeOptions {
        raft: raft::Options {
            cluster: config.cluster.clone(),
            label: config.node_id.clone(),
            data_dir: config.data_dir.clone(),
            listen: config.peer_listen,
            advertise: config.peer_advertise.clone(),
            bootstrap: bootstrap(&config.bootstrap),
            timing: match config.timing {
                TimingPreset::Lan if config.has_lifeline => raft::Timing::lan_beside_lifeline(),
                TimingPreset::Lan => raft::Timing::lan(),
                TimingPreset::Wide => raft::Timing::wide(),
            },
            lifeline: config.has_lifeline.then(|| match config.timing {
                TimingPreset::Lan => raft::Lifeline::lan(),
                TimingPreset::Wide => raft::Lifeline::wide(),
            }),
            segment_bytes: config.segment_bytes,
            snapshot_log_bytes: config.snapshot_log_bytes,
            kept_entries: config.kept_entries,
        },
        limits: node::Limits::default(),
        disk_reserve_bytes: config.disk_reserve_bytes,
        gossip,
    }
}

/// How the node gossips, if it does. Reads the keys.
fn gossip(config: &Config) -> Result<Option<GossipOptions>, Failure> {
    let Some(gossip) = &config.gossip else { return Ok(None) };
    let keyring = gossip.key_file.as_deref().map(keyring).transpose()?;
    Ok(Some(GossipOptions {
        profile: match gossip.profile {
            GossipProfile::Local => Profile::Local,
            GossipProfile::Lan => Profile::Lan,
            GossipProfile::Wan => Profile::Wan,
        },
        keyring,
        seeds: gossip.seeds.clone(),
        http_address: http_address(config),
        labels: config.labels.clone(),
    }))
}

/// Reads the keys that seal the cluster's gossip.
pub(super) fn keyring(file: &Path) -> Result<Keyring, Failure> {
    Keyring::read(file).map_err(|error| {
        let message = match &error {
            KeyringError::Unreadable { .. } => format!("gossip_key_file: {error}"),
            _ => format!("gossip_key_file: {}: {error}", file.display()),
        };
        Failure::new(Exit::USAGE, "invalid_configuration", message)
    })
}

/// Where clients of other machines find it: the address that it listens at, or, when that is every
/// address, the host that it names to its peers.
fn http_address(config: &Config) -> String {
    let host = config.peer_advertise.rsplit_once(':').map_or("", |(host, _)| host);
    if config.listen.ip().is_unspecified() && !host.is_empty() {
        format!("{host}:{}", config.listen.port())
    } else {
        config.listen.to_string()
    }
}

fn bootstrap(bootstrap: &Bootstrap) -> raft::Bootstrap {
    match bootstrap.clone() {
        Bootstrap::Alone => raft::Bootstrap::Alone,
        Bootstrap::Join => raft::Bootstrap::Join,
        Bootstrap::Expect { voters, seeds, only } => {
            raft::Bootstrap::Expect { voters, seeds, only }
        }
    }
}

fn http_options(config: &Config, console: Option<&Arc<Console>>) -> HttpOptions {
    let hold = Duration::from_millis(config.hold_ms);
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    // The server checks the address again: it is to refuse whatever nobody has accepted.
    let is_exposed = config.insecure && !config.listen.ip().is_loopback();
    HttpOptions {
        listen: config.listen,
        exposure: if is_exposed { Exposure::Insecure } else { Exposure::LoopbackOnly },
        limits: http::Limits {
            body_bytes_max: bytes(config.max_body_bytes),
            connections_max: bytes(config.max_connections),
            hold: console.map_or_else(|| Hold::new(hold), |console| console.hold()),
            // Without a console the only clients are in this process, and done.
            farewell: console.map_or(Duration::ZERO, |_| http::Limits::default().farewell),
            drain_timeout: Duration::from_millis(config.drain_ms),
            ..http::Limits::default()
        },
        operator: console.map(|console| Arc::clone(console) as Arc<dyn http::Operator>),
    }
}

/// Usage, when somebody has to say something else on the command line; a failure, when the disk's
/// content or the disk itself is at fault.
fn of_open_error(error: &OpenError) -> Failure {
    let (exit, code) = match error {
        OpenError::Raft(error) => match error {
            raft::OpenError::WrongDirectory { .. } => (Exit::USAGE, "wrong_directory"),
            raft::OpenError::Locked { .. } => (Exit::USAGE, "directory_in_use"),
            raft::OpenError::Listen { .. } => (Exit::USAGE, "address_unavailable"),
            raft::OpenError::Options(_) => (Exit::USAGE, "invalid_configuration"),
            raft::OpenError::Corrupt { .. } => (Exit::FAILED, "corrupt"),
            raft::OpenError::Io { source, .. } if is_wrong_place(source.kind()) => {
                (Exit::USAGE, "directory_unusable")
            }
            raft::OpenError::Io { .. } => (Exit::FAILED, "io"),
        },
        OpenError::Threads(_) => (Exit::FAILED, "threads"),
        OpenError::Gossip(_) => (Exit::USAGE, "address_unavailable"),
    };
    Failure::new(exit, code, error.to_string())
}

/// Whether an error says that another directory would do.
fn is_wrong_place(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use raft::{Lifeline, Timing};

    use super::*;
    use crate::config::{ConfigFile, Raw, Side, Surroundings};

    /// An address that other machines reach is served only when that was accepted, and accepting it
    /// changes nothing for one that they do not reach.
    #[test]
    fn only_an_accepted_open_address_is_exposed() {
        let config = |listen: &str| {
            let flags = [
                ("data_dir", "/d".to_owned()),
                ("listen", listen.to_owned()),
                ("insecure", "true".to_owned()),
                ("gossip", "off".to_owned()),
            ];
            let surroundings = Surroundings::default();
            let raw = Raw::layered(Side::Server, &flags, ConfigFile::default(), &surroundings);
            Config::resolve(&raw, &surroundings).unwrap()
        };
        let (closed, open) = (config("127.0.0.1:9000"), config("10.1.2.3:9000"));
        assert_eq!(http_options(&closed, None).exposure, Exposure::LoopbackOnly);
        assert_eq!(http_options(&open, None).exposure, Exposure::Insecure);
        let not_accepted = Config { insecure: false, ..open };
        assert_eq!(http_options(&not_accepted, None).exposure, Exposure::LoopbackOnly);
    }

    #[test]
    fn a_directory_or_port_that_cannot_be_had_is_usage_and_corruption_is_a_failure() {
        let dir = PathBuf::from("d");
        let io =
            |kind: io::ErrorKind| raft::OpenError::Io { action: "x".into(), source: kind.into() };
        let reason = String::new();
        for (error, exit) in [
            (raft::OpenError::Locked { dir: dir.clone() }, Exit::USAGE),
            (
                raft::OpenError::WrongDirectory { dir: dir.clone(), reason: reason.clone() },
                Exit::USAGE,
            ),
            (raft::OpenError::Options(reason.clone()), Exit::USAGE),
            (io(io::ErrorKind::PermissionDenied), Exit::USAGE),
            (io(io::ErrorKind::StorageFull), Exit::FAILED),
            (raft::OpenError::Corrupt { file: dir, offset: 1, reason }, Exit::FAILED),
        ] {
            let shown = error.to_string();
            assert_eq!(of_open_error(&OpenError::Raft(error)).exit, exit, "{shown}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let failure = reserve("listen", address).unwrap_err();
        assert_eq!(
            failure.render(false),
            format!("error: listen: {address} is in use by another process\n")
        );
        assert_eq!(failure.exit, Exit::USAGE);
    }

    // Situation: two servers are given one port, and both are still opening. Claim: clients are refused
    // meanwhile, one of the two listens, and the other says what is in its way.
    #[tokio::test]
    async fn a_port_is_refused_to_clients_until_its_node_is_open_and_has_one_owner() {
        let first = reserve("listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let second = reserve("listen", address).unwrap();
        let listener = listen(first, address).unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
        let failure = listen(second, address).unwrap_err();
        assert_eq!(
            failure.render(false),
            format!("error: listen: {address} is in use by another process\n")
        );
        drop(listener);
    }

    // The numbers stand in `raft::Timing`. Claim: each choice gets those that are meant for it.
    #[test]
    fn the_timers_follow_from_the_preset_and_the_lifeline() {
        let options = |timing: &str, has_lifeline: bool| {
            let flags = [
                ("data_dir", "/d".to_owned()),
                ("timing", timing.to_owned()),
                ("lifeline", has_lifeline.to_string()),
            ];
            let surroundings = Surroundings::default();
            let raw = Raw::layered(Side::Server, &flags, ConfigFile::default(), &surroundings);
            let config = Config::resolve(&raw, &surroundings).unwrap();
            let raft::Options { timing, lifeline, .. } = node_options(&config, None).raft;
            (timing, lifeline)
        };
        assert_eq!(options("lan", false), (Timing::lan(), None));
        let beside = (Timing::lan_beside_lifeline(), Some(Lifeline::lan()));
        assert_eq!(options("lan", true), beside);
        assert_eq!(options("wide", false), (Timing::wide(), None));
        assert_eq!(options("wide", true), (Timing::wide(), Some(Lifeline::wide())));
    }
}
