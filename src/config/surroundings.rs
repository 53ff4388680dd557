//! What the process finds around it. Taken once, in `main`; everything after is a function of it.

use std::{collections::BTreeMap, path::PathBuf};

/// The environment and the machine's name.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The environment variables that are text; an empty one counts as absent.
    pub variables: BTreeMap<String, String>,
    /// The machine's name, when it has one.
    pub host_name: Option<String>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let host_name = rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
        Self { variables, host_name }
    }

    /// A variable's value, unless it is empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where a user's programs keep their data: `$XDG_DATA_HOME`, else `~/.local/share`.
    pub fn data_folder(&self) -> Option<PathBuf> {
        self.user_folder("XDG_DATA_HOME", ".local/share")
    }

    /// Where a user's programs find their settings: `$XDG_CONFIG_HOME`, else `~/.config`.
    pub fn config_folder(&self) -> Option<PathBuf> {
        self.user_folder("XDG_CONFIG_HOME", ".config")
    }

    /// Where what need not outlive the process goes: `$TMPDIR`, else `/tmp`.
    pub fn temporary_folder(&self) -> PathBuf {
        self.variable("TMPDIR").unwrap_or("/tmp").into()
    }

    fn user_folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let home = || self.variable("HOME").map(|home| PathBuf::from(home).join(below_home));
        self.variable(variable).map(PathBuf::from).or_else(home)
    }
}
