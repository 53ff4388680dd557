//! What became of a request: every outcome that HTTP can have, as `ok`, `fail` or `info`.
//!
//! ```text
//! not connected, or nothing sent                    fail   it cannot have happened
//! sent; then timeout, reset, end of stream          info
//! 2xx with the contract's JSON                      ok
//! error answer, "applied":"no", of the table below  fail
//! error answer, "applied":"unknown", status 504     info
//! anything else                                     info, and the run is rejected: unexpected
//! ```
//!
//! A read that is not `ok` is dropped: it changed nothing and it saw nothing.

use serde_json::Value;

use crate::history::{Failure, Function, Kind};

/// Whether any byte of the request may have reached the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Certainly none.
    Nothing,
    /// Some, perhaps all.
    Perhaps,
}

/// What the client saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The connection was refused, or the host not found.
    NotConnected,
    /// The client's deadline passed.
    TimedOut(Sent),
    /// The connection was reset.
    Reset(Sent),
    /// The connection ended before the answer was whole.
    Closed(Sent),
    /// A whole answer; `None` when its body is not JSON.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: Option<Value>,
    },
}

/// What the history is to hold of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Class {
    /// A completion of this kind; with its failure unless it is [`Kind::Ok`].
    Completed(Kind, Option<Failure>),
    /// Nothing: a read that failed. The recorder drops its invocation too.
    Dropped,
}

/// The kind under which an answer outside the contract is recorded; it rejects the run.
pub const UNEXPECTED: &str = "unexpected_response";

/// The error table of the contract: codes that mean "certainly not applied", by status.
const REFUSALS: &[(u16, &[&str])] = &[
    (400, &["invalid_json", "invalid_argument"]),
    (401, &["unauthorized"]),
    (403, &["forbidden"]),
    (404, &["not_found"]),
    (405, &["method_not_allowed"]),
    (409, &["stale_token", "stale_session", "wrong_state", "id_conflict", "dependency_cycle"]),
    (413, &["payload_too_large"]),
    (429, &["queue_full", "rate_limited", "too_many_waiters"]),
    (503, &["no_leader", "not_ready", "shutting_down", "disk_full"]),
];

/// Says what an outcome of `function` is.
pub fn classify(function: Function, outcome: &Outcome) -> Class {
    let completed = match outcome {
        Outcome::NotConnected => failed("refused", Sent::Nothing),
        Outcome::TimedOut(sent) => failed("timeout", *sent),
        Outcome::Reset(sent) => failed("reset", *sent),
        Outcome::Closed(sent) => failed("closed", *sent),
        Outcome::Answered { status, body } => answered(*status, body.as_ref()),
    };
    match completed {
        (Kind::Ok, _) => Class::Completed(Kind::Ok, None),
        // A broken contract is worth knowing of a read too.
        (kind, failure) if !function.is_read() || failure.kind == UNEXPECTED => {
            Class::Completed(kind, Some(failure))
        }
        _ => Class::Dropped,
    }
}

fn failed(kind: &str, sent: Sent) -> (Kind, Failure) {
    match sent {
        Sent::Nothing => (Kind::Fail, Failure { kind: kind.into(), sent: false }),
        Sent::Perhaps => (Kind::Info, Failure { kind: kind.into(), sent: true }),
    }
}

fn answered(status: u16, body: Option<&Value>) -> (Kind, Failure) {
    let text = |field: &str| body.and_then(|body| body.get(field)).and_then(Value::as_str);
    let failure = |kind: &str| Failure { kind: kind.to_owned(), sent: true };
    match (status, text("code"), text("applied")) {
        (200 | 201, None, _) if body.is_some_and(Value::is_object) => (Kind::Ok, failure("")),
        (504, Some(code @ "outcome_unknown"), Some("unknown")) => (Kind::Info, failure(code)),
        (_, Some(code), Some("no")) if is_refusal(status, code) => (Kind::Fail, failure(code)),
        _ => (Kind::Info, failure(UNEXPECTED)),
    }
}

fn is_refusal(status: u16, code: &str) -> bool {
    REFUSALS.iter().any(|(known, codes)| *known == status && codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The server's own document: what it says is not applied is a refusal here, and nothing else is.
    #[test]
    fn the_refusals_are_those_of_the_contract() {
        let document = include_str!("../../docs/errors.md");
        let rows = document.lines().filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let status: u16 = cells.get(1)?.parse().ok()?;
            Some((status, cells[2].trim_matches('`').to_owned(), cells[4] == "no"))
        });
        let mut documented: Vec<(u16, String)> = rows
            .filter(|(_, _, is_refusal)| *is_refusal)
            .map(|(status, code, _)| (status, code))
            .collect();
        let mut known: Vec<(u16, String)> = REFUSALS
            .iter()
            .flat_map(|(status, codes)| codes.iter().map(|code| (*status, (*code).to_owned())))
            .collect();
        documented.sort();
        known.sort();
        assert_eq!(known, documented);
    }

    fn error(status: u16, code: &str, applied: &str) -> Outcome {
        let body = json!({"error": "a sentence", "code": code, "retryable": false,
            "applied": applied, "details": {}});
        Outcome::Answered { status, body: Some(body) }
    }

    fn kind(class: &Class) -> (Kind, &str) {
        match class {
            Class::Completed(kind, failure) => (*kind, failure.as_ref().map_or("", |f| &f.kind)),
            Class::Dropped => panic!("dropped"),
        }
    }

    fn write(outcome: &Outcome) -> Class {
        classify(Function::Complete, outcome)
    }

    #[test]
    fn what_was_never_sent_has_failed() {
        assert_eq!(kind(&write(&Outcome::NotConnected)), (Kind::Fail, "refused"));
        for outcome in [Outcome::TimedOut, Outcome::Reset, Outcome::Closed] {
            assert_eq!(kind(&write(&outcome(Sent::Nothing))).0, Kind::Fail);
        }
    }

    #[test]
    fn what_was_lost_after_sending_is_unknown() {
        for outcome in [Outcome::TimedOut, Outcome::Reset, Outcome::Closed] {
            assert_eq!(kind(&write(&outcome(Sent::Perhaps))).0, Kind::Info);
        }
    }

    #[test]
    fn success_is_ok() {
        for status in [200, 201] {
            let outcome = Outcome::Answered { status, body: Some(json!({"rev": 1})) };
            assert_eq!(write(&outcome), Class::Completed(Kind::Ok, None));
        }
    }

    #[test]
    fn every_refusal_of_the_table_has_failed() {
        for (status, codes) in REFUSALS {
            for code in *codes {
                assert_eq!(kind(&write(&error(*status, code, "no"))), (Kind::Fail, *code));
            }
        }
    }

    #[test]
    fn a_lost_outcome_is_unknown() {
        let class = write(&error(504, "outcome_unknown", "unknown"));
        assert_eq!(kind(&class), (Kind::Info, "outcome_unknown"));
    }

    // Whatever breaks the contract may have been applied, and rejects the run.
    #[test]
    fn an_answer_outside_the_contract_is_unexpected() {
        let outside = [
            Outcome::Answered { status: 500, body: None },
            Outcome::Answered { status: 200, body: None },
            Outcome::Answered { status: 200, body: Some(json!([])) },
            Outcome::Answered { status: 204, body: Some(json!({})) },
            error(200, "stale_token", "no"),
            error(409, "stale_token", "unknown"),
            error(409, "no_such_code", "no"),
            error(503, "stale_token", "no"),
            error(504, "outcome_unknown", "no"),
        ];
        for outcome in outside {
            assert_eq!(kind(&write(&outcome)), (Kind::Info, UNEXPECTED), "{outcome:?}");
        }
    }

    #[test]
    fn a_failed_read_is_dropped() {
        for outcome in [Outcome::TimedOut(Sent::Perhaps), error(503, "no_leader", "no")] {
            assert_eq!(classify(Function::Get, &outcome), Class::Dropped);
        }
    }
}
