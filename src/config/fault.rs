//! Where a value came from, and what is wrong with it: one line each.

use std::{fmt, path::PathBuf};

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In this environment variable.
    Variable(&'static str),
    /// In this file, under this path of keys.
    File {
        /// The file, as it was named.
        file: PathBuf,
        /// For people: `hold_ms`, `nodes.n1.port`.
        at: String,
    },
    /// In a request to the running server.
    Request,
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Variable(name) => f.write_str(name),
            Self::File { file, at } => write!(f, "{}: {at}", file.display()),
            Self::Request => f.write_str("admin/config"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it was given.
    pub origin: Origin,
}

/// One thing that is wrong with a configuration, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, as the file spells it.
    pub key: String,
    /// What is wrong, a fragment.
    pub reason: String,
    /// Where the value came from; `None` when it is one that is missing.
    pub origin: Option<Origin>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)?;
        match &self.origin {
            Some(Origin::Flag) => write!(f, " (from --{})", self.key.replace('_', "-")),
            Some(origin) => write!(f, " (from {origin})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, at least one thing. Nothing has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl Faults {
    /// One fault without an origin.
    pub(super) fn one(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self(vec![Fault { key: key.into(), reason: reason.into(), origin: None }])
    }
}
