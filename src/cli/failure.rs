//! A command's failure: an exit code, and a message in the form that was asked for.

use serde::Serialize;
use serde_json::{Map, Value};

use super::exit::{Exit, applied};
use crate::{
    client::ClientError,
    config::Faults,
    wire::{ApiError, Applied},
};

/// Why a command failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// For people: one line a fault.
    message: String,
    /// For programs.
    told: Told,
}

/// The shape of the contract's errors, with codes of this process besides those of the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Told {
    error: String,
    code: String,
    retryable: bool,
    applied: Applied,
    details: Map<String, Value>,
}

impl Failure {
    /// A failure of this process, which no server was asked about.
    pub fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let told = Told {
            error: message.clone(),
            code: code.into(),
            retryable: exit == Exit::UNAVAILABLE,
            applied: Applied::No,
            details: Map::new(),
        };
        Self { exit, message, told }
    }

    /// Something on the command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::USAGE, "usage", message)
    }

    /// Whether it is of this kind.
    pub fn is(&self, code: &str) -> bool {
        self.told.code == code
    }

    /// Whether what was asked for may have happened.
    pub fn is_unknown(&self) -> bool {
        self.told.applied == Applied::Unknown
    }

    /// The same failure, told with more around it.
    #[must_use]
    pub fn told(mut self, tell: impl FnOnce(&str) -> String) -> Self {
        self.message = tell(&self.message);
        self.told.error.clone_from(&self.message);
        self
    }

    /// The same failure, with something more for programs.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.told.details.insert(name.to_owned(), value.into());
        self
    }

    /// What goes to stderr.
    pub fn render(&self, is_json: bool) -> String {
        if is_json {
            let json = serde_json::to_string(&self.told).expect("it is a map with text keys");
            return json + "\n";
        }
        let lines = self.message.lines().flat_map(|line| ["error: ", line, "\n"]);
        lines.collect()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = Exit::of_client_error(&error);
        let code = match &error {
            ClientError::Api(error) => return Self::of_refusal(exit, error),
            ClientError::Unreachable { .. } => "unreachable",
            ClientError::Unknown { .. } => "outcome_unknown",
            ClientError::BadAnswer { .. } => "bad_answer",
        };
        let mut failure = Self::new(exit, code, error.to_string());
        failure.told.applied = applied(&error);
        failure
    }
}

impl Failure {
    fn of_refusal(exit: Exit, error: &ApiError) -> Self {
        let told = Told {
            error: error.error.clone(),
            code: error.code.to_string(),
            retryable: error.retryable,
            applied: error.applied,
            details: error.details.clone(),
        };
        Self { exit, message: explain(error), told }
    }
}

/// The server's sentence, its code, and who holds the job when that is the trouble.
fn explain(error: &ApiError) -> String {
    let detail = |name: &str| error.details.get(name).filter(|value| !value.is_null());
    let sentence = error.error.trim_end_matches('.');
    match detail("holder").and_then(Value::as_str) {
        Some(holder) => format!("{sentence} ({}), held by {holder}", error.code),
        None => format!("{sentence} ({})", error.code),
    }
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        let lines: Vec<Value> = faults.0.iter().map(|fault| fault.to_string().into()).collect();
        Self::new(Exit::USAGE, "invalid_configuration", faults.to_string()).with("faults", lines)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::Code;

    #[test]
    fn a_refusal_is_one_line_for_people_and_itself_for_programs() {
        let error = ApiError::new(Code::StaleToken, "The job is held under another token.")
            .with("holder", "w2");
        let failure = Failure::from(ClientError::Api(Box::new(error.clone())));
        assert_eq!(
            failure.render(false),
            "error: The job is held under another token (stale_token), held by w2\n"
        );
        assert_eq!(serde_json::from_str::<ApiError>(&failure.render(true)).unwrap(), error);
        assert_eq!(failure.exit, Exit::CONFLICT);
    }

    #[test]
    fn failures_of_this_process_have_the_shape_of_the_contract_too() {
        let failure = Failure::from(ClientError::Unknown { reason: "it is gone".into() });
        let json: Value = serde_json::from_str(&failure.render(true)).unwrap();
        assert_eq!(
            (&json["code"], &json["applied"]),
            (&json!("outcome_unknown"), &json!("unknown"))
        );
        assert_eq!(json["retryable"], true);
        assert_eq!(failure.render(false), "error: the outcome is unknown: it is gone\n");
    }

    #[test]
    fn each_fault_of_a_configuration_is_a_line() {
        let failure = Failure::usage("a: is wrong\nb: is too");
        assert_eq!(failure.render(false), "error: a: is wrong\nerror: b: is too\n");
    }
}
