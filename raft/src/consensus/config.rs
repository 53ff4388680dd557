//! How openraft is told to behave, and why.

use std::sync::Arc;

use openraft::{Config, SnapshotPolicy};

use crate::{OpenError, Options};

/// openraft's configuration for these options.
pub(crate) fn config(options: &Options) -> Result<Arc<Config>, OpenError> {
    let timing = options.timing;
    let config = Config {
        cluster_name: options.cluster.clone(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_min_ms,
        election_timeout_max: timing.election_max_ms,
        // A node that was cut off must not come back with a term that deposes the leader.
        enable_pre_vote: Some(true),
        // Its machine is in memory: a restarted leader is elected again, or it is none.
        enable_leader_restore: Some(false),
        // A leader that no quorum hears falls silent, so that those who still hear it can elect
        // another; after so long it speaks again, in case everybody waits for somebody.
        quorum_loss_probe_interval: Some(timing.quorum_loss_ms()),
        max_payload_entries: 1024,
        // We say when (by bytes), and openraft's defaults would make any pause a full transfer.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: options.kept_entries,
        replication_lag_threshold: options.kept_entries.max(1),
        install_snapshot_timeout: 60_000,
        ..Config::default()
    };
    let config = config.validate().map_err(|error| OpenError::Options(error.to_string()))?;
    Ok(Arc::new(config))
}
