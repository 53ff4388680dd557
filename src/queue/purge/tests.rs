//! Claims about purges, one at a time.

use std::{convert::Infallible, ops::RangeInclusive};

use super::*;
use crate::queue::{
    Action, Applied, BeatStatus, Cancel, Claim, Claimed, Command, Complete, Delay, Filter, Found,
    GroupName, JobId, JobState, JobView, Limits, NewJob, OnDependencyFailure, Operation, Patch,
    Record, RestoreError, RetryJobs, SetQueue, WallMs, WorkerId, invariants,
    state::tests::{Bench, grant_in, held, id_of, job, job_in},
};

/// A state in which purged jobs stay as they are until a test lets time work.
fn uncleared() -> Bench {
    Bench::with_limits(Limits { steps_max: 0, ..Limits::default() })
}

fn clear_up_to(bench: &mut Bench, steps_max: u32) -> Applied {
    bench.state.limits.steps_max = steps_max;
    let applied = bench.pass(0);
    bench.state.limits.steps_max = 0;
    applied
}

fn queue(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

fn set_nothing() -> SetQueue {
    SetQueue::unchanged(queue("default"))
}

fn purge(bench: &mut Bench) -> Applied {
    let request_id = bench.fresh_claim().request_id;
    let action = Action::PurgeQueue(queue("default"));
    bench.apply(Command::Operate(Operation { request_id, action }))
}

fn count_in(applied: &Applied) -> u64 {
    match applied.outcomes[0].result {
        Ok(Answer::Purged { once: Once::First, count }) => count,
        ref other => panic!("a purge answered {other:?}"),
    }
}

fn add_all(bench: &mut Bench, numbers: RangeInclusive<u32>) {
    for number in numbers {
        bench.add(job(&number.to_string())).unwrap();
    }
}

fn after(id: &str, dependency: &str) -> NewJob {
    NewJob { depends_on: vec![id_of(dependency)], ..job(id) }
}

fn grouped(id: &str, queue: &str) -> NewJob {
    NewJob { group: Some(GroupName::parse("g").unwrap()), ..job_in(id, queue, "x", 50) }
}

fn view(bench: &Bench, id: &str) -> JobView {
    match bench.state.job(&id_of(id)) {
        Some(Found::Job(view)) => *view,
        other => panic!("{id} is {other:?}"),
    }
}

fn ended(id: &str) -> Change {
    Change::Ended { job: id_of(id), state: JobState::Cancelled }
}

fn is_ended(change: &Change) -> Option<&JobId> {
    match change {
        Change::Ended { job, .. } => Some(job),
        _ => None,
    }
}

fn assert_restores(bench: &Bench) {
    let records = bench.state.freeze();
    let restored = State::restore(records.records().map(Ok::<_, Infallible>)).unwrap();
    assert_eq!(restored, bench.state);
    invariants::check(&restored).unwrap();
}

// ---- at once

#[test]
fn purge_cancels_jobs_in_every_unfinished_state_at_once_and_finished_ones_stay() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=4);
    let grants = [bench.claim(), bench.claim(), bench.claim()];
    bench.complete(&grants[0]).unwrap();
    bench.beat(&grants[1], None);
    bench.add(NewJob { delay: Delay::For(50), ..job("5") }).unwrap();
    bench.add(NewJob { delay: Delay::Until(WallMs(2_000_000)), ..job("6") }).unwrap();
    bench.add(after("7", "5")).unwrap();
    bench.add(job_in("8", "other", "x", 1)).unwrap();
    let rev = bench.rev();
    bench.pass(5);
    let purged = purge(&mut bench);
    assert_eq!((count_in(&purged), bench.rev()), (6, rev + 1));
    assert_eq!(purged.changes, [Change::Purged { queue: queue("default") }]);

    for id in ["2", "3", "4", "5", "6", "7"] {
        let view = view(&bench, id);
        assert_eq!(view.state, JobState::Cancelled, "{id}");
        assert_eq!((view.finished_at, view.lease), (Some(WallMs(1_000_005)), None));
        assert_eq!(view.run_at, None);
        let ends = view.attempts.iter().map(|attempt| (attempt.end, attempt.ended_at));
        let cancelled = (Some(AttemptEnd::Cancelled), Some(WallMs(1_000_005)));
        assert!(ends.into_iter().all(|end| end == cancelled));
    }
    assert_eq!(
        (bench.state_of("1"), bench.state_of("8")),
        (JobState::Completed, JobState::Pending)
    );
    let seen = bench.state.queue(&queue("default")).unwrap();
    assert_eq!((seen.bytes, seen.totals.unfinished, seen.totals.oldest_pending), (0, 0, None));
    let by_status = [(JobState::Completed, 1), (JobState::Cancelled, 6)];
    assert_eq!(seen.totals.by_status, by_status.into());
    let all = [(JobState::Pending, 1), (JobState::Completed, 1), (JobState::Cancelled, 6)];
    assert_eq!(bench.state.totals().by_status, all.into());
    assert_eq!(bench.claim_ids(|_| ()), ["8"]);
    assert!(bench.state.deadlines().is_behind);
    assert_restores(&bench);
}

#[test]
fn purged_jobs_are_listed_as_cancelled_at_once_and_in_the_history_once_cleared() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=2);
    purge(&mut bench);
    let filter = Filter { states: vec![JobState::Cancelled], ..Filter::default() };
    assert_eq!(bench.state.list(&filter, None, 10).items.len(), 2);
    let filter = Filter { states: vec![JobState::Pending], ..Filter::default() };
    assert_eq!(bench.state.list(&filter, None, 10).items.len(), 0);
    assert_eq!(bench.state.history(&[], 10), []);
    clear_up_to(&mut bench, 10);
    assert_eq!(bench.state.history(&[], 10).len(), 2);
}

#[test]
fn tokens_of_purged_jobs_are_dead_and_their_workers_are_told() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=1);
    let claim = bench.fresh_claim();
    let grant = grant_in(&bench.claim_with(claim.clone())[0]).clone();
    purge(&mut bench);
    for _ in ["before it is cleared", "after"] {
        let rev = bench.rev();
        let stale = Rejection::StaleToken {
            job: id_of("1"),
            current_token: None,
            holder: None,
            state: JobState::Cancelled,
            ended_as: Some(AttemptEnd::Cancelled),
        };
        assert_eq!(bench.complete(&grant), Err(stale));
        assert_eq!(bench.beat(&grant, None), BeatStatus::CancelRequested);
        let lost =
            Claimed::Lost { job: id_of("1"), token: grant.token, state: JobState::Cancelled };
        assert!(bench.state.would_grant(&claim));
        assert_eq!(bench.claim_with(claim.clone()), [lost]);
        let held = bench.state.for_worker(&WorkerId::parse("w1").unwrap(), 10);
        assert_eq!((held.count, held.jobs.len()), (0, 0));
        let cancel = Command::Cancel(Cancel { job: id_of("1") });
        assert_eq!(bench.run(cancel), Ok(Answer::Cancelled(Once::Duplicate)));
        let Ok(Answer::Added(added)) = bench.add(job("1")) else { panic!("a repeat is accepted") };
        assert_eq!((added[0].once, added[0].state), (Once::Duplicate, JobState::Cancelled));
        assert_eq!(bench.rev(), rev);
        clear_up_to(&mut bench, 10);
    }
}

#[test]
fn purge_of_nothing_changes_nothing_and_later_jobs_are_not_purged() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=1);
    purge(&mut bench);
    let rev = bench.rev();
    let nothing = purge(&mut bench);
    assert_eq!((count_in(&nothing), nothing.changes.len(), bench.rev()), (0, 0, rev));
    add_all(&mut bench, 2..=2);
    assert_eq!(bench.state_of("2"), JobState::Pending);
    clear_up_to(&mut bench, 10);
    assert_eq!(bench.claim_ids(|_| ()), ["2"]);
}

#[test]
fn the_oldest_purge_that_covers_a_job_says_when_it_ended() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=2);
    purge(&mut bench);
    bench.pass(10);
    add_all(&mut bench, 3..=3);
    assert_eq!(count_in(&purge(&mut bench)), 1);
    let finished = |bench: &Bench, id| view(bench, id).finished_at;
    let expected = [Some(WallMs(1_000_000)), Some(WallMs(1_000_000)), Some(WallMs(1_000_010))];
    assert_eq!(["1", "2", "3"].map(|id| finished(&bench, id)), expected);
    assert_restores(&bench);
    clear_up_to(&mut bench, 2);
    assert_eq!(["1", "2", "3"].map(|id| finished(&bench, id)), expected);
    assert_restores(&bench);
    clear_up_to(&mut bench, 1);
    assert!(!bench.state.deadlines().is_behind);
}

#[test]
fn purge_opens_a_queue_whose_leases_had_closed_it() {
    let mut bench = uncleared();
    let set = SetQueue { max_jobs: Patch::Set(1), max_leased: Patch::Set(1), ..set_nothing() };
    bench.act(Action::SetQueue(set)).unwrap();
    add_all(&mut bench, 1..=1);
    bench.claim();
    purge(&mut bench);
    add_all(&mut bench, 2..=2); // there is room again, too
    assert_eq!(bench.claim_ids(|_| ()), ["2"]);
    let cleared = clear_up_to(&mut bench, 10);
    assert_eq!(cleared.changes, [ended("1")]);
}

#[test]
fn new_job_that_depends_on_a_purged_one_is_told_so_at_once() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=1);
    purge(&mut bench);
    bench.add(after("2", "1")).unwrap();
    assert_eq!(view(&bench, "2").error.as_deref(), Some("its dependency 1 is cancelled"));
    let on_dependency_failure = OnDependencyFailure::Run;
    bench.add(NewJob { on_dependency_failure, ..after("3", "1") }).unwrap();
    assert_eq!(bench.claim_ids(|_| ()), ["3"]);
}

// ---- and cleared in time

#[test]
fn entries_clear_a_bounded_number_in_add_order_and_raise_no_revision() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=5);
    let grant = bench.claim();
    bench.release(&grant).unwrap();
    bench.claim();
    bench.state.limits.steps_max = 2;
    let purged = purge(&mut bench);
    let expected = [Change::Purged { queue: queue("default") }, ended("1"), ended("2")];
    assert_eq!(purged.changes, expected, "the entry itself clears what it may");
    let rev = bench.rev();
    bench.state.limits.steps_max = 0;
    assert_eq!(clear_up_to(&mut bench, 2).changes, [ended("3"), ended("4")]);
    assert_eq!(clear_up_to(&mut bench, 2).changes, [ended("5")]);
    assert_eq!(bench.rev(), rev);
    assert!(!bench.state.deadlines().is_behind);
    assert_restores(&bench);
}

#[test]
fn many_purges_of_one_queue_are_cleared_in_add_order_also_of_jobs_put_back_between() {
    let mut bench = uncleared();
    for numbers in [1..=3, 4..=5, 6..=7] {
        let count = numbers.clone().count() as u64;
        add_all(&mut bench, numbers);
        assert_eq!(count_in(&purge(&mut bench)), count);
    }
    assert_restores(&bench);
    assert_eq!(clear_up_to(&mut bench, 1).changes, [ended("1")]);
    for id in ["6", "1", "4"] {
        bench.act(Action::RetryJob(id_of(id))).unwrap();
    }
    assert_eq!(count_in(&purge(&mut bench)), 3, "those that were put back, under a fourth purge");
    assert_restores(&bench);
    for id in ["1", "2", "3", "4", "5", "6", "7"] {
        assert_eq!(clear_up_to(&mut bench, 1).changes, [ended(id)]);
        assert_restores(&bench);
    }
    assert!(!bench.state.deadlines().is_behind);
}

#[test]
fn queues_are_cleared_by_name() {
    let mut bench = uncleared();
    for (id, name) in [("1", "b"), ("2", "a"), ("3", "b"), ("4", "a")] {
        bench.add(job_in(id, name, "x", 50)).unwrap();
    }
    for name in ["b", "a"] {
        bench.act(Action::PurgeQueue(queue(name))).unwrap();
    }
    let cleared = clear_up_to(&mut bench, 10).changes;
    let order: Vec<_> = cleared.iter().filter_map(is_ended).map(JobId::as_str).collect();
    assert_eq!(order, ["2", "4", "1", "3"]);
}

#[test]
fn purged_job_is_buried_when_the_retention_since_its_purge_is_over() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=1);
    purge(&mut bench);
    bench.pass(3_000_000);
    clear_up_to(&mut bench, 1);
    bench.state.limits.steps_max = 10;
    bench.pass(599_999);
    assert!(matches!(bench.state.job(&id_of("1")), Some(Found::Job(_))));
    bench.pass(1);
    assert!(matches!(bench.state.job(&id_of("1")), Some(Found::Tombstone(_))));
}

#[test]
fn clearing_a_job_frees_its_group_and_wakes_who_waits_for_it_and_nothing_before() {
    let mut bench = uncleared();
    bench.add(grouped("1", "default")).unwrap();
    bench.add(grouped("2", "other")).unwrap();
    let in_other = NewJob { queue: queue("other"), ..after("3", "1") };
    bench.add(in_other).unwrap();
    bench.claim();
    purge(&mut bench);
    assert_eq!(bench.claim_ids(|_| ()), [""; 0]);
    assert_eq!(bench.state_of("3"), JobState::Blocked);
    assert_restores(&bench);
    clear_up_to(&mut bench, 2);
    assert_eq!(bench.claim_ids(|_| ()), ["2"]);
    assert_eq!(bench.state_of("3"), JobState::Failed);
}

#[test]
fn timer_or_dependency_that_falls_due_clears_a_purged_job_and_does_nothing_else() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=2);
    bench.add(NewJob { expires_in_ms: Some(40_000), ..job("3") }).unwrap();
    bench.add(NewJob { delay: Delay::Until(WallMs(1_040_000)), ..job("4") }).unwrap();
    bench.add(NewJob { queue: queue("other"), ..job("5") }).unwrap();
    bench.add(after("6", "5")).unwrap();
    let second = Claim { queues: vec![queue("default")], ..bench.fresh_claim() };
    bench.claim_with(second);
    let other = Claim { queues: vec![queue("other")], ..bench.fresh_claim() };
    let other = grant_in(&bench.claim_with(other)[0]).clone();
    assert_eq!(count_in(&purge(&mut bench)), 5);
    bench.complete(&other).unwrap();
    let rev = bench.rev();
    bench.pass(40_000);
    let order = (0..5).map(|_| clear_up_to(&mut bench, 1).changes).collect::<Vec<_>>().concat();
    // Its lease, its expiry, its wall clock, its dependency; the last one has nothing due.
    assert_eq!(order, ["1", "3", "4", "6", "2"].map(ended));
    assert_eq!(bench.rev(), rev);
    assert!(!bench.state.deadlines().is_behind);
}

#[test]
fn purged_queue_may_be_deleted_at_once_and_goes_with_its_last_job() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=2);
    purge(&mut bench);
    let delete = Action::DeleteQueue(queue("default"));
    assert_eq!(bench.act(delete), Ok(Answer::QueueDeleted(Once::First)));
    assert_restores(&bench);
    clear_up_to(&mut bench, 10);
    assert_eq!(bench.state_of("2"), JobState::Cancelled);
    bench.state.limits.steps_max = 10;
    bench.pass(3_600_000);
    assert!(bench.state.totals().queues.is_empty());
}

#[test]
fn completing_with_follow_ups_into_a_purging_queue_adds_jobs_that_live() {
    let mut bench = uncleared();
    bench.add(job_in("1", "other", "x", 50)).unwrap();
    let grant = bench.claim();
    add_all(&mut bench, 2..=3);
    purge(&mut bench);
    let then = vec![job("4")];
    bench.run(Command::Complete(Complete { holding: held(&grant), result: None, then })).unwrap();
    clear_up_to(&mut bench, 10);
    assert_eq!(bench.claim_ids(|_| ()), ["4"]);
}

// ---- and put back

#[test]
fn job_put_back_is_not_covered_by_the_purges_before_and_by_one_after_it_is() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=4);
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    purge(&mut bench);
    // 1 had finished, 2 is only covered by the purge.
    for id in ["1", "2"] {
        bench.act(Action::RetryJob(id_of(id))).unwrap();
    }
    let states = |bench: &Bench| ["1", "2", "3", "4"].map(|id| bench.state_of(id));
    let cancelled = JobState::Cancelled;
    assert_eq!(states(&bench), [JobState::Pending, JobState::Pending, cancelled, cancelled]);
    assert_eq!(bench.claim_ids(|claim| claim.max = 1), ["1"]);
    assert_restores(&bench);
    assert_eq!(clear_up_to(&mut bench, 1).changes, [ended("3")]);
    assert_eq!(count_in(&purge(&mut bench)), 2);
    assert_eq!(states(&bench), [cancelled; 4]);
    assert_restores(&bench);
    assert_eq!(clear_up_to(&mut bench, 10).changes, ["1", "2", "4"].map(ended));
    assert_restores(&bench);
}

#[test]
fn bulk_retry_of_cancelled_jobs_takes_cleared_and_purged_ones_in_add_order() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=5);
    bench.run(Command::Cancel(Cancel { job: id_of("4") })).unwrap();
    bench.claim();
    purge(&mut bench);
    let set = SetQueue { max_jobs: Patch::Set(4), ..set_nothing() };
    bench.act(Action::SetQueue(set)).unwrap();
    let retry = RetryJobs { queue: queue("default"), state: JobState::Cancelled, limit: 5 };
    let expected = ["1", "2", "3", "4"].map(id_of).to_vec();
    assert_eq!(bench.state.retriable(&retry), expected, "there is no room for the fifth");
    let three = RetryJobs { limit: 3, ..retry.clone() };
    assert_eq!(bench.state.retriable(&three), expected[..3]);
    let running = RetryJobs { state: JobState::Running, ..retry.clone() };
    assert_eq!(bench.state.retriable(&running), []);
    let retried = bench.act(Action::RetryJobs(retry));
    assert_eq!(retried, Ok(Answer::Retried { once: Once::First, jobs: expected }));
    assert_restores(&bench);
    assert_eq!(clear_up_to(&mut bench, 10).changes, [ended("5")]);
    assert_eq!(bench.claim_ids(|_| ()), ["1", "2", "3", "4"]);
}

#[test]
fn job_of_a_deleted_queue_is_not_retriable() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=1);
    purge(&mut bench);
    bench.act(Action::DeleteQueue(queue("default"))).unwrap();
    let retry = RetryJobs { queue: queue("default"), state: JobState::Cancelled, limit: 5 };
    assert_eq!(bench.state.retriable(&retry), []);
}

#[test]
fn records_whose_purges_do_not_fit_their_jobs_are_refused() {
    let mut bench = uncleared();
    add_all(&mut bench, 1..=2);
    purge(&mut bench);
    let restore = |edit: fn(&mut Vec<Purge>)| {
        let image = bench.state.freeze();
        let edited = image.records().map(move |mut record| {
            if let Record::Queue(queue) = &mut record {
                edit(&mut queue.purges);
            }
            Ok::<_, Infallible>(record)
        });
        State::restore(edited.collect::<Vec<_>>())
    };
    assert_eq!(restore(|_| ()).as_ref(), Ok(&bench.state));
    let contradicts = |restored| matches!(restored, Err(RestoreError::Contradiction(_)));
    assert!(contradicts(restore(|purges| purges[0].left = 1)));
    assert!(contradicts(restore(|purges| purges.push(Purge { left: 0, ..purges[0].clone() }))));
    assert!(contradicts(restore(|purges| purges[0].spared = [JobNumber(0)].into())));
}
