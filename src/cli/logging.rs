//! What a server logs, and where to: stderr.

use tracing_subscriber::EnvFilter;

use super::report::Look;
use crate::config::{Config, LogFormat};

/// Changes what is logged, from the next event on.
pub(super) struct LogControl(Box<Reload>);

type Reload = dyn Fn(&str) -> Result<(), String> + Send + Sync;

impl std::fmt::Debug for LogControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogControl")
    }
}

impl LogControl {
    /// Logs at this level, or as these `target=level` pairs say. Nothing is changed after an error.
    pub(super) fn set(&self, level: &str) -> Result<(), String> {
        (self.0)(level)
    }
}

/// Begins to log.
pub(super) fn start(config: &Config, look: Look) -> LogControl {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter(&config.log)))
        .with_writer(std::io::stderr)
        .with_ansi(look.is_colored);
    match config.log_format {
        LogFormat::Text => {
            let subscriber = subscriber.with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            LogControl(Box::new(move |level| {
                handle.reload(EnvFilter::new(filter(level))).map_err(|error| error.to_string())
            }))
        }
        LogFormat::Json => {
            let subscriber = subscriber.json().with_filter_reloading();
            let handle = subscriber.reload_handle();
            subscriber.init();
            LogControl(Box::new(move |level| {
                handle.reload(EnvFilter::new(filter(level))).map_err(|error| error.to_string())
            }))
        }
    }
}

/// A bare level is that of this program. The crates below it report errors only, whatever the level:
/// what they warn of, at every heartbeat, `raft` says once.
fn filter(level: &str) -> String {
    if level.contains('=') {
        level.to_owned()
    } else {
        format!("error,quorate={level},raft={level},membership={level},sled=off")
    }
}
