//! The states of a job, as words of the command line.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::{client::is_terminal, queue::JobState};

const STATES: [JobState; 9] = [
    JobState::Scheduled,
    JobState::Blocked,
    JobState::Pending,
    JobState::Claimed,
    JobState::Running,
    JobState::Completed,
    JobState::Failed,
    JobState::Cancelled,
    JobState::Expired,
];

/// Reads the name of a state.
pub(super) fn any() -> impl TypedValueParser<Value = JobState> {
    one_of(|_| true)
}

/// Reads the name of a state that a job ends in.
pub(super) fn terminal() -> impl TypedValueParser<Value = JobState> {
    one_of(is_terminal)
}

fn one_of(fits: fn(JobState) -> bool) -> impl TypedValueParser<Value = JobState> {
    let names = STATES.into_iter().filter(move |state| fits(*state)).map(JobState::as_str);
    let state = |name: String| STATES.into_iter().find(|state| state.as_str() == name);
    PossibleValuesParser::new(names).map(move |name| state(name).expect("it is one of the names"))
}
