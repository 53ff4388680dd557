//! `queue serve`: a node.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::{
    Exit, Failure, logging,
    operator::Console,
    report::{Look, Report, Table, complain},
    server::Server,
    session::cannot_print,
    signals::Signals,
};
use crate::config::{Config, Explained, Flag, LogFormat, Raw, Side, Surroundings};

const EXAMPLES: &str = "\
Examples:
  queue serve                                             a single voter, ready to use
  queue serve --node-id n1 --data-dir /var/lib/quorate/n1
  queue serve --config cluster.yaml --node-id n2          one file for every node
  queue serve --bootstrap-expect 3 --join n1:8771         the first of three, found through n1
  queue serve --join n1:8771                              waits to be taken into that cluster";

/// Run a node; without flags a single voter on 127.0.0.1:8770, ready to use.
///
/// Every flag has a variable (`--node-id`: `QUEUE_NODE_ID`) and a key (`node_id`) in the file that
/// `--config` names; `config/example.toml` describes them all.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ServeArgs {
    /// The node's name [default: the host's name].
    #[arg(long, value_name = "NAME")]
    node_id: Option<String>,
    /// Its directory [default: quorate/NAME in the user's data folder].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Where it serves HTTP [default: 127.0.0.1:8770].
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where it listens for the other nodes [default: one port above].
    #[arg(long, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// What it tells the other nodes to dial [default: where it listens for them].
    #[arg(long, value_name = "HOST:PORT")]
    peer_advertise: Option<String>,
    /// Where to find the cluster: any nodes of it, one that is up is enough.
    #[arg(long, value_name = "HOST:PORT,…")]
    join: Option<String>,
    /// How many voters a new cluster has, this one included [default: 1; with `--join` 0: it founds
    /// none, and waits to be taken into one].
    #[arg(long, value_name = "N")]
    bootstrap_expect: Option<String>,
    /// The cluster's name [default: quorate].
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    cluster: Option<String>,
    /// Accept addresses that other machines can reach, without encryption or passwords (gossip wants its key
    /// all the same).
    #[arg(long)]
    insecure: bool,
    /// `lan`, or `wide` for voters tens of milliseconds apart [default: lan].
    #[arg(long, value_name = "PRESET", hide_short_help = true)]
    timing: Option<String>,
    /// Whether to gossip about who is alive, over UDP: `on` or `off` [default: on].
    #[arg(long, value_name = "ON", hide_short_help = true)]
    gossip: Option<String>,
    /// The file with the keys that seal the gossip; `queue keygen` writes one.
    #[arg(long, value_name = "FILE")]
    gossip_key_file: Option<String>,
    /// `local`, `lan`, or `wan` for more than about 50 members or long ways [default: lan].
    #[arg(long, value_name = "PROFILE", hide_short_help = true)]
    gossip_profile: Option<String>,
    /// Whether voters listen to each other beside Raft: a leader that is gone is replaced within tens of
    /// milliseconds and not after a quarter of a second [default: true].
    #[arg(long, value_name = "BOOL", hide_short_help = true)]
    lifeline: Option<String>,
    /// How long a request is held while there is no leader [default: 5s].
    #[arg(long, value_name = "MS", hide_short_help = true)]
    hold_ms: Option<String>,
    /// What requests under way get to finish in when it stops [default: 10s].
    #[arg(long, value_name = "MS", hide_short_help = true)]
    drain_ms: Option<String>,
    /// The most connections at once [default: 8192].
    #[arg(long, value_name = "N", hide_short_help = true)]
    max_connections: Option<String>,
    /// The largest body of a request, bytes [default: 8388608].
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    max_body_bytes: Option<String>,
    /// The size of a log segment, bytes [default: 67108864].
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    segment_bytes: Option<String>,
    /// How much log calls for a snapshot, bytes [default: 268435456].
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    snapshot_log_bytes: Option<String>,
    /// How many entries stay in the log behind a snapshot [default: 10000].
    #[arg(long, value_name = "N", hide_short_help = true)]
    kept_entries: Option<String>,
    /// Adds are refused while less than this is free on the disk, bytes [default: 268435456].
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    disk_reserve_bytes: Option<String>,
    /// How many finished jobs the archive keeps [default: 1000000].
    #[arg(long, value_name = "N", hide_short_help = true)]
    archive_max_jobs: Option<String>,
    /// And how many bytes of them; 0: no archive [default: 4294967296].
    #[arg(long, value_name = "BYTES", hide_short_help = true)]
    archive_max_bytes: Option<String>,
    /// What is logged to stderr: a level or `target=level` pairs [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// `text` or `json` [default: text].
    #[arg(long, value_name = "FORMAT", hide_short_help = true)]
    log_format: Option<String>,
    /// Show each setting and where it came from, and exit.
    #[arg(long)]
    print_config: bool,
}

impl ServeArgs {
    /// The flags given, as settings.
    fn flags(self) -> Vec<Flag> {
        let given = [
            ("node_id", self.node_id),
            ("data_dir", self.data_dir),
            ("listen", self.listen),
            ("peer_listen", self.peer_listen),
            ("peer_advertise", self.peer_advertise),
            ("join", self.join),
            ("bootstrap_expect", self.bootstrap_expect),
            ("cluster", self.cluster),
            ("insecure", self.insecure.then(|| "true".to_owned())),
            ("timing", self.timing),
            ("lifeline", self.lifeline),
            ("gossip", self.gossip),
            ("gossip_key_file", self.gossip_key_file),
            ("gossip_profile", self.gossip_profile),
            ("hold_ms", self.hold_ms),
            ("drain_ms", self.drain_ms),
            ("max_connections", self.max_connections),
            ("max_body_bytes", self.max_body_bytes),
            ("segment_bytes", self.segment_bytes),
            ("snapshot_log_bytes", self.snapshot_log_bytes),
            ("kept_entries", self.kept_entries),
            ("disk_reserve_bytes", self.disk_reserve_bytes),
            ("archive_max_jobs", self.archive_max_jobs),
            ("archive_max_bytes", self.archive_max_bytes),
            ("log", self.log),
            ("log_format", self.log_format),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    pub(super) fn run(
        self,
        file: Option<&Path>,
        surroundings: &Surroundings,
        look: Look,
        disk: Arc<dyn raft::Disk>,
    ) -> Result<Exit, Failure> {
        let is_only_asked = self.print_config;
        let raw = Raw::load(Side::Server, &self.flags(), file, surroundings)?;
        let config = Config::resolve(&raw, surroundings)?;
        if is_only_asked {
            let printed = explain(&config.explained).print(look);
            return printed.map(|()| Exit::OK).map_err(|error| cannot_print(&error));
        }
        let console = Arc::new(Console::new(&config, logging::start(&config, look)));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let no_threads =
            |error: std::io::Error| Failure::new(Exit::FAILED, "threads", error.to_string());
        let runtime = runtime.map_err(no_threads)?;
        let ended = runtime.block_on(serve(&config, &console, disk));
        // A read that waits for a disk that hangs must not keep the process.
        runtime.shutdown_background();
        ended
    }
}

/// Serves until a signal, its operator or the node itself ends it.
async fn serve(
    config: &Config,
    console: &Arc<Console>,
    disk: Arc<dyn raft::Disk>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let server = tokio::select! {
        biased;
        server = Server::start(config, Some(console), disk) => server?,
        () = signals.next() => return Ok(Exit::INTERRUPTED),
    };
    greet(config);
    tokio::select! {
        () = signals.next() => {}
        () = console.told_to_stop() => {}
        reason = server.failed() => {
            let message = format!("node {} cannot go on: {reason}", config.node_id);
            return Err(Failure::new(Exit::FAILED, "replica_failed", message));
        }
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        biased;
        () = signals.next() => Ok(Exit::INTERRUPTED),
        () = server.stop() => Ok(Exit::OK),
    }
}

/// One line: where it serves, as whom, out of which directory.
fn greet(config: &Config) {
    let Config { node_id, listen, peer_listen, data_dir, .. } = config;
    let data_dir = data_dir.display();
    match config.log_format {
        LogFormat::Text => complain(&format!(
            "queue {}: node {node_id} serves http://{listen}, peers {peer_listen}, data {data_dir}\n",
            env!("CARGO_PKG_VERSION"),
        )),
        LogFormat::Json => {
            tracing::info!(%node_id, %listen, %peer_listen, %data_dir, "serving");
        }
    }
}

/// Each setting, its value, and where that came from.
fn explain(explained: &[Explained]) -> Report {
    let object = |line: &Explained| json!({"key": line.key, "value": line.value, "origin": line.origin.to_string()});
    let row = |line: &Explained| {
        vec![line.key.into(), line.value.as_str().into(), line.origin.to_string().into()]
    };
    let items: Vec<_> = explained.iter().map(object).collect();
    Report {
        json: Bytes::from(json!({ "settings": items }).to_string()),
        items: Some(items.iter().map(ToString::to_string).collect()),
        plain: explained.iter().map(|line| format!("{} {}", line.key, line.value)).collect(),
        table: Table {
            header: vec!["SETTING", "VALUE", "FROM"],
            rows: explained.iter().map(row).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::{
        cli::args::{Cli, Command},
        config::SETTINGS,
    };

    /// api 4.serve.flags
    #[test]
    fn every_server_setting_has_its_flag_and_every_flag_its_setting() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for setting in SETTINGS.iter().filter(|setting| setting.side == Side::Server) {
            let flag = setting.key.replace('_', "-");
            let argument = serve.get_arguments().find(|arg| arg.get_long() == Some(&flag));
            assert!(argument.is_some(), "--{flag}");
            let words = ["queue", "serve", &format!("--{flag}=7")];
            let words =
                if setting.key == "insecure" { ["queue", "serve", "--insecure"] } else { words };
            let Command::Serve(args) = Cli::try_parse_from(words).unwrap().command else {
                panic!("it is a serve")
            };
            assert_eq!(args.flags()[0].0, setting.key, "--{flag} reaches its setting");
        }
    }

    #[test]
    fn printed_settings_name_where_they_came_from() {
        let surroundings = Surroundings {
            variables: [("HOME".to_owned(), "/h".to_owned())].into(),
            host_name: None,
        };
        let flags = [("listen", "9000".to_owned())];
        let raw = Raw::load(Side::Server, &flags, None, &surroundings).unwrap();
        let report = explain(&Config::resolve(&raw, &surroundings).unwrap().explained);
        assert!(report.plain.contains(&"listen 127.0.0.1:9000".to_owned()), "{:?}", report.plain);
        let items = report.items.unwrap().join("\n");
        assert!(
            items.contains(r#"{"key":"listen","origin":"flag","value":"127.0.0.1:9000"}"#),
            "{items}"
        );
    }
}
