//! The process of a server, as its operator orders it about over HTTP.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Notify;

use super::logging::LogControl;
use crate::{
    config::{CHANGEABLE, Change, Config, Explained},
    http::{Hold, Operator},
    wire::{ApiError, Setting},
};

/// What can be ordered of a running `queue serve`.
#[derive(Debug)]
pub(super) struct Console {
    settings: Mutex<Vec<Explained>>,
    hold: Hold,
    log: LogControl,
    stop: Notify,
}

impl Console {
    pub(super) fn new(config: &Config, log: LogControl) -> Self {
        Self {
            settings: Mutex::new(config.explained.clone()),
            hold: Hold::new(Duration::from_millis(config.hold_ms)),
            log,
            stop: Notify::new(),
        }
    }

    /// What the server holds requests by.
    pub(super) fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// Waits until the process was told to stop.
    pub(super) async fn told_to_stop(&self) {
        self.stop.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Explained>> {
        self.settings.lock().expect("nothing panics while the settings are locked")
    }
}

impl Operator for Console {
    fn shut_down(&self) {
        // Kept for who comes to wait later.
        self.stop.notify_one();
    }

    fn settings(&self) -> Vec<Setting> {
        let setting = |line: &Explained| Setting {
            key: line.key.to_owned(),
            value: line.value.clone(),
            origin: line.origin.to_string(),
            changeable: CHANGEABLE.contains(&line.key),
        };
        self.lock().iter().map(setting).collect()
    }

    fn change(&self, values: &BTreeMap<String, String>) -> Result<(), ApiError> {
        let values = values.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let change =
            Change::resolve(values).map_err(|fault| ApiError::invalid(&fault.key, fault.reason))?;
        let mut settings = self.lock();
        // First what can fail, so that a failure changes nothing.
        if let Some(level) = &change.log {
            self.log.set(level).map_err(|reason| ApiError::invalid("log", reason))?;
        }
        if let Some(hold_ms) = change.hold_ms {
            self.hold.set(Duration::from_millis(hold_ms));
        }
        change.enter(&mut settings);
        drop(settings);
        tracing::info!(?change, "settings were changed by POST /admin/config");
        Ok(())
    }
}
