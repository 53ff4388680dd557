//! Claims about jobs that are put back.

use super::*;
use crate::queue::{
    Action, Beat, BeatStatus, Cancel, Claimed, Command, Complete, Fail, Found, Grant, GroupName,
    Heartbeat, JobState, JobView, Limits, NewJob, OnDependencyFailure, Patch, QueueName, Retry,
    SetQueue,
    state::tests::{Bench, held, id_of, job, job_in},
};

fn grouped(id: &str) -> NewJob {
    NewJob { group: Some(GroupName::parse("g").unwrap()), ..job(id) }
}

fn after(id: &str, dependencies: &[&str]) -> NewJob {
    NewJob { depends_on: dependencies.iter().map(|it| id_of(it)).collect(), ..job(id) }
}

fn retry(bench: &mut Bench, id: &str) -> Result<Vec<JobId>, Rejection> {
    retried(bench.act(Action::RetryJob(id_of(id))))
}

fn retry_all(bench: &mut Bench, state: JobState, limit: u32) -> Result<Vec<JobId>, Rejection> {
    let queue = QueueName::parse("default").unwrap();
    retried(bench.act(Action::RetryJobs(RetryJobs { queue, state, limit })))
}

fn retried(answer: Result<Answer, Rejection>) -> Result<Vec<JobId>, Rejection> {
    match answer? {
        Answer::Retried { once: Once::First, jobs } => Ok(jobs),
        other => panic!("a retry answered {other:?}"),
    }
}

fn cancel(bench: &mut Bench, id: &str) {
    bench.run(Command::Cancel(Cancel { job: id_of(id) })).unwrap();
}

fn view(bench: &Bench, id: &str) -> JobView {
    match bench.state.job(&id_of(id)) {
        Some(Found::Job(job)) => *job,
        other => panic!("{id} is {other:?}"),
    }
}

fn complete_then(bench: &mut Bench, grant: &Grant, then: &[&str]) -> Result<Answer, Rejection> {
    let (holding, result) = (held(grant), Some(bytes::Bytes::from_static(b"1")));
    let then = then.iter().map(|id| job_in(id, "later", "x", 0)).collect();
    bench.run(Command::Complete(Complete { holding, result, then }))
}

/// What a repeat of a complete must answer.
fn repeated(first: Result<Answer, Rejection>) -> Answer {
    match first {
        Ok(Answer::Completed { once: Once::First, then }) => {
            Answer::Completed { once: Once::Duplicate, then }
        }
        other => panic!("a first complete answered {other:?}"),
    }
}

// ---- one job

#[test]
fn finished_job_is_put_back_with_fresh_attempts_and_its_history() {
    let mut bench = Bench::new();
    bench.add(NewJob { max_attempts: Some(2), expires_in_ms: Some(60_000), ..job("1") }).unwrap();
    bench.claim();
    bench.pass(30_000);
    let second = bench.claim();
    let error = Some("no".into());
    let fail = Fail { holding: held(&second), error, retry: Retry::Backoff };
    assert_eq!(bench.run(Command::Fail(fail)), Ok(Answer::Failed(Once::First)));
    let rev = bench.rev();

    assert_eq!(retry(&mut bench, "1"), Ok(vec![id_of("1")]));
    assert_eq!(bench.rev(), rev + 1);
    let back = view(&bench, "1");
    assert_eq!((back.state, back.attempts_used, back.attempts_lost), (JobState::Pending, 0, 0));
    assert_eq!((back.attempts.len(), back.finished_at), (2, None));

    bench.pass(60_000);
    assert_eq!(bench.state_of("1"), JobState::Pending, "it expires unclaimed only before a grant");
    let third = bench.claim();
    assert_eq!((third.attempt, third.max_attempts), (1, 2));
    assert!(third.token > second.token);
    assert_eq!(view(&bench, "1").attempts.len(), 3);
}

#[test]
fn job_that_expired_unclaimed_does_not_expire_again() {
    let mut bench = Bench::new();
    bench.add(NewJob { expires_in_ms: Some(100), ..job("1") }).unwrap();
    bench.pass(100);
    assert_eq!(bench.state_of("1"), JobState::Expired);
    retry(&mut bench, "1").unwrap();
    bench.pass(1_000_000);
    assert_eq!(bench.state_of("1"), JobState::Pending);
}

#[test]
fn result_progress_and_reason_of_failure_are_gone() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    let progress = Some(bytes::Bytes::from_static(b"0.5"));
    let items = vec![Beat { holding: held(&grant), lease_ms: None, progress }];
    bench.run(Command::Heartbeat(Heartbeat { worker: None, items })).unwrap();
    complete_then(&mut bench, &grant, &[]).unwrap();
    let done = view(&bench, "1");
    assert!(done.result.is_some() && done.progress.is_some());
    retry(&mut bench, "1").unwrap();
    let back = view(&bench, "1");
    assert_eq!((back.result, back.progress), (None, None));

    bench.add(job("2")).unwrap();
    cancel(&mut bench, "2");
    bench.add(after("3", &["2"])).unwrap();
    assert!(view(&bench, "3").error.is_some());
    retry(&mut bench, "3").unwrap();
    assert_eq!((view(&bench, "3").error, bench.state_of("3")), (None, JobState::Pending));
}

#[test]
fn job_put_back_takes_its_original_place() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
    }
    cancel(&mut bench, "2");
    retry(&mut bench, "2").unwrap();
    assert_eq!(bench.claim_ids(|_| ()), ["1", "2", "3"]);
}

#[test]
fn job_put_back_is_told_to_those_who_wait() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    cancel(&mut bench, "1");
    let request_id = crate::queue::RequestId::parse("r").unwrap();
    let action = Action::RetryJob(id_of("1"));
    let operation = crate::queue::Operation { request_id, action };
    let applied = bench.apply(Command::Operate(operation));
    assert!(matches!(&applied.changes[..], [Change::Ready { .. }]), "{:?}", applied.changes);
}

#[test]
fn only_a_finished_job_that_is_still_kept_can_be_put_back() {
    let mut bench = Bench::with_limits(Limits { retention_ms: 1_000, ..Limits::default() });
    assert_eq!(retry(&mut bench, "1"), Err(Rejection::JobNotFound { job: id_of("1") }));
    bench.add(job("1")).unwrap();
    let state = JobState::Pending;
    assert_eq!(retry(&mut bench, "1"), Err(Rejection::WrongState { job: id_of("1"), state }));
    let grant = bench.claim();
    let state = JobState::Claimed;
    assert_eq!(retry(&mut bench, "1"), Err(Rejection::WrongState { job: id_of("1"), state }));
    bench.complete(&grant).unwrap();
    bench.pass(1_000);
    assert!(matches!(bench.state.job(&id_of("1")), Some(Found::Tombstone(_))));
    assert_eq!(retry(&mut bench, "1"), Err(Rejection::JobNotFound { job: id_of("1") }));
}

#[test]
fn job_put_back_is_not_buried_when_its_first_end_would_have_been() {
    let mut bench = Bench::with_limits(Limits { retention_ms: 1_000, ..Limits::default() });
    bench.add(job("1")).unwrap();
    cancel(&mut bench, "1");
    bench.pass(500);
    retry(&mut bench, "1").unwrap();
    bench.pass(1_000);
    assert_eq!(bench.state_of("1"), JobState::Pending);
    assert!(matches!(bench.state.job(&id_of("1")), Some(Found::Job(_))));
}

// ---- repeats of calls made before the retry

#[test]
fn calls_made_before_the_retry_are_still_known_again() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let claim = bench.fresh_claim();
    let Claimed::Granted(grant) = bench.claim_with(claim.clone()).remove(0) else {
        panic!("a job is ready")
    };
    bench.complete(&grant).unwrap();
    retry(&mut bench, "1").unwrap();

    let duplicate = Ok(Answer::Completed { once: Once::Duplicate, then: Vec::new() });
    assert_eq!(bench.complete(&grant), duplicate);
    assert!(matches!(bench.release(&grant), Err(Rejection::StaleToken { .. })));
    assert_eq!(bench.beat(&grant, None), BeatStatus::Lost);
    let state = JobState::Pending;
    let lost = Claimed::Lost { job: id_of("1"), token: grant.token, state };
    assert_eq!(bench.claim_with(claim), [lost], "its claim is answered, and grants nothing new");

    let next = bench.claim();
    assert_eq!(bench.complete(&grant), duplicate, "not the newer holder's business");
    assert_eq!(bench.state_of("1"), JobState::Claimed);
    assert!(next.token > grant.token);
}

#[test]
fn repeat_of_a_complete_answers_the_then_of_its_own_token() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let first = bench.claim();
    let of_first = repeated(complete_then(&mut bench, &first, &["a"]));
    retry(&mut bench, "1").unwrap();
    let claim_default = |bench: &mut Bench| {
        let queues = vec![QueueName::parse("default").unwrap()];
        let claim = crate::queue::Claim { queues, ..bench.fresh_claim() };
        match bench.claim_with(claim).remove(0) {
            Claimed::Granted(grant) => grant,
            lost @ Claimed::Lost { .. } => panic!("a fresh claim answered {lost:?}"),
        }
    };
    let second = claim_default(&mut bench);
    let of_second = repeated(complete_then(&mut bench, &second, &[]));
    retry(&mut bench, "1").unwrap();
    let third = claim_default(&mut bench);
    // "a" was there already: that was the answer, and so it is again.
    let of_third = repeated(complete_then(&mut bench, &third, &["a", "b"]));

    for (grant, answer) in [(&first, of_first), (&second, of_second), (&third, of_third)] {
        assert_eq!(complete_then(&mut bench, grant, &["c"]), Ok(answer));
    }
}

#[test]
fn then_is_forgotten_with_its_attempt() {
    let mut bench = Bench::new();
    bench.add(NewJob { max_attempts: Some(1000), ..job("1") }).unwrap();
    let first = bench.claim();
    complete_then(&mut bench, &first, &["a"]).unwrap();
    cancel(&mut bench, "a");
    retry(&mut bench, "1").unwrap();
    for _ in 0..crate::queue::ATTEMPTS_KEPT {
        let grant = bench.claim();
        bench.release(&grant).unwrap();
    }
    assert!(matches!(bench.complete(&first), Err(Rejection::StaleToken { .. })));
    let Some(Kept::Job(job)) = bench.state.find(&id_of("1")) else { panic!("it is there") };
    assert!(job.report.as_ref().is_none_or(|report| report.then.is_empty()));
}

// ---- dependencies

#[test]
fn job_put_back_waits_for_those_of_its_dependencies_that_are_unfinished_now() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    bench.add(job("2")).unwrap();
    bench.add(after("3", &["1", "2"])).unwrap();
    cancel(&mut bench, "1");
    assert_eq!(bench.state_of("3"), JobState::Failed);
    retry(&mut bench, "3").unwrap();
    assert_eq!(bench.state_of("3"), JobState::Blocked);
    let grant = bench.claim();
    assert_eq!(grant.job.as_str(), "2");
    bench.complete(&grant).unwrap();
    assert_eq!(bench.state_of("3"), JobState::Pending, "a cancelled one matters no more");
}

#[test]
fn whole_chain_can_be_put_back() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    bench.add(after("2", &["1"])).unwrap();
    cancel(&mut bench, "1");
    assert_eq!(bench.state_of("2"), JobState::Failed);
    retry(&mut bench, "1").unwrap();
    retry(&mut bench, "2").unwrap();
    assert_eq!(bench.state_of("2"), JobState::Blocked);
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    assert_eq!(bench.claim().job.as_str(), "2");
}

#[test]
fn dependant_that_was_not_settled_yet_goes_on_waiting() {
    // With one step an entry, each entry settles one dependant: before the retry, two of three.
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    bench.add(job("1")).unwrap();
    for id in ["2", "3", "4"] {
        bench.add(after(id, &["1"])).unwrap();
    }
    cancel(&mut bench, "1");
    retry(&mut bench, "1").unwrap();
    assert_eq!(
        ["2", "3", "4"].map(|id| bench.state_of(id)),
        [JobState::Failed, JobState::Failed, JobState::Blocked]
    );
    assert!(!bench.state.deadlines().is_behind);
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    bench.pass(0);
    assert_eq!(bench.state_of("4"), JobState::Pending);
}

#[test]
fn dependant_that_runs_anyway_is_put_back_like_any_other() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let on_dependency_failure = OnDependencyFailure::Run;
    bench.add(NewJob { on_dependency_failure, ..after("2", &["1"]) }).unwrap();
    cancel(&mut bench, "2");
    retry(&mut bench, "2").unwrap();
    assert_eq!(bench.state_of("2"), JobState::Blocked);
    cancel(&mut bench, "1");
    assert_eq!(bench.state_of("2"), JobState::Pending);
}

// ---- groups

#[test]
fn job_put_back_before_a_ready_head_of_its_group_is_claimed_first() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3"] {
        bench.add(grouped(id)).unwrap();
    }
    cancel(&mut bench, "1");
    retry(&mut bench, "1").unwrap();
    assert_eq!(bench.claim_ids(|_| ()), ["1"], "the head that was ready is ready no more");
}

#[test]
fn job_put_back_before_a_leased_one_of_its_group_waits_for_it() {
    let mut bench = Bench::new();
    for id in ["1", "2"] {
        bench.add(grouped(id)).unwrap();
    }
    cancel(&mut bench, "1");
    let second = bench.claim();
    retry(&mut bench, "1").unwrap();
    assert_eq!(bench.claim_ids(|_| ()), [""; 0], "a group never has two leased");

    bench.release(&second).unwrap();
    assert_eq!(bench.claim_ids(|_| ()), ["1"], "the lease has ended: the head goes first");
}

#[test]
fn end_of_any_lease_of_a_group_offers_its_head() {
    let ways: [fn(&mut Bench, &Grant); 5] = [
        |bench, grant| drop(bench.complete(grant).unwrap()),
        |bench, grant| drop(bench.fail(grant, Retry::After(1_000_000)).unwrap()),
        |bench, grant| drop(bench.release(grant).unwrap()),
        |bench, grant| cancel(bench, grant.job.as_str()),
        |bench, _| drop(bench.pass(30_000)),
    ];
    for end_lease in ways {
        let mut bench = Bench::new();
        for id in ["1", "2"] {
            bench.add(grouped(id)).unwrap();
        }
        cancel(&mut bench, "1");
        let second = bench.claim();
        assert_eq!(second.job.as_str(), "2");
        retry(&mut bench, "1").unwrap();
        end_lease(&mut bench, &second);
        assert_eq!(bench.claim_ids(|_| ()), ["1"]);
    }
}

#[test]
fn blocked_job_put_back_holds_its_group() {
    let mut bench = Bench::new();
    bench.add(job_in("0", "other", "x", 0)).unwrap();
    bench.add(NewJob { depends_on: vec![id_of("0")], ..grouped("1") }).unwrap();
    bench.add(grouped("2")).unwrap();
    cancel(&mut bench, "1");
    retry(&mut bench, "1").unwrap();
    assert_eq!(bench.state_of("1"), JobState::Blocked);
    let queues = vec![QueueName::parse("default").unwrap()];
    assert_eq!(bench.claim_ids(|claim| claim.queues = queues), [""; 0]);
}

// ---- many jobs

#[test]
fn bulk_retry_takes_the_oldest_of_a_state_up_to_its_limit() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3", "4"] {
        bench.add(job(id)).unwrap();
    }
    for id in ["4", "3", "1"] {
        cancel(&mut bench, id);
    }
    let rev = bench.rev();
    assert_eq!(retry_all(&mut bench, JobState::Cancelled, 2), Ok(vec![id_of("1"), id_of("3")]));
    assert_eq!(bench.rev(), rev + 2, "one revision a job");
    assert_eq!(retry_all(&mut bench, JobState::Failed, 2), Ok(Vec::new()));
    assert_eq!(bench.rev(), rev + 2);
    assert_eq!(retry_all(&mut bench, JobState::Cancelled, 1000), Ok(vec![id_of("4")]));
}

#[test]
fn dry_run_names_what_the_retry_then_puts_back() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
        cancel(&mut bench, id);
    }
    let queue = QueueName::parse("default").unwrap();
    let planned = bench.state.retriable(&RetryJobs { queue, state: JobState::Cancelled, limit: 2 });
    assert_eq!(retry_all(&mut bench, JobState::Cancelled, 2), Ok(planned));
}

#[test]
fn bulk_retry_is_refused_for_unknown_queues_states_that_do_not_last_and_limits_out_of_range() {
    let mut bench = Bench::new();
    let queue = QueueName::parse("default").unwrap();
    assert_eq!(
        retry_all(&mut bench, JobState::Pending, 0),
        Err(Rejection::QueueNotFound { queue })
    );
    bench.add(job("1")).unwrap();
    let mut field_of = |state, limit| match retry_all(&mut bench, state, limit) {
        Err(Rejection::Invalid { index: 0, field, .. }) => field.to_string(),
        other => panic!("it answered {other:?}"),
    };
    assert_eq!(field_of(JobState::Pending, 0), "state");
    assert_eq!(field_of(JobState::Failed, 0), "limit");
    assert_eq!(field_of(JobState::Failed, RETRY_MAX + 1), "limit");
}

// ---- queues: their bounds, their purges, their end

fn set_limits(bench: &mut Bench, max_jobs: Option<u64>, max_bytes: Option<u64>) {
    let patch = |limit: Option<u64>| limit.map_or(Patch::Keep, Patch::Set);
    let set = SetQueue {
        max_jobs: patch(max_jobs),
        max_bytes: patch(max_bytes),
        ..SetQueue::unchanged(QueueName::parse("default").unwrap())
    };
    bench.act(Action::SetQueue(set)).unwrap();
}

fn purge(bench: &mut Bench) {
    bench.act(Action::PurgeQueue(QueueName::parse("default").unwrap())).unwrap();
}

#[test]
fn retry_is_held_to_the_bounds_of_its_queue() {
    for (max_jobs, max_bytes) in [(Some(2), None), (None, Some(4))] {
        let mut bench = Bench::new();
        for id in ["1", "2", "3"] {
            bench.add(job(id)).unwrap(); // of two bytes each
            cancel(&mut bench, id);
        }
        set_limits(&mut bench, max_jobs, max_bytes);
        let limit = 1000;
        let queue = QueueName::parse("default").unwrap();
        let dry_run = RetryJobs { queue, state: JobState::Cancelled, limit };
        let fitting = vec![id_of("1"), id_of("2")];
        assert_eq!(bench.state.retriable(&dry_run), fitting);
        assert_eq!(retry_all(&mut bench, JobState::Cancelled, limit), Ok(fitting));
        let rev = bench.rev();
        let full = retry(&mut bench, "3");
        assert!(matches!(full, Err(Rejection::Full { retry_after_ms: 1_000, .. })), "{full:?}");
        assert_eq!(retry_all(&mut bench, JobState::Cancelled, limit), Ok(Vec::new()));
        assert_eq!(bench.rev(), rev);
    }
}

#[test]
fn job_of_a_deleted_queue_cannot_be_put_back() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    cancel(&mut bench, "1");
    let queue = QueueName::parse("default").unwrap();
    bench.act(Action::DeleteQueue(queue.clone())).unwrap();
    assert_eq!(retry(&mut bench, "1"), Err(Rejection::QueueNotFound { queue: queue.clone() }));
    assert_eq!(
        retry_all(&mut bench, JobState::Cancelled, 1),
        Err(Rejection::QueueNotFound { queue })
    );
    bench.add(job("2")).unwrap();
    assert_eq!(retry(&mut bench, "1"), Ok(vec![id_of("1")]), "its queue exists again");
}

#[test]
fn purged_job_is_put_back_before_it_was_cleared_and_stays() {
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    for id in ["1", "2", "3", "4"] {
        bench.add(job(id)).unwrap();
    }
    let grant = bench.claim();
    purge(&mut bench);
    assert!(bench.state.deadlines().is_behind);
    assert_eq!(retry(&mut bench, "3"), Ok(vec![id_of("3")]));
    let state_after = |bench: &mut Bench| {
        while bench.state.deadlines().is_behind {
            bench.pass(0);
        }
        ["1", "2", "3", "4"].map(|id| bench.state_of(id))
    };
    let cancelled = JobState::Cancelled;
    assert_eq!(state_after(&mut bench), [cancelled, cancelled, JobState::Pending, cancelled]);
    assert!(bench.complete(&grant).is_err(), "the token of a purged job is dead");
    assert_eq!(
        retry_all(&mut bench, cancelled, 1000),
        Ok(["1", "2", "4"].map(id_of).to_vec()),
        "purged jobs are cancelled ones"
    );
    assert_eq!(bench.claim_ids(|_| ()), ["1", "2", "3", "4"]);
}

#[test]
fn dependants_of_a_purged_job_wait_on_when_it_is_put_back_in_time() {
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
    }
    bench.add(NewJob { depends_on: vec![id_of("3")], ..job_in("4", "other", "x", 0) }).unwrap();
    purge(&mut bench);
    retry(&mut bench, "3").unwrap();
    while bench.state.deadlines().is_behind {
        bench.pass(0);
    }
    assert_eq!(bench.state_of("4"), JobState::Blocked);
    assert_eq!(bench.claim().job.as_str(), "3");
}

#[test]
fn purged_dependency_does_not_hold_a_job_that_is_put_back() {
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
    }
    bench.add(NewJob { depends_on: vec![id_of("3")], ..job_in("4", "other", "x", 0) }).unwrap();
    cancel(&mut bench, "4");
    purge(&mut bench);
    retry(&mut bench, "4").unwrap();
    assert_eq!(bench.state_of("4"), JobState::Pending);
}

#[test]
fn purged_head_holds_its_group_until_it_is_cleared() {
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    for id in ["0", "1"] {
        bench.add(if id == "0" { job(id) } else { grouped(id) }).unwrap();
    }
    purge(&mut bench);
    bench.add(NewJob { queue: QueueName::parse("other").unwrap(), ..grouped("2") }).unwrap();
    while bench.state.deadlines().is_behind {
        bench.pass(0);
    }
    assert_eq!(bench.claim_ids(|_| ()), ["2"]);
    retry(&mut bench, "1").unwrap();
    assert_eq!(bench.claim_ids(|_| ()), [""; 0], "2 is leased");
}

// ---- snapshots

#[test]
fn state_with_all_of_this_is_restored_as_it_was_frozen() {
    let mut bench = Bench::new();
    for id in ["1", "2"] {
        bench.add(grouped(id)).unwrap();
    }
    cancel(&mut bench, "1");
    bench.claim();
    retry(&mut bench, "1").unwrap(); // before a leased one of its group
    let worker = crate::queue::WorkerId::parse("w2").unwrap();
    bench.act(Action::DrainWorker { worker, is_draining: true }).unwrap();
    let image = bench.state.freeze();
    let records = image.records().map(Ok::<_, std::convert::Infallible>);
    assert_eq!(State::restore(records).unwrap(), bench.state);
}
