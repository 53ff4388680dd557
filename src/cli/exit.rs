//! What the process says when it is over. Scripts depend on these numbers: they never change.

use std::process::ExitCode;

use crate::{
    client::ClientError,
    queue::JobState,
    wire::{Applied, Code},
};

/// How the process ends: the number, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// It worked. A repeat that changed nothing is a success too.
    pub const OK: Self = Self(0);
    /// The operation failed.
    pub const FAILED: Self = Self(1);
    /// The command line, the configuration or an argument is wrong; nothing was done.
    pub const USAGE: Self = Self(2);
    /// There is no such job, queue, worker or voter.
    pub const NOT_FOUND: Self = Self(3);
    /// A conflict: somebody else holds the job, or its state, or the cluster's, does not allow this.
    pub const CONFLICT: Self = Self(4);
    /// No server answered in time, or the cluster cannot answer now: a retry is sensible.
    pub const UNAVAILABLE: Self = Self(5);
    /// The server does not answer this to whoever asks from here.
    pub const DENIED: Self = Self(6);
    /// The job that was waited for did not complete.
    pub const JOB_FAILED: Self = Self(7);
    /// There was nothing to claim.
    pub const NOTHING_TO_CLAIM: Self = Self(8);
    /// Ctrl-C.
    pub const INTERRUPTED: Self = Self(130);

    /// That of a refusal.
    pub const fn of_code(code: Code) -> Self {
        match code {
            Code::InvalidJson | Code::InvalidArgument => Self::USAGE,
            Code::Unauthorized | Code::Forbidden => Self::DENIED,
            Code::NotFound => Self::NOT_FOUND,
            Code::StaleToken
            | Code::StaleSession
            | Code::WrongState
            | Code::IdConflict
            | Code::DependencyCycle => Self::CONFLICT,
            Code::MethodNotAllowed | Code::PayloadTooLarge => Self::FAILED,
            Code::QueueFull
            | Code::RateLimited
            | Code::TooManyWaiters
            | Code::NoLeader
            | Code::NotReady
            | Code::ShuttingDown
            | Code::DiskFull
            | Code::OutcomeUnknown => Self::UNAVAILABLE,
        }
    }

    /// That of a call that got no answer.
    pub fn of_client_error(error: &ClientError) -> Self {
        match error {
            ClientError::Api(error) => Self::of_code(error.code),
            ClientError::Unreachable { .. } | ClientError::Unknown { .. } => Self::UNAVAILABLE,
            ClientError::BadAnswer { .. } => Self::FAILED,
        }
    }

    /// That of a job that was waited for.
    pub const fn of_waited_for(state: JobState) -> Self {
        match state {
            JobState::Completed => Self::OK,
            JobState::Failed | JobState::Cancelled | JobState::Expired => Self::JOB_FAILED,
            JobState::Scheduled
            | JobState::Blocked
            | JobState::Pending
            | JobState::Claimed
            | JobState::Running => Self::UNAVAILABLE,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// Whether a failed call may have been carried out, as the errors of the contract say it.
pub(super) const fn applied(error: &ClientError) -> Applied {
    match error {
        ClientError::Api(error) => error.applied,
        ClientError::Unreachable { .. } => Applied::No,
        ClientError::Unknown { .. } | ClientError::BadAnswer { .. } => Applied::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ApiError;

    /// api 4.exit.codes
    #[test]
    fn every_code_of_the_contract_ends_as_its_status_says() {
        for &code in Code::ALL {
            let expected = match (code, code.http_status()) {
                (Code::DependencyCycle, _) | (_, 409) => Exit(4),
                (_, 400) => Exit(2),
                (_, 401 | 403) => Exit(6),
                (_, 404) => Exit(3),
                (_, 405 | 413) => Exit(1),
                (_, 429 | 503 | 504) => Exit(5),
                (_, status) => panic!("{status} is not in the contract"),
            };
            assert_eq!(Exit::of_code(code), expected, "{code}");
            assert_eq!(Exit::of_code(code) == Exit::UNAVAILABLE, code.is_retryable(), "{code}");
        }
    }

    #[test]
    fn the_documents_list_every_code() {
        let document = include_str!("../../docs/cli.md");
        for exit in [
            Exit::OK,
            Exit::FAILED,
            Exit::USAGE,
            Exit::NOT_FOUND,
            Exit::CONFLICT,
            Exit::UNAVAILABLE,
            Exit::DENIED,
            Exit::JOB_FAILED,
            Exit::NOTHING_TO_CLAIM,
            Exit::INTERRUPTED,
        ] {
            assert!(document.contains(&format!("\n| {} |", exit.0)), "{exit:?}");
        }
    }

    #[test]
    fn a_call_without_an_answer_is_worth_a_retry() {
        let unreachable =
            ClientError::Unreachable { addresses: String::new(), reason: String::new() };
        let unknown = ClientError::Unknown { reason: String::new() };
        let api = ClientError::Api(Box::new(ApiError::new(Code::NotFound, "")));
        assert_eq!(Exit::of_client_error(&unreachable), Exit::UNAVAILABLE);
        assert_eq!(Exit::of_client_error(&unknown), Exit::UNAVAILABLE);
        assert_eq!(Exit::of_client_error(&api), Exit::NOT_FOUND);
        assert_eq!(applied(&unreachable), Applied::No);
        assert_eq!(applied(&unknown), Applied::Unknown);
    }

    #[test]
    fn a_job_that_was_waited_for_decides_how_the_waiting_ends() {
        assert_eq!(Exit::of_waited_for(JobState::Completed), Exit(0));
        assert_eq!(Exit::of_waited_for(JobState::Failed), Exit(7));
        assert_eq!(Exit::of_waited_for(JobState::Cancelled), Exit(7));
        assert_eq!(Exit::of_waited_for(JobState::Running), Exit(5), "the time was up");
    }
}
