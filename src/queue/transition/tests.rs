//! Claims about what is told of jobs, one at a time.

use super::*;
use crate::queue::{
    Action, Add, Answer, Cancel, Claimed, Command, Complete, Delay, Fail, Holding, NewJob,
    Operation, Release, RequestId, Retry, RetryJobs,
    state::tests::{Bench, grant_in, held, id_of, job, job_in},
};

fn watch(bench: &mut Bench, command: Command) -> Vec<Transition> {
    let (applied, seen) =
        bench.state.apply_watched(&Entry { stamp: bench.stamp, commands: vec![command] });
    assert!(applied.outcomes[0].result.is_ok(), "{applied:?}");
    seen
}

fn watch_time(bench: &mut Bench, ms: u64) -> Vec<Transition> {
    bench.stamp.clock.0 += ms;
    bench.stamp.wall.0 += ms;
    bench.state.apply_watched(&Entry { stamp: bench.stamp, commands: vec![] }).1
}

fn add(bench: &mut Bench, job: NewJob) -> Vec<Transition> {
    watch(bench, Command::Add(Add { jobs: vec![job] }))
}

fn operate(bench: &mut Bench, action: Action) -> Vec<Transition> {
    let request_id = RequestId::parse(&format!("r{}", bench.state.rev().0)).unwrap();
    watch(bench, Command::Operate(Operation { request_id, action }))
}

fn kinds(seen: &[Transition]) -> Vec<TransitionKind> {
    seen.iter().map(|transition| transition.kind).collect()
}

#[test]
fn nothing_is_kept_of_what_nobody_watches() {
    let mut bench = Bench::new();
    bench.add(job("a")).unwrap();
    assert_eq!(bench.state.watched, None);
    assert_eq!(kinds(&add(&mut bench, job("b"))), [TransitionKind::Added]);
    assert_eq!(bench.state.watched, None);
}

#[test]
fn watching_changes_nothing() {
    let (mut watched, mut alone) = (Bench::new(), Bench::new());
    for id in ["a", "b"] {
        add(&mut watched, job(id));
        alone.add(job(id)).unwrap();
    }
    assert_eq!(watched.state, alone.state);
    assert_eq!(watched.state.hash(), alone.state.hash());
}

#[test]
fn a_transition_names_the_job_its_state_the_revision_and_the_attempt() {
    let mut bench = Bench::new();
    let seen = add(&mut bench, job_in("a", "mail", "send", 50));
    let [added] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((added.job.as_str(), added.queue.as_str()), ("a", "mail"));
    assert_eq!((added.work_type.as_str(), added.state), ("send", JobState::Pending));
    assert_eq!((added.rev, &added.attempt), (bench.state.rev(), &None));
    let claim = Command::Claim(bench.fresh_claim());
    let seen = watch(&mut bench, claim);
    let [claimed] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((claimed.kind, claimed.state), (TransitionKind::Claimed, JobState::Claimed));
    let attempt = claimed.attempt.as_ref().unwrap();
    assert_eq!((attempt.number, attempt.token), (1, Token(claimed.rev.0)));
    assert_eq!((attempt.worker.as_str(), attempt.end), ("w1", None));
    let holding = Holding { job: id_of("a"), token: attempt.token };
    let seen = watch(&mut bench, Command::Start(holding.clone()));
    assert_eq!(kinds(&seen), [TransitionKind::Started]);
    assert!(watch(&mut bench, Command::Start(holding.clone())).is_empty(), "a repeat is nothing");
    let seen = watch(
        &mut bench,
        Command::Complete(Complete { holding, result: None, then: vec![job("b")] }),
    );
    assert_eq!(kinds(&seen), [TransitionKind::Completed, TransitionKind::Added]);
    assert_eq!(seen[0].attempt.as_ref().unwrap().end, Some(AttemptEnd::Completed));
    assert_eq!(seen[1].rev.0, seen[0].rev.0 + 1, "in the order of the revisions");
}

#[test]
fn each_end_of_an_attempt_has_a_name_of_its_own() {
    let mut bench = Bench::new();
    bench.add(NewJob { max_attempts: Some(4), ..job("a") }).unwrap();
    let grant = bench.claim();
    let seen = watch(&mut bench, Command::Release(Release { holding: held(&grant), delay_ms: 0 }));
    assert_eq!(kinds(&seen), [TransitionKind::Released]);
    let grant = bench.claim();
    let fail = |grant, retry| Command::Fail(Fail { holding: held(grant), error: None, retry });
    let seen = watch(&mut bench, fail(&grant, Retry::After(1_000)));
    assert_eq!(kinds(&seen), [TransitionKind::Retrying]);
    assert_eq!(seen[0].state, JobState::Scheduled);
    assert_eq!(kinds(&watch_time(&mut bench, 1_000)), [TransitionKind::Pending]);
    bench.claim();
    let seen = watch_time(&mut bench, 1_000_000);
    assert_eq!(kinds(&seen), [TransitionKind::LeaseExpired]);
    assert_eq!(seen[0].attempt.as_ref().unwrap().end, Some(AttemptEnd::Expired));
    let grant = bench.claim();
    let seen = watch(&mut bench, fail(&grant, Retry::Never));
    assert_eq!(kinds(&seen), [TransitionKind::Failed]);
    let seen = operate(&mut bench, Action::RetryJob(id_of("a")));
    assert_eq!((kinds(&seen), &seen[0].attempt), (vec![TransitionKind::Retried], &None));
}

#[test]
fn the_end_of_a_session_hands_its_jobs_on() {
    let mut bench = Bench::new();
    bench.add(job("a")).unwrap();
    let mut claim = bench.fresh_claim();
    claim.session = Some(1);
    bench.claim_with(claim.clone());
    claim.session = Some(2);
    claim.request_id = bench.fresh_claim().request_id;
    let seen = watch(&mut bench, Command::Claim(claim));
    assert_eq!(kinds(&seen)[0], TransitionKind::WorkerDown, "{seen:?}");
    assert_eq!(seen[0].attempt.as_ref().unwrap().end, Some(AttemptEnd::WorkerDown));
}

#[test]
fn a_dependent_waits_is_freed_or_fails_with_what_it_waited_for() {
    let after = |id: &str, on: &str| NewJob { depends_on: vec![id_of(on)], ..job(id) };
    let mut bench = Bench::new();
    bench.add(job("a")).unwrap();
    assert_eq!(add(&mut bench, after("b", "a"))[0].state, JobState::Blocked);
    let late = NewJob { delay: Delay::For(5_000), ..after("c", "a") };
    add(&mut bench, late);
    let grant = bench.claim();
    let complete = Complete { holding: held(&grant), result: None, then: vec![] };
    let seen = watch(&mut bench, Command::Complete(complete));
    let expected = [TransitionKind::Completed, TransitionKind::Pending, TransitionKind::Scheduled];
    assert_eq!(kinds(&seen), expected);
    let seen = watch(&mut bench, Command::Cancel(Cancel { job: id_of("b") }));
    assert_eq!((kinds(&seen), &seen[0].attempt), (vec![TransitionKind::Cancelled], &None));
    let seen = add(&mut bench, after("d", "b"));
    assert_eq!(kinds(&seen), [TransitionKind::Added, TransitionKind::Failed]);
}

#[test]
fn what_a_purge_cancels_is_told_one_by_one_as_it_is_cleared() {
    let mut bench = Bench::new();
    for id in ["a", "b"] {
        bench.add(job(id)).unwrap();
    }
    bench.claim();
    let queue = QueueName::parse("default").unwrap();
    let seen = operate(&mut bench, Action::PurgeQueue(queue.clone()));
    assert_eq!(kinds(&seen), [TransitionKind::Cancelled; 2]);
    assert!(seen.iter().all(|transition| transition.rev == bench.state.rev()));
    let ends: Vec<_> =
        seen.iter().map(|seen| seen.attempt.as_ref().and_then(|attempt| attempt.end)).collect();
    assert_eq!(ends, [Some(AttemptEnd::Cancelled), None]);
    let retry = RetryJobs { queue, state: JobState::Cancelled, limit: 10 };
    let seen = operate(&mut bench, Action::RetryJobs(retry));
    assert_eq!(kinds(&seen), [TransitionKind::Retried; 2]);
}

#[test]
fn a_job_that_nobody_claims_in_time_expires() {
    let mut bench = Bench::new();
    bench.add(NewJob { expires_in_ms: Some(500), ..job("a") }).unwrap();
    assert_eq!(kinds(&watch_time(&mut bench, 500)), [TransitionKind::Expired]);
}

#[test]
fn a_repeat_or_a_refusal_is_told_of_to_nobody() {
    let mut bench = Bench::new();
    add(&mut bench, job("a"));
    assert!(add(&mut bench, job("a")).is_empty());
    let claim = bench.fresh_claim();
    assert_eq!(watch(&mut bench, Command::Claim(claim.clone())).len(), 1);
    assert!(watch(&mut bench, Command::Claim(claim.clone())).is_empty());
    let Ok(Answer::Claimed(again)) = bench.run(Command::Claim(claim)) else { panic!("a claim") };
    assert!(matches!(again[0], Claimed::Granted(_)), "{:?}", grant_in(&again[0]));
}
