//! What a client is told when it is made.

use std::time::Duration;

use hyper::Uri;

/// The servers and the patience with them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Base URLs (`http://host:port`), at least one; any of them takes any request.
    pub addresses: Vec<Uri>,
    /// How long one call may take in all, its repeats included; what it waits for work or for an end
    /// comes on top.
    pub timeout: Duration,
    /// How long a call goes on trying while every server refuses the connection: long enough for a
    /// restart, short enough for a person.
    pub patience: Duration,
}

impl Options {
    /// How long a call goes on while nobody listens, unless told otherwise.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(1);
}
