//! What an operator asks of one node.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiError, fields::Fields, schema::DurationMs};

/// The answer to `POST /admin/shutdown`: the node stops once this is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShutdownResponse {
    /// `shutting_down`.
    pub status: String,
    /// This node.
    pub node_id: String,
}

/// The answer to `POST /admin/snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotResponse {
    /// `written`.
    pub status: String,
    /// This node.
    pub node_id: String,
    /// The last log index in the snapshot.
    pub log_index: u64,
}

/// The answer to `GET` and `POST /admin/config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigResponse {
    /// Every setting of the server, as it is now.
    pub settings: Vec<Setting>,
}

/// One setting of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its name in the file.
    pub key: String,
    /// Its value, as a flag would give it.
    pub value: String,
    /// Where that came from: `flag`, a variable's name, a file and its key, `default`, or
    /// `admin/config`.
    pub origin: String,
    /// Whether `POST /admin/config` can change it.
    pub changeable: bool,
}

/// `POST /admin/config`: what is to change, all or nothing, until the node is started again. Any other
/// setting of the server needs a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConfigChange {
    /// How long a request is held while there is no leader, unless it says otherwise, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = 60_000))]
    pub hold_ms: Option<u64>,
    /// What is logged: a level, or `target=level` pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"debug")]
    pub log: Option<String>,
}

impl ConfigChange {
    /// Reads a body as values by key, as flags would give them; `null` gives none. Which keys there
    /// are, and what values they take, the server's configuration knows.
    pub fn parse(body: &[u8]) -> Result<BTreeMap<String, String>, ApiError> {
        let rest = Fields::of_body(body)?.into_rest();
        let values: BTreeMap<String, Value> =
            serde_json::from_str(&rest).expect("what was read as an object is one");
        let given = values.into_iter().filter(|(_, value)| !value.is_null());
        given.map(|(key, value)| setting(key, &value)).collect()
    }
}

fn setting(key: String, value: &Value) -> Result<(String, String), ApiError> {
    match value {
        Value::String(text) => Ok((key, text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok((key, value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(ApiError::invalid(&key, "must be a string, a number, true or false"))
        }
    }
}
