//! Changes of the voters and of the leader.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ApiError, WAIT_MS_MAX,
    fields::{Fields, missing},
    schema::DurationMs,
};

/// The longest name and address that are read, bytes.
const NAME_BYTES_MAX: usize = 255;
/// How long a change is waited for unless said, ms.
const WAIT_MS: u64 = 30_000;

/// `POST /cluster/add`, as the API's document has it: a [`VoterRequest`] with an address.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AddVoterRequest {
    /// Who is to vote.
    pub node_id: String,
    /// Where it listens for its peers, `host:port`.
    #[schemars(extend("examples" = ["127.0.0.1:1"]))]
    pub peer_addr: String,
    /// Answer after this how far it is, ms; 30 s unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = WAIT_MS_MAX))]
    pub wait_ms: Option<u64>,
}

/// `POST /cluster/remove`, as the API's document has it: a [`VoterRequest`] without an address.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemoveVoterRequest {
    /// Which voter.
    pub node_id: String,
    /// Answer after this how far it is, ms; 30 s unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = WAIT_MS_MAX))]
    pub wait_ms: Option<u64>,
}

/// `POST /cluster/replace`, and what the other two changes of the voters are read as. Sent again, it goes
/// on, or finds what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VoterRequest {
    /// Which voter.
    pub node_id: String,
    /// Where the newcomer listens for its peers, `host:port`; unless said, a replacement is where the voter
    /// was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["127.0.0.1:1"]))]
    pub peer_addr: Option<String>,
    /// Answer after this how far it is, ms; 30 s unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<DurationMs>", extend("maximum" = WAIT_MS_MAX))]
    pub wait_ms: Option<u64>,
}

/// Whether a change takes an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesAddress {
    /// It needs one.
    Required,
    /// It may have one.
    Optional,
    /// It has none.
    No,
}

impl VoterRequest {
    /// Reads a body.
    pub fn parse(body: &[u8], takes: TakesAddress) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let node_id = text(&mut fields, "node_id")?
            .ok_or_else(|| missing("node_id", "the name of the voter"))?;
        let peer_addr = match takes {
            TakesAddress::No => None,
            TakesAddress::Required | TakesAddress::Optional => text(&mut fields, "peer_addr")?,
        };
        if takes == TakesAddress::Required && peer_addr.is_none() {
            return Err(missing("peer_addr", "where it listens for its peers, `host:port`"));
        }
        if peer_addr.as_ref().is_some_and(|address| !is_address(address)) {
            return Err(ApiError::invalid("peer_addr", "must be `host:port`"));
        }
        let wait_ms = fields.duration_ms("wait_ms", 0..=WAIT_MS_MAX)?;
        fields.finish().map(|()| Self { node_id, peer_addr, wait_ms })
    }

    /// How long it is waited for, ms.
    pub fn wait_ms(&self) -> u64 {
        self.wait_ms.unwrap_or(WAIT_MS)
    }
}

fn is_address(address: &str) -> bool {
    let parts = address.rsplit_once(':');
    parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn text(fields: &mut Fields<'_>, name: &str) -> Result<Option<String>, ApiError> {
    let text: Option<String> = fields.value(name, "a string")?;
    match text {
        Some(text) if text.is_empty() || text.len() > NAME_BYTES_MAX => {
            let reason = format!("must have 1 to {NAME_BYTES_MAX} bytes");
            Err(ApiError::invalid(name, reason))
        }
        text => Ok(text),
    }
}

/// `POST /election/transfer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TransferRequest {
    /// The voter that is to lead.
    pub to: String,
}

impl TransferRequest {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::of_body(body)?;
        let to = text(&mut fields, "to")?
            .ok_or_else(|| missing("to", "the name of the voter that is to lead"))?;
        fields.finish().map(|()| Self { to })
    }
}

/// The answer to a change of the voters: 200 when it was made, 202 while it is being made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VoterResponse {
    /// `added`, `removed`, `replaced`; while it is being made `checking`, `catching_up`, `committing`.
    pub status: String,
    /// Which voter.
    pub node_id: String,
    /// Whether it had been made before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// The last log index that the newcomer has, while it catches up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_index: Option<u64>,
    /// The one that it has to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_index: Option<u64>,
}

/// The answer to `POST /election/transfer` and `/election/start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TransferResponse {
    /// `transferred`.
    pub status: String,
    /// Who leads.
    pub leader_id: String,
    /// The Raft term, as the node that answers knows it.
    pub term: u64,
    /// Whether it led already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_its_voter_and_an_address_where_it_needs_one() {
        let parse = |body: &str, takes| VoterRequest::parse(body.as_bytes(), takes);
        let field = |body: &str, takes| parse(body, takes).unwrap_err().details["field"].clone();
        assert_eq!(field("{}", TakesAddress::No), "node_id");
        assert_eq!(field(r#"{"node_id":"n4"}"#, TakesAddress::Required), "peer_addr");
        let addressed = |address: &str| format!(r#"{{"node_id":"n4","peer_addr":"{address}"}}"#);
        for wrong in ["n4", ":1", "h:0", "h:x", ""] {
            assert_eq!(field(&addressed(wrong), TakesAddress::Optional), "peer_addr", "{wrong}");
        }
        assert_eq!(field(&addressed("h:1"), TakesAddress::No), "peer_addr");
        assert!(parse(&addressed("h:1"), TakesAddress::Required).is_ok());
        assert!(parse(&addressed("[::1]:1"), TakesAddress::Required).is_ok());
    }
}
