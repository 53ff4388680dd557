//! What the process ends with.

use std::io;

/// Every promise was put to the test and held; every goal was met.
pub(crate) const VALID: u8 = 0;
/// A promise was broken or a goal missed; outranks unknown.
pub(crate) const VIOLATED: u8 = 1;
/// Nothing was broken, and something was not put to the test.
pub(crate) const UNKNOWN: u8 = 2;
/// The command line makes no sense, or asks what this machine or that server cannot do.
pub(crate) const BAD_ARGUMENTS: u8 = 254;
/// The harness itself failed: nothing is said of the server.
pub(crate) const HARNESS_ERROR: u8 = 255;

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// This machine, or the server under test, cannot do what was asked.
    #[error("{0}")]
    Unable(String),
    /// The harness failed.
    #[error("{what}: {source}")]
    Harness {
        /// What it was doing.
        what: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The cluster under test did not come up, or did not come back after a fault.
    #[error("{0}")]
    Cluster(String),
}

impl Failure {
    /// For `map_err`: an IO error of the harness, with what it was doing.
    pub(crate) fn harness(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Harness { what, source }
    }

    /// The exit code that says so.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Unable(_) => BAD_ARGUMENTS,
            Self::Harness { .. } => HARNESS_ERROR,
            Self::Cluster(_) => VIOLATED,
        }
    }
}
