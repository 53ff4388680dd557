//! Claims about sessions, one at a time.

use super::*;
use crate::queue::{
    Action, AttemptView, BeatStatus, Claimed, Command, Found, Grant, JobState, Limits, NewJob,
    QueueName,
    state::tests::{Bench, grant_in, held, id_of, job},
};

fn worker(name: &str) -> WorkerId {
    WorkerId::parse(name).unwrap()
}

fn queue(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

/// A fresh claim of this worker's session.
fn claim_in(bench: &mut Bench, name: &str, session: u64) -> Claim {
    Claim { worker: worker(name), session: Some(session), max: 1000, ..bench.fresh_claim() }
}

fn claim(bench: &mut Bench, name: &str, session: u64) -> Result<Vec<Claimed>, Rejection> {
    let claim = claim_in(bench, name, session);
    match bench.run(Command::Claim(claim)) {
        Ok(Answer::Claimed(jobs)) => Ok(jobs),
        Ok(other) => panic!("a claim answered {other:?}"),
        Err(rejection) => Err(rejection),
    }
}

fn granted(bench: &mut Bench, name: &str, session: u64) -> Grant {
    grant_in(&claim(bench, name, session).unwrap()[0]).clone()
}

fn down(bench: &mut Bench, name: &str, session: u64) -> Result<Answer, Rejection> {
    bench.run(Command::WorkerDown(WorkerDown { worker: worker(name), session }))
}

fn last_attempt(bench: &Bench, id: &str) -> AttemptView {
    match bench.state.job(&id_of(id)) {
        Some(Found::Job(job)) => job.attempts.last().unwrap().clone(),
        other => panic!("{id} is {other:?}"),
    }
}

fn sessions(bench: &Bench) -> Vec<(String, u64, usize)> {
    let views = bench.state.sessions().into_iter();
    views.map(|view| (view.worker.to_string(), view.session, view.held)).collect()
}

const FIRST: Result<Answer, Rejection> = Ok(Answer::WorkerDown(Once::First));
const DUPLICATE: Result<Answer, Rejection> = Ok(Answer::WorkerDown(Once::Duplicate));

#[test]
fn down_session_loses_its_jobs_at_once_and_they_are_back_at_their_places() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = granted(&mut bench, "w1", 7);
    bench.add(job("2")).unwrap();
    assert_eq!(down(&mut bench, "w1", 7), FIRST);
    assert_eq!(bench.state_of("1"), JobState::Pending);
    assert_eq!(last_attempt(&bench, "1").end, Some(AttemptEnd::WorkerDown));
    assert_eq!(bench.beat(&grant, None), BeatStatus::Lost);
    let stale = bench.complete(&grant);
    let ended_as = Some(AttemptEnd::WorkerDown);
    assert!(matches!(&stale, Err(Rejection::StaleToken { ended_as: it, .. }) if *it == ended_as));
    assert_eq!(bench.claim_ids(|claim| claim.worker = worker("w2")), ["1", "2"]);
}

#[test]
fn attempt_of_a_down_session_is_lost_and_the_last_one_fails_the_job() {
    let mut bench = Bench::new();
    bench.add(NewJob { max_attempts: Some(2), ..job("1") }).unwrap();
    for (session, lost, state) in [(1, 1, JobState::Pending), (2, 2, JobState::Failed)] {
        granted(&mut bench, "w1", session);
        down(&mut bench, "w1", session).unwrap();
        let Some(Found::Job(job)) = bench.state.job(&id_of("1")) else { panic!("it is a job") };
        assert_eq!((job.attempts_used, job.attempts_lost, job.state), (lost, lost, state));
    }
}

#[test]
fn being_down_ends_neither_a_later_session_nor_another_worker_nor_claims_without_a_session() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
    }
    let mut take = |name: &str, session: Option<u64>| {
        let claim = Claim { worker: worker(name), session, ..bench.fresh_claim() };
        grant_in(&bench.claim_with(claim)[0]).clone()
    };
    let grants = [take("w1", None), take("w1", Some(8)), take("w2", Some(7))];
    assert_eq!(down(&mut bench, "w1", 7), DUPLICATE);
    for grant in &grants {
        assert!(matches!(bench.beat(grant, None), BeatStatus::Extended { .. }));
    }
    assert_eq!(down(&mut bench, "w1", 8), FIRST);
    let is_lost = grants.each_ref().map(|grant| bench.beat(grant, None) == BeatStatus::Lost);
    assert_eq!(is_lost, [false, true, false]);
}

#[test]
fn claim_of_a_session_that_is_down_is_refused_and_of_a_greater_one_is_not() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let late = claim_in(&mut bench, "w1", 7);
    assert_eq!(down(&mut bench, "w1", 7), FIRST, "it is not known yet");
    assert_eq!(down(&mut bench, "w1", 7), DUPLICATE);
    assert!(bench.state.would_grant(&late), "its refusal is worth an entry");
    let refused = Err(Rejection::StaleSession { current: 7, is_down: true });
    assert_eq!(bench.run(Command::Claim(late)), refused);
    assert_eq!(bench.state_of("1"), JobState::Pending);
    let view = bench.state.worker(&worker("w1")).unwrap();
    assert_eq!((view.session, view.is_down), (Some(7), true));

    assert_eq!(claim(&mut bench, "w1", 8).unwrap().len(), 1);
    let view = bench.state.worker(&worker("w1")).unwrap();
    assert_eq!((view.session, view.is_down), (Some(8), false));
}

#[test]
fn later_session_ends_the_leases_of_the_earlier_one_even_when_it_is_granted_nothing() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = granted(&mut bench, "w1", 7);
    let later = claim_in(&mut bench, "w1", 8);
    assert!(bench.state.would_grant(&later), "nothing is ready, and yet it is worth an entry");
    assert!(bench.claim_with(later.clone()).is_empty());
    assert_eq!(last_attempt(&bench, "1").end, Some(AttemptEnd::WorkerDown));
    assert_eq!(bench.beat(&grant, None), BeatStatus::Lost);
    assert!(bench.state.would_grant(&later));
    assert_eq!(grant_in(&bench.claim_with(later)[0]).job, id_of("1"));
}

#[test]
fn session_begins_once_and_then_a_claim_that_finds_nothing_is_worth_no_entry() {
    let mut bench = Bench::new();
    let first = claim_in(&mut bench, "w1", 7);
    assert!(!bench.state.would_grant(&first), "there is nothing that it could end");
    bench.add(job("1")).unwrap();
    granted(&mut bench, "w1", 7);
    let later = claim_in(&mut bench, "w1", 8);
    bench.act(Action::PauseQueue { queue: queue("default"), is_paused: true }).unwrap();
    assert!(bench.state.would_grant(&later));
    assert!(bench.claim_with(later.clone()).is_empty());
    assert!(!bench.state.would_grant(&later));
}

#[test]
fn earlier_session_is_told_which_one_is_current_and_its_repeats_are_refused_too() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let earlier = claim_in(&mut bench, "w1", 7);
    assert_eq!(bench.claim_with(earlier.clone()).len(), 1);
    claim(&mut bench, "w1", 8).unwrap();
    let stale = Rejection::StaleSession { current: 8, is_down: false };
    assert_eq!(claim(&mut bench, "w1", 7), Err(stale.clone()));
    assert!(bench.state.would_grant(&earlier));
    assert_eq!(bench.run(Command::Claim(earlier)), Err(stale));
}

#[test]
fn claim_without_a_session_neither_ends_one_nor_makes_it_forgotten() {
    let mut bench = Bench::new();
    for id in ["1", "2"] {
        bench.add(job(id)).unwrap();
    }
    let mut single = claim_in(&mut bench, "w1", 7);
    single.max = 1;
    let grant = grant_in(&bench.claim_with(single)[0]).clone();
    assert_eq!(bench.claim_ids(|_| ()), ["2"]);
    assert!(matches!(bench.beat(&grant, None), BeatStatus::Extended { .. }));
    assert!(claim(&mut bench, "w1", 6).is_err());
}

#[test]
fn conflicting_claim_of_a_later_session_changes_nothing() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let earlier = claim_in(&mut bench, "w1", 7);
    let grant = grant_in(&bench.claim_with(earlier.clone())[0]).clone();
    let conflicting = Claim { session: Some(8), ..earlier };
    assert_eq!(bench.run(Command::Claim(conflicting)), Err(Rejection::RequestIdConflict));
    assert!(matches!(bench.beat(&grant, None), BeatStatus::Extended { .. }));
}

#[test]
fn later_session_of_a_draining_worker_ends_the_earlier_one_and_is_granted_nothing() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    granted(&mut bench, "w1", 7);
    bench.act(Action::DrainWorker { worker: worker("w1"), is_draining: true }).unwrap();
    assert!(claim(&mut bench, "w1", 8).unwrap().is_empty());
    assert_eq!(bench.state_of("1"), JobState::Pending);
    assert!(claim(&mut bench, "w1", 8).unwrap().is_empty());
}

#[test]
fn many_leases_end_within_the_steps_of_several_entries_and_hold_until_then() {
    let mut bench = Bench::with_limits(Limits { steps_max: 2, ..Limits::default() });
    for id in ["1", "2", "3", "4", "5"] {
        bench.add(job(id)).unwrap();
    }
    let claimed = claim(&mut bench, "w1", 7).unwrap();
    let grants: Vec<Grant> = claimed.iter().map(|claimed| grant_in(claimed).clone()).collect();
    assert_eq!(sessions(&bench), [("w1".into(), 7, 5)]);
    bench.run(Command::Start(held(&grants[3]))).unwrap();
    down(&mut bench, "w1", 7).unwrap();
    assert!(sessions(&bench).is_empty(), "it is over, whatever it still holds");
    for (left, is_behind) in [(3, true), (1, true), (0, false)] {
        let view = bench.state.worker(&worker("w1")).unwrap();
        assert_eq!((view.held, bench.state.deadlines().is_behind), (left, is_behind));
        bench.pass(0);
    }
    assert!(grants.iter().all(|grant| bench.complete(grant).is_err()));
}

#[test]
fn lease_that_its_entry_left_over_can_still_be_completed() {
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
    }
    let claimed = claim(&mut bench, "w1", 7).unwrap();
    down(&mut bench, "w1", 7).unwrap();
    bench.complete(grant_in(&claimed[2])).unwrap();
    assert_eq!(bench.state_of("3"), JobState::Completed);
    assert_eq!(bench.state_of("2"), JobState::Pending, "it ended as time passed");
    assert!(!bench.state.deadlines().is_behind);
}

#[test]
fn sessions_are_counted_by_what_they_hold_and_not_by_what_was_purged() {
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    for (id, name, session) in [("1", "w2", 4), ("2", "w1", 9), ("3", "w1", 9), ("4", "w3", 1)] {
        let queue = queue(if name == "w3" { "other" } else { "default" });
        bench.add(NewJob { queue, ..job(id) }).unwrap();
        granted(&mut bench, name, session);
    }
    let all = [("w1".into(), 9, 2), ("w2".into(), 4, 1), ("w3".into(), 1, 1)];
    assert_eq!(sessions(&bench), all);
    bench.act(Action::PurgeQueue(queue("default"))).unwrap();
    assert_eq!(sessions(&bench), [("w3".into(), 1, 1)]);
}

#[test]
fn lease_under_a_token_says_whose_session_holds_it() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = granted(&mut bench, "w1", 7);
    let holding = held(&grant);
    assert_eq!(bench.state.session_under(&holding), Some((worker("w1"), 7)));
    let other = Holding { token: Token(grant.token.0 + 1), ..holding.clone() };
    assert_eq!(bench.state.session_under(&other), None);
    bench.complete(&grant).unwrap();
    assert_eq!(bench.state.session_under(&holding), None);
}

#[test]
fn worker_beyond_the_bound_cannot_be_declared_down_and_its_leases_run_out() {
    let limits = Limits { workers_max: 1, worker_ms: 500, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    bench.act(Action::DrainWorker { worker: worker("w1"), is_draining: true }).unwrap();
    bench.add(job("1")).unwrap();
    let grant = granted(&mut bench, "w2", 7);
    bench.pass(100);
    let refused = down(&mut bench, "w2", 7);
    assert!(matches!(refused, Err(Rejection::Full { retry_after_ms: 400, .. })), "{refused:?}");
    assert!(matches!(bench.beat(&grant, None), BeatStatus::Extended { .. }));
    bench.pass(400); // w1 is forgotten
    assert_eq!(down(&mut bench, "w2", 7), FIRST);
    assert_eq!(bench.beat(&grant, None), BeatStatus::Lost);
}

#[test]
fn session_that_is_down_is_remembered_as_long_as_a_worker_that_was_seen() {
    let mut bench = Bench::with_limits(Limits { worker_ms: 500, ..Limits::default() });
    bench.add(job("1")).unwrap();
    let grant = granted(&mut bench, "w1", 7);
    bench.complete(&grant).unwrap();
    bench.pass(400);
    down(&mut bench, "w1", 7).unwrap();
    bench.pass(499);
    assert!(claim(&mut bench, "w1", 7).is_err());
    bench.pass(1);
    assert!(claim(&mut bench, "w1", 7).is_ok(), "it is forgotten");
}
