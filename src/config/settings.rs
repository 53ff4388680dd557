//! Every setting there is, in one table: the file's keys, the flags (`drain_ms` is `--drain-ms`) and the
//! variables (`QUEUE_DRAIN_MS`) are all made from it, and `config/example.toml` is tested against it.

/// Who reads a setting. One file may hold both kinds; each side passes over the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `queue serve`.
    Server,
    /// Every other command.
    Client,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in a file.
    pub key: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// The variable of the system that this one replaces, looked at after `variable`.
    pub older_variable: Option<&'static str>,
    /// Who reads it.
    pub side: Side,
    /// The default as `config/example.toml` shows it; empty when it is derived from other settings.
    pub default: &'static str,
}

const fn server(key: &'static str, variable: &'static str, default: &'static str) -> Setting {
    Setting { key, variable, older_variable: None, side: Side::Server, default }
}

const fn client(key: &'static str, variable: &'static str, default: &'static str) -> Setting {
    Setting { key, variable, older_variable: None, side: Side::Client, default }
}

const fn formerly(older: &'static str, setting: Setting) -> Setting {
    Setting { older_variable: Some(older), ..setting }
}

/// The table, in the order in which `--print-config` shows it.
pub const SETTINGS: [Setting; 30] = [
    formerly("P2P_NODE_ID", server("node_id", "QUEUE_NODE_ID", "")),
    formerly("P2P_DATA_DIR", server("data_dir", "QUEUE_DATA_DIR", "")),
    formerly("P2P_PORT", server("listen", "QUEUE_LISTEN", "127.0.0.1:8770")),
    server("peer_listen", "QUEUE_PEER_LISTEN", ""),
    server("peer_advertise", "QUEUE_PEER_ADVERTISE", ""),
    server("insecure", "QUEUE_INSECURE", "false"),
    server("cluster", "QUEUE_CLUSTER", "quorate"),
    server("bootstrap_expect", "QUEUE_BOOTSTRAP_EXPECT", "1"),
    server("join", "QUEUE_JOIN", ""),
    server("timing", "QUEUE_TIMING", "lan"),
    server("lifeline", "QUEUE_LIFELINE", "true"),
    server("gossip", "QUEUE_GOSSIP", "true"),
    server("gossip_key_file", "QUEUE_GOSSIP_KEY_FILE", ""),
    server("gossip_profile", "QUEUE_GOSSIP_PROFILE", "lan"),
    server("hold_ms", "QUEUE_HOLD_MS", "5000"),
    server("drain_ms", "QUEUE_DRAIN_MS", "10000"),
    server("max_connections", "QUEUE_MAX_CONNECTIONS", "8192"),
    server("max_body_bytes", "QUEUE_MAX_BODY_BYTES", "8388608"),
    server("segment_bytes", "QUEUE_SEGMENT_BYTES", "67108864"),
    server("snapshot_log_bytes", "QUEUE_SNAPSHOT_LOG_BYTES", "268435456"),
    server("kept_entries", "QUEUE_KEPT_ENTRIES", "10000"),
    server("disk_reserve_bytes", "QUEUE_DISK_RESERVE_BYTES", "268435456"),
    server("archive_max_jobs", "QUEUE_ARCHIVE_MAX_JOBS", "1000000"),
    server("archive_max_bytes", "QUEUE_ARCHIVE_MAX_BYTES", "4294967296"),
    formerly("P2P_LOG_LEVEL", server("log", "QUEUE_LOG", "info")),
    server("log_format", "QUEUE_LOG_FORMAT", "text"),
    client("addr", "QUEUE_ADDR", "http://127.0.0.1:8770"),
    client("output", "QUEUE_OUTPUT", ""),
    client("color", "QUEUE_COLOR", "auto"),
    client("timeout", "QUEUE_TIMEOUT", "10s"),
];

/// The setting of that name.
pub(super) fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
