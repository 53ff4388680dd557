//! Claims about queues, one at a time.

use std::convert::Infallible;

use super::*;
use crate::queue::{
    Action, Add, Applied, Cancel, Claim, Command, Complete, JobState, NewJob, Operation, Payload,
    QueueView, WallMs, WorkType, invariants,
    state::tests::{Bench, held, id_of, job, job_in},
};

fn queue(name: &str) -> QueueName {
    QueueName::parse(name).unwrap()
}

/// A change of no setting of the queue that [`job`] names.
fn keep() -> SetQueue {
    SetQueue::unchanged(queue("default"))
}

fn set(bench: &mut Bench, set: SetQueue) -> bool {
    match bench.act(Action::SetQueue(set)) {
        Ok(Answer::QueueSet { is_new, .. }) => is_new,
        other => panic!("the queue was not set: {other:?}"),
    }
}

fn pause(is_paused: bool) -> Action {
    Action::PauseQueue { queue: queue("default"), is_paused }
}

fn add_all(bench: &mut Bench, ids: &[&str]) {
    for id in ids {
        bench.add(job(id)).unwrap();
    }
}

fn add_list(bench: &mut Bench, ids: &[&str]) -> Result<Answer, Rejection> {
    bench.run(Command::Add(Add { jobs: ids.iter().map(|id| job(id)).collect() }))
}

fn view(bench: &Bench) -> QueueView {
    bench.state.queue(&queue("default")).unwrap()
}

fn act(bench: &mut Bench, action: Action) -> Applied {
    let request_id = bench.fresh_claim().request_id;
    bench.apply(Command::Operate(Operation { request_id, action }))
}

fn opened() -> Change {
    Change::Opened { queue: queue("default") }
}

fn ready(work_type: &str) -> Change {
    Change::Ready { queue: queue("default"), work_type: WorkType::parse(work_type).unwrap() }
}

fn would_grant(bench: &mut Bench) -> bool {
    let claim = bench.fresh_claim();
    let listed = Claim { queues: vec![queue("default")], ..claim.clone() };
    let typed = Claim { work_types: vec![WorkType::parse("default").unwrap()], ..claim.clone() };
    let answers = [claim, listed, typed].map(|claim| bench.state.would_grant(&claim));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0]
}

/// The state as it comes back from its records is the same, and keeps every promise.
fn assert_restores(bench: &Bench) {
    let records = bench.state.freeze();
    let restored = State::restore(records.records().map(Ok::<_, Infallible>)).unwrap();
    assert_eq!(restored, bench.state);
    invariants::check(&restored).unwrap();
}

// ---- what exists

#[test]
fn queue_exists_once_an_add_or_its_settings_name_it() {
    let mut bench = Bench::new();
    let not_found = Err(Rejection::QueueNotFound { queue: queue("default") });
    for action in
        [pause(true), Action::PurgeQueue(queue("default")), Action::DeleteQueue(queue("default"))]
    {
        assert_eq!(bench.act(action), not_found);
    }
    assert_eq!((bench.state.queue(&queue("default")), bench.rev()), (None, 0));
    assert!(set(&mut bench, keep()));
    assert!(!set(&mut bench, keep()));
    assert_eq!(bench.rev(), 1, "only the queue itself is new");
    bench.add(job_in("1", "other", "x", 1)).unwrap();
    let names: Vec<_> = bench.state.queues().into_iter().map(|view| view.name).collect();
    assert_eq!(names, [queue("default"), queue("other")]);
}

#[test]
fn settings_out_of_range_are_refused_by_name_and_change_nothing() {
    let mut bench = Bench::new();
    let faults = [
        ("max_jobs", SetQueue { max_jobs: Patch::Set(0), ..keep() }),
        ("max_bytes", SetQueue { max_bytes: Patch::Set(1 << 53), ..keep() }),
        ("default_lease_ms", SetQueue { default_lease_ms: Patch::Set(99), ..keep() }),
        ("max_attempts", SetQueue { max_attempts: Patch::Set(1_001), ..keep() }),
        ("max_leased", SetQueue { max_leased: Patch::Set(0), ..keep() }),
        ("rate_per_second", SetQueue { rate_per_second: Patch::Set(1_000_001), ..keep() }),
    ];
    for (name, fault) in faults {
        let refused = bench.act(Action::SetQueue(fault));
        let Err(Rejection::Invalid { index: 0, field, reason }) = refused else {
            panic!("{name} was taken: {refused:?}")
        };
        assert_eq!(&*field, name);
        assert!(reason.starts_with("must be "), "{reason}");
    }
    assert_eq!((bench.state.queues(), bench.rev()), (Vec::new(), 0));
}

#[test]
fn revision_rises_only_when_a_setting_changes_and_each_is_kept_until_cleared() {
    let mut bench = Bench::new();
    set(&mut bench, SetQueue { max_jobs: Patch::Set(5), is_paused: Some(true), ..keep() });
    set(&mut bench, SetQueue { max_jobs: Patch::Set(5), ..keep() });
    bench.act(pause(true)).unwrap();
    assert_eq!(bench.rev(), 1);
    set(&mut bench, SetQueue { max_bytes: Patch::Set(6), ..keep() });
    let settings = view(&bench).settings;
    assert_eq!((settings.max_jobs, settings.max_bytes), (Some(5), Some(6)));
    assert!(settings.is_paused && view(&bench).totals.is_paused);
    set(&mut bench, SetQueue { max_jobs: Patch::Clear, is_paused: Some(false), ..keep() });
    let max_bytes = Some(6);
    assert_eq!(view(&bench).settings, QueueSettings { max_bytes, ..QueueSettings::default() });
    assert_eq!(bench.rev(), 3);
    assert_restores(&bench);
}

#[test]
fn jobs_that_name_no_lease_or_attempts_get_those_of_their_queue() {
    let mut bench = Bench::new();
    let (default_lease_ms, max_attempts) = (Patch::Set(5_000), Patch::Set(7));
    set(&mut bench, SetQueue { default_lease_ms, max_attempts, ..keep() });
    add_all(&mut bench, &["1"]);
    let (lease_ms, own_attempts) = (Some(6_000), Some(2));
    bench.add(NewJob { lease_ms, max_attempts: own_attempts, ..job("2") }).unwrap();
    let (first, second) = (bench.claim(), bench.claim());
    assert_eq!((first.lease_ms, first.max_attempts), (5_000, 7));
    assert_eq!((second.lease_ms, second.max_attempts), (6_000, 2));
    set(&mut bench, SetQueue { default_lease_ms: Patch::Clear, ..keep() });
    assert!(bench.add(job("1")).is_ok(), "a repeat is known by what it said, not by what it got");
}

// ---- how much there may be

#[test]
fn add_beyond_max_jobs_is_refused_whole_and_a_repeat_is_not() {
    let mut bench = Bench::new();
    set(&mut bench, SetQueue { max_jobs: Patch::Set(3), ..keep() });
    add_list(&mut bench, &["1", "2"]).unwrap();
    let full = add_list(&mut bench, &["3", "4"]);
    let reason = "queue default may have 3 unfinished jobs";
    assert_eq!(full, Err(Rejection::Full { reason: reason.into(), retry_after_ms: 1_000 }));
    assert_eq!(bench.state.job(&id_of("3")), None);
    assert!(add_list(&mut bench, &["1", "3", "3", "2"]).is_ok(), "one of these is new");
    assert!(add_list(&mut bench, &["1", "2", "3"]).is_ok());
    assert!(bench.add(job_in("4", "other", "x", 1)).is_ok(), "another queue is not held to it");
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    assert!(add_list(&mut bench, &["5"]).is_ok());
    assert_eq!(view(&bench).totals.unfinished, 3);
}

#[test]
fn add_beyond_max_bytes_is_refused_and_bytes_of_finished_jobs_do_not_count() {
    let mut bench = Bench::new();
    let sized = |id: &str, size: usize| {
        let payload = Payload { bytes: vec![b'1'; size].into(), ..job(id).payload };
        NewJob { payload, ..job(id) }
    };
    set(&mut bench, SetQueue { max_bytes: Patch::Set(10), ..keep() });
    bench.add(sized("1", 6)).unwrap();
    let full = bench.add(sized("2", 5));
    let reason = "queue default may have 10 payload bytes of unfinished jobs";
    assert_eq!(full, Err(Rejection::Full { reason: reason.into(), retry_after_ms: 1_000 }));
    bench.add(sized("3", 4)).unwrap();
    assert_eq!(view(&bench).bytes, 10);
    bench.run(Command::Cancel(Cancel { job: id_of("1") })).unwrap();
    assert_eq!(view(&bench).bytes, 4);
    bench.add(sized("2", 5)).unwrap();
    assert_restores(&bench);
}

#[test]
fn follow_ups_are_taken_by_a_full_queue_and_count_afterwards() {
    let mut bench = Bench::new();
    set(&mut bench, SetQueue { max_jobs: Patch::Set(1), ..keep() });
    add_all(&mut bench, &["1"]);
    let grant = bench.claim();
    let then = vec![job("2"), job("3")];
    bench.run(Command::Complete(Complete { holding: held(&grant), result: None, then })).unwrap();
    assert_eq!(view(&bench).totals.unfinished, 2);
    assert!(matches!(add_list(&mut bench, &["4"]), Err(Rejection::Full { .. })));
}

// ---- pausing

#[test]
fn paused_queue_is_passed_over_by_every_claim_and_resuming_tells_who_waits() {
    let mut bench = Bench::new();
    add_all(&mut bench, &["1"]);
    bench.act(pause(true)).unwrap();
    add_all(&mut bench, &["2"]);
    bench.add(job_in("3", "other", "default", 0)).unwrap();
    assert_eq!(bench.claim_ids(|_| ()), ["3"]);
    assert!(!would_grant(&mut bench));
    assert_restores(&bench);
    assert_eq!(act(&mut bench, pause(false)).changes, [opened()]);
    assert!(would_grant(&mut bench));
    assert_eq!(bench.claim_ids(|claim| claim.queues = vec![queue("default")]), ["1", "2"]);
}

#[test]
fn leases_of_a_paused_queue_go_on_and_opening_an_empty_one_tells_nobody() {
    let mut bench = Bench::new();
    add_all(&mut bench, &["1"]);
    let grant = bench.claim();
    bench.act(pause(true)).unwrap();
    bench.complete(&grant).unwrap();
    assert_eq!(act(&mut bench, pause(false)).changes, []);
}

// ---- how many may be leased

#[test]
fn claims_stop_at_max_leased_and_the_end_of_a_lease_tells_of_every_lane() {
    let mut bench = Bench::new();
    set(&mut bench, SetQueue { max_leased: Patch::Set(2), ..keep() });
    add_all(&mut bench, &["1", "2", "3"]);
    bench.add(job_in("4", "default", "a", 50)).unwrap();
    assert_eq!(bench.claim_ids(|_| ()), ["1", "2"]);
    assert!(!would_grant(&mut bench));
    assert_restores(&bench);
    let changes = bench.apply(Command::Cancel(Cancel { job: id_of("1") })).changes;
    let ended = Change::Ended { job: id_of("1"), state: JobState::Cancelled };
    assert_eq!(changes, [ended, ready("a"), ready("default")]);
    assert_eq!(bench.claim_ids(|_| ()), ["3"]);
    let changes = bench.pass(30_000).changes;
    assert_eq!(changes[..3], [ready("default"), ready("a"), ready("default")]);
}

#[test]
fn each_place_that_is_free_again_is_told_beside_others_that_are() {
    let mut bench = Bench::new();
    set(&mut bench, SetQueue { max_leased: Patch::Set(2), ..keep() });
    add_all(&mut bench, &["1", "2", "3", "4"]);
    assert_eq!(bench.claim_ids(|_| ()), ["1", "2"]);
    for name in ["1", "2"] {
        let changes = bench.apply(Command::Cancel(Cancel { job: id_of(name) })).changes;
        let ended = Change::Ended { job: id_of(name), state: JobState::Cancelled };
        assert_eq!(changes, [ended, ready("default")], "after job {name}");
    }
    set(&mut bench, SetQueue { max_leased: Patch::Clear, ..keep() });
    bench.claim();
    let changes = bench.apply(Command::Cancel(Cancel { job: id_of("3") })).changes;
    assert_eq!(changes.len(), 1, "nobody waits for a place of a queue without a limit");
}

#[test]
fn raising_max_leased_opens_the_queue_and_lowering_it_takes_no_lease_away() {
    let mut bench = Bench::new();
    add_all(&mut bench, &["1", "2", "3"]);
    let first = bench.claim();
    bench.claim();
    set(&mut bench, SetQueue { max_leased: Patch::Set(1), ..keep() });
    bench.complete(&first).unwrap();
    assert!(!would_grant(&mut bench), "the other one is still leased");
    let raise = Action::SetQueue(SetQueue { max_leased: Patch::Set(2), ..keep() });
    assert_eq!(act(&mut bench, raise).changes, [opened()]);
    assert_eq!(bench.claim_ids(|_| ()), ["3"]);
}

// ---- how many grants a second

fn with_rate(rate: u32, ids: &[&str]) -> Bench {
    let mut bench = Bench::new();
    set(&mut bench, SetQueue { rate_per_second: Patch::Set(rate), ..keep() });
    add_all(&mut bench, ids);
    bench
}

#[test]
fn grants_stop_at_the_rate_until_the_second_that_began_with_the_first_is_over() {
    let mut bench = with_rate(2, &["1", "2", "3", "4", "5"]);
    assert_eq!(bench.claim_ids(|_| ()), ["1", "2"]);
    assert!(!would_grant(&mut bench));
    assert_eq!(bench.state.deadlines().clock, Some(ClockMs(2_000)));
    assert_restores(&bench);
    assert_eq!(bench.pass(999).changes, []);
    assert!(!would_grant(&mut bench));
    let rev = bench.rev();
    assert_eq!(bench.pass(1).changes, [opened()]);
    assert_eq!(bench.rev(), rev, "nothing of any job has changed");
    assert_eq!(bench.claim_ids(|_| ()), ["3", "4"]);
}

#[test]
fn second_that_is_not_full_needs_no_timer_and_a_later_grant_begins_another() {
    let mut bench = with_rate(2, &["1", "2", "3", "4"]);
    bench.claim();
    assert_eq!(bench.state.deadlines().clock, Some(ClockMs(31_000)), "only the lease ends");
    bench.pass(999);
    assert_eq!(bench.claim_ids(|_| ()), ["2"]);
    bench.pass(1);
    bench.claim();
    bench.pass(999);
    assert_eq!(bench.claim_ids(|_| ()), ["4"], "its second began with the third grant");
}

#[test]
fn release_gives_no_grant_back_and_a_new_rate_begins_anew() {
    let mut bench = with_rate(1, &["1", "2"]);
    let grant = bench.claim();
    bench.release(&grant).unwrap();
    assert!(!would_grant(&mut bench));
    let same = Action::SetQueue(SetQueue { rate_per_second: Patch::Set(1), ..keep() });
    assert_eq!(bench.act(same.clone()).map(|_| ()), Ok(()));
    assert!(!would_grant(&mut bench), "the rate is what it was");
    let other = Action::SetQueue(SetQueue { rate_per_second: Patch::Set(2), ..keep() });
    assert_eq!(act(&mut bench, other).changes, [opened()]);
    assert_eq!(bench.claim_ids(|_| ()), ["1", "2"]);
}

#[test]
fn full_second_holds_until_its_end_is_applied() {
    let mut bench = with_rate(1, &["1", "2"]);
    bench.claim();
    bench.state.limits.steps_max = 0;
    bench.pass(5_000);
    assert!(bench.state.deadlines().is_behind);
    assert!(!would_grant(&mut bench));
    bench.state.limits.steps_max = 1;
    assert_eq!(bench.pass(0).changes, [opened()]);
}

#[test]
fn queue_that_is_paused_does_not_open_with_a_new_second() {
    let mut bench = with_rate(1, &["1", "2"]);
    bench.claim();
    bench.act(pause(true)).unwrap();
    assert_eq!(bench.pass(1_000).changes, []);
    assert_eq!(act(&mut bench, pause(false)).changes, [opened()]);
}

// ---- deleting

#[test]
fn queue_with_unfinished_jobs_is_not_deleted() {
    let mut bench = Bench::new();
    add_all(&mut bench, &["1", "2"]);
    let deleted = bench.act(Action::DeleteQueue(queue("default")));
    assert_eq!(deleted, Err(Rejection::QueueNotEmpty { queue: queue("default"), unfinished: 2 }));
    assert!(bench.state.queue(&queue("default")).is_some());
}

#[test]
fn deleted_queue_is_counted_while_it_has_jobs_and_comes_back_without_its_settings() {
    let mut bench = Bench::new();
    set(&mut bench, SetQueue { is_paused: Some(true), max_jobs: Patch::Set(9), ..keep() });
    add_all(&mut bench, &["1"]);
    bench.run(Command::Cancel(Cancel { job: id_of("1") })).unwrap();
    let rev = bench.rev();
    let delete = Action::DeleteQueue(queue("default"));
    assert_eq!(bench.act(delete.clone()), Ok(Answer::QueueDeleted(Once::First)));
    assert_eq!(bench.rev(), rev + 1);
    assert!(matches!(bench.act(delete.clone()), Err(Rejection::QueueNotFound { .. })));
    assert_eq!((bench.state.queue(&queue("default")), bench.state.queues()), (None, Vec::new()));
    assert!(bench.state.totals().queues.contains_key(&queue("default")));
    assert_eq!(bench.state_of("1"), JobState::Cancelled);
    assert_restores(&bench);

    add_all(&mut bench, &["2"]);
    assert_eq!(view(&bench).settings, QueueSettings::default());
    assert_eq!(bench.claim_ids(|_| ()), ["2"]);
    bench.run(Command::Cancel(Cancel { job: id_of("2") })).unwrap();
    bench.act(delete.clone()).unwrap();
    bench.pass(3_600_000);
    assert!(bench.state.totals().queues.is_empty(), "its last job has left");
    assert!(set(&mut bench, keep()));
    bench.act(delete).unwrap();
    assert!(bench.state.totals().queues.is_empty(), "it had none");
}

#[test]
fn oldest_pending_of_a_queue_is_the_first_added_that_waits_for_a_claim() {
    let mut bench = Bench::new();
    add_all(&mut bench, &["1"]);
    bench.pass(5);
    add_all(&mut bench, &["2"]);
    assert_eq!(view(&bench).totals.oldest_pending, Some(WallMs(1_000_000)));
    bench.claim();
    assert_eq!(view(&bench).totals.oldest_pending, Some(WallMs(1_000_005)));
}
