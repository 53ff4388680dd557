//! Why a call failed, and whether it may have been carried out all the same.

use crate::wire::ApiError;

/// Why a call has no answer to give.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// A server answered, with an error. Whether anything was applied stands in it.
    #[error("{}", .0.error)]
    Api(Box<ApiError>),
    /// No server was reached: certainly not carried out.
    #[error("no server answers at {addresses}: {reason}")]
    Unreachable {
        /// The servers that were tried, comma-separated.
        addresses: String,
        /// What happened at the last of them.
        reason: String,
    },
    /// The request was sent, at least once, and no answer came in time: it may have been carried
    /// out, and still may be. Repeating it with the same identity is safe.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// What happened last.
        reason: String,
    },
    /// What answered does not speak this contract.
    #[error("{address} answered with something that is not an answer: {reason}")]
    BadAnswer {
        /// Who answered.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same call may yet be answered.
    pub fn may_be_answered_yet(&self) -> bool {
        match self {
            Self::Api(error) => error.retryable,
            Self::Unreachable { .. } | Self::Unknown { .. } => true,
            Self::BadAnswer { .. } => false,
        }
    }
}
