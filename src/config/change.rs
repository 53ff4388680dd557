//! What of a server's configuration can change while it runs.

use super::{Explained, Fault, Origin, SETTINGS, Side, server};

/// The settings that can change while a node runs; the others need a restart.
pub const CHANGEABLE: [&str; 2] = ["hold_ms", "log"];

/// A change of settings, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The new [`super::Config::hold_ms`].
    pub hold_ms: Option<u64>,
    /// The new [`super::Config::log`].
    pub log: Option<String>,
}

impl Change {
    /// Checks values by key, as a flag would give them.
    ///
    /// # Errors
    /// The first fault; nothing is to be changed then.
    pub fn resolve<'a>(
        values: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Fault> {
        let mut change = Self::default();
        for (key, value) in values {
            let taken = match key {
                "hold_ms" => server::hold_ms(value).map(|hold_ms| change.hold_ms = Some(hold_ms)),
                "log" => server::log_filter(value).map(|log| change.log = Some(log)),
                _ => Err(why_not(key)),
            };
            taken.map_err(|reason| Fault { key: key.to_owned(), reason, origin: None })?;
        }
        Ok(change)
    }

    /// Enters the change into the settings as they are shown.
    pub fn enter(&self, explained: &mut [Explained]) {
        let hold_ms = self.hold_ms.map(|hold_ms| hold_ms.to_string());
        for (key, value) in [("hold_ms", &hold_ms), ("log", &self.log)] {
            let line = explained.iter_mut().find(|line| line.key == key);
            if let (Some(line), Some(value)) = (line, value) {
                line.value.clone_from(value);
                line.origin = Origin::Request;
            }
        }
    }
}

fn why_not(key: &str) -> String {
    let is_setting =
        SETTINGS.iter().any(|setting| setting.key == key && setting.side == Side::Server);
    if is_setting {
        "cannot change while the node runs; start it again with the new value".into()
    } else {
        "is no setting of a server".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_change_is_checked_as_a_flag_is() {
        let change = Change::resolve([("hold_ms", "2s"), ("log", "WARNING")]).unwrap();
        assert_eq!(change, Change { hold_ms: Some(2000), log: Some("warn".into()) });
        assert_eq!(Change::resolve([("hold_ms", "1h")]).unwrap_err().key, "hold_ms");
        assert!(Change::resolve([("log", "loud")]).unwrap_err().reason.contains("`loud`"));
    }

    #[test]
    fn every_other_setting_needs_a_restart_and_the_rest_is_none() {
        for setting in SETTINGS.iter().filter(|setting| !CHANGEABLE.contains(&setting.key)) {
            let fault = Change::resolve([(setting.key, "1")]).unwrap_err();
            let is_server = setting.side == Side::Server;
            assert_eq!(fault.reason.contains("start it again"), is_server, "{fault}");
        }
        assert!(Change::resolve([("holdms", "1")]).unwrap_err().reason.contains("no setting"));
    }

    #[test]
    fn a_change_shows_where_it_came_from() {
        let line = |key, value: &str| Explained { key, value: value.into(), origin: Origin::Flag };
        let mut explained = [line("hold_ms", "5000"), line("log", "info")];
        Change { hold_ms: Some(7), log: None }.enter(&mut explained);
        assert_eq!((explained[0].value.as_str(), &explained[0].origin), ("7", &Origin::Request));
        assert_eq!(explained[1], line("log", "info"));
    }
}
