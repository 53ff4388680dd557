//! Raw configuration: for each key the one value that wins, and where it came from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    ConfigFile, Faults, Origin, Side, Sourced, Surroundings,
    settings::{SETTINGS, Setting},
};

/// A flag that was given: the setting's key and the value.
pub type Flag = (&'static str, String);

/// What was given, before any value is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raw {
    pub(super) values: BTreeMap<&'static str, Sourced<String>>,
    pub(super) file: ConfigFile,
}

/// One line of `--print-config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The setting.
    pub key: &'static str,
    /// Its resolved value.
    pub value: String,
    /// Where that came from.
    pub origin: Origin,
}

impl Raw {
    /// Reads the file, if there is one to read, and lays the sources over one another. The file is
    /// `config`, else the one that `QUEUE_CONFIG` names, else, for a client, `queue/config.toml` in the
    /// user's configuration folder when that exists.
    ///
    /// # Errors
    /// Every fault in the file's shape.
    pub fn load(
        side: Side,
        flags: &[Flag],
        config: Option<&Path>,
        surroundings: &Surroundings,
    ) -> Result<Self, Faults> {
        let named = config.map(PathBuf::from);
        let named = named.or_else(|| surroundings.variable("QUEUE_CONFIG").map(PathBuf::from));
        let path = named.or_else(|| match side {
            Side::Server => None,
            Side::Client => Some(surroundings.config_folder()?.join("queue/config.toml"))
                .filter(|path| path.exists()),
        });
        let file = path.map(|path| ConfigFile::read(&path)).transpose()?.unwrap_or_default();
        Ok(Self::layered(side, flags, file, surroundings))
    }

    /// Lays flags over the environment over the file.
    pub fn layered(
        side: Side,
        flags: &[Flag],
        file: ConfigFile,
        surroundings: &Surroundings,
    ) -> Self {
        let mut values = BTreeMap::new();
        for setting in SETTINGS.iter().filter(|setting| setting.side == side) {
            let given = flags
                .iter()
                .find(|(key, _)| *key == setting.key)
                .map(|(_, value)| Sourced { value: value.clone(), origin: Origin::Flag })
                .or_else(|| from_environment(setting, surroundings))
                .or_else(|| from_file(setting, &file));
            values.extend(given.map(|given| (setting.key, given)));
        }
        Self { values, file }
    }
}

fn from_environment(setting: &Setting, surroundings: &Surroundings) -> Option<Sourced<String>> {
    let names = [Some(setting.variable), setting.older_variable];
    names.into_iter().flatten().find_map(|name| {
        let value = surroundings.variable(name)?.to_owned();
        Some(Sourced { value, origin: Origin::Variable(name) })
    })
}

fn from_file(setting: &Setting, file: &ConfigFile) -> Option<Sourced<String>> {
    let value = file.values.get(setting.key)?.clone();
    let origin = Origin::File { file: file.path.clone(), at: setting.key.into() };
    Some(Sourced { value, origin })
}
