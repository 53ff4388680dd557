//! Claims about the rules, one at a time. `tests/queue_model` holds them all together.

use std::convert::Infallible;

use super::*;
use crate::queue::{
    Action, Add, Backoff, Beat, BeatStatus, Cancel, Claimed, Complete, Delay, Fail, Found, Grant,
    Heartbeat, Holding, NewJob, OnDependencyFailure, Once, Operation, Record, Release, RequestId,
    RestoreError, Retry, Stamp, Token, WorkerId,
};

/// A queue whose clocks a test moves by hand.
pub(in crate::queue) struct Bench {
    pub(in crate::queue) state: State,
    pub(in crate::queue) stamp: Stamp,
    requests: u64,
}

impl Bench {
    pub(in crate::queue) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(in crate::queue) fn with_limits(limits: Limits) -> Self {
        let stamp = Stamp { clock: ClockMs(1_000), wall: WallMs(1_000_000) };
        Self { state: State::with_limits(limits), stamp, requests: 0 }
    }

    pub(in crate::queue) fn pass(&mut self, ms: u64) -> Applied {
        self.stamp.clock.0 += ms;
        self.stamp.wall.0 += ms;
        self.state.apply(&Entry { stamp: self.stamp, commands: Vec::new() })
    }

    pub(in crate::queue) fn run(&mut self, command: Command) -> Result<Answer, Rejection> {
        let entry = Entry { stamp: self.stamp, commands: vec![command] };
        let mut applied = self.state.apply(&entry);
        applied.outcomes.remove(0).result
    }

    /// Applies a command, and answers the changes as well.
    pub(in crate::queue) fn apply(&mut self, command: Command) -> Applied {
        self.state.apply(&Entry { stamp: self.stamp, commands: vec![command] })
    }

    pub(in crate::queue) fn operate(
        &mut self,
        request_id: &str,
        action: Action,
    ) -> Result<Answer, Rejection> {
        let request_id = RequestId::parse(request_id).unwrap();
        self.run(Command::Operate(Operation { request_id, action }))
    }

    /// Carries an operation out under an id of its own.
    pub(in crate::queue) fn act(&mut self, action: Action) -> Result<Answer, Rejection> {
        self.requests += 1;
        self.operate(&format!("operation-{}", self.requests), action)
    }

    pub(in crate::queue) fn add(&mut self, job: NewJob) -> Result<Answer, Rejection> {
        self.run(Command::Add(Add { jobs: vec![job] }))
    }

    pub(in crate::queue) fn fresh_claim(&mut self) -> Claim {
        self.requests += 1;
        Claim {
            worker: WorkerId::parse("w1").unwrap(),
            session: None,
            queues: Vec::new(),
            work_types: Vec::new(),
            max: 1,
            lease_ms: None,
            request_id: RequestId::parse(&format!("request-{}", self.requests)).unwrap(),
            labels: std::collections::BTreeMap::default(),
        }
    }

    pub(in crate::queue) fn claim_with(&mut self, claim: Claim) -> Vec<Claimed> {
        match self.run(Command::Claim(claim)) {
            Ok(Answer::Claimed(jobs)) => jobs,
            other => panic!("a claim answered {other:?}"),
        }
    }

    pub(in crate::queue) fn claim(&mut self) -> Grant {
        let claim = self.fresh_claim();
        match self.claim_with(claim).remove(0) {
            Claimed::Granted(grant) => grant,
            lost @ Claimed::Lost { .. } => panic!("a fresh claim answered {lost:?}"),
        }
    }

    pub(in crate::queue) fn claim_ids(&mut self, edit: impl FnOnce(&mut Claim)) -> Vec<String> {
        let mut claim = self.fresh_claim();
        claim.max = 1000;
        edit(&mut claim);
        self.claim_with(claim).iter().map(|claimed| grant_in(claimed).job.to_string()).collect()
    }

    pub(in crate::queue) fn complete(&mut self, grant: &Grant) -> Result<Answer, Rejection> {
        let (holding, then) = (held(grant), Vec::new());
        self.run(Command::Complete(Complete { holding, result: None, then }))
    }

    pub(in crate::queue) fn fail(
        &mut self,
        grant: &Grant,
        retry: Retry,
    ) -> Result<Answer, Rejection> {
        self.run(Command::Fail(Fail { holding: held(grant), error: None, retry }))
    }

    pub(in crate::queue) fn release(&mut self, grant: &Grant) -> Result<Answer, Rejection> {
        self.run(Command::Release(Release { holding: held(grant), delay_ms: 0 }))
    }

    pub(in crate::queue) fn beat(&mut self, grant: &Grant, lease_ms: Option<u64>) -> BeatStatus {
        let items = vec![Beat { holding: held(grant), lease_ms, progress: None }];
        match self.run(Command::Heartbeat(Heartbeat { worker: None, items })) {
            Ok(Answer::Heartbeat { items, .. }) => items[0].status,
            other => panic!("a heartbeat answered {other:?}"),
        }
    }

    pub(in crate::queue) fn state_of(&self, id: &str) -> JobState {
        match self.state.job(&id_of(id)) {
            Some(Found::Job(job)) => job.state,
            Some(Found::Tombstone(tombstone)) => tombstone.state,
            None => panic!("{id} is not known"),
        }
    }

    pub(in crate::queue) fn rev(&self) -> u64 {
        self.state.rev().0
    }
}

pub(in crate::queue) fn grant_in(claimed: &Claimed) -> &Grant {
    match claimed {
        Claimed::Granted(grant) => grant,
        lost @ Claimed::Lost { .. } => panic!("{lost:?} where a grant was meant"),
    }
}

pub(in crate::queue) fn held(grant: &Grant) -> Holding {
    Holding { job: grant.job.clone(), token: grant.token }
}

pub(in crate::queue) fn id_of(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

pub(in crate::queue) fn job(id: &str) -> NewJob {
    NewJob {
        backoff: Backoff { jitter_thousandths: 0, ..Backoff::default() },
        ..NewJob::plain(id_of(id))
    }
}

pub(in crate::queue) fn job_in(id: &str, queue: &str, work_type: &str, priority: u8) -> NewJob {
    NewJob {
        queue: QueueName::parse(queue).unwrap(),
        work_type: WorkType::parse(work_type).unwrap(),
        priority,
        ..job(id)
    }
}

// ---- which job next (S11)

#[test]
fn claim_without_queues_takes_highest_priority_then_oldest_of_all() {
    let mut bench = Bench::new();
    for (id, queue, priority) in [("1", "a", 50), ("2", "b", 50), ("3", "a", 90), ("4", "b", 0)] {
        bench.add(job_in(id, queue, "x", priority)).unwrap();
    }
    assert_eq!(bench.claim_ids(|_| ()), ["3", "1", "2", "4"]);
}

#[test]
fn listed_queues_are_served_strictly_in_their_order() {
    let mut bench = Bench::new();
    for (id, queue, priority) in [("1", "a", 100), ("2", "b", 0), ("3", "c", 50), ("4", "b", 1)] {
        bench.add(job_in(id, queue, "x", priority)).unwrap();
    }
    let queues = ["b", "a"].map(|name| QueueName::parse(name).unwrap());
    assert_eq!(bench.claim_ids(|claim| claim.queues = queues.to_vec()), ["4", "2", "1"]);
}

#[test]
fn claim_of_some_types_passes_over_the_others() {
    let mut bench = Bench::new();
    for (id, work_type, priority) in
        [("1", "x", 50), ("2", "y", 100), ("3", "z", 60), ("4", "x", 70)]
    {
        bench.add(job_in(id, "a", work_type, priority)).unwrap();
    }
    let types = ["x", "z"].map(|name| WorkType::parse(name).unwrap());
    assert_eq!(bench.claim_ids(|claim| claim.work_types = types.to_vec()), ["4", "3", "1"]);
}

/// How long this takes at best, of several tries: what else the machine does only ever adds.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is the rules, not what they measure"
)]
fn fastest(mut run: impl FnMut()) -> std::time::Duration {
    let time = |()| {
        let start = std::time::Instant::now();
        run();
        start.elapsed()
    };
    [(); 5].map(time).into_iter().min().expect("five tries")
}

fn bench_with_others(others: u32) -> Bench {
    let mut bench = Bench::new();
    let jobs = (0..others).map(|number| job_in(&format!("x{number}"), "a", "x", 90));
    bench.run(Command::Add(Add { jobs: jobs.collect() })).unwrap();
    bench
}

// Situation: a thousand times as many jobs of another type. Claim: a claim does not look at them; a look at
// each would take a thousand times as long, and thirty times is room for every cache and tree.
/// api 2.claim.work-types.cost
#[test]
fn claim_costs_no_more_for_any_number_of_jobs_of_other_types() {
    let cost = |others: u32| {
        let mut bench = bench_with_others(others);
        bench.add(job_in("y", "a", "y", 0)).unwrap();
        let types = vec![WorkType::parse("y").unwrap()];
        fastest(|| {
            for _ in 0..20 {
                let claim = Claim { work_types: types.clone(), ..bench.fresh_claim() };
                let claimed = bench.claim_with(claim);
                bench.release(grant_in(&claimed[0])).unwrap();
            }
        })
    };
    let (few, many) = (cost(20), cost(20_000));
    assert!(many < few * 30, "{few:?} and {many:?}");
}

/// api 2.status.kept
#[test]
fn totals_cost_no_more_for_any_number_of_jobs() {
    let cost = |others: u32| {
        let bench = bench_with_others(others);
        fastest(|| (0..100).for_each(|_| assert_eq!(bench.state.totals().total, u64::from(others))))
    };
    let (few, many) = (cost(20), cost(20_000));
    assert!(many < few * 30, "{few:?} and {many:?}");
}

#[test]
fn released_job_goes_back_to_its_place_and_its_attempt_does_not_count() {
    let mut bench = Bench::new();
    for id in ["1", "2"] {
        bench.add(job(id)).unwrap();
    }
    let first = bench.claim();
    bench.release(&first).unwrap();
    let again = bench.claim();
    assert_eq!((again.job.as_str(), again.attempt), ("1", 1));
    assert!(again.token > first.token);
}

// ---- leases and time (S7, S9, S10)

#[test]
fn expired_lease_returns_job_at_once_with_next_token() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let first = bench.claim();
    bench.pass(29_999);
    assert_eq!(bench.state_of("1"), JobState::Claimed);
    bench.pass(1);
    let second = bench.claim();
    assert_eq!((second.attempt, second.token > first.token), (2, true));
    assert!(matches!(
        bench.complete(&first),
        Err(Rejection::StaleToken {
            current_token: Some(token),
            ended_as: Some(crate::queue::AttemptEnd::Expired),
            ..
        }) if token == second.token
    ));
}

#[test]
fn losing_the_last_attempt_fails_the_job() {
    let mut bench = Bench::new();
    bench.add(NewJob { max_attempts: Some(2), ..job("1") }).unwrap();
    for expected in [JobState::Pending, JobState::Failed] {
        bench.claim();
        bench.pass(30_000);
        assert_eq!(bench.state_of("1"), expected);
    }
}

#[test]
fn heartbeat_makes_it_running_and_never_shortens_the_lease() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    assert_eq!(bench.beat(&grant, Some(200)), BeatStatus::Extended { lease_expires_in_ms: 30_000 });
    assert_eq!(bench.state_of("1"), JobState::Running);
    bench.pass(10_000);
    assert_eq!(bench.beat(&grant, None), BeatStatus::Extended { lease_expires_in_ms: 30_000 });
}

/// api 1.token.until-applied
#[test]
fn lease_past_its_deadline_holds_until_its_end_is_applied() {
    // One step an entry: the second lease is left over when the first one ends.
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    for id in ["1", "2"] {
        bench.add(job(id)).unwrap();
    }
    let (_, second) = (bench.claim(), bench.claim());
    bench.stamp.clock.0 += 40_000;
    let completed = bench.complete(&second);
    assert!(matches!(completed, Ok(Answer::Completed { once: Once::First, .. })));
    assert_eq!(bench.state_of("1"), JobState::Pending);
}

#[test]
fn work_of_time_beyond_the_bound_is_left_to_later_entries() {
    let mut bench = Bench::with_limits(Limits { steps_max: 2, ..Limits::default() });
    let delay = Delay::For(10);
    for id in ["1", "2", "3"] {
        bench.add(NewJob { delay, ..job(id) }).unwrap();
    }
    bench.pass(10);
    assert!(bench.state.deadlines().is_behind);
    assert_eq!(bench.state_of("3"), JobState::Scheduled);
    bench.pass(0);
    assert!(!bench.state.deadlines().is_behind);
    assert_eq!(bench.state_of("3"), JobState::Pending);
}

#[test]
fn run_at_waits_for_an_entry_whose_wall_clock_has_reached_it() {
    let mut bench = Bench::new();
    let at = WallMs(1_000_500);
    bench.add(NewJob { delay: Delay::Until(at), ..job("1") }).unwrap();
    assert_eq!(bench.state.deadlines().wall, Some(at));
    bench.stamp.clock.0 += 1_000_000; // no cluster clock brings it on
    bench.pass(0);
    bench.stamp.wall = WallMs(1_000_499);
    bench.pass(0);
    assert_eq!(bench.state_of("1"), JobState::Scheduled);
    bench.pass(1);
    assert_eq!(bench.state_of("1"), JobState::Pending);
    bench.stamp.wall = WallMs(0); // and a wall clock that goes back takes nothing back
    bench.pass(0);
    assert_eq!(bench.state_of("1"), JobState::Pending);
}

#[test]
fn failed_attempt_waits_for_its_backoff() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    let run_at = WallMs(bench.stamp.wall.0 + 1_000);
    let retrying = Answer::Retrying { once: Once::First, run_at };
    assert_eq!(bench.fail(&grant, Retry::Backoff), Ok(retrying));
    bench.pass(999);
    assert_eq!(bench.state_of("1"), JobState::Scheduled);
    bench.pass(1);
    assert_eq!(bench.claim().attempt, 2);
}

#[test]
fn job_not_claimed_in_time_expires_and_one_claimed_once_does_not() {
    let mut bench = Bench::new();
    for id in ["1", "2"] {
        bench.add(NewJob { expires_in_ms: Some(500), ..job(id) }).unwrap();
    }
    let grant = bench.claim();
    bench.release(&grant).unwrap();
    bench.pass(500);
    assert_eq!((bench.state_of("1"), bench.state_of("2")), (JobState::Pending, JobState::Expired));
}

#[test]
fn clock_never_goes_back_and_the_end_of_time_does_not_overflow() {
    let mut bench = Bench::new();
    bench.stamp.clock = ClockMs(u64::MAX - 1);
    bench.stamp.wall = WallMs(u64::MAX);
    bench.add(NewJob { delay: Delay::For(u64::MAX), ..job("1") }).unwrap();
    bench.add(job("2")).unwrap();
    let grant = bench.claim();
    bench.fail(&grant, Retry::After(u64::MAX)).unwrap();
    bench.stamp.clock = ClockMs(5);
    bench.pass(0);
    assert_eq!(bench.state.clock(), ClockMs(u64::MAX - 1));
}

// ---- jobs that depend on others

fn after(id: &str, dependencies: &[&str]) -> NewJob {
    NewJob { depends_on: dependencies.iter().map(|id| id_of(id)).collect(), ..job(id) }
}

fn view_of(bench: &Bench, id: &str) -> crate::queue::JobView {
    match bench.state.job(&id_of(id)) {
        Some(Found::Job(view)) => *view,
        other => panic!("{id} is {other:?}"),
    }
}

#[test]
fn blocked_job_is_ready_once_its_last_dependency_is_completed() {
    let mut bench = Bench::new();
    let jobs = vec![after("3", &["1", "2"]), job("1"), job("2")];
    bench.run(Command::Add(Add { jobs })).unwrap();
    for expected in [JobState::Blocked, JobState::Pending] {
        let grant = bench.claim();
        bench.complete(&grant).unwrap();
        assert_eq!(bench.state_of("3"), expected);
    }
}

#[test]
fn dependency_that_ends_otherwise_fails_the_job_with_the_reason_unless_it_is_to_run() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    bench.add(after("2", &["1"])).unwrap();
    let on_dependency_failure = OnDependencyFailure::Run;
    bench.add(NewJob { on_dependency_failure, ..after("3", &["1"]) }).unwrap();
    bench.run(Command::Cancel(Cancel { job: id_of("1") })).unwrap();
    bench.add(after("4", &["1"])).unwrap();
    let failed = view_of(&bench, "2");
    assert_eq!(failed.state, JobState::Failed);
    assert_eq!(failed.error.as_deref(), Some("its dependency 1 is cancelled"));
    assert_eq!(bench.state_of("3"), JobState::Pending);
    assert_eq!(bench.state_of("4"), JobState::Failed, "a dependency may have ended before");
}

#[test]
fn cascade_beyond_the_bound_goes_on_in_later_entries() {
    let mut bench = Bench::with_limits(Limits { steps_max: 1, ..Limits::default() });
    bench.add(job("0")).unwrap();
    for number in 1..=3 {
        let before = (number - 1).to_string();
        bench.add(after(&number.to_string(), &[&before])).unwrap();
    }
    bench.run(Command::Cancel(Cancel { job: id_of("0") })).unwrap();
    for number in 1..=3 {
        assert_eq!(bench.state_of(&number.to_string()), JobState::Failed);
        assert_eq!(bench.state.deadlines().is_behind, number < 3);
        bench.pass(0);
    }
}

#[test]
fn circle_in_a_list_and_an_unknown_dependency_are_rejected() {
    let mut bench = Bench::new();
    let circle = vec![after("1", &["3"]), after("2", &["1"]), after("3", &["2"])];
    let rejected = bench.run(Command::Add(Add { jobs: circle }));
    assert_eq!(rejected, Err(Rejection::DependencyCycle { index: 0, job: id_of("1") }));
    let itself = bench.add(after("1", &["1"]));
    assert_eq!(itself, Err(Rejection::DependencyCycle { index: 0, job: id_of("1") }));
    assert!(matches!(bench.add(after("1", &["9"])), Err(Rejection::Invalid { .. })));
    assert_eq!(bench.rev(), 0);
}

#[test]
fn blocked_job_that_is_delayed_waits_for_both() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    bench.add(NewJob { delay: Delay::For(500), ..after("2", &["1"]) }).unwrap();
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    assert_eq!(bench.state_of("2"), JobState::Scheduled);
    bench.pass(500);
    assert_eq!(bench.state_of("2"), JobState::Pending);
}

// ---- groups (S11)

fn grouped(id: &str, group: &str, priority: u8) -> NewJob {
    let group = Some(crate::queue::GroupName::parse(group).unwrap());
    NewJob { priority, group, ..job(id) }
}

#[test]
fn group_is_served_one_at_a_time_in_add_order_and_holds_up_no_other() {
    let mut bench = Bench::new();
    for (id, group, priority) in [("1", "g", 10), ("2", "g", 100), ("3", "h", 5)] {
        bench.add(grouped(id, group, priority)).unwrap();
    }
    assert_eq!(bench.claim_ids(|_| ()), ["1", "3"], "the head's priority counts");
    assert_eq!(bench.claim_ids(|_| ()), [""; 0]);
}

#[test]
fn head_that_backs_off_holds_its_group_and_a_finished_one_frees_it() {
    let mut bench = Bench::new();
    for id in ["1", "2"] {
        bench.add(grouped(id, "g", 50)).unwrap();
    }
    let first = bench.claim();
    bench.fail(&first, Retry::Backoff).unwrap();
    assert_eq!(bench.claim_ids(|_| ()), [""; 0]);
    let freed = bench.state.apply(&Entry {
        stamp: bench.stamp,
        commands: vec![Command::Cancel(Cancel { job: id_of("1") })],
    });
    assert!(
        matches!(&freed.changes[..], [Change::Ended { .. }, Change::Ready { .. }]),
        "whoever waits for a job is told: {:?}",
        freed.changes
    );
    assert_eq!(bench.claim().job, id_of("2"));
}

// ---- calls that come twice (S3, S4, S6)

/// api 1.repeat.newer-grant
#[test]
fn same_verb_under_a_spent_token_answers_as_it_did_even_after_a_newer_grant() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let first = bench.claim();
    let Ok(Answer::Retrying { run_at, .. }) = bench.fail(&first, Retry::Backoff) else {
        panic!("the first attempt of three is retried")
    };
    bench.pass(1_000);
    bench.claim();
    let rev = bench.rev();
    let repeated = Answer::Retrying { once: Once::Duplicate, run_at };
    assert_eq!(bench.fail(&first, Retry::Never), Ok(repeated));
    assert!(matches!(
        bench.complete(&first),
        Err(Rejection::StaleToken { ended_as: Some(crate::queue::AttemptEnd::Failed), .. })
    ));
    assert_eq!(bench.rev(), rev);
}

/// api 1.repeat.claim
#[test]
fn repeated_claim_returns_the_same_grants_with_what_is_left_of_them() {
    let mut bench = Bench::new();
    for id in ["1", "2", "3"] {
        bench.add(job(id)).unwrap();
    }
    let claim = Claim { max: 2, ..bench.fresh_claim() };
    let first = bench.claim_with(claim.clone());
    bench.complete(grant_in(&first[0])).unwrap();
    bench.pass(100);
    let rev = bench.rev();
    assert!(bench.state.would_grant(&claim));
    let again = bench.claim_with(claim.clone());
    let (done, kept) = (grant_in(&first[0]), grant_in(&first[1]));
    let lost =
        Claimed::Lost { job: done.job.clone(), token: done.token, state: JobState::Completed };
    let still = Grant { lease_expires_in_ms: 29_900, ..kept.clone() };
    assert_eq!(again, [lost, Claimed::Granted(still)]);
    let other = Claim { max: 3, ..claim };
    assert_eq!(bench.run(Command::Claim(other)), Err(Rejection::RequestIdConflict));
    assert_eq!(bench.rev(), rev);
}

#[test]
fn empty_answer_to_a_claim_is_not_remembered() {
    let mut bench = Bench::new();
    let claim = bench.fresh_claim();
    assert!(!bench.state.would_grant(&claim));
    assert_eq!(bench.claim_with(claim.clone()), []);
    bench.add(job("1")).unwrap();
    assert_eq!(bench.claim_with(claim).len(), 1);
}

/// api 1.repeat.claim.stored
#[test]
fn job_remembers_its_last_32_attempts_and_their_claims_only() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let first_claim = bench.fresh_claim();
    let first = grant_in(&bench.claim_with(first_claim.clone())[0]).clone();
    bench.release(&first).unwrap();
    for _ in 0..32 {
        assert_eq!(bench.release(&first), Ok(Answer::Released(Once::Duplicate)));
        let grant = bench.claim();
        bench.release(&grant).unwrap();
    }
    assert!(matches!(bench.release(&first), Err(Rejection::StaleToken { ended_as: None, .. })));
    assert!(matches!(&bench.claim_with(first_claim)[..], [Claimed::Granted(_)]));
}

#[test]
fn cancelled_lease_is_dead_at_once_and_its_worker_is_told() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    let cancel = Command::Cancel(Cancel { job: id_of("1") });
    assert_eq!(bench.run(cancel.clone()), Ok(Answer::Cancelled(Once::First)));
    assert_eq!(bench.run(cancel), Ok(Answer::Cancelled(Once::Duplicate)));
    assert_eq!(bench.beat(&grant, None), BeatStatus::CancelRequested);
    assert!(matches!(
        bench.complete(&grant),
        Err(Rejection::StaleToken { ended_as: Some(crate::queue::AttemptEnd::Cancelled), .. })
    ));
}

// ---- adding (S1, S3)

#[test]
fn one_bad_job_rejects_the_whole_list() {
    let mut bench = Bench::new();
    bench.add(job("known")).unwrap();
    let rev = bench.rev();
    let other = NewJob { priority: 51, ..job("known") };
    let rejected = bench.run(Command::Add(Add { jobs: vec![job("1"), other] }));
    assert_eq!(rejected, Err(Rejection::JobIdConflict { job: id_of("known"), index: 1 }));
    let twice = vec![job("2"), NewJob { priority: 1, ..job("2") }];
    let rejected = bench.run(Command::Add(Add { jobs: twice }));
    assert_eq!(rejected, Err(Rejection::JobIdConflict { job: id_of("2"), index: 1 }));
    assert_eq!((bench.rev(), bench.state.job(&id_of("1"))), (rev, None));
}

#[test]
fn invalid_follow_up_rejects_the_completion_and_leaves_the_lease() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    let then = vec![NewJob { priority: 101, ..job("2") }];
    let complete = Complete { holding: held(&grant), result: None, then };
    let rejected = bench.run(Command::Complete(complete));
    assert!(matches!(rejected, Err(Rejection::Invalid { index: 0, .. })), "{rejected:?}");
    assert!(matches!(bench.complete(&grant), Ok(Answer::Completed { once: Once::First, .. })));
}

// ---- retention and tombstones

/// api 1.retention.exact.depends-on
#[test]
fn dependency_of_which_only_a_tombstone_is_left_counts_as_it_ended() {
    let mut bench = Bench::new();
    for id in ["done", "off"] {
        bench.add(job(id)).unwrap();
    }
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    bench.run(Command::Cancel(Cancel { job: id_of("off") })).unwrap();
    bench.pass(3_600_000);
    for id in ["done", "off"] {
        assert!(matches!(bench.state.job(&id_of(id)), Some(Found::Tombstone(_))));
    }
    bench.add(after("1", &["done"])).unwrap();
    bench.add(after("2", &["off"])).unwrap();
    assert_eq!((bench.state_of("1"), bench.state_of("2")), (JobState::Pending, JobState::Failed));
}

/// api 1.retention.tombstone
#[test]
fn tombstone_keeps_the_id_the_content_the_state_and_the_token_of_its_job() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    bench.pass(3_600_000);
    let Some(Found::Tombstone(left)) = bench.state.job(&id_of("1")) else { panic!("a tombstone") };
    assert_eq!((left.id, left.state), (id_of("1"), JobState::Completed));
    assert_eq!(left.token, Some(grant.token));
    let other = NewJob { priority: 1, ..job("1") };
    let conflict = Rejection::JobIdConflict { job: id_of("1"), index: 0 };
    assert_eq!(bench.add(other), Err(conflict));
}

/// api 1.retention.default, 1.retention.floor, 1.retention.most
#[test]
fn finished_jobs_and_tombstones_stay_as_long_as_the_contract_says() {
    const HOUR_MS: u64 = 3_600_000;
    const FLOOR_MS: u64 = 300_000;
    let of = |retention_ms| Limits { retention_ms, ..Limits::default() };
    for (limits, retention_ms, tombstone_ms) in
        [(Limits::default(), HOUR_MS, HOUR_MS), (of(1), 1, FLOOR_MS)]
    {
        let mut bench = Bench::with_limits(limits);
        bench.add(job("1")).unwrap();
        let grant = bench.claim();
        bench.complete(&grant).unwrap();
        let kept = |bench: &Bench| bench.state.job(&id_of("1"));
        bench.pass(retention_ms - 1);
        assert!(matches!(kept(&bench), Some(Found::Job(_))), "not yet");
        bench.pass(1);
        assert!(matches!(kept(&bench), Some(Found::Tombstone(_))));
        bench.pass(tombstone_ms - 1);
        assert!(matches!(kept(&bench), Some(Found::Tombstone(_))), "not yet");
        bench.pass(1);
        assert_eq!(kept(&bench), None);
    }
    assert_eq!(Limits::default().tombstones_max, 5_000_000);
}

/// api 1.retention.leaves, 1.retention.exact.add, 1.retention.exact.get
#[test]
fn tombstone_answers_for_its_job_and_goes_in_its_time() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    bench.pass(3_600_000);
    assert!(matches!(bench.state.job(&id_of("1")), Some(Found::Tombstone(_))));
    assert!(matches!(bench.complete(&grant), Ok(Answer::Completed { once: Once::Duplicate, .. })));
    let Ok(Answer::Added(added)) = bench.add(job("1")) else { panic!("a repeat is accepted") };
    assert_eq!((added[0].once, added[0].state), (Once::Duplicate, JobState::Completed));
    bench.pass(3_600_000);
    assert_eq!(bench.state.job(&id_of("1")), None);
}

/// api 1.retention.429
#[test]
fn adds_are_refused_while_every_tombstone_is_taken() {
    let limits = Limits { retention_ms: 10, tombstones_max: 1, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    for id in ["1", "2"] {
        bench.add(job(id)).unwrap();
        let grant = bench.claim();
        bench.complete(&grant).unwrap();
    }
    bench.pass(10);
    assert!(!bench.state.deadlines().is_behind, "waiting for room is not being behind");
    let full = bench.add(job("3"));
    assert!(matches!(full, Err(Rejection::Full { retry_after_ms: 300_000, .. })), "{full:?}");
    assert!(bench.add(job("1")).is_ok(), "a repeat is answered all the same");
    bench.pass(300_000);
    assert!(matches!(bench.state.job(&id_of("2")), Some(Found::Tombstone(_))));
}

#[test]
fn a_buried_job_departs_once_whole_and_outside_the_chain() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    let before = bench.state.job(&id_of("1"));
    let until = ClockMs(bench.state.clock().0 + 3_600_000);
    let applied = bench.pass(3_600_000);
    let [departed] = &applied.departed.0[..] else { panic!("one departed: {applied:?}") };
    assert_eq!(Some(Found::Job(Box::new(departed.view()))), before);
    assert_eq!(departed.retained_until(), Some(until));
    assert_eq!(departed.content_bytes(), departed.view().payload.bytes.len());
    let unseen = Applied { departed: Departed::default(), ..applied.clone() };
    assert_eq!((chain::hash_of(&unseen), &unseen), (chain::hash_of(&applied), &applied));
    assert!(bench.pass(1).departed.0.is_empty());
}

// ---- the revision and the chain (S16)

/// api 1.rev.nothing-else
#[test]
fn neither_tick_nor_rejection_nor_duplicate_raises_the_revision() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let (rev, hash) = (bench.rev(), bench.state.hash());
    bench.pass(5);
    bench.add(job("1")).unwrap();
    bench.add(NewJob { priority: 1, ..job("1") }).unwrap_err();
    let unknown = Holding { job: id_of("2"), token: Token(1) };
    bench.run(Command::Start(unknown)).unwrap_err();
    assert_eq!(bench.rev(), rev);
    assert_ne!(bench.state.hash(), hash, "the chain knows of every entry");
}

/// api 1.rev.by-one
#[test]
fn each_change_of_a_job_raises_the_revision_by_one() {
    let mut bench = Bench::new();
    bench.run(Command::Add(Add { jobs: vec![job("1"), job("2")] })).unwrap();
    assert_eq!(bench.rev(), 2);
    let grant = bench.claim();
    assert_eq!((bench.rev(), grant.token), (3, Token(3)));
    bench.run(Command::Start(held(&grant))).unwrap();
    assert_eq!(bench.rev(), 4);
    bench.beat(&grant, None);
    assert_eq!(bench.rev(), 4, "an extension changes no state");
    bench.pass(30_000);
    assert_eq!(bench.rev(), 5);
}

#[test]
fn the_chain_of_a_known_history_is_the_known_one() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let grant = bench.claim();
    bench.complete(&grant).unwrap();
    assert_eq!(
        bench.state.hash(),
        318_806_677_710_607_649_485_280_176_266_075_657_379,
        "replicas of two builds would not agree"
    );
    assert_eq!(
        chain::content_hash(&job("1")),
        5_713_084_440_004_596_332,
        "adds would no longer be known again"
    );
}

// ---- snapshots

fn records(state: &State) -> Vec<Result<Record, Infallible>> {
    state.freeze().records().map(Ok).collect()
}

#[test]
fn image_shows_the_moment_of_its_freezing() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    let image = bench.state.freeze();
    bench.claim();
    let restored = State::restore(image.records().map(Ok::<_, Infallible>)).unwrap();
    assert_eq!(restored.totals().by_status.get(&JobState::Pending), Some(&1));
    assert_eq!(bench.state_of("1"), JobState::Claimed);
}

#[test]
fn records_that_are_not_a_whole_state_are_refused() {
    let mut bench = Bench::new();
    bench.add(job("1")).unwrap();
    bench.add(job("2")).unwrap();
    let whole = records(&bench.state);
    let refused = |records: Vec<Result<Record, Infallible>>| State::restore(records).unwrap_err();

    assert_eq!(refused(Vec::new()), RestoreError::NoHeader);
    assert_eq!(refused(whole[1..].to_vec()), RestoreError::NoHeader);
    let cut = whole[..whole.len() - 1].to_vec();
    assert!(matches!(refused(cut), RestoreError::NotWhole { what: "jobs", found: 1, expected: 2 }));
    let twice = [&whole[..], &whole[2..3]].concat();
    assert!(matches!(refused(twice), RestoreError::Twice { .. }));

    let mut of_the_future = whole.clone();
    let Ok(Record::Header(header)) = &mut of_the_future[0] else { panic!("the header is first") };
    header.version += 1;
    let found = header.version;
    assert_eq!(refused(of_the_future), RestoreError::UnknownVersion { found });

    let mut contradicting = whole;
    let Ok(Record::Header(header)) = &mut contradicting[0] else { panic!("the header is first") };
    header.next_job = JobNumber(1);
    assert!(matches!(refused(contradicting), RestoreError::Contradiction(_)));
}
