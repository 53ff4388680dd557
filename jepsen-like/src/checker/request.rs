//! Which claims are one claim.

use serde_json::Value;

use crate::history::Event;

/// What repeats of one claim share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Request {
    /// A worker and its request id.
    Named(String, String),
    /// A claim without an identity: never a repeat of another.
    Single(u64),
}

impl Request {
    pub(super) fn of(invoke: &Event) -> Self {
        let worker = invoke.args.get("node_id").and_then(Value::as_str);
        match (worker, &invoke.req) {
            (Some(worker), Some(request)) => Self::Named(worker.to_owned(), request.clone()),
            _ => Self::Single(invoke.i),
        }
    }
}
