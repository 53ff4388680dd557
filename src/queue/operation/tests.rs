//! Claims about what is known again, for how long, and how much of it.

use super::*;
use crate::queue::{
    Entry, JobState, Limits, Once, RetryJobs,
    state::tests::{Bench, id_of, job},
};
use crate::queue::{QueueName, WorkerId};

fn drain(worker: &str, is_draining: bool) -> Action {
    Action::DrainWorker { worker: WorkerId::parse(worker).unwrap(), is_draining }
}

fn retry(limit: u32) -> Action {
    let queue = QueueName::parse("default").unwrap();
    Action::RetryJobs(RetryJobs { queue, state: JobState::Completed, limit })
}

/// A bench with these many completed jobs.
fn bench_with_completed(jobs: u32, limits: Limits) -> Bench {
    let mut bench = Bench::with_limits(limits);
    for number in 0..jobs {
        bench.add(job(&number.to_string())).unwrap();
        let grant = bench.claim();
        bench.complete(&grant).unwrap();
    }
    bench
}

#[test]
fn repeated_operation_answers_as_it_did_and_changes_nothing() {
    let mut bench = bench_with_completed(1, Limits::default());
    let first = bench.operate("r1", Action::RetryJob(id_of("0")));
    let jobs = vec![id_of("0")];
    assert_eq!(first, Ok(Answer::Retried { once: Once::First, jobs: jobs.clone() }));
    bench.claim();
    let rev = bench.rev();
    let again = bench.operate("r1", Action::RetryJob(id_of("0")));
    assert_eq!(again, Ok(Answer::Retried { once: Once::Duplicate, jobs }));
    assert_eq!((bench.rev(), bench.state_of("0")), (rev, JobState::Claimed));
}

#[test]
fn repeat_answers_the_revision_of_its_own_moment() {
    let mut bench = Bench::new();
    bench.operate("r1", drain("w1", true)).unwrap();
    bench.add(job("1")).unwrap();
    let request_id = RequestId::parse("r1").unwrap();
    let operation = Operation { request_id, action: drain("w1", true) };
    let commands = vec![crate::queue::Command::Operate(operation)];
    let applied = bench.state.apply(&Entry { stamp: bench.stamp, commands });
    assert_eq!(applied.outcomes[0].rev.0, bench.rev());
}

#[test]
fn other_action_under_a_known_request_id_is_a_conflict() {
    let mut bench = Bench::new();
    bench.operate("r1", drain("w1", true)).unwrap();
    assert_eq!(bench.operate("r1", drain("w1", false)), Err(Rejection::RequestIdConflict));
    assert_eq!(bench.operate("r1", retry(1)), Err(Rejection::RequestIdConflict));
}

#[test]
fn rejected_operation_is_not_remembered() {
    let mut bench = Bench::new();
    let refused = bench.operate("r1", Action::RetryJob(id_of("0")));
    assert_eq!(refused, Err(Rejection::JobNotFound { job: id_of("0") }));
    assert_eq!(bench.operate("r1", drain("w1", true)), Ok(Answer::DrainSet(Once::First)));
}

#[test]
fn operation_that_changed_nothing_is_remembered() {
    let mut bench = Bench::new();
    let rev = bench.rev();
    assert_eq!(bench.operate("r1", drain("w1", false)), Ok(Answer::DrainSet(Once::First)));
    assert_eq!(bench.operate("r1", drain("w1", false)), Ok(Answer::DrainSet(Once::Duplicate)));
    assert_eq!(bench.rev(), rev);
}

#[test]
fn operation_is_known_again_until_its_time_is_over_and_new_after() {
    let mut bench = Bench::with_limits(Limits { memory_ms: 500, ..Limits::default() });
    bench.operate("r1", drain("w1", true)).unwrap();
    bench.pass(499);
    assert_eq!(bench.operate("r1", drain("w1", true)), Ok(Answer::DrainSet(Once::Duplicate)));
    bench.pass(1);
    assert_eq!(bench.operate("r1", drain("w1", true)), Ok(Answer::DrainSet(Once::First)));
}

#[test]
fn forgetting_goes_by_time_then_by_request_id_one_step_each() {
    let limits = Limits { memory_ms: 500, steps_max: 1, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    for request_id in ["r2", "r1"] {
        bench.operate(request_id, drain("w1", true)).unwrap();
    }
    bench.pass(100);
    bench.operate("r0", drain("w1", true)).unwrap();
    let known = |bench: &Bench| bench.state.memory.keys().map(ToString::to_string).collect();
    let is_behind = |bench: &Bench| bench.state.deadlines().is_behind;

    bench.pass(500);
    assert_eq!((known(&bench), is_behind(&bench)), (vec!["r0".to_owned(), "r2".into()], true));
    bench.pass(0);
    assert_eq!((known(&bench), is_behind(&bench)), (vec!["r0".to_owned()], true));
    bench.pass(0);
    assert_eq!((known(&bench), is_behind(&bench)), (vec![], false));
}

#[test]
fn next_deadline_is_the_end_of_the_first_memory() {
    let mut bench = Bench::new();
    assert_eq!(bench.state.deadlines().clock, None);
    bench.operate("r1", drain("w1", false)).unwrap();
    let until = bench.state.clock().after(300_000);
    assert_eq!(bench.state.deadlines().clock, Some(until));
}

#[test]
fn memory_beyond_its_bound_is_refused_until_the_oldest_goes() {
    let limits = Limits { memory_ms: 500, memory_max: 2, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    bench.operate("r1", drain("w1", true)).unwrap();
    bench.pass(100);
    bench.operate("r2", drain("w1", true)).unwrap();
    let refused = bench.operate("r3", drain("w1", true));
    assert!(matches!(refused, Err(Rejection::Full { retry_after_ms: 400, .. })), "{refused:?}");
    assert_eq!(bench.operate("r2", drain("w1", true)), Ok(Answer::DrainSet(Once::Duplicate)));
    bench.pass(400);
    assert_eq!(bench.operate("r3", drain("w1", true)), Ok(Answer::DrainSet(Once::First)));
}

#[test]
fn bulk_retry_needs_room_for_all_that_it_may_put_back_and_takes_what_it_did() {
    let limits = Limits { memory_max: 6, ..Limits::default() };
    let mut bench = bench_with_completed(2, limits);
    let refused = bench.act(retry(6));
    assert!(matches!(refused, Err(Rejection::Full { retry_after_ms: 1, .. })), "{refused:?}");
    assert_eq!(bench.state_of("0"), JobState::Completed);
    let jobs = vec![id_of("0"), id_of("1")];
    assert_eq!(bench.act(retry(5)), Ok(Answer::Retried { once: Once::First, jobs }));
    assert_eq!(bench.state.indexes.memories.weight(), 3);
    assert!(matches!(bench.act(retry(3)), Err(Rejection::Full { .. })));
    assert!(bench.act(retry(2)).is_ok());
}

#[test]
fn retry_of_one_job_never_takes_the_memory_beyond_its_bound() {
    let mut bench = bench_with_completed(1, Limits { memory_max: 1, ..Limits::default() });
    assert!(matches!(bench.act(Action::RetryJob(id_of("0"))), Err(Rejection::Full { .. })));
}
