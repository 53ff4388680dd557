//! The error table: every failure that the contract knows, once.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Whether a refused or lost request may have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// Certainly not, now or later.
    No,
    /// It may have been: repeat it under the same identity.
    Unknown,
}

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    Later,
}

macro_rules! codes {
    ($($name:ident $code:literal $status:literal $again:ident $applied:ident $when:literal;)*) => {
        /// A stable name for a kind of failure. `docs/errors.md` is checked against this table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Code {
            $(#[doc = $when] #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as it stands in an answer.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// The HTTP status.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// Whether the same request, repeated under the same identity, may succeed.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => matches!(Again::$again, Again::Later)),* }
            }

            /// Whether the request may have had an effect.
            pub const fn applied(self) -> Applied {
                match self { $(Self::$name => Applied::$applied),* }
            }

            /// When it is answered, for people.
            pub const fn when(self) -> &'static str {
                match self { $(Self::$name => $when),* }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" 400 Never No
        "The request does not parse: malformed JSON, trailing data, NaN, bad UTF-8, nesting deeper than 128, or malformed HTTP.";
    InvalidArgument "invalid_argument" 400 Never No
        "A field is missing, of the wrong type, out of range, given twice, or unknown; `details.field` names it.";
    Unauthorized "unauthorized" 401 Never No
        "An access token is missing or wrong. No server answers this yet: there is no authentication.";
    Forbidden "forbidden" 403 Never No
        "`/admin/*`, `/cluster/*` and `POST /election/*` are answered on the node's own machine alone; or a web page of another origin or host name sent the request.";
    NotFound "not_found" 404 Never No
        "There is no such job, queue, worker, voter or path.";
    MethodNotAllowed "method_not_allowed" 405 Never No
        "The path exists under another verb; `Allow` lists which.";
    StaleToken "stale_token" 409 Never No
        "The job is held under another token, or under none; `details` has `current_token`, `holder`, `state`, `ended_as`.";
    StaleSession "stale_session" 409 Never No
        "The worker has a later session than the one that claims, or that one was declared down; `details` has `current_session` and `down`.";
    WrongState "wrong_state" 409 Never No
        "The state of the job does not allow this (`details.state` names it), the queue is not empty (`details.unfinished`), or the cluster does not allow the change of its voters or leader.";
    IdConflict "id_conflict" 409 Never No
        "The same `work_id` or `request_id` came before with other content.";
    DependencyCycle "dependency_cycle" 409 Never No
        "`depends_on` names the job itself or closes a circle.";
    PayloadTooLarge "payload_too_large" 413 Never No
        "A payload is over 1 MiB, a result over 256 KiB, an error over 16 KiB, the header over 16 KiB, or the body over `max_body_bytes` (8 MiB).";
    QueueFull "queue_full" 429 Later No
        "A queue has reached its limit, or there is no room to remember another finished job, operation or worker; `Retry-After` says when to try again.";
    RateLimited "rate_limited" 429 Later No
        "Too many commands or reads are under way, the bodies being read take too much memory, or this node is writing another backup; `Retry-After` says when to try again.";
    TooManyWaiters "too_many_waiters" 429 Later No
        "Too many long polls wait, or too many listen to events; `Retry-After` says when to try again.";
    NoLeader "no_leader" 503 Later No
        "No leader was found within the hold (`X-Queue-Hold-Ms`, else `hold_ms`); nothing was proposed.";
    NotReady "not_ready" 503 Later No
        "This node is in no cluster yet, or no more. Of `GET /ready`: a check does not hold; `details.checks` has each.";
    ShuttingDown "shutting_down" 503 Later No
        "This node is stopping; another one takes the request.";
    DiskFull "disk_full" 503 Later No
        "The leader's disk is (nearly) full: adds are refused, the calls of a holder are not. `GET /ready` of each node says which one.";
    OutcomeUnknown "outcome_unknown" 504 Later Unknown
        "It was proposed and the answer was lost: it may have been applied. Repeat it under the same identity.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as it stands on the wire. Nothing else is ever answered for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("{error} ({code})")]
pub struct ApiError {
    /// A sentence for a person.
    pub error: String,
    /// What kind of failure it is.
    pub code: Code,
    /// Whether the same request, repeated under the same identity, may succeed.
    pub retryable: bool,
    /// Whether the request may have had an effect.
    pub applied: Applied,
    /// What a program may want to know: `field`, `index`, `current_token`, `retry_after_ms`, ….
    #[serde(default)]
    pub details: Map<String, Value>,
}

impl ApiError {
    /// A failure of this kind, with no details yet.
    pub fn new(code: Code, error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            code,
            retryable: code.is_retryable(),
            applied: code.applied(),
            details: Map::new(),
        }
    }

    /// `invalid_argument` on `field`; `reason` is a fragment that follows the field's name and says
    /// what would be right ("must be an integer from 0 to 100").
    pub fn invalid(field: &str, reason: impl fmt::Display) -> Self {
        Self::new(Code::InvalidArgument, format!("`{field}` {reason}.")).with("field", field)
    }

    /// `payload_too_large` on `field`.
    pub fn too_large(field: &str, bytes: usize, bytes_max: usize) -> Self {
        let error = format!(
            "`{field}` is {bytes} bytes; the most is {bytes_max}. Send a reference instead."
        );
        Self::new(Code::PayloadTooLarge, error).with("field", field).with("bytes_max", bytes_max)
    }

    /// Adds a detail, replacing one of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The same failure, as that of a batch's item: `details.index`, and `items[3].` before the
    /// field's name. An index that is already there stays, so the innermost batch wins.
    #[must_use]
    pub fn at(self, batch: &str, index: usize) -> Self {
        let place = format!("{batch}[{index}]");
        let field = self.details.get("field").and_then(Value::as_str);
        let field = field.map_or_else(|| place.clone(), |field| format!("{place}.{field}"));
        let error = format!("{place}: {}", self.error);
        Self { error, ..self }.with("field", field).with("index", index)
    }

    /// How long to wait before the next try, ms (`details.retry_after_ms`, the exact form of the
    /// header `Retry-After`).
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.details.get("retry_after_ms").and_then(Value::as_u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_on_the_wire_what_the_table_says() {
        for &code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), Value::from(code.as_str()));
        }
    }

    /// api 1.error.shape
    #[test]
    fn an_error_has_the_contracts_five_fields() {
        let error = ApiError::invalid("priority", "must be an integer from 0 to 100");
        let golden = r#"{"error":"`priority` must be an integer from 0 to 100.","code":"invalid_argument","retryable":false,"applied":"no","details":{"field":"priority"}}"#;
        assert_eq!(serde_json::to_string(&error).unwrap(), golden);
    }

    /// api 1.error.applied.unknown
    #[test]
    fn only_a_lost_answer_is_unknown() {
        let unknown = Code::ALL.iter().filter(|code| code.applied() == Applied::Unknown);
        assert_eq!(unknown.collect::<Vec<_>>(), [&Code::OutcomeUnknown]);
    }

    #[test]
    fn an_items_error_names_the_item() {
        let error = ApiError::invalid("queue", "is odd").at("items", 3);
        assert_eq!(error.details["field"], "items[3].queue");
        assert_eq!(error.details["index"], 3);
        assert_eq!(error.error, "items[3]: `queue` is odd.");
    }
}
