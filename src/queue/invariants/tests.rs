//! States that no entry leads to are told apart from those that one does.

use std::sync::Arc;

use super::*;
use crate::queue::{
    Action, Token,
    state::tests::{Bench, id_of, job},
};

/// A job that was completed, and is in that state.
fn completed() -> Bench {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    bench
}

/// What is found broken once the attempts of the only job are others.
fn broken_by(mut bench: Bench, edit: impl FnOnce(&mut Vec<Attempt>)) -> &'static str {
    let state = &mut bench.state;
    let number = *state.jobs.keys().next().unwrap();
    edit(&mut Arc::make_mut(state.jobs.get_mut(&number).unwrap()).attempts);
    check(state).unwrap_err().promise
}

#[test]
fn a_second_completion_without_a_retry_is_found() {
    let bench = completed();
    check(&bench.state).unwrap();
    let rev = bench.state.rev;
    let again = |attempts: &mut Vec<Attempt>| {
        let token = Token(rev.0);
        attempts.push(Attempt { number: 2, token, ..attempts[0].clone() });
    };
    assert_eq!(broken_by(bench, again), "S4");
}

#[test]
fn a_job_that_is_completed_by_no_attempt_is_found() {
    let fail = |attempts: &mut Vec<Attempt>| {
        attempts[0].ended.as_mut().unwrap().how = AttemptEnd::Failed;
    };
    assert_eq!(broken_by(completed(), fail), "S4");
}

#[test]
fn a_completion_after_a_retry_and_a_release_is_none_too_many() {
    let mut bench = completed();
    bench.act(Action::RetryJob(id_of("1"))).unwrap();
    check(&bench.state).unwrap();
    let first = bench.claim();
    bench.release(&first).unwrap();
    let second = bench.claim();
    bench.complete(&second).unwrap();
    check(&bench.state).unwrap();
}
